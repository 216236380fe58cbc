//! The lines: `s3proxy.audit/1`, as docs/audit.schema.json has it.
//!
//! The schema is an interface. Fields may be added to a version; none is removed, renamed or given
//! another meaning without another version. A field that does not apply is left out, never null.
//! Every text from outside is bounded, in every kind of line, and escaped by JSON; what JSON lets
//! through and terminals obey is escaped too.

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::telemetry::escape;

pub(super) const SCHEMA: &str = "s3proxy.audit/1";

/// RFC 3339, in UTC, with milliseconds.
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// S3's longest object key, in bytes; longer ones never get past the proxy.
const OBJECT_KEY_BYTES: usize = 1024;
pub(super) const VERSION_ID_BYTES: usize = 1024;
pub(super) const CLAIM_BYTES: usize = 128;
pub(super) const ERROR_CODE_BYTES: usize = 128;
const REASON_BYTES: usize = 512;
const REQUEST_ID_BYTES: usize = 128;

/// How an object is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Stored {
    pub(crate) format: StoredFormat,
    /// The key that its data key is wrapped under, as envelopes name it. The older formats name
    /// none: there it is the kind of key that opened it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
}

impl Stored {
    /// In the proxy's own format.
    pub(crate) fn sealed(key: &str) -> Self {
        Self {
            format: StoredFormat::V1,
            key: Some(key.to_owned()),
        }
    }

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

/// Who asked, in every line of a request.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Head<'a> {
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
    /// There where the signature is of the older version.
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

/// A request.
#[derive(Serialize)]
pub(super) struct RequestLine<'a> {
    #[serde(flatten)]
    pub(super) head: Head<'a>,
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
    pub(super) read: Option<&'a Stored>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) written: Option<&'a Stored>,
    /// How many objects a batch named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) objects: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) backend_request_id: Option<&'a str>,
}

/// What a copy read.
#[derive(Debug, Serialize)]
pub(super) struct CopySource {
    pub(super) bucket: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) object_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version_id: Option<String>,
}

/// One object of a batch.
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
    /// Keeps texts from outside within their bounds.
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
    /// Keeps texts from outside within their bounds.
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
    text.shrink_to_fit();
    text
}

#[derive(Serialize)]
struct HeadedObject<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    #[serde(flatten)]
    object: &'a ObjectLine,
}

pub(super) fn time_text(time: OffsetDateTime) -> String {
    time.format(TIME).expect("every part of it is known")
}

/// All lines of a request: its own, and those of the objects that it named in its body.
pub(super) fn render(request: &RequestLine<'_>, objects: &[ObjectLine]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(512 * (1 + objects.len()));
    push(&mut lines, request);
    let head = Head {
        event: Event::Object,
        ..request.head
    };
    for object in objects {
        push(&mut lines, &HeadedObject { head, object });
    }
    escape::escaped(&lines)
}

fn push(lines: &mut Vec<u8>, line: &impl Serialize) {
    serde_json::to_writer(&mut *lines, line).expect("texts and numbers are JSON");
    lines.push(b'\n');
}

/// The beginning of a text, up to `bytes`.
pub(super) fn shortened(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

impl<'a> RequestLine<'a> {
    /// Keeps texts from outside within their bounds.
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
