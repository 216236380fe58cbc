//! Whether the backend is usable: it responds, accepts the proxy's credential, and is no proxy
//! itself.
//!
//! A signed list of buckets decides. The reason of a refusal matters: a credential that may not
//! list buckets (`AccessDenied`) is known and correctly signed, and no more can be found out
//! without naming a bucket. An error that S3 does not have, or that is not listed here, says
//! nothing against the credential.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};

use super::error::{BackendError, Phase};
use super::error_body::element;
use super::request::{PreparedRequest, Request};
use super::{Backend, PROBE_LIMIT};

/// Time for which a credential counts as accepted after a successful request. Lists of buckets show
/// up in the audit logs of some servers, so they are requested rarely; in between, any response is
/// enough.
const ACCEPTED_FOR: Duration = Duration::from_mins(5);

/// Error codes about the proxy's own credential or signature.
const CREDENTIAL_REFUSED: &[&str] = &[
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
];

/// Reason that the backend is not usable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccessError {
    #[error("the backend cannot be reached: {0}")]
    Unreachable(#[from] BackendError),
    #[error(
        "the backend refuses the proxy's credential ({code}); check backend.access_key_id and \
         backend.secret_access_key (S3PROXY_BACKEND_ACCESS_KEY_ID, \
         S3PROXY_BACKEND_SECRET_ACCESS_KEY), or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY{}",
        other_causes(.code)
    )]
    Credential { code: &'static str },
    #[error(
        "the backend {endpoint} is this proxy itself, or another s3proxy; set S3PROXY_HOST \
         (--backend, backend.host) to the S3 server"
    )]
    Loop { endpoint: String },
}

impl AccessError {
    /// Returns the text for a probe, which must not reveal addresses and causes.
    pub(crate) fn summary(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "the backend cannot be reached",
            Self::Credential { .. } => {
                "the backend refuses the proxy's credential; the log has the reason"
            }
            Self::Loop { .. } => "the backend is an s3proxy; the log has its address",
        }
    }
}

fn other_causes(code: &str) -> &'static str {
    match code {
        "AuthorizationHeaderMalformed" => ", and backend.region (S3PROXY_REGION)",
        "RequestTimeTooSkewed" => ", and the clock of this machine",
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => ", and AWS_SESSION_TOKEN",
        _ => "",
    }
}

impl Backend {
    /// Checks that requests to the backend can succeed. Sends a signed request from time to time,
    /// and otherwise only checks that the backend responds.
    pub(crate) async fn readiness(&self) -> Result<(), AccessError> {
        let accepted = *self.accepted();
        if accepted.is_some_and(|when| when.elapsed() < ACCEPTED_FOR) {
            return Ok(self.probe().await?);
        }
        self.access().await?;
        *self.accepted() = Some(Instant::now());
        Ok(())
    }

    /// Checks the backend by a signed request.
    pub(crate) async fn access(&self) -> Result<(), AccessError> {
        let client = &self.client;
        let limit = client.settings.response_timeout.min(PROBE_LIMIT);
        let request = Request {
            response_timeout: Some(limit),
            ..Request::new(Method::GET, None, None)
        };
        let prepared = PreparedRequest::new(request, &client.home, &client.settings).await?;
        // Over all attempts, since `exchange` may retry.
        let response = match tokio::time::timeout(PROBE_LIMIT, client.exchange(&prepared)).await {
            Ok(response) => response?,
            Err(_) => {
                return Err(AccessError::Unreachable(BackendError::Timeout {
                    endpoint: client.home.endpoint.to_string(),
                    phase: Phase::AwaitingResponse,
                    limit: PROBE_LIMIT,
                }));
            }
        };
        // S3 servers do not send this status; an s3proxy does if it finds its own mark in a
        // request.
        if response.head.status == StatusCode::LOOP_DETECTED {
            let endpoint = response.endpoint;
            return Err(AccessError::Loop { endpoint });
        }
        let code = element(&response.body.start, "Code");
        let mut refusals = CREDENTIAL_REFUSED.iter();
        match refusals.find(|refusal| code == Some(**refusal)) {
            Some(code) => Err(AccessError::Credential { code }),
            None => Ok(()),
        }
    }

    fn accepted(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        let accepted = self.client.accepted.lock();
        accepted.expect("no holder of this lock can panic")
    }
}
