//! Turns a failure into the response that S3 would give: the only place where errors become
//! responses.
//!
//! This text reaches clients, so details of the backend's credential, signature, clock and key
//! material stay in the log. A failed check of stored data is one generic error to clients,
//! regardless of its cause.

mod wording;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::xml::complete::XML_DECLARATION;
use s3proxy_protocol::xml::error_document::{ErrorDocument, error_document};
use s3proxy_protocol::{header_rules, quote};

use crate::backend::BackendError;
use crate::body::inbound::InboundError;
use crate::body::outbound::ResponseBody;
use crate::failure::{BackendAnswer, Failure, UNEXPLAINED};
use crate::keys::KeyError;
use crate::keys::key_service::ServiceError;
use crate::keys::legacy::LegacyKeyError;
use crate::record::{self, RequestRecord};
use crate::respond::wording::{reason, sentence};
use crate::telemetry::metrics;
use crate::throttle::RETRY_AFTER;

/// Longest text of a range that a response repeats, in bytes.
const MAXIMUM_RANGE_BYTES: usize = 128;

/// Header with the reason of a refusal, for responses without a body.
pub(crate) const REASON: &str = "x-s3proxy-reason";

/// Whether a response may have a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verbosity {
    /// HEAD: status and headers only.
    HeadersOnly,
    Document,
}

/// Properties of the request that its error response depends on.
pub(crate) struct ErrorContext<'a> {
    /// The path as received.
    pub(crate) resource: &'a str,
    pub(crate) verbosity: Verbosity,
    /// `Range` as received.
    pub(crate) range: Option<&'a str>,
}

/// Backend error codes about the proxy's own credential, signature, clock, token or bytes, which do
/// not concern the client.
const PROXYS_OWN_FAULTS: &[&str] = &[
    "AuthorizationHeaderMalformed",
    "AuthorizationQueryParametersError",
    "BadDigest",
    "ExpiredToken",
    "IncompleteBody",
    "InvalidAccessKeyId",
    "InvalidSecurity",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
];

/// Headers of a backend's error response that are passed to the client.
const PASSED_WITH_ERRORS: &[&str] = &[
    "allow",
    "last-modified",
    "retry-after",
    "vary",
    "x-amz-bucket-region",
    "x-amz-delete-marker",
    "x-amz-version-id",
];

