//! Audit lines: `s3proxy.audit/1`, as defined in docs/audit.schema.json.
//!
//! The schema is an interface. Fields may be added to a version; none is removed, renamed or given
//! another meaning without a new version. A field that does not apply is left out, never null.
//! Every text from outside is bounded, in every kind of line, and escaped by JSON; characters that
//! JSON allows but terminals interpret are escaped, too.

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::telemetry::escape;

/// Schema of the lines, with its version.
pub(super) const SCHEMA: &str = "s3proxy.audit/1";

/// RFC 3339, in UTC, with milliseconds.
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// S3's maximum length of an object key in bytes; the proxy refuses longer ones.
const OBJECT_KEY_BYTES: usize = 1024;
pub(super) const VERSION_ID_BYTES: usize = 1024;
pub(super) const CLAIM_BYTES: usize = 128;
pub(super) const ERROR_CODE_BYTES: usize = 128;
const REASON_BYTES: usize = 512;
const REQUEST_ID_BYTES: usize = 128;

/// Format of a stored object, with its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct StoredForm {
    pub(crate) format: StoredFormat,
    /// Name, as in envelopes, of the key that wraps the data key. The older formats name none: then
    /// the kind of key that opened it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
}

impl StoredForm {
    /// Makes the value for the proxy's own format.
    pub(crate) fn sealed(key: &str) -> Self {
        Self {
            format: StoredFormat::V1,
            key: Some(key.to_owned()),
        }
    }

    /// Makes the value for an object that is not encrypted.
    pub(crate) fn plaintext() -> Self {
        Self {
            format: StoredFormat::Plaintext,
            key: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StoredFormat {
    V1,
    Intrinsec,
    Constellation,
    Plaintext,
}

/// Fields about the request, repeated in each of its lines.
#[derive(Clone, Copy, Serialize)]
pub(super) struct LineHead<'a> {
    pub(super) schema: &'static str,
    pub(super) event: Event,
    pub(super) time: &'a str,
    pub(super) request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trace_id: Option<&'a str>,
    pub(super) remote_address: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) access_key_id: Option<&'a str>,
    /// Only for Signature Version 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signature_version: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) claimed_access_key_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) operation: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bucket: Option<&'a str>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Event {
    Request,
    Object,
}

/// Line about a request.
#[derive(Serialize)]
pub(super) struct RequestLine<'a> {
    #[serde(flatten)]
    pub(super) head: LineHead<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) object_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<&'a CopySource>,
    pub(super) allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'a str>,
    pub(super) outcome: &'static str,
    pub(super) duration_ms: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) read: Option<&'a StoredForm>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) written: Option<&'a StoredForm>,
    /// Number of objects that a batch named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) objects: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) backend_request_id: Option<&'a str>,
}

/// Source of a copy.
#[derive(Debug, Serialize)]
pub(super) struct CopySource {
    pub(super) bucket: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) object_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version_id: Option<String>,
}

/// Line about one object of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ObjectLine {
    pub(crate) object_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version_id: Option<String>,
    pub(crate) allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error_code: Option<String>,
}

impl ObjectLine {
    /// Truncates texts from outside to their bounds.
    pub(super) fn bounded(self) -> Self {
        Self {
            object_key: cut(self.object_key, OBJECT_KEY_BYTES),
            version_id: self.version_id.map(|text| cut(text, VERSION_ID_BYTES)),
            error_code: self.error_code.map(|text| cut(text, ERROR_CODE_BYTES)),
            allowed: self.allowed,
        }
    }
}

impl CopySource {
    /// Truncates texts from outside to their bounds.
    pub(super) fn bounded(self) -> Self {
        Self {
            bucket: self.bucket,
            object_key: self.object_key.map(|text| cut(text, OBJECT_KEY_BYTES)),
            version_id: self.version_id.map(|text| cut(text, VERSION_ID_BYTES)),
        }
    }
}

fn cut(mut text: String, bytes: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes));
    // The text waits in memory until the request ends, so the surplus is freed.
    text.shrink_to_fit();
    text
}

#[derive(Serialize)]
struct HeadedObject<'a> {
    #[serde(flatten)]
    head: LineHead<'a>,
    #[serde(flatten)]
    object: &'a ObjectLine,
}

/// Formats a time as the lines show it.
pub(super) fn time_text(time: OffsetDateTime) -> String {
    time.format(TIME).expect("every part of it is known")
}

/// Renders all lines of a request: its own, and those of the objects named in its body.
pub(super) fn render(request: &RequestLine<'_>, objects: &[ObjectLine]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(512 * (1 + objects.len()));
    push(&mut lines, request);
    let head = LineHead {
        event: Event::Object,
        ..request.head
    };
    for object in objects {
        push(&mut lines, &HeadedObject { head, object });
    }
    // JSON leaves some characters unescaped that steer terminals.
    escape::escaped(&lines)
}

fn push(lines: &mut Vec<u8>, line: &impl Serialize) {
    serde_json::to_writer(&mut *lines, line).expect("texts and numbers are JSON");
    lines.push(b'\n');
}

/// Returns the beginning of a text, at most `bytes` long.
pub(super) fn shortened(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

impl<'a> RequestLine<'a> {
    /// Truncates texts from outside to their bounds.
    pub(super) fn bounded(self) -> Self {
        let to = |bytes: usize| move |text: &'a str| shortened(text, bytes);
        Self {
            object_key: self.object_key.map(to(OBJECT_KEY_BYTES)),
            version_id: self.version_id.map(to(VERSION_ID_BYTES)),
            error_code: self.error_code.map(to(ERROR_CODE_BYTES)),
            reason: self.reason.map(to(REASON_BYTES)),
            backend_request_id: self.backend_request_id.map(to(REQUEST_ID_BYTES)),
            ..self
        }
    }
}
