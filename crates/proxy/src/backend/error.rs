//! Why no usable answer came from the backend, by who is at fault.
//!
//! An answer that S3 has for the request is not an error here, whatever its status; the caller
//! judges it. Any other answer is none. The texts go
//! to a log line as they are: they name the endpoint and the cause, never a header, a signature, a
//! key or a credential.

use std::error::Error as StdError;
use std::time::Duration;

use http::Method;

/// Whatever a request's body stream failed with.
pub(crate) type BodyStreamError = Box<dyn StdError + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The operator's: a file that cannot be read, an address that is none.
    #[error("{0}")]
    Settings(String),

    /// The operator's or the credential service's.
    #[error("no credential: {0}")]
    Credentials(String),

    /// The operator's: a credential that cannot be meant.
    #[error("the credential is malformed: {0}")]
    Malformed(String),

    /// Ours: a request that HTTP or the signature cannot express.
    #[error("cannot send this request to the backend: {0}")]
    Request(String),

    /// The client's: its body broke off or failed a check, so the backend's request was aborted.
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

    /// The backend's: a status that S3 does not have for what was asked.
    #[error("{endpoint} answered {method} with the status {status}, which S3 does not have for it")]
    Status {
        endpoint: String,
        method: Method,
        status: u16,
    },
}

impl BackendError {
    /// One word for each kind, for traces.
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

/// What was being waited for when time ran out.
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
