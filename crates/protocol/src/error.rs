//! S3's error codes and the XML document that carries them.
//!
//! [`ErrorCode`] is the closed list of the codes that this program itself answers with; the status
//! stands beside the code. A backend's own errors are passed on elsewhere, as they came.

use std::borrow::Cow;
use std::fmt;

use http::StatusCode;

use crate::quote;

/// Longest message, in bytes: clients and logs get no more of a text that a client made up.
const MAXIMUM_MESSAGE_BYTES: usize = 1024;

macro_rules! error_codes {
    (@text $name:ident) => { stringify!($name) };
    (@text $name:ident $text:literal) => { $text };
    ($($(#[$doc:meta])* $name:ident $(= $text:literal)? $status:ident;)*) => {
        /// An S3 error code (S3 API Reference, "Error responses").
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode { $($(#[$doc])* $name,)* }

        impl ErrorCode {
            /// The code as it stands in `<Code>`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => error_codes!(@text $name $($text)?),)* }
            }

            /// The HTTP status that goes with the code: S3's own, where S3 has the failure.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// Every code, for tests and documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

error_codes! {
    AccessDenied FORBIDDEN;
    AuthorizationHeaderMalformed BAD_REQUEST;
    AuthorizationQueryParametersError BAD_REQUEST;
    BadDigest BAD_REQUEST;
    EntityTooLarge BAD_REQUEST;
    EntityTooSmall BAD_REQUEST;
    ExpiredToken BAD_REQUEST;
    IncompleteBody BAD_REQUEST;
    IncorrectNumberOfFilesInPostRequest BAD_REQUEST;
    InternalError INTERNAL_SERVER_ERROR;
    InvalidAccessKeyId FORBIDDEN;
    InvalidArgument BAD_REQUEST;
    InvalidBucketName BAD_REQUEST;
    InvalidDigest BAD_REQUEST;
    InvalidPart BAD_REQUEST;
    InvalidPartNumber RANGE_NOT_SATISFIABLE;
    InvalidPartOrder BAD_REQUEST;
    InvalidPolicyDocument BAD_REQUEST;
    InvalidRange RANGE_NOT_SATISFIABLE;
    InvalidRequest BAD_REQUEST;
    InvalidToken BAD_REQUEST;
    InvalidURI BAD_REQUEST;
    KeyTooLongError BAD_REQUEST;
    LoopDetected LOOP_DETECTED;
    MalformedPOSTRequest BAD_REQUEST;
    MalformedTrailerError BAD_REQUEST;
    MalformedPolicy BAD_REQUEST;
    MalformedXML BAD_REQUEST;
    MaxMessageLengthExceeded BAD_REQUEST;
    MaxPostPreDataLengthExceededError BAD_REQUEST;
    MetadataTooLarge BAD_REQUEST;
    MethodNotAllowed METHOD_NOT_ALLOWED;
    MissingContentLength LENGTH_REQUIRED;
    MissingSecurityHeader BAD_REQUEST;
    NoSuchBucket NOT_FOUND;
    NoSuchKey NOT_FOUND;
    NoSuchUpload NOT_FOUND;
    NoSuchVersion NOT_FOUND;
    NotImplemented NOT_IMPLEMENTED;
    PreconditionFailed PRECONDITION_FAILED;
    /// Above a limit of the proxy's own configuration. S3 sends 400 with this code; Intrinsec's proxy
    /// sent 413 with it, as RFC 9110 has it.
    PutBodyTooLarge = "EntityTooLarge" PAYLOAD_TOO_LARGE;
    RequestHeaderSectionTooLarge BAD_REQUEST;
    RequestTimeTooSkewed FORBIDDEN;
    RequestTimeout BAD_REQUEST;
    ServiceUnavailable SERVICE_UNAVAILABLE;
    SignatureDoesNotMatch FORBIDDEN;
    SlowDown SERVICE_UNAVAILABLE;
    XAmzContentChecksumMismatch BAD_REQUEST;
    XAmzContentSHA256Mismatch BAD_REQUEST;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// An answer that refuses a request: the code, and a sentence that says what was wrong and what
/// would be right. Both reach the client, so neither may hold a secret or a computed signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct S3Error {
    /// What S3 calls the failure.
    pub code: ErrorCode,
    /// What was wrong and what would be right.
    pub message: Cow<'static, str>,
}

impl S3Error {
    /// An error with its explanation, of which at most 1024 bytes are kept.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        let mut message = message.into();
        if message.len() > MAXIMUM_MESSAGE_BYTES {
            message = quote::bounded(&message, MAXIMUM_MESSAGE_BYTES).into();
        }
        Self { code, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_failures_may_share_a_code_and_differ_in_status() {
        let codes = [ErrorCode::EntityTooLarge, ErrorCode::PutBodyTooLarge];
        assert_eq!(codes.map(ErrorCode::as_str), ["EntityTooLarge"; 2]);
        assert_eq!(codes.map(|code| code.status().as_u16()), [400, 413]);
    }

    #[test]
    fn messages_are_bounded() {
        let error = S3Error::new(ErrorCode::InvalidArgument, "é".repeat(1_000_000));
        assert!(error.message.len() <= MAXIMUM_MESSAGE_BYTES + '…'.len_utf8());
        assert!(error.message.ends_with('…'));
        let short = S3Error::new(ErrorCode::InvalidArgument, "short");
        assert_eq!(short.message, "short");
    }
}
