//! Reasons why a request failed, by who is at fault.
//!
//! [`crate::respond`] turns them into the responses that S3 would give.

use http::{HeaderMap, StatusCode};
use s3proxy_protocol::error::S3Error;
use s3proxy_protocol::xml::error_document::ErrorDocument;

use crate::backend::BackendError;
use crate::body::budget::BudgetExhausted;
use crate::body::inbound::InboundError;
use crate::body::opening::OpeningError;
use crate::body::replaying::ReplayError;
use crate::keys::KeyError;
use crate::keys::legacy::LegacyKeyError;
use crate::panics::Panicked;
use crate::stored_fault::StoredFault;
use crate::telemetry::audit::NoPlace;
use crate::throttle::Throttled;

/// Result of work on a request.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// Message for backend errors that have none.
pub(crate) const UNEXPLAINED: &str = "The storage behind the proxy gave no explanation.";

/// Reason why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The client's request is invalid or forbidden.
    #[error(transparent)]
    Refused(#[from] S3Error),
    /// The client's request is invalid; the error has further elements (names and texts) as in S3.
    #[error("{0}")]
    Explained(S3Error, Vec<(&'static str, String)>),
    /// The client's body is invalid.
    #[error(transparent)]
    Inbound(#[from] InboundError),
    /// The backend returned no usable response.
    #[error("backend: {0}")]
    Backend(#[from] BackendError),
    /// The backend returned an error.
    #[error("the backend answered {} {}", .0.status.as_u16(), .0.document.code)]
    Answer(Box<BackendAnswer>),
    /// The backend returned a response that S3 does not allow.
    #[error("unusable response from the backend: {0}")]
    Unusable(&'static str),
    /// Stored data differ from the data that were sealed.
    #[error("stored data: {0}")]
    Stored(#[from] StoredFault),
    /// The data key is not available.
    #[error("key: {0}")]
    Key(#[from] KeyError),
    /// The data key of a legacy object is not available.
    #[error("key: {0}")]
    LegacyKey(#[from] LegacyKeyError),
    /// The request's line in the audit log could not be written.
    #[error(transparent)]
    Audit(#[from] NoPlace),
    /// A defect of the proxy.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// Too many bodies in flight.
    #[error(transparent)]
    Budget(#[from] BudgetExhausted),
    /// Too many requests.
    #[error(transparent)]
    Throttled(#[from] Throttled),
    /// The object was overwritten or deleted between two requests for it.
    #[error("the object was replaced during the read")]
    Replaced,
    /// The range begins after the end of the plaintext, whose length is given.
    #[error("the range starts beyond the object's {0} bytes")]
    Range(u64),
}

/// An error response of the backend.
#[derive(Debug)]
pub(crate) struct BackendAnswer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) document: ErrorDocument,
}

impl Failure {
    /// S3's error code: the backend's own, or that of a refusal by the proxy.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(error) | Self::Explained(error, _) => Some(error.code.as_str()),
            Self::Answer(answer) => Some(answer.document.code.as_str()),
            _ => None,
        }
    }

    /// Error code of the backend's response, if the failure is one.
    pub(crate) fn backend_code(&self) -> Option<&str> {
        match self {
            Self::Answer(answer) => Some(answer.document.code.as_str()),
            _ => None,
        }
    }

    /// Whether the backend responded with this error code.
    pub(crate) fn is_backend_code(&self, code: &str) -> bool {
        self.backend_code() == Some(code)
    }
}

impl From<OpeningError> for Failure {
    fn from(error: OpeningError) -> Self {
        match error {
            OpeningError::Stored(error) => Self::Stored(error.into()),
            OpeningError::Legacy(error) => Self::Stored(error.into()),
            OpeningError::Backend(error) => Self::Backend(error),
        }
    }
}

impl From<ReplayError> for Failure {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Source(error) => error.into(),
            ReplayError::Length => {
                Self::Unusable("a source whose length differs from the announced one")
            }
        }
    }
}
