//! `/healthz` and `/readyz`.
//!
//! A request is a probe only without Authorization and query, and never on a virtual-host name,
//! where the same path is an object's key. Readiness checks the backend at most every few seconds,
//! however often it is probed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use s3proxy_protocol::address::{self, AddressingStyle, HostRules};
use s3proxy_protocol::headers;
use tokio::sync::Mutex;

use crate::body::outbound::ResponseBody;
use crate::keys::Readiness;
use crate::listen::DrainState;
use crate::objects::Store;
use crate::panics::PanicWatch;

/// Time for which the result of a check is valid.
const PROBE_AGE: Duration = Duration::from_secs(5);

/// Handler of probes.
pub(crate) struct ProbeHandler {
    draining: Arc<DrainState>,
    panics: Arc<PanicWatch>,
    last: Mutex<Option<(Instant, Result<String, String>)>>,
}

enum Probe {
    Alive,
    Ready,
}

impl ProbeHandler {
    pub(crate) fn new(draining: Arc<DrainState>, panics: Arc<PanicWatch>) -> Self {
        Self {
            draining,
            panics,
            last: Mutex::new(None),
        }
    }

    /// Returns the response, if the request is a probe.
    pub(crate) async fn answer(
        &self,
        hosts: &HostRules,
        request: &Request<Incoming>,
        store: &Store,
    ) -> Option<Response<ResponseBody>> {
        let probe = probe(hosts, request)?;
        let (status, text) = match probe {
            Probe::Alive => self.liveness(),
            Probe::Ready => self.readiness(store).await,
        };
        let body = if request.method() == Method::HEAD {
            ResponseBody::empty()
        } else {
            ResponseBody::held(text)
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, text);
        Some(response)
    }

    /// Returns status and text of `/healthz`.
    pub(crate) fn liveness(&self) -> (StatusCode, String) {
        if self.panics.is_failing() {
            let reason = "every request panics; see the log\n";
            return (StatusCode::SERVICE_UNAVAILABLE, reason.to_owned());
        }
        (StatusCode::OK, "ok\n".to_owned())
    }

    /// Returns status and text of `/readyz`.
    pub(crate) async fn readiness(&self, store: &Store) -> (StatusCode, String) {
        if self.draining.has_begun() {
            return (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned());
        }
        // One check at a time; concurrent probes wait and share its result.
        let mut last = self.last.lock().await;
        let result = match &*last {
            Some((when, result)) if when.elapsed() < PROBE_AGE => result.clone(),
            Some(_) | None => {
                let result = ask(store).await;
                *last = Some((Instant::now(), result.clone()));
                result
            }
        };
        match result {
            Ok(text) => (StatusCode::OK, text),
            Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
        }
    }
}

/// Checks whether the replica should get requests, and returns the text for a probe. It should not
/// if the backend is unavailable, or refuses the proxy's credential.
///
/// A key service that fails after it has worked does not take the replica out: requests that need
/// it fail, and all others are served. A replica that never could seal gets no requests.
async fn ask(store: &Store) -> Result<String, String> {
    if let Err(error) = store.backend.readiness().await {
        tracing::warn!(%error, "not ready");
        return Err(format!("{}\n", error.summary()));
    }
    match store.keys.readiness().await {
        Readiness::Ready => Ok("ready\n".to_owned()),
        Readiness::Degraded(lines) => {
            let lines = lines.join("\n");
            Ok(format!("ready, but some keys cannot be used\n{lines}\n"))
        }
        Readiness::NotReady(reason) => Err(format!("cannot seal objects: {reason}\n")),
    }
}

fn probe(hosts: &HostRules, request: &Request<Incoming>) -> Option<Probe> {
    let probe = match request.uri().path() {
        "/healthz" => Probe::Alive,
        "/readyz" => Probe::Ready,
        _ => return None,
    };
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let signed = request.headers().contains_key(header::AUTHORIZATION);
    if !reads || signed || request.uri().query().is_some() {
        return None;
    }
    let host = headers::text(request.headers(), header::HOST).unwrap_or_default();
    // Probes use the pod's address or any name; only a bucket's own name makes the path a key.
    match address::address(hosts, host, request.uri().path()) {
        Ok(address) if address.style == AddressingStyle::VirtualHost => None,
        Ok(_) | Err(_) => Some(probe),
    }
}
