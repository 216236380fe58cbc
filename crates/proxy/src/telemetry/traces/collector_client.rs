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

/// Longest response that is read, in bytes. Far above any of a collector.
const MOST_ANSWER_BYTES: usize = 64 * 1024;

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

pub(super) struct CollectorClient {
    client: ServiceClient,
    runtime: Handle,
    /// Time limit of one request; the exporter bounds its own retries.
    patience: Duration,
    failure: LastFailure,
}

/// Error of a request without a response.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct CollectorError(String);

impl CollectorClient {
    /// Builds the client; reads the trusted roots, and opens no connection. Must run inside the
    /// runtime.
    pub(super) fn new(patience: Duration, failure: LastFailure) -> Result<Self, TracesError> {
        Ok(Self {
            client: service_client(trusted_roots(None)?),
            runtime: Handle::current(),
            patience,
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
        let (client, patience) = (self.client.clone(), self.patience);
        let sent = self.runtime.spawn(async move {
            let sent = timeout(patience, send(&client, request)).await;
            sent.unwrap_or_else(|_| Err(CollectorError(format!("timed out after {patience:?}"))))
        });
        let answer = sent
            .await
            .unwrap_or_else(|error| Err(CollectorError(error.to_string())));
        match &answer {
            Ok(answer) if answer.status().is_success() => {}
            Ok(answer) => self
                .failure
                .set(format!("the collector answered {}", answer.status())),
            Err(error) => self.failure.set(error.to_string()),
        }
        Ok(answer?)
    }
}

async fn send(
    client: &ServiceClient,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, CollectorError> {
    let answer = client.request(request.map(Full::new)).await;
    let answer = answer.map_err(|error| CollectorError(with_causes(&error)))?;
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, MOST_ANSWER_BYTES).collect().await;
    let body = body.map_err(|error| CollectorError(with_causes(&*error)))?;
    Ok(Response::from_parts(head, body.to_bytes()))
}
