//! Rules for headers: which ones are forwarded and which ones end at the proxy. All lists are
//! closed.
//!
//! Towards the backend only headers of these lists go on, per operation; what is not listed ends
//! here. Checksums, the client's signature, token and framing are about the plaintext and the
//! client's connection: they are known, and end here. `x-amz-*` headers that an operation does not
//! have are judged apart (`foreign`).
//!
//! Responses to clients keep the standard headers of HTTP and S3 ([`is_for_client`]). The caller
//! rewrites ETags, sizes, ranges and the envelope.

use http::header::{CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue};

use crate::headers;
use crate::operation::{Kind, Operation};

mod foreign;
mod response;

pub(crate) use foreign::refuse_unknown;
pub use response::{is_cors, is_for_client, remove_cors, retain_client_response_headers};

type Names = &'static [&'static str];

/// Prefix of user metadata headers.
pub const METADATA_PREFIX: &str = "x-amz-meta-";

/// Any request: who pays, and whose bucket it must be. `Origin` goes along by other rules, since
/// one request of a page may become several here.
const EVERY: Names = &["x-amz-expected-bucket-owner", "x-amz-request-payer"];

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
    "x-amz-checksum-md5",
    "x-amz-checksum-mode",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
    "x-amz-checksum-sha512",
    "x-amz-checksum-type",
    "x-amz-checksum-xxhash128",
    "x-amz-checksum-xxhash3",
    "x-amz-checksum-xxhash64",
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
    is_listed(operation, name.as_str())
}

fn is_listed(operation: Operation, name: &str) -> bool {
    forwarded(operation)
        .iter()
        .any(|names| names.contains(&name))
        || carries_metadata(operation) && name.starts_with(METADATA_PREFIX)
}

/// The client's headers that go on to the backend, unchanged but for `aws-chunked`, which is taken
/// out of Content-Encoding, and for lines of one name, which become one line as S3 makes them: some
/// servers take the first, and some the last.
#[must_use]
pub fn backend_request_headers(operation: Operation, client: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in client.keys() {
        if is_forwarded(operation, name) {
            headers.insert(name, joined(client, name));
        }
    }
    remove_aws_chunked(&mut headers);
    headers
}

/// The values of a header that is there, as a list.
fn joined(headers: &HeaderMap, name: &HeaderName) -> HeaderValue {
    let values: Vec<&HeaderValue> = headers.get_all(name).iter().collect();
    match values[..] {
        [value] => value.clone(),
        ref values => {
            let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
            HeaderValue::from_bytes(&values.join(&b","[..])).expect("values and commas are a value")
        }
    }
}

/// Takes the coding `aws-chunked` out of Content-Encoding: the body goes on decoded. Other codings
/// stay, and are the object's.
pub fn remove_aws_chunked(headers: &mut HeaderMap) {
    let is_chunked = |coding: &str| coding.trim().eq_ignore_ascii_case("aws-chunked");
    let codings: Vec<String> = headers::list_items(headers, CONTENT_ENCODING)
        .map(str::to_owned)
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

/// Headers of a write that ask for something, so that an empty value asks for nothing. Conditions
/// and the expected owner are not among them: without them more would be done than the client asked
/// for. Nor is user metadata, which may be empty.
const OPTIONAL: &[Names] = &[
    CONTENT,
    STORAGE,
    GRANTS,
    ENCRYPTION,
    CUSTOMER_KEY,
    SOURCE_CUSTOMER_KEY,
    OBJECT_LOCK,
    DIRECTIVES,
    &["x-amz-object-ownership", "x-amz-request-payer"],
];

/// Takes out optional headers without a value. SDKs send one for a field that is set to an empty
/// text; AWS ignores it, and other servers refuse a header that they do not know, however empty.
pub fn remove_empty(headers: &mut HeaderMap) {
    for name in OPTIONAL.iter().copied().flatten() {
        let mut values = headers.get_all(*name).iter().peekable();
        if values.peek().is_some() && values.all(|value| value.as_bytes().trim_ascii().is_empty()) {
            headers.remove(*name);
        }
    }
}

/// Headers that `Connection` says belong to it.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    headers::list_items(headers, http::header::CONNECTION)
        .filter_map(|name| HeaderName::try_from(name).ok())
        .collect()
}

#[cfg(test)]
mod tests;
