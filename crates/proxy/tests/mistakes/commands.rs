//! Commands and their arguments.

use crate::runner::Answer::{self, Refused};
use crate::runner::{Mistake, answers};

const fn row(name: &'static str, answer: Answer, typed: &'static [&'static str]) -> Mistake {
    Mistake::new(name, answer).typed(typed)
}

pub(crate) const ROWS: &[Mistake] = &[
    row("server", Refused, &["server"]),
    row("start", Refused, &["start"]),
    row("check", Refused, &["check"]),
    row("genkey", Refused, &["genkey"]),
    row("encrypt", Refused, &["encrypt"]),
    row("rotate", Refused, &["rotate"]),
    row("version", Refused, &["version"]),
    row("a typo in a command", Refused, &["verfy"]),
    row("serve with a word", Refused, &["serve", "now"]),
    row("keygen with a setting", Refused, &["keygen", "--no-tls"]),
    row("verify of nothing", Refused, &["verify"]),
    row(
        "verify with --bucket",
        Refused,
        &["verify", "--bucket", "photos"],
    ),
    row("verify of s3://", Refused, &["verify", "s3://photos"]),
    row(
        "verify of a URL",
        Refused,
        &["verify", "https://s3.example.com/photos"],
    ),
    row("rewrap of nothing", Refused, &["rewrap"]),
    row(
        "migrate only something",
        Refused,
        &["migrate", "photos", "--only", "foo"],
    ),
    row("decrypt to nowhere", Refused, &["decrypt", "photos/cat"]),
    row(
        "decrypt two into one file",
        Refused,
        &["decrypt", "photos/a", "photos/b", "--output", "out"],
    ),
    row(
        "sweep with an age of no unit",
        Refused,
        &["sweep", "--older-than", "1"],
    ),
    row("recover without arguments", Refused, &["recover"]),
    row("inspect without a backend", Refused, &["inspect", "photos"]),
    row(
        "health where nobody listens",
        Refused,
        &["health", "--no-tls", "--ip", "127.0.0.1", "--port", "9"],
    ),
    row(
        "check-config with a word",
        Refused,
        &["check-config", "s3proxy.toml"],
    ),
];

#[test]
fn commands() {
    insta::assert_snapshot!(answers(ROWS));
}
