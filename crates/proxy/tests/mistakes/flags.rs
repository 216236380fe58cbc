//! Flags.

use crate::runner::Answer::{self, Refused, Warned};
use crate::runner::{Mistake, answers};

const fn row(name: &'static str, answer: Answer, typed: &'static [&'static str]) -> Mistake {
    Mistake::new(name, answer).typed(typed)
}

pub(crate) const ROWS: &[Mistake] = &[
    row(
        "a typo in --set",
        Refused,
        &["--set", "backend.retry_atempts=5"],
    ),
    row(
        "a secret in --set",
        Refused,
        &["--set", "keys.encrypt_key=the-secret"],
    ),
    row(
        "no = in --set",
        Refused,
        &["--set", "backend.retry_attempts"],
    ),
    row(
        "a list's setting in --set",
        Refused,
        &["--set", "clients.known[].name=a"],
    ),
    row("--host", Refused, &["--host", "http://127.0.0.1:9"]),
    row("--endpoint", Refused, &["--endpoint", "http://127.0.0.1:9"]),
    row("--listen", Refused, &["--listen", "0.0.0.0:8080"]),
    row("--tls", Refused, &["--tls"]),
    row("--tls-cert", Refused, &["--tls-cert", "tls.crt"]),
    row("--secret", Refused, &["--secret", "x"]),
    row("--key", Refused, &["--key", "x"]),
    row("--log-level", Refused, &["--log-level", "debug"]),
    row("--metrics", Refused, &["--metrics", ":9090"]),
    row("a typo in a flag", Refused, &["--prot", "8080"]),
    row("a flag without its value", Refused, &["--port"]),
    row("a port in words", Refused, &["--port", "http"]),
    row("a level of nobody's", Refused, &["--level", "loud"]),
    row("--no-tls=maybe", Refused, &["--no-tls=maybe"]),
    row(
        "--config without a file",
        Refused,
        &["--config", "DIR/absent.toml"],
    ),
    row("--allow-multipart", Warned, &["--allow-multipart"]),
    row("--auth none", Warned, &["--auth", "none"]),
    row(
        "a backend that is the proxy",
        Refused,
        &["--backend", "http://127.0.0.1:8080", "--port", "8080"],
    ),
];

#[test]
fn flags() {
    insta::assert_snapshot!(answers(ROWS));
}
