//! The admin listener: metrics and probes, for the platform and not for clients.
//!
//! Plain HTTP on its own address, without authentication: nothing here is secret, and the address
//! should be reachable only by the platform. The listener starts before clients are admitted and
//! answers until the program ends, so that a drain can be watched. It has its own limits, which
//! requests of S3 clients cannot exhaust.
//!
//! Absent: any operation that changes something.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use crate::keys::keys_in_use;
use crate::telemetry::metrics::exporter::Exporter;
use crate::telemetry::metrics::{self, Eviction};
use crate::throttle::network;

/// Number of connections held at once. A further one replaces another: of those that wait for a
/// request, if there are any, the oldest of the network with the most.
const CONNECTIONS: usize = 64;

/// Timeout of the first byte of the first request.
const FIRST_BYTE: Duration = Duration::from_secs(5);

/// Largest request line and headers, in bytes.
const HEADER_BYTES: usize = 16 * 1024;

/// Timeout of a head, and between two requests. Collectors usually ask at least once a minute.
const IDLE: Duration = Duration::from_secs(75);

/// Longest lifetime of a connection, so that a client that reads no response gives its place back.
const LONGEST: Duration = Duration::from_mins(10);

/// Time for a request that is in flight at that moment.
const LAST: Duration = Duration::from_secs(10);

/// Pause after a failed accept: usually the file descriptors are used up.
const PAUSE: Duration = Duration::from_millis(50);

const TEXT: &str = "text/plain; charset=utf-8";

const JSON: &str = "application/json";

/// Content type of Prometheus's text format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Source of the process's health.
pub(crate) trait ProbeSource: Send + Sync + 'static {
    /// Returns status and text of `/healthz`.
    fn liveness(&self) -> (StatusCode, String);

    /// Returns status and text of `/readyz`.
    fn readiness(&self) -> impl Future<Output = (StatusCode, String)> + Send;

    /// Returns, as JSON, the keys that requests in flight may seal under.
    fn keys(&self) -> String;
}

/// The running listener; dropping it stops it.
pub(crate) struct Admin {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Admin {
    /// Starts serving.
    pub(crate) fn serve(
        listener: TcpListener,
        exporter: Exporter,
        ready: Arc<impl ProbeSource>,
    ) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(exporter.clone().keep_up());
        tasks.spawn(accept(listener, exporter, ready));
        Ok(Self {
            address,
            _tasks: tasks,
        })
    }

    /// Returns the address of the listener.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(listener: TcpListener, exporter: Exporter, ready: Arc<impl ProbeSource>) {
    let mut held = AdminConnections::default();
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                held.make_room();
                let answering = Arc::new(AtomicBool::new(false));
                let state = Arc::clone(&answering);
                let serving = connection(stream, exporter.clone(), Arc::clone(&ready), state);
                let task = connections.spawn(serving);
                held.0.push_back(AdminConnection {
                    network: network(peer.ip()),
                    task,
                    answering,
                });
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept an admin connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Open connections, oldest first.
#[derive(Default)]
struct AdminConnections(VecDeque<AdminConnection>);

struct AdminConnection {
    network: IpAddr,
    task: AbortHandle,
    /// Whether a request has arrived, and its response is being made.
    answering: Arc<AtomicBool>,
}

impl AdminConnections {
    fn make_room(&mut self) {
        self.0.retain(|connection| !connection.task.is_finished());
        if self.0.len() < CONNECTIONS {
            return;
        }
        if let Some(connection) = self.0.remove(self.dispensable()) {
            metrics::evicted(Eviction::Admin);
            connection.task.abort();
        }
    }

    /// Returns the position of the connection that a further one replaces.
    fn dispensable(&self) -> usize {
        let count = |network| {
            self.0
                .iter()
                .filter(|other| other.network == network)
                .count()
        };
        let rank = |(position, connection): (usize, &AdminConnection)| {
            let answering = connection.answering.load(Ordering::Relaxed);
            // The smallest tuple goes: waiting before answering, the largest network first, then
            // the oldest.
            (answering, Reverse(count(connection.network)), position)
        };
        let lowest = self.0.iter().enumerate().map(rank).min();
        lowest.map_or(0, |(_, _, position)| position)
    }
}

async fn connection(
    stream: TcpStream,
    exporter: Exporter,
    ready: Arc<impl ProbeSource>,
    answering: Arc<AtomicBool>,
) {
    // Peeked, not read: the first byte has a shorter timeout than the heads after it.
    let mut first = [0];
    let begun = tokio::time::timeout(FIRST_BYTE, stream.peek(&mut first));
    if !matches!(begun.await, Ok(Ok(1..))) {
        return;
    }
    let respond = service_fn(move |request: Request<Incoming>| {
        let (exporter, ready) = (exporter.clone(), Arc::clone(&ready));
        let answering = Arc::clone(&answering);
        async move {
            answering.store(true, Ordering::Relaxed);
            let answer = answer(&request, &exporter, &*ready).await;
            answering.store(false, Ordering::Relaxed);
            Ok::<_, Infallible>(answer)
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), respond);
    let mut serving = pin!(serving);
    // The end of a connection of a probe or a collector is not worth a log line.
    if tokio::time::timeout(LONGEST, serving.as_mut())
        .await
        .is_err()
    {
        serving.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(LAST, serving).await;
    }
}

async fn answer<B>(
    request: &Request<B>,
    exporter: &Exporter,
    ready: &impl ProbeSource,
) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if !matches!(
        path,
        "/metrics" | "/healthz" | "/readyz" | keys_in_use::PATH
    ) {
        let help =
            "this listener serves /metrics, /keys, /healthz and /readyz; S3 is on another port\n";
        return text(StatusCode::NOT_FOUND, TEXT, help.to_owned());
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let help = "only GET and HEAD are allowed\n".to_owned();
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, TEXT, help);
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(header::ALLOW, allowed);
        return response;
    }
    match path {
        "/metrics" => text(StatusCode::OK, METRICS, exporter.render()),
        "/healthz" => {
            let (status, said) = ready.liveness();
            text(status, TEXT, said)
        }
        keys_in_use::PATH => text(StatusCode::OK, JSON, ready.keys()),
        _ => {
            let (status, said) = ready.readiness().await;
            text(status, TEXT, said)
        }
    }
}

/// Makes a response. The HTTP library omits the body in the response to HEAD.
fn text(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_static(content_type);
    headers.insert(header::CONTENT_TYPE, content_type);
    let uncached = HeaderValue::from_static("no-store");
    headers.insert(header::CACHE_CONTROL, uncached);
    response
}

#[cfg(test)]
mod tests;
