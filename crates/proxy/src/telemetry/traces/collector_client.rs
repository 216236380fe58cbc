//! OTLP over HTTP: the client that sends the exporter's requests.
//!
//! The batch processor runs on its own thread, outside the runtime that connections need, so each
//! request is spawned as a task on the runtime. The exporter does not report why a request failed,
//! so this client keeps the reason for the log. No error contains headers: they may carry a token.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::{BodyExt, Full, Limited};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::net::{ServiceClient, service_client, trusted_roots, with_causes};

use super::TracesError;

/// Longest response that is read, in bytes. Far longer than a collector sends.
const MAXIMUM_RESPONSE_BYTES: usize = 64 * 1024;

/// Reason for the last failed request.
#[derive(Clone, Default)]
pub(super) struct LastFailure(Arc<Mutex<Option<String>>>);

impl LastFailure {
    pub(super) fn take(&self) -> Option<String> {
        // A poisoned lock is usable: an `Option` has no half-written state.
        let mut reason = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reason.take()
    }

    fn set(&self, reason: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }
}

/// HTTP client of the exporter.
pub(super) struct CollectorClient {
    client: ServiceClient,
    runtime: Handle,
    /// Time limit of one request; the exporter bounds its own retries.
    time_limit: Duration,
    failure: LastFailure,
}

/// Error of a request without a response.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct CollectorError(String);

impl CollectorClient {
    /// Builds the client; reads the trusted roots, and opens no connection. Must run inside the
    /// runtime.
    pub(super) fn new(time_limit: Duration, failure: LastFailure) -> Result<Self, TracesError> {
        Ok(Self {
            client: service_client(trusted_roots(None)?),
            runtime: Handle::current(),
            time_limit,
            failure,
        })
    }
}

impl fmt::Debug for CollectorClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CollectorClient")
    }
}

#[async_trait]
impl HttpClient for CollectorClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (client, time_limit) = (self.client.clone(), self.time_limit);
        let sent = self.runtime.spawn(async move {
            let sent = timeout(time_limit, send(&client, request)).await;
            sent.unwrap_or_else(|_| Err(CollectorError(format!("timed out after {time_limit:?}"))))
        });
        let response = sent
            .await
            .unwrap_or_else(|error| Err(CollectorError(error.to_string())));
        match &response {
            Ok(response) if response.status().is_success() => {}
            Ok(response) => self
                .failure
                .set(format!("the collector answered {}", response.status())),
            Err(error) => self.failure.set(error.to_string()),
        }
        Ok(response?)
    }
}

async fn send(
    client: &ServiceClient,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, CollectorError> {
    let response = client.request(request.map(Full::new)).await;
    let response = response.map_err(|error| CollectorError(with_causes(&error)))?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAXIMUM_RESPONSE_BYTES).collect().await;
    let body = body.map_err(|error| CollectorError(with_causes(&*error)))?;
    Ok(Response::from_parts(head, body.to_bytes()))
}
