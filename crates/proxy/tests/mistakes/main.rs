//! Mistakes of new users: the input, and the program's message. Each module is a table of mistakes
//! with a snapshot of the messages.
//!
//! Each row runs the program with only the row's environment. People review changed messages; the
//! tests check the rest: no message may be silent about a mistake, or show a secret.

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

/// The tables here and the table of requests have as many mistakes as the review.
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
