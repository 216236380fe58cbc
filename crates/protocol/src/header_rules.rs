//! Rules for headers: which ones are forwarded and which ones end at the proxy. All lists are
//! closed.
//!
//! Only headers on these lists are forwarded to the backend, per operation; all others are dropped.
//! Checksums, the client's signature, its session token and framing are known headers that end at
//! the proxy: they describe the plaintext or the client's connection. Any other `x-amz-*` header on
//! an object write could change what is stored, so such a request is refused.
//!
//! Responses to clients keep the standard headers of HTTP and S3 ([`is_for_client`]). The caller
//! rewrites ETags, sizes, ranges and the envelope.

use http::header::{CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue};

use crate::error::{ErrorCode, S3Error};
use crate::operation::{Kind, Operation};
use crate::quote::quoted;

mod response;

pub use response::{is_cors, is_for_client, retain_client_response_headers};

type Names = &'static [&'static str];

/// Prefix of user metadata headers.
pub const METADATA_PREFIX: &str = "x-amz-meta-";

/// Forwarded with every request: requester pays, the expected bucket owner, and the inputs of CORS
/// rules.
const EVERY: Names = &[
    "x-amz-expected-bucket-owner",
    "x-amz-request-payer",
    "origin",
    "access-control-request-method",
    "access-control-request-headers",
];

/// Headers that are stored with an object and returned on reads.
const CONTENT: Names = &[
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
    "x-amz-website-redirect-location",
];

const STORAGE: Names = &["x-amz-storage-class", "x-amz-tagging"];

const GRANTS: Names = &[
    "x-amz-acl",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
];

const ENCRYPTION: Names = &[
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-bucket-key-enabled",
    "x-amz-server-side-encryption-context",
];

const CUSTOMER_KEY: Names = &[
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-server-side-encryption-customer-key",
    "x-amz-server-side-encryption-customer-key-md5",
];

const SOURCE_CUSTOMER_KEY: Names = &[
    "x-amz-copy-source-server-side-encryption-customer-algorithm",
    "x-amz-copy-source-server-side-encryption-customer-key",
    "x-amz-copy-source-server-side-encryption-customer-key-md5",
];

const OBJECT_LOCK: Names = &[
    "x-amz-object-lock-event-hold",
    "x-amz-object-lock-event-hold-duration-days",
    "x-amz-object-lock-event-hold-duration-years",
    "x-amz-object-lock-legal-hold",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
];

/// Conditions on the object that a write replaces.
const WRITE_CONDITIONS: Names = &["if-match", "if-none-match"];

const READ_CONDITIONS: Names = &[
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-unmodified-since",
];

const COPY_SOURCE: Names = &[
    "x-amz-copy-source",
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-modified-since",
    "x-amz-copy-source-if-none-match",
    "x-amz-copy-source-if-unmodified-since",
    "x-amz-source-expected-bucket-owner",
];

const DIRECTIVES: Names = &[
    "x-amz-metadata-directive",
    "x-amz-object-annotation-directive",
    "x-amz-tagging-directive",
];

const DELETION: Names = &["x-amz-bypass-governance-retention", "x-amz-mfa"];

const DELETE_CONDITIONS: Names = &[
    "if-match",
    "x-amz-if-match-last-modified-time",
    "x-amz-if-match-size",
];

const ATTRIBUTES: Names = &[
    "x-amz-max-parts",
    "x-amz-object-attributes",
    "x-amz-part-number-marker",
];

/// Headers of requests that configure buckets or objects.
const CONFIGURATION: Names = &[
    "content-type",
    "x-amz-bucket-namespace",
    "x-amz-bucket-object-lock-enabled",
    "x-amz-bucket-object-lock-token",
    "x-amz-confirm-remove-self-bucket-access",
    "x-amz-object-ownership",
    "x-amz-skip-destination-validation",
    "x-amz-transition-default-minimum-object-size",
];

const CREATE_MULTIPART_UPLOAD: &[Names] = &[
    EVERY,
    CONTENT,
    STORAGE,
    GRANTS,
    ENCRYPTION,
    CUSTOMER_KEY,
    OBJECT_LOCK,
];

const PUT_OBJECT: &[Names] = &[
    EVERY,
    CONTENT,
    STORAGE,
    GRANTS,
    ENCRYPTION,
    CUSTOMER_KEY,
    OBJECT_LOCK,
    WRITE_CONDITIONS,
];

const COPY_OBJECT: &[Names] = &[
    EVERY,
    CONTENT,
    STORAGE,
    GRANTS,
    ENCRYPTION,
    CUSTOMER_KEY,
    OBJECT_LOCK,
    WRITE_CONDITIONS,
    COPY_SOURCE,
    DIRECTIVES,
    SOURCE_CUSTOMER_KEY,
];

/// Known headers of writes that end at the proxy: they describe the plaintext or the client's own
/// request.
const ENDS_HERE: Names = &[
    "x-amz-api-version",
    "x-amz-cf-id",
    "x-amz-checksum-algorithm",
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-mode",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
    "x-amz-checksum-type",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-metadata-directive",
    "x-amz-mp-object-size",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-security-token",
    "x-amz-trailer",
    "x-amz-user-agent",
];

