//! Why there is no usable response from the backend, by who is at fault.
//!
//! A response that S3 defines for the request is not an error here, whatever its status; the caller
//! judges it. Any other response is an error. The texts are logged unchanged: they name the
//! endpoint and the cause, never a header, a signature, a key or a credential.

use std::error::Error as StdError;
use std::time::Duration;

use http::Method;

/// Error of a request's body stream, of any kind.
pub(crate) type BodyStreamError = Box<dyn StdError + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The operator's fault: an unreadable file, or an invalid address.
    #[error("{0}")]
    Settings(String),

    /// The operator's fault, or that of the credential service.
    #[error("no credential: {0}")]
    Credentials(String),

    /// The operator's fault: a malformed credential.
    #[error("the credential is malformed: {0}")]
    Malformed(String),

    /// Our fault: a request that HTTP or the signature cannot express.
    #[error("cannot send this request to the backend: {0}")]
    Request(String),

    /// The client's fault: its body broke off or failed a check, so the request to the backend was
    /// aborted.
    #[error("the request's body was not complete: {0}")]
    RequestBody(#[source] BodyStreamError),

    #[error("cannot reach {endpoint}: {reason}")]
    Unreachable { endpoint: String, reason: String },

    #[error("no TLS with {endpoint}: {reason}")]
    Tls { endpoint: String, reason: String },

    #[error("the outbound proxy gave no tunnel to {endpoint}: {reason}")]
    OutboundProxy { endpoint: String, reason: String },

    #[error("{endpoint} kept silent for {limit:?} while {phase}")]
    Timeout {
        endpoint: String,
        phase: Phase,
        limit: Duration,
    },

    #[error("the connection with {endpoint} broke: {reason}")]
    Broken { endpoint: String, reason: String },

    #[error("{endpoint} redirects, and the redirect cannot be followed: {reason}")]
    Redirect { endpoint: String, reason: String },

    /// The backend's fault: a status that S3 does not define for the request.
    #[error("{endpoint} answered {method} with the status {status}, which S3 does not have for it")]
    Status {
        endpoint: String,
        method: Method,
        status: u16,
    },
}

impl BackendError {
    /// Returns one word for each kind, for traces.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Settings(_) => "settings",
            Self::Credentials(_) | Self::Malformed(_) => "credentials",
            Self::Request(_) => "request",
            Self::RequestBody(_) => "request_body",
            Self::Unreachable { .. } => "unreachable",
            Self::Tls { .. } => "tls",
            Self::OutboundProxy { .. } => "outbound_proxy",
            Self::Timeout { .. } => "timeout",
            Self::Broken { .. } => "broken",
            Self::Redirect { .. } => "redirect",
            Self::Status { .. } => "status",
        }
    }
}

/// Phase in which a request timed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Connecting,
    SendingBody,
    AwaitingAnswer,
    ReceivingBody,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Phase::Connecting => "connecting",
            Phase::SendingBody => "sending the body",
            Phase::AwaitingAnswer => "awaiting the answer",
            Phase::ReceivingBody => "receiving the body",
        })
    }
}
