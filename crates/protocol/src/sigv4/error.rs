//! Authentication errors, and the error responses that S3 sends for them.
//!
//! The fault is always the client's. No variant contains a signature, a token or a string to sign:
//! error texts reach both the client and the log.

use crate::error::{ErrorCode, S3Error};
use crate::quote::quoted;

/// Reason for which a request's authentication was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigV4Error {
    /// The request is signed with Signature Version 2 or 4A.
    #[error("{0} is not supported; sign with AWS4-HMAC-SHA256 (Signature Version 4)")]
    UnsupportedVersion(&'static str),
    /// The `Authorization` scheme is not one of AWS's.
    #[error("unsupported Authorization scheme; sign with AWS4-HMAC-SHA256 (Signature Version 4)")]
    UnknownAuthorization,
    /// The request has both an `Authorization` header and a signature in its query.
    #[error("a request is signed in its Authorization header or in its query, not in both")]
    SeveralMechanisms,
    /// The `Authorization` header, or a header that it requires, is malformed.
    #[error("the Authorization header is malformed: {0}")]
    HeaderMalformed(&'static str),
    /// The `X-Amz-*` query parameters are malformed.
    #[error("the signature in the query is malformed: {0}")]
    QueryMalformed(&'static str),
    /// The signature fields of a form are malformed.
    #[error("the signature in the form is malformed: {0}")]
    FormMalformed(&'static str),
    /// A request with header authentication lacks `x-amz-content-sha256`.
    #[error("the header x-amz-content-sha256 is required in a signed request")]
    MissingContentSha256,
    /// `x-amz-content-sha256` is neither a known mode nor a digest.
    #[error(
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, \
         STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, STREAMING-UNSIGNED-PAYLOAD-TRAILER \
         or the body's SHA-256 in hexadecimal"
    )]
    InvalidContentSha256,
    /// The chunks are signed with Signature Version 4A.
    #[error(
        "chunks signed with AWS4-ECDSA-P256-SHA256 are not supported; sign with AWS4-HMAC-SHA256"
    )]
    UnsupportedChunks,
    /// The request has no valid `x-amz-date`, and in its absence no valid `Date`.
    #[error("a signed request needs a valid x-amz-date or Date header")]
    MissingDate,
    /// The path or query contains a `%` without two hexadecimal digits after it.
    #[error("the request target is malformed: a '%' must be followed by two hexadecimal digits")]
    InvalidUri,
    /// The request's time differs by more than 15 minutes from the proxy's clock.
    #[error(
        "the request's time is {} {}, and at most 15 minutes are allowed; set the client's clock, or \
         the proxy's if that is the wrong one",
        duration(.ahead.unsigned_abs()),
        if *.ahead < 0 { "behind the proxy's clock" } else { "ahead of the proxy's clock" }
    )]
    TooSkewed {
        /// Seconds by which the request's time is ahead of the proxy's clock; negative if it is
        /// late.
        ahead: i64,
    },
    /// The presigned request has expired.
    #[error("Request has expired")]
    Expired,
    /// The presigned request's time is more than 15 minutes in the future.
    #[error("Request is not valid yet: X-Amz-Date lies in the future")]
    NotYetValid,
    /// A header that must be signed is not.
    #[error("the header {} is present but not among the signed headers", quoted(.0))]
    UnsignedHeader(String),
    /// A signed header is missing in the request.
    #[error(
        "the header {} is among the signed headers but not in the request; check that the client \
         sends it, and that nothing on the way removes it",
        quoted(.0)
    )]
    MissingSignedHeader(String),
    /// The signature does not match the request and the secret access key.
    #[error(
        "the signature does not match the request; check the secret access key, and that nothing on \
         the way changes the request: the Host seen here is '{host}'"
    )]
    SignatureMismatch {
        /// `Host` header as received, shortened.
        host: String,
    },
    /// The signature does not match the form's policy and the secret access key.
    #[error(
        "the signature does not match the policy; check the secret access key, and that the form \
         carries the policy exactly as it was signed"
    )]
    PolicyMismatch,
}

/// Formats a clock difference with a unit of suitable size.
fn duration(seconds: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match seconds {
        seconds if seconds >= 2 * DAY => format!("{} days", seconds / DAY),
        seconds if seconds >= 2 * HOUR => format!("{} hours", seconds / HOUR),
        seconds => format!("{} minutes", seconds / MINUTE),
    }
}

impl SigV4Error {
    /// The error response that S3 sends in this case.
    #[must_use]
    pub fn s3_error(&self) -> S3Error {
        S3Error::new(self.code(), self.to_string())
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::UnsupportedVersion(_) | Self::UnsupportedChunks => ErrorCode::NotImplemented,
            Self::UnknownAuthorization
            | Self::SeveralMechanisms
            | Self::InvalidContentSha256
            | Self::FormMalformed(_) => ErrorCode::InvalidArgument,
            Self::HeaderMalformed(_) => ErrorCode::AuthorizationHeaderMalformed,
            Self::QueryMalformed(_) => ErrorCode::AuthorizationQueryParametersError,
            Self::MissingContentSha256 => ErrorCode::InvalidRequest,
            Self::InvalidUri => ErrorCode::InvalidURI,
            Self::TooSkewed { .. } => ErrorCode::RequestTimeTooSkewed,
            Self::MissingDate | Self::Expired | Self::NotYetValid | Self::UnsignedHeader(_) => {
                ErrorCode::AccessDenied
            }
            Self::MissingSignedHeader(_)
            | Self::SignatureMismatch { .. }
            | Self::PolicyMismatch => ErrorCode::SignatureDoesNotMatch,
        }
    }
}
