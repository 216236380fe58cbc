//! Reasons for refusing a Version 2 signature, and S3's response to each.
//!
//! Every variant is the client's fault. None carries a signature, a token or a string to sign.

use crate::error::{ErrorCode, S3Error};
use crate::quote::quoted;
use crate::sigv4::SigV4Error;

/// Why a Version 2 signature was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigV2Error {
    /// The client is not one of those that may sign so.
    #[error(
        "Signature Version 2 is not supported; sign with AWS4-HMAC-SHA256 (Signature Version 4), or \
         allow it for this access key in the proxy's configuration: clients.known[].signature_v2 = \
         \"allow\""
    )]
    NotAllowed,
    /// The `Authorization` header cannot be read.
    #[error("the Authorization header is malformed: it must read AWS AccessKeyId:Signature")]
    HeaderMalformed,
    /// The query parameters of the signature cannot be read.
    #[error("the signature in the query is malformed: {0}")]
    QueryMalformed(&'static str),
    /// The fields of a form cannot be read.
    #[error("the signature in the form is malformed: {0}")]
    FormMalformed(&'static str),
    /// A session token in the header and another in the query.
    #[error("x-amz-security-token stands both among the headers and in the query: send it once")]
    TwoTokens,
    /// A parameter that represents a header, and is not a valid one.
    #[error("the parameter {} cannot be a header", quoted(.0))]
    NoHeader(String),
    /// `aws-chunked` framing.
    #[error(
        "an aws-chunked body cannot be sent with Signature Version 2: send the body as it is, or \
         sign with AWS4-HMAC-SHA256 (Signature Version 4)"
    )]
    Chunks,
    /// A query parameter that changes the request's meaning and that the signature does not cover.
    #[error(
        "the parameter {} is not covered by a signature of Version 2; sign with AWS4-HMAC-SHA256 \
         (Signature Version 4)",
        quoted(.0)
    )]
    Uncovered(String),
    /// A fault that Version 4 knows too.
    #[error(transparent)]
    Shared(#[from] SigV4Error),
}

impl SigV2Error {
    /// What S3 answers.
    #[must_use]
    pub fn s3_error(&self) -> S3Error {
        let code = match self {
            Self::Shared(error) => return error.s3_error(),
            Self::NotAllowed | Self::Chunks => ErrorCode::NotImplemented,
            Self::HeaderMalformed => ErrorCode::AuthorizationHeaderMalformed,
            Self::QueryMalformed(_) => ErrorCode::AuthorizationQueryParametersError,
            Self::FormMalformed(_) | Self::TwoTokens | Self::NoHeader(_) => {
                ErrorCode::InvalidArgument
            }
            Self::Uncovered(_) => ErrorCode::AccessDenied,
        };
        S3Error::new(code, self.to_string())
    }
}
