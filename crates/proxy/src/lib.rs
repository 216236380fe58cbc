//! The program.

pub mod backend;
