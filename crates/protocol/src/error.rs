//! S3 error codes and the error type that refuses a request.
//!
//! [`ErrorCode`] is the closed list of codes that the proxy itself sends, each with its HTTP
//! status. The backend's own errors are not represented here: they are passed through as they came.

use std::borrow::Cow;
use std::fmt;

use http::StatusCode;

use crate::quote;

/// Longest error message in bytes. Messages quote client input, and both clients and logs are
/// spared the rest of it.
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
            /// The code as the text of `<Code>` in an error document.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => error_codes!(@text $name $($text)?),)* }
            }

            /// HTTP status sent with the code: S3's own status if S3 has this error.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// All codes, for tests and documentation.
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
    /// A limit from the proxy's own configuration was exceeded. S3 sends `EntityTooLarge` with 400;
    /// Intrinsec's proxy sent 413, as RFC 9110 defines it.
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

/// A refused request: an S3 error code, and a sentence that says what was wrong and how to correct
/// it. Both are sent to the client, so neither may contain a secret or a computed signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct S3Error {
    /// S3's code for the error.
    pub code: ErrorCode,
    /// Description of the error and its correction, at most 1024 bytes and an ellipsis.
    pub message: Cow<'static, str>,
}

impl S3Error {
    /// Creates an error; a message longer than 1024 bytes is cut.
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
