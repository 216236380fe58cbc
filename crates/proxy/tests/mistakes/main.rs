//! The mistakes of newcomers: what is typed, and what the program says. Each module is a table, whose
//! answers stand together in a snapshot.
//!
//! The program itself is run, with no other environment than the row's. Answers are looked at by people
//! when they change; what no answer may do is checked here: be silent about a mistake, or show a secret.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where its surroundings fail"
)]

mod commands;
mod environment;
mod flags;
mod keys;
mod runner;
mod starts;
mod tables;
mod tls;

/// The mistakes of all tables here, and of the table of requests, are as many as the review's.
#[test]
fn no_table_has_lost_its_rows() {
    let counts = [
        commands::ROWS.len(),
        environment::ROWS.len(),
        flags::ROWS.len(),
        keys::ROWS.len(),
        starts::ROWS,
        tables::ROWS.len(),
        tls::ROWS,
    ];
    let all: usize = counts.iter().sum();
    assert!(all >= 130, "{all}");
}
