//! Why a request's authentication was refused, and what S3 answers to it.
//!
//! Every variant is the client's fault. None carries a signature, a token or a string to sign:
//! the text of an error reaches both the client and the log.

use crate::error::{ErrorCode, S3Error};
use crate::quote::quoted;

/// Why a request's authentication was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigV4Error {
    /// Signature Version 2 or 4A.
    #[error("{0} is not supported; sign with AWS4-HMAC-SHA256 (Signature Version 4)")]
    UnsupportedVersion(&'static str),
    /// An `Authorization` scheme that is none of AWS's.
    #[error("unsupported Authorization scheme; sign with AWS4-HMAC-SHA256 (Signature Version 4)")]
    UnknownAuthorization,
    /// `Authorization` and query parameters in one request.
    #[error("a request is signed in its Authorization header or in its query, not in both")]
    SeveralMechanisms,
    /// The `Authorization` header or what belongs to it cannot be read.
    #[error("the Authorization header is malformed: {0}")]
    HeaderMalformed(&'static str),
    /// The `X-Amz-*` query parameters cannot be read.
    #[error("the signature in the query is malformed: {0}")]
    QueryMalformed(&'static str),
    /// The fields of a form cannot be read.
    #[error("the signature in the form is malformed: {0}")]
    FormMalformed(&'static str),
    /// Header authentication without a statement about the body.
    #[error("the header x-amz-content-sha256 is required in a signed request")]
    MissingContentSha256,
    /// `x-amz-content-sha256` holds neither a known word nor a digest.
    #[error(
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, \
         STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, STREAMING-UNSIGNED-PAYLOAD-TRAILER \
         or the body's SHA-256 in hexadecimal"
    )]
    InvalidContentSha256,
    /// Chunks signed with Signature Version 4A.
    #[error(
        "chunks signed with AWS4-ECDSA-P256-SHA256 are not supported; sign with AWS4-HMAC-SHA256"
    )]
    UnsupportedChunks,
    /// No `x-amz-date` and no `Date`.
    #[error("a signed request needs a valid x-amz-date or Date header")]
    MissingDate,
    /// The path or the query holds a `%` that no two hexadecimal digits follow.
    #[error("the request target is malformed: a '%' must be followed by two hexadecimal digits")]
    InvalidUri,
    /// The request's time is more than 15 minutes away from ours.
    #[error(
        "the request's time is {} {}, and at most 15 minutes are allowed; set the client's clock, or \
         the proxy's if that is the wrong one",
        duration(.ahead.unsigned_abs()),
        if *.ahead < 0 { "behind the proxy's clock" } else { "ahead of the proxy's clock" }
    )]
    TooSkewed {
        /// Seconds by which the request's time is ahead of the clock here.
        ahead: i64,
    },
    /// A presigned request came too late.
    #[error("Request has expired")]
    Expired,
    /// A presigned request came more than 15 minutes too early.
    #[error("Request is not valid yet: X-Amz-Date lies in the future")]
    NotYetValid,
    /// A header that has to be signed was not.
    #[error("the header {} is present but not among the signed headers", quoted(.0))]
    UnsignedHeader(String),
    /// A header that the signature covers is not in the request.
    #[error(
        "the header {} is among the signed headers but not in the request; check that the client \
         sends it, and that nothing on the way removes it",
        quoted(.0)
    )]
    MissingSignedHeader(String),
    /// The signature is not the one that the secret access key gives.
    #[error(
        "the signature does not match the request; check the secret access key, and that nothing on \
         the way changes the request: the Host seen here is '{host}'"
    )]
    SignatureMismatch {
        /// The Host header as received, shortened.
        host: String,
    },
    /// The signature is not the one that the secret access key gives for the policy.
    #[error(
        "the signature does not match the policy; check the secret access key, and that the form \
         carries the policy exactly as it was signed"
    )]
    PolicyMismatch,
}

/// A difference of clocks in the unit that people would take.
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
    /// What S3 answers.
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
