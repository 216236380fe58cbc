//! The program.

pub mod backend;
pub mod config;
