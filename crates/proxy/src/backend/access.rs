//! Whether the backend can be worked with: it answers, takes the proxy's credential, and is no proxy.
//!
//! A signed list of buckets tells. What counts is the reason of a refusal: a credential that may not list
//! buckets (`AccessDenied`) is known and rightly signed, and that is all there is to find out without
//! naming a bucket. An error that S3 does not have, or none of those here, says nothing against the
//! credential.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};

use super::error::{BackendError, Phase};
use super::peek::element;
use super::request::{Prepared, Request};
use super::{Backend, PROBE_LIMIT};

/// How long a credential counts as accepted after a request that succeeded. Lists of buckets are in the
/// audit logs of some servers, so that they are asked for seldom; in between, a bare answer is enough.
const ACCEPTED_FOR: Duration = Duration::from_mins(5);

/// Codes that mean the proxy's own credential or signature.
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

/// Why nothing can be done with the backend.
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
    /// What a probe is told, to whom addresses and causes are none of their business.
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
    /// Whether requests to the backend can succeed. Asks by signature now and then, and otherwise whether
    /// it answers at all.
    pub(crate) async fn readiness(&self) -> Result<(), AccessError> {
        let accepted = *self.accepted();
        if accepted.is_some_and(|when| when.elapsed() < ACCEPTED_FOR) {
            return Ok(self.probe().await?);
        }
        self.access().await?;
        *self.accepted() = Some(Instant::now());
        Ok(())
    }

    /// Asks by a signed request.
    pub(crate) async fn access(&self) -> Result<(), AccessError> {
        let client = &self.client;
        let limit = client.settings.response_timeout.min(PROBE_LIMIT);
        let request = Request {
            response_timeout: Some(limit),
            ..Request::new(Method::GET, None, None)
        };
        let prepared = Prepared::new(request, &client.home, &client.settings).await?;
        let answer = match tokio::time::timeout(PROBE_LIMIT, client.exchange(&prepared)).await {
            Ok(answer) => answer?,
            Err(_) => {
                return Err(AccessError::Unreachable(BackendError::Timeout {
                    endpoint: client.home.endpoint.to_string(),
                    phase: Phase::AwaitingAnswer,
                    limit: PROBE_LIMIT,
                }));
            }
        };
        if answer.head.status == StatusCode::LOOP_DETECTED {
            let endpoint = answer.endpoint;
            return Err(AccessError::Loop { endpoint });
        }
        let code = element(&answer.body.start, "Code");
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
