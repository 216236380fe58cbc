//! Words and lines of a report.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use indicatif::{HumanBytes, HumanCount};
use s3proxy_protocol::quote::is_deceptive;
use serde_json::{Map, Value, json};

use super::{Count, ObjectReport, ObjectVerdict};
use crate::commands::listing::{Item, VersionAge};
use crate::failure::{Failure, UNEXPLAINED};

/// Style of the word that marks failures.
pub(super) const FAILED: Style = AnsiColor::Red.on_default().bold();

/// Label of the row of failures in the summary.
pub(super) const FAILED_ROW: &str = "FAILED";

pub(super) fn line(item: &Item, report: &ObjectReport) -> String {
    let name = shown(&format!("{}/{}", item.bucket, item.key));
    let version = item.version.as_deref();
    let version = version.map(|version| format!(" (version {})", shown(version)));
    let remark = report.remark.as_deref().map(|remark| format!(": {remark}"));
    let (version, remark) = (version.unwrap_or_default(), remark.unwrap_or_default());
    match &report.verdict {
        ObjectVerdict::Done(what) => format!("{} {name}{version}{remark}", worded(what)),
        ObjectVerdict::Would(what) => format!("would be {} {name}{version}{remark}", worded(what)),
        ObjectVerdict::Skipped(why) => format!("skipped {name}{version}: {}{remark}", worded(why)),
        ObjectVerdict::Failed(reason) => {
            let reason = shown(reason);
            format!("{FAILED}FAILED{FAILED:#} {name}{version}: {reason}{remark}")
        }
    }
}

pub(super) fn json_line(item: &Item, report: &ObjectReport) -> String {
    let (status, what) = match &report.verdict {
        ObjectVerdict::Done(what) => ("done", Some(*what)),
        ObjectVerdict::Would(what) => ("would", Some(*what)),
        ObjectVerdict::Skipped(why) => ("skipped", Some(*why)),
        ObjectVerdict::Failed(_) => ("failed", None),
    };
    let mut fields = json!({
        "type": "object",
        "bucket": item.bucket,
        "key": item.key,
        "version": item.version,
        "current": item.age == VersionAge::Current,
        "status": status,
        "what": what,
    });
    if let Value::Object(fields) = &mut fields {
        if let ObjectVerdict::Failed(reason) = &report.verdict {
            fields.insert("reason".to_owned(), Value::from(reason.as_str()));
        }
        fields.extend(report.details.clone());
    }
    fields.to_string()
}

pub(super) fn worded(word: &str) -> String {
    word.replace('-', " ")
}

pub(super) fn row(word: &str, width: usize, count: Count) -> String {
    let objects = HumanCount(count.objects).to_string();
    let bytes = HumanBytes(count.bytes).to_string();
    if word == FAILED_ROW {
        return format!("  {FAILED}{word:<width$}{FAILED:#}  {objects:>12}  {bytes:>12}");
    }
    format!("  {word:<width$}  {objects:>12}  {bytes:>12}")
        .trim_end()
        .to_owned()
}

/// Returns the fields of a JSON object.
pub(crate) fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// Formats a number with its noun.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", HumanCount(number))
}

pub(super) fn seconds(elapsed: Duration) -> String {
    format!("{:.1} s", elapsed.as_secs_f64())
}

/// Escapes foreign text for a terminal: control characters, and those that hide text or change its
/// direction.
pub(crate) fn shown(text: &str) -> String {
    text.chars()
        .flat_map(|character| {
            let escaped = is_deceptive(character).then(|| character.escape_default());
            let plain = escaped.is_none().then_some(character);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

/// Describes a failure for an operator: the backend's message is more useful than its code.
pub(crate) fn explained(failure: &Failure) -> String {
    match failure {
        Failure::Answer(answer) => {
            let document = &answer.document;
            let status = answer.status.as_u16();
            if document.message == UNEXPLAINED {
                // The response to a HEAD request has no body that could explain it.
                return failure.to_string();
            }
            format!(
                "the backend answered {status} {}: {}",
                document.code, document.message
            )
        }
        other => other.to_string(),
    }
}
