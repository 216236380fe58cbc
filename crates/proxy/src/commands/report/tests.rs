//! Output for people and for programs.

use http::StatusCode;
use s3proxy_protocol::xml::error_document::ErrorDocument;

use super::*;
use crate::commands::listing::{ItemOrigin, VersionAge};
use crate::failure::{BackendAnswer, Failure};

fn item(key: &str, version: Option<&str>) -> Item {
    Item {
        bucket: "b".to_owned(),
        key: key.to_owned(),
        version: version.map(str::to_owned),
        age: VersionAge::Current,
        origin: ItemOrigin::Listed,
    }
}

fn lines_of(format: Format, resume: Option<&Resume>) -> Vec<String> {
    let mut output = anstream::StripStream::new(Vec::new());
    let progress = ProgressDisplay::silent();
    let mut reporter = Reporter::new("rewrap", format, &mut output, progress);
    let done = ObjectReport {
        bytes: 2048,
        details: [("encryption_key".to_owned(), json!("local:1"))]
            .into_iter()
            .collect(),
        remark: Some("from local:0".to_owned()),
        ..ObjectReport::new(ObjectVerdict::Done("rewrapped"))
    };
    let handled = [
        done,
        ObjectReport::new(ObjectVerdict::Would("rewrapped")),
        ObjectReport::skipped("right-already"),
        ObjectReport::failed("it is\u{1b} damaged\u{202e}"),
    ];
    for handled in &handled {
        reporter.object(&item("a\nb", Some("v1")), handled).unwrap();
    }
    reporter.finish(resume, CommandSummary::default()).unwrap();
    let text = String::from_utf8(output.into_inner()).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn people_are_told_of_failures_and_of_what_would_be_done_and_of_all_if_they_ask() {
    let all = lines_of(Format::AllLines, None);
    assert_eq!(
        all[..4],
        [
            "rewrapped b/a\\nb (version v1): from local:0",
            "would be rewrapped b/a\\nb (version v1)",
            "skipped b/a\\nb (version v1): right already",
            "FAILED b/a\\nb (version v1): it is\\u{1b} damaged\\u{202e}",
        ]
    );
    let some = lines_of(Format::Lines, None);
    assert_eq!(some[..2], [all[1].as_str(), all[3].as_str()]);
    assert!(some[2].starts_with("rewrap: 4 objects in "), "{}", some[2]);
    assert_eq!(
        some[3..],
        [
            "  rewrapped                          1      2.00 KiB",
            "  would be rewrapped                 1           0 B",
            "  skipped: right already             1           0 B",
            "  FAILED                             1           0 B",
        ]
    );
}

/// Returns the output if `number` objects fail for one reason, and one for another.
fn failures(command: &'static str, format: Format, number: usize) -> String {
    let mut output = Vec::new();
    let mut reporter = Reporter::new(command, format, &mut output, ProgressDisplay::silent());
    for number in 0..number {
        let failed = ObjectReport {
            remedy: Some("add the key"),
            ..ObjectReport::failed("no such key")
        };
        let item = item(&format!("o{number}"), None);
        reporter.object(&item, &failed).unwrap();
    }
    reporter
        .object(&item("last", None), &ObjectReport::failed("damaged"))
        .unwrap();
    reporter.finish(None, CommandSummary::default()).unwrap();
    String::from_utf8(output).unwrap()
}

#[test]
fn equal_failures_are_told_once() {
    let text = failures("verify", Format::Lines, 2000);
    let text = anstream::adapter::strip_str(&text).to_string();
    let lines: Vec<&str> = text.lines().collect();
    // Five of a kind have a line each, then another reason has its own.
    assert_eq!(lines[4], "FAILED b/o4: no such key");
    assert_eq!(lines[5], "FAILED b/last: damaged");
    assert_eq!(lines[6].split(" in ").next(), Some("verify: 2,001 objects"));
    assert_eq!(
        lines[7..],
        [
            "  FAILED         2,001           0 B",
            "1,995 more objects failed for the same reason: no such key; add the key. --verbose \
             shows each of them.",
        ]
    );
    assert!(failures("inspect", Format::Lines, 9).contains("--json shows each"));
}

#[test]
fn every_failure_has_its_line_where_all_were_asked_for() {
    for format in [Format::AllLines, Format::Json] {
        let text = failures("verify", format, 20);
        assert_eq!(text.matches("no such key").count(), 20, "{text}");
        assert!(!text.contains("same reason"), "{text}");
    }
}

#[test]
fn failures_are_red_and_programs_get_no_colours() {
    assert!(failures("verify", Format::Lines, 1).contains("\u{1b}[31mFAILED\u{1b}[0m b/o0"));
    assert!(!failures("verify", Format::Json, 1).contains('\u{1b}'));
}

#[test]
fn programs_get_one_object_a_line_and_one_for_the_end() {
    let resume = Resume {
        start_after: Some("it's".to_owned()),
        targets: vec!["b/p".to_owned(), "c".to_owned()],
    };
    let lines = lines_of(Format::Json, Some(&resume));
    let values: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(values.len(), 5);
    assert_eq!(
        values[0],
        json!({
            "type": "object", "bucket": "b", "key": "a\nb", "version": "v1", "current": true,
            "status": "done", "what": "rewrapped", "encryption_key": "local:1",
        })
    );
    assert_eq!(values[3]["status"], "failed");
    // Programs get the exact text; only lines for people are escaped.
    assert_eq!(values[3]["reason"], "it is\u{1b} damaged\u{202e}");
    let summary = &values[4];
    assert_eq!(summary["type"], "summary");
    assert_eq!(
        summary["done"],
        json!({ "rewrapped": { "objects": 1, "bytes": 2048 } })
    );
    assert_eq!(
        (&summary["objects"], &summary["failed"]),
        (&json!(4), &json!(1))
    );
    assert_eq!(summary["interrupted"], true);
    assert_eq!(
        summary["resume"],
        json!({ "start_after": "it's", "targets": ["b/p", "c"] })
    );
}

#[test]
fn who_interrupts_is_told_how_to_go_on() {
    let resume = Resume {
        start_after: Some("it's".to_owned()),
        targets: vec!["b/p q".to_owned(), "c".to_owned()],
    };
    let lines = lines_of(Format::Lines, Some(&resume));
    assert_eq!(
        lines.last().unwrap(),
        r"Interrupted. To resume, repeat the command with: --start-after 'it'\''s' 'b/p q' c"
    );
}

#[test]
fn what_the_backend_says_is_lines_of() {
    let failure = Failure::Answer(Box::new(BackendAnswer {
        status: StatusCode::FORBIDDEN,
        headers: http::HeaderMap::new(),
        document: ErrorDocument {
            code: "AccessDenied".to_owned(),
            message: "No.".to_owned(),
            resource: None,
            request_id: None,
            details: Vec::new(),
        },
    }));
    assert_eq!(
        explained(&failure),
        "the backend answered 403 AccessDenied: No."
    );
}
