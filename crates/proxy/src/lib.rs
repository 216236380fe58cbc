//! The program.

pub mod config;
