//! Failures to get a usable response from the backend, by who is at fault.
//!
//! A response that S3 defines for the request is not an error here, whatever its status; the caller
//! judges it. Any other response is an error. The texts are logged unchanged: they name the
//! endpoint and the cause, never a header, a signature, a key or a credential.

use std::error::Error as StdError;
use std::time::Duration;

use http::Method;

/// Error of a request's body stream, of any kind.
pub(crate) type BodyStreamError = Box<dyn StdError + Send + Sync>;

/// Failure of a request to the backend.
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
    #[error("the request body is incomplete: {0}")]
    RequestBody(#[source] BodyStreamError),

    /// The network's fault, or the operator's: no connection.
    #[error("cannot reach {endpoint}: {reason}")]
    Unreachable { endpoint: String, reason: String },

    /// The operator's fault, or the backend's: no TLS session.
    #[error("TLS handshake with {endpoint} failed: {reason}")]
    Tls { endpoint: String, reason: String },

    /// The outbound proxy's fault: no tunnel.
    #[error("cannot tunnel to {endpoint} through the outbound proxy: {reason}")]
    OutboundProxy { endpoint: String, reason: String },

    /// The backend's fault, or the network's: no progress for `limit`.
    #[error("timed out after {limit:?} {phase} {endpoint}")]
    Timeout {
        endpoint: String,
        phase: Phase,
        limit: Duration,
    },

    /// The backend's fault, or the network's: a connection that ended inside a request or response.
    #[error("the connection to {endpoint} broke: {reason}")]
    Broken { endpoint: String, reason: String },

    /// The backend's fault: a redirect that is unsafe or useless to follow.
    #[error("cannot follow the redirect of {endpoint}: {reason}")]
    Redirect { endpoint: String, reason: String },

    /// The backend's fault: a status that S3 does not define for the request.
    #[error(
        "{endpoint} answered {method} with status {status}, which S3 does not define for this request"
    )]
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

/// Phase in which a request timed out. Its text precedes the endpoint in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Connecting,
    SendingBody,
    AwaitingResponse,
    ReceivingBody,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Phase::Connecting => "connecting to",
            Phase::SendingBody => "sending the body to",
            Phase::AwaitingResponse => "waiting for the response of",
            Phase::ReceivingBody => "reading the response body of",
        })
    }
}
