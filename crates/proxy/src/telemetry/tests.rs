use std::io;
use std::sync::{Arc, Mutex};

use s3proxy_protocol::quote::is_deceptive;

use super::*;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(level: LogLevel, shape: LogShape, events: impl FnOnce()) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let (dispatch, _) = dispatch(level, shape, move || writer.clone());
    tracing::dispatcher::with_default(&dispatch, events);
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

// Control characters, a terminal sequence, a change of direction and invisible characters.
const NASTY: &str = "a\nb\x1b[31mc\x7fd\u{9b}e\re\u{202e}f\u{200b}g\u{e0041}";

fn nasty_events() {
    let span = tracing::info_span!("request", key = %NASTY);
    let _entered = span.enter();
    tracing::info!(text = NASTY, shown = %NASTY, "key {NASTY}");
    let error: Box<dyn std::error::Error> = NASTY.into();
    tracing::info!(error = error.as_ref(), "failed");
}

#[test]
fn no_control_character_reaches_a_text_log() {
    let log = logged(LogLevel::Info, LogShape::PlainText, nasty_events);
    assert_eq!(log.lines().count(), 2);
    assert!(
        !log.chars().any(|c| is_deceptive(c) && c != '\n'),
        "{log:?}"
    );
    assert!(
        log.contains("key a\\nb\\u{1b}[31mc\\u{7f}d\\u{9b}e\\re\\u{202e}f\\u{200b}g\\u{e0041}"),
        "{log:?}"
    );
}

#[test]
fn no_control_character_reaches_a_json_log() {
    let log = logged(LogLevel::Info, LogShape::Json, nasty_events);
    assert_eq!(log.lines().count(), 2);
    assert!(
        !log.chars().any(|c| is_deceptive(c) && c != '\n'),
        "{log:?}"
    );
    for line in log.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["span"]["key"], NASTY);
    }
    let first: serde_json::Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!(first["message"], format!("key {NASTY}"));
    assert_eq!(first["shown"], NASTY);
    assert_eq!(first["level"], "INFO");
}

/// Events with texts longer than a line, and with more texts than a line has room for.
fn long_events() {
    let long = "\u{202e}x".repeat(1_000_000);
    tracing::info!(reason = long.as_str(), "request");
    tracing::info!(long);
    let part = "y\x7f".repeat(500);
    let part = part.as_str();
    tracing::info!(
        a = part,
        b = part,
        c = part,
        d = part,
        e = part,
        f = part,
        "parts"
    );
    tracing::info!("short");
}

#[test]
fn no_line_of_a_text_log_is_longer_than_its_bound() {
    for shape in [LogShape::PlainText, LogShape::ColouredText] {
        let log = logged(LogLevel::Info, shape, long_events);
        assert_eq!(log.lines().count(), 4);
        assert!(
            log.lines()
                .all(|line| line.len() < escape::MAXIMUM_LINE_BYTES)
        );
        assert!(
            log.ends_with("short\n") || shape == LogShape::ColouredText,
            "{log}"
        );
    }
}

#[test]
fn no_line_of_a_json_log_is_longer_than_its_bound_and_all_are_json() {
    let log = logged(LogLevel::Info, LogShape::Json, long_events);
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| {
            assert!(line.len() < escape::MAXIMUM_LINE_BYTES, "{}", line.len());
            serde_json::from_str(line).unwrap()
        })
        .collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0]["message"], "request");
    assert!(lines[0]["reason"].as_str().unwrap().ends_with('…'));
    assert_eq!(lines[2]["message"], "parts");
    assert_eq!(lines[3]["message"], "short");
}

#[test]
fn libraries_log_from_warn_on_and_the_program_from_the_configured_level() {
    let events = || {
        tracing::debug!(target: "s3proxy::plan", "ours");
        tracing::debug!(target: "s3proxy_protocol::sigv4", "also ours");
        tracing::debug!(target: "hyper::proto", "headers");
        tracing::info!(target: "aws_config", "profile");
        tracing::warn!(target: "rustls", "handshake");
    };
    let log = logged(LogLevel::Debug, LogShape::PlainText, events);
    assert!(log.contains("ours") && log.contains("also ours") && log.contains("handshake"));
    assert!(!log.contains("headers") && !log.contains("profile"));
    let log = logged(LogLevel::Error, LogShape::PlainText, events);
    assert_eq!(log, "");
}

#[test]
fn the_level_of_a_running_log_can_be_set() {
    let lines = Lines::default();
    let writer = lines.clone();
    let (dispatch, levels) = dispatch(LogLevel::Info, LogShape::PlainText, move || writer.clone());
    let event = || tracing::debug!(target: "s3proxy::plan", "seen");
    tracing::dispatcher::with_default(&dispatch, || {
        event();
        levels.set(LogLevel::Debug);
        event();
        levels.set(LogLevel::Error);
        event();
    });
    let bytes = lines.0.lock().unwrap().clone();
    let log = String::from_utf8(bytes).unwrap();
    assert_eq!(log.matches("seen").count(), 1, "{log}");
}

#[test]
fn a_panic_is_logged_with_its_location_and_without_its_message() {
    let log = logged(LogLevel::Error, LogShape::PlainText, || {
        // The hook is global, so it is removed below.
        panic_hook::install();
        let panicked = std::panic::catch_unwind(|| panic!("the object's content"));
        let _default_hook_again = std::panic::take_hook();
        assert!(panicked.is_err());
    });
    assert!(log.contains("telemetry/tests.rs"), "{log}");
    assert!(!log.contains("content"), "{log}");
}

#[test]
fn the_format_follows_the_terminal_unless_it_is_named() {
    assert_eq!(
        LogShape::of(LogFormat::Auto, true, true),
        LogShape::ColouredText
    );
    assert_eq!(
        LogShape::of(LogFormat::Auto, true, false),
        LogShape::PlainText
    );
    assert_eq!(LogShape::of(LogFormat::Auto, false, true), LogShape::Json);
    assert_eq!(
        LogShape::of(LogFormat::Text, false, true),
        LogShape::PlainText
    );
    assert_eq!(LogShape::of(LogFormat::Json, true, true), LogShape::Json);
}

fn a_request() {
    tracing::warn!(
        target: REQUEST_TARGET,
        request_id = "8F2A",
        operation = "PutObject",
        bucket = "photos",
        status = 403_u16,
        outcome = "complete",
        bytes_in = 1536_u64,
        bytes_out = 0_u64,
        milliseconds = 2_u64,
        claimed_access_key_id = Some("AKID\x1b"),
        peer = %std::net::Ipv4Addr::LOCALHOST,
        host = Some("s3proxy:4433"),
        reason = Some("SignatureDoesNotMatch: check the secret access key"),
        "request"
    );
}

#[test]
fn a_request_is_one_readable_line_of_text() {
    let expected = "403 PutObject photos, 1.50 KiB in, 2 ms, access key AKID\\u{1b} (not verified), \
                    from 127.0.0.1, Host s3proxy:4433: SignatureDoesNotMatch: check the secret access \
                    key (request 8F2A)\n";
    for shape in [LogShape::PlainText, LogShape::ColouredText] {
        let log = logged(LogLevel::Info, shape, a_request);
        assert!(log.ends_with(expected), "{log}");
        assert_eq!(log.lines().count(), 1);
        let other = logged(LogLevel::Info, shape, || {
            tracing::info!(port = 80, "serving");
        });
        assert!(other.ends_with("serving port=80\n"), "{other}");
    }
}