/// Headers to forward to the backend for an operation, in addition to [`METADATA_PREFIX`] if
/// [`carries_metadata`] is true. ETags in them still have to be mapped.
#[must_use]
pub fn forwarded(operation: Operation) -> &'static [Names] {
    match operation.kind() {
        Kind::Forward | Kind::ForwardXml | Kind::RestoreObject => {
            // A configuration request may change an ACL or governance retention too.
            &[EVERY, CONFIGURATION, GRANTS, DELETION]
        }
        Kind::Preflight | Kind::ListBuckets | Kind::DeleteBucket => &[EVERY],
        Kind::ListObjects | Kind::ListMultipartUploads => {
            &[EVERY, &["x-amz-optional-object-attributes"]]
        }
        Kind::AbortMultipartUpload => &[EVERY, &["x-amz-if-match-initiated-time"]],
        // Content headers of a part have no effect in S3; they belong to the upload.
        Kind::ListParts | Kind::UploadPart => &[EVERY, CUSTOMER_KEY],
        Kind::GetObject | Kind::HeadObject => &[EVERY, READ_CONDITIONS, CUSTOMER_KEY],
        Kind::GetObjectAttributes => &[EVERY, ATTRIBUTES, CUSTOMER_KEY],
        Kind::PutObject | Kind::PostObject => PUT_OBJECT,
        Kind::CopyObject => COPY_OBJECT,
        Kind::CreateMultipartUpload => CREATE_MULTIPART_UPLOAD,
        Kind::UploadPartCopy => &[
            EVERY,
            COPY_SOURCE,
            &["x-amz-copy-source-range"],
            CUSTOMER_KEY,
            SOURCE_CUSTOMER_KEY,
        ],
        Kind::CompleteMultipartUpload => &[EVERY, WRITE_CONDITIONS, CUSTOMER_KEY],
        Kind::DeleteObject => &[EVERY, DELETION, DELETE_CONDITIONS],
        Kind::DeleteObjects => &[EVERY, DELETION],
        Kind::Unsupported => &[],
    }
}

/// Whether user metadata is forwarded with an operation.
#[must_use]
pub fn carries_metadata(operation: Operation) -> bool {
    matches!(
        operation.kind(),
        Kind::PutObject | Kind::PostObject | Kind::CopyObject | Kind::CreateMultipartUpload
    )
}

/// Whether an operation writes object data. Unknown `x-amz-*` headers on such requests are refused.
#[must_use]
pub fn writes_object_data(operation: Operation) -> bool {
    carries_metadata(operation)
        || matches!(
            operation.kind(),
            Kind::UploadPart | Kind::UploadPartCopy | Kind::CompleteMultipartUpload
        )
}

/// Whether the header sets an ACL.
#[must_use]
pub fn sets_acl(name: &HeaderName) -> bool {
    name == "x-amz-acl" || name.as_str().starts_with("x-amz-grant-")
}

/// Whether the header is forwarded to the backend for an operation.
#[must_use]
pub fn is_forwarded(operation: Operation, name: &HeaderName) -> bool {
    let name = name.as_str();
    forwarded(operation)
        .iter()
        .any(|names| names.contains(&name))
        || carries_metadata(operation) && name.starts_with(METADATA_PREFIX)
}

/// Returns the client's headers to forward to the backend: unchanged, except that `aws-chunked` is
/// removed from Content-Encoding.
#[must_use]
pub fn backend_request_headers(operation: Operation, client: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in client {
        if is_forwarded(operation, name) {
            headers.append(name, value.clone());
        }
    }
    remove_aws_chunked(&mut headers);
    headers
}

/// Removes the coding `aws-chunked` from Content-Encoding, since the body is forwarded decoded.
/// Other codings belong to the object and stay.
pub fn remove_aws_chunked(headers: &mut HeaderMap) {
    let is_chunked = |coding: &str| coding.trim().eq_ignore_ascii_case("aws-chunked");
    let codings: Vec<String> = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|coding| coding.trim().to_owned())
        .collect();
    // Leave the header exactly as it came unless it has to change: it is stored with the object.
    if !codings.iter().any(|coding| is_chunked(coding)) {
        return;
    }
    headers.remove(CONTENT_ENCODING);
    let kept: Vec<String> = codings
        .into_iter()
        .filter(|coding| !coding.is_empty() && !is_chunked(coding))
        .collect();
    if !kept.is_empty() {
        let value = HeaderValue::try_from(kept.join(","));
        headers.insert(
            CONTENT_ENCODING,
            value.expect("codings come from a header value"),
        );
    }
}

/// Header names listed in `Connection`: hop-by-hop headers (RFC 9110, section 7.6.1).
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(http::header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .collect()
}

/// Refuses an object write that has an unknown `x-amz-*` header, with `NotImplemented`.
pub(crate) fn refuse_unknown(operation: Operation, headers: &HeaderMap) -> Result<(), S3Error> {
    if !writes_object_data(operation) {
        return Ok(());
    }
    let unknown = headers.keys().find(|name| {
        // Only `x-amz-*`: other unknown headers mean nothing to S3 and are dropped.
        name.as_str().starts_with("x-amz-")
            && !ENDS_HERE.contains(&name.as_str())
            && !is_forwarded(operation, name)
    });
    match unknown {
        None => Ok(()),
        // A separate message, since this is a documented S3 feature (directory buckets).
        Some(name) if name == "x-amz-write-offset-bytes" => Err(S3Error::new(
            ErrorCode::NotImplemented,
            "Appending to an object is not supported: an encrypted object is written whole.",
        )),
        Some(name) => Err(S3Error::new(
            ErrorCode::NotImplemented,
            format!(
                "The header {} is not supported for {operation:?}.",
                quoted(name.as_str())
            ),
        )),
    }
}

#[cfg(test)]
mod tests;