/// Response to a failed request. The reason is added to the request's record.
pub(crate) fn failure(
    failure: &Failure,
    context: &ErrorContext<'_>,
    record: &RequestRecord,
) -> Response<ResponseBody> {
    record.failure(failure);
    if let Failure::Stored(fault) = failure {
        // Failures of keys are counted by the keyring.
        metrics::open_failed(fault.kind);
    }
    if matches!(failure, Failure::Refused(error) if error.code == ErrorCode::AccessDenied) {
        record.trail.deny();
    }
    let mut response = match failure {
        Failure::Refused(error) => refusal(error, context, record),
        Failure::Explained(error, details) => explained(error, details, context, record),
        Failure::Inbound(error) => refusal(&error.to_s3_error(), context, record),
        Failure::Answer(answer) => passed_on(answer, context, record),
        Failure::Backend(error) => refusal(&unreachable(error), context, record),
        Failure::Unusable(_) | Failure::Stored(_) | Failure::Panicked(_) => {
            refusal(&internal_error(), context, record)
        }
        Failure::Key(error) => refusal(&key_error(error), context, record),
        Failure::LegacyKey(error) => refusal(&legacy_key_error(error), context, record),
        Failure::Audit(_) => refusal(&unaudited(), context, record),
        Failure::Budget(_) | Failure::Throttled(_) => refusal(&slow_down(), context, record),
        Failure::Replaced => refusal(&replaced(), context, record),
        Failure::Range(length) => out_of_range(*length, context, record),
    };
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        let wait = if let Failure::Throttled(throttled) = failure {
            throttled.retry_after
        } else {
            RETRY_AFTER
        };
        // Replaces the backend's own value, if there is one.
        let seconds = HeaderValue::from(wait.as_secs());
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

/// Document of a failure after a status line of 200 and an XML declaration were sent.
pub(crate) fn late(failed: &Failure, resource: &str, record: &RequestRecord) -> Bytes {
    let context = ErrorContext {
        resource,
        verbosity: Verbosity::Document,
        range: None,
    };
    let response = failure(failed, &context, record);
    record.failed_late(response.status());
    let held = response.into_body().into_held().unwrap_or_default();
    // The declaration was sent at the beginning of the response.
    match held.strip_prefix(XML_DECLARATION.as_bytes()) {
        Some(document) => held.slice_ref(document),
        None => held,
    }
}

fn refusal(
    error: &S3Error,
    context: &ErrorContext<'_>,
    record: &RequestRecord,
) -> Response<ResponseBody> {
    document_response(error.code.status(), document_of(error), context, record)
}

fn explained(
    error: &S3Error,
    details: &[(&'static str, String)],
    context: &ErrorContext<'_>,
    record: &RequestRecord,
) -> Response<ResponseBody> {
    let mut document = document_of(error);
    for (name, text) in details {
        document.set_detail(name, text.as_str());
    }
    document_response(error.code.status(), document, context, record)
}

fn document_of(error: &S3Error) -> ErrorDocument {
    ErrorDocument {
        code: error.code.as_str().to_owned(),
        message: sentence(&error.message),
        resource: None,
        request_id: None,
        details: Vec::new(),
    }
}

fn document_response(
    status: StatusCode,
    mut document: ErrorDocument,
    context: &ErrorContext<'_>,
    record: &RequestRecord,
) -> Response<ResponseBody> {
    record.trail.error_code(&document.code);
    // 304 and 204 have no body by definition (RFC 9110, sections 15.4.5 and 15.3.5).
    let silent = context.verbosity == Verbosity::HeadersOnly
        || matches!(status, StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT);
    if silent {
        let mut response = Response::new(ResponseBody::empty());
        *response.status_mut() = status;
        // Without a message the header would only repeat the status.
        if context.verbosity == Verbosity::HeadersOnly && document.message != UNEXPLAINED {
            let reason = reason(&document);
            response.headers_mut().insert(REASON, reason);
        }
        return response;
    }
    document.resource = Some(context.resource.to_owned());
    document.request_id = Some(record.id.as_str().to_owned());
    document.set_detail("HostId", record::host_id());
    let text = error_document(&document);
    let mut response = Response::new(ResponseBody::held(Bytes::from(text)));
    *response.status_mut() = status;
    let xml = HeaderValue::from_static("application/xml");
    response.headers_mut().insert(header::CONTENT_TYPE, xml);
    response
}

fn passed_on(
    answer: &BackendAnswer,
    context: &ErrorContext<'_>,
    record: &RequestRecord,
) -> Response<ResponseBody> {
    let code = answer.document.code.as_str();
    if PROXYS_OWN_FAULTS.contains(&code) {
        return refusal(&internal_error(), context, record);
    }
    let mut document = answer.document.clone();
    // The ETag of a part, in stored terms.
    document.details.retain(|(name, _)| name != "ETag");
    let mut response = document_response(answer.status, document, context, record);
    let headers = response.headers_mut();
    for (name, value) in &answer.headers {
        if PASSED_WITH_ERRORS.contains(&name.as_str()) || header_rules::is_cors(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    response
}

fn out_of_range(
    length: u64,
    context: &ErrorContext<'_>,
    record: &RequestRecord,
) -> Response<ResponseBody> {
    let error = S3Error::new(
        ErrorCode::InvalidRange,
        "The requested range is not satisfiable",
    );
    let mut document = document_of(&error);
    if let Some(range) = context.range {
        let range = quote::bounded(&range, MAXIMUM_RANGE_BYTES);
        document.set_detail("RangeRequested", range);
    }
    document.set_detail("ActualObjectSize", length.to_string());
    let mut response = document_response(error.code.status(), document, context, record);
    let total = HeaderValue::try_from(format!("bytes */{length}")).expect("digits are a value");
    response.headers_mut().insert(header::CONTENT_RANGE, total);
    response
}

fn internal_error() -> S3Error {
    S3Error::new(
        ErrorCode::InternalError,
        "We encountered an internal error. The proxy's log has the reason under this request id.",
    )
}

fn unreachable(error: &BackendError) -> S3Error {
    match error {
        BackendError::Settings(_)
        | BackendError::Credentials(_)
        | BackendError::Malformed(_)
        | BackendError::Redirect { .. }
        | BackendError::Status { .. } => internal_error(),
        // A part of the client's request that HTTP or a signature cannot express, such as metadata
        // that is not UTF-8. The text names the header but not its value.
        BackendError::Request(reason) => S3Error::new(ErrorCode::InvalidRequest, reason.clone()),
        BackendError::RequestBody(_) => InboundError::Disconnected.to_s3_error(),
        BackendError::Unreachable { .. }
        | BackendError::Tls { .. }
        | BackendError::OutboundProxy { .. }
        | BackendError::Timeout { .. }
        | BackendError::Broken { .. } => S3Error::new(
            ErrorCode::ServiceUnavailable,
            "The storage behind the proxy cannot be reached; please try again.",
        ),
    }
}

fn replaced() -> S3Error {
    S3Error::new(
        ErrorCode::ServiceUnavailable,
        "The object was replaced again and again while it was read; please try again.",
    )
}

fn unaudited() -> S3Error {
    S3Error::new(
        ErrorCode::ServiceUnavailable,
        "The proxy cannot write its audit log; please try again.",
    )
}

fn slow_down() -> S3Error {
    S3Error::new(
        ErrorCode::SlowDown,
        "Too many requests at once; please reduce your request rate.",
    )
}

fn key_error(error: &KeyError) -> S3Error {
    match error {
        KeyError::Missing(_) => S3Error::new(
            ErrorCode::AccessDenied,
            format!("{error}; ask the proxy's operator to add it."),
        ),
        KeyError::OtherPlace { key, .. } | KeyError::WeakBinding { key, .. } => S3Error::new(
            ErrorCode::AccessDenied,
            format!(
                "The object is sealed under the key {key:?} in a way that does not open here; the \
                 proxy's log has the setting, under this request id."
            ),
        ),
        KeyError::Unwrap | KeyError::Misfit(_) => internal_error(),
        KeyError::Service { key, error } => service_error(key, error),
    }
}

fn service_error(key: &str, error: &ServiceError) -> S3Error {
    match error {
        ServiceError::Unavailable(_) | ServiceError::Throttled(_) => S3Error::new(
            ErrorCode::ServiceUnavailable,
            "The key service behind the proxy cannot be reached; please try again.",
        ),
        // Like an outage, an expired login ends without a change of the request.
        ServiceError::Refused(_) => S3Error::new(
            ErrorCode::ServiceUnavailable,
            "The key service behind the proxy refuses the proxy; ask its operator to fix the \
             login, or try again later.",
        ),
        ServiceError::Key(_) => S3Error::new(
            ErrorCode::AccessDenied,
            format!(
                "The key {key:?} cannot be used at its key service; ask the proxy's operator to \
                 enable it."
            ),
        ),
        ServiceError::Ciphertext(_) => internal_error(),
    }
}

/// Error of a legacy data key. Objects under the all-zero key exist and their key is known, but
/// they may not be read, as with `legacy_reads`.
fn legacy_key_error(error: &LegacyKeyError) -> S3Error {
    let (code, remedy) = match error {
        LegacyKeyError::Service(error) => return service_error("constellation", error),
        LegacyKeyError::OtherPlace { key, .. } => {
            let message = format!(
                "The object is in an older proxy's format, under the key {key:?}, which does not \
                 open here; the proxy's log has the setting, under this request id."
            );
            return S3Error::new(ErrorCode::AccessDenied, message);
        }
        LegacyKeyError::Refused { .. } | LegacyKeyError::ZeroKeyDenied => (
            ErrorCode::AccessDenied,
            "that is for the proxy's operator to decide",
        ),
        LegacyKeyError::Missing => (ErrorCode::AccessDenied, "ask the proxy's operator to do so"),
        LegacyKeyError::NewerVersion { .. } => {
            (ErrorCode::AccessDenied, "ask the proxy's operator to do so")
        }
    };
    S3Error::new(code, format!("{error}; {remedy}."))
}
