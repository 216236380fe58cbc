//! The HTTP client for the backend: everything between a decided S3 request and its response.
//!
//! Invariants:
//! - a request is sent again only while its body is whole, and never without budget;
//! - a streamed body cannot look complete to the backend unless its source ended cleanly;
//! - the bytes of a path are built once, and sent and signed unchanged;
//! - a redirect never leads out of the backend's own domain;
//! - bytes are joined to a broken read only if they are proven to belong to the same object;
//! - a response has a status that S3 defines for the request, or it is an error.
//!
//! Absent on purpose: judging a response beyond its status, S3's XML, `Expect: 100-continue`,
//! HTTP/2, and configuration. Nothing here knows the client.

mod access;
mod address;
mod attempt;
mod attempt_metrics;
mod body;
mod client;
mod clock;
mod connect;
mod credentials;
mod error;
mod error_body;
mod family;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod loop_mark;
mod missing_credential;
mod outgoing_body;
mod redirect;
mod request;
mod resume;
mod retry;
mod send_progress;
mod settings;
mod sign;
#[cfg(test)]
mod tests;
mod tls;
mod trailer;
mod white_space;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Response};
use s3proxy_protocol::header_rules;
use s3proxy_protocol::operation::SentRequest;

pub(crate) use self::access::AccessError;
pub(crate) use self::body::Body;
pub(crate) use self::credentials::Credentials;
pub(crate) use self::error::{BackendError, BodyStreamError};
pub(crate) use self::family::Family;
pub(crate) use self::loop_mark::Forwarder;
pub(crate) use self::request::{
    BodyStream, PageOrigin, Request, RequestBody, ServiceAddress, Signature,
};
pub(crate) use self::settings::{
    Addressing, ClientCertificate, Endpoint, Integrity, OutboundProxy, RetrySettings, Scheme,
    Settings,
};

use self::attempt::AttemptResponse;
use self::client::BackendClient;
use self::error::Phase;
use self::family::has_quoted_condition;
use self::request::PreparedRequest;
use self::resume::Resumption;

/// Time limit of a probe: shorter than that of a readiness check.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// The backend, for any number of concurrent requests. Clones share connections and all state.
#[derive(Clone)]
pub(crate) struct Backend {
    client: Arc<BackendClient>,
}

impl Backend {
    /// Builds the client; reads certificates and keys, and opens no connection.
    pub(crate) fn new(settings: Settings, credentials: Credentials) -> Result<Self, BackendError> {
        let client = Arc::new(BackendClient::new(settings, credentials)?);
        Ok(Backend { client })
    }

    /// Sends a request, with retries, and returns a response to pass on. Its status is an error, or
    /// one by which S3 confirms the operation ([`SentRequest::may_be_answered`]).
    pub(crate) async fn send(&self, request: Request) -> Result<Response<Body>, BackendError> {
        let client = &self.client;
        if has_quoted_condition(&request.method, &request.headers) {
            self.family().await;
        }
        let page = request.page.as_ref();
        let is_unlike_pages = page.is_some_and(|page| !page.is_meant_by(&request));
        let prepared = PreparedRequest::new(request, &client.home, &client.settings).await?;
        let mut response = client.exchange(&prepared).await?;
        judge(&prepared, &response)?;
        trailer::forget_framing(&mut response.head.headers);
        if is_unlike_pages {
            // Some servers send CORS headers even if the request names no page.
            header_rules::remove_cors(&mut response.head.headers);
        }
        let resumption = Resumption::new(client, prepared, &response.head);
        let body = Body::new(
            response.body.start,
            response.body.rest,
            client.settings.body_timeout,
            resumption,
            response.endpoint,
        );
        Ok(Response::from_parts(response.head, body))
    }

    /// Returns the proxy that a request with these headers has passed through; `None` for a
    /// client's own request.
    pub(crate) fn forwarder(&self, headers: &HeaderMap) -> Option<Forwarder> {
        self.client.transport.mark.forwarder(headers)
    }

    /// Checks that the configured endpoint responds at all, and that there are credentials for it.
    pub(crate) async fn probe(&self) -> Result<(), BackendError> {
        let client = &self.client;
        let limit = client.settings.response_timeout.min(PROBE_LIMIT);
        let request = Request {
            response_timeout: Some(limit),
            ..Request::new(Method::HEAD, None, None)
        };
        let prepared = PreparedRequest::new(request, &client.home, &client.settings).await?;
        let lease = client.credentials.lease().await?;
        // One attempt without retries: a probe reports the present state.
        let probing = client.transport.attempt(&prepared, &client.home, &lease);
        match tokio::time::timeout(PROBE_LIMIT, probing).await {
            Ok(Ok(_answer)) => Ok(()),
            Ok(Err(failure)) => Err(failure.error),
            Err(_) => Err(BackendError::Timeout {
                endpoint: client.home.endpoint.to_string(),
                phase: Phase::AwaitingResponse,
                limit: PROBE_LIMIT,
            }),
        }
    }

    /// Returns whether requests to the configured endpoint, or to another service, go to AWS.
    pub(crate) fn is_aws(&self, service: Option<&ServiceAddress>) -> bool {
        match service {
            Some(service) => service.endpoint.is_aws(),
            None => self.client.home.endpoint.is_aws(),
        }
    }

    /// Returns the family of the configured backend. Before the first response it probes the
    /// backend; if that fails, the next request reports the reason.
    pub(crate) async fn family(&self) -> Family {
        if self.client.transport.family.get().is_none() && !self.is_aws(None) {
            let _ = self.probe().await;
        }
        self.client.transport.family.get().unwrap_or(Family::Other)
    }

    /// Returns the credentials that requests are signed with.
    pub(crate) fn credentials(&self) -> &Credentials {
        &self.client.credentials
    }

    /// Returns the number of seconds by which the backend's clock is ahead of ours, as far as
    /// known.
    pub(crate) fn clock_offset(&self) -> i64 {
        self.client.transport.clock.offset_seconds()
    }
}

/// Refuses a response with a status that S3 does not define for the request.
fn judge(request: &PreparedRequest, response: &AttemptResponse) -> Result<(), BackendError> {
    let parameters = request.query.iter().map(|(name, _)| name.as_str());
    let parameters: Vec<&str> = parameters.collect();
    let sent = SentRequest {
        method: &request.method,
        has_bucket: request.bucket.is_some(),
        has_key: request.key.is_some(),
        parameters: &parameters,
        headers: &request.headers,
    };
    let status = response.head.status;
    if sent.may_be_answered(status) {
        return Ok(());
    }
    Err(BackendError::Status {
        endpoint: response.endpoint.clone(),
        method: request.method.clone(),
        status: status.as_u16(),
    })
}
