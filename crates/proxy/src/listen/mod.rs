//! Accepting connections, and letting go of them.
//!
//! HTTP/1.1 only: some S3 clients break on HTTP/2. Every connection is a task owned by the
//! [`Server`], which on a drain first goes on accepting for a moment with `Connection: close` on
//! every answer (load balancers need time to notice that `/readyz` fails), then closes its socket,
//! asks idle connections to end, and waits for bodies in flight up to a limit.

pub(crate) mod certificate;
mod proxy_protocol;
mod timeouts;
pub(crate) mod tls;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::uri::Scheme;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use self::timeouts::{Serving, TimedSocket};
use crate::body::outbound::ResponseBody;
use crate::telemetry::metrics;
use crate::trusted::TrustedProxies;

/// How many connections wait in the kernel for being accepted.
const BACKLOG: u32 = 1024;

/// Bounds on connections.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Largest request line and headers, in bytes.
    pub(crate) header_bytes: usize,
    /// Connections held at once; further ones wait to be accepted.
    pub(crate) connections: usize,
    /// Time between two requests of one connection.
    pub(crate) idle_timeout: Duration,
    /// Time for the TLS handshake, and for a head from its first byte.
    pub(crate) header_timeout: Duration,
    /// Time in which a client must take something of an answer.
    pub(crate) body_timeout: Duration,
    /// After the drain began: how long accepting goes on.
    pub(crate) drain_delay: Duration,
    /// After accepting ended: how long bodies in flight may take.
    pub(crate) drain_timeout: Duration,
}

/// Whether the server is on its way down; `/readyz` fails from then on.
#[derive(Default)]
pub(crate) struct Draining(AtomicBool);

impl Draining {
    pub(crate) fn has_begun(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Answers requests. Errors are answers too, so serving cannot fail.
pub(crate) trait Serve: Send + Sync + 'static {
    fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<ResponseBody>> + Send;
}

/// What serves until another takes its place: a request is served by whatever is there when it
/// arrives, a connection keeps the limits that it began with.
pub(crate) struct Shift<S> {
    pub(crate) service: Arc<S>,
    pub(crate) limits: Limits,
    pub(crate) trusted: Arc<TrustedProxies>,
}

/// The shift of the time.
pub(crate) type CurrentShift<S> = watch::Receiver<Arc<Shift<S>>>;

/// A bound socket with everything that it needs to serve.
pub(crate) struct Server<S> {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    current: CurrentShift<S>,
    draining: Arc<Draining>,
    places: Arc<Semaphore>,
}

/// How a drain ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Drained {
    /// Every connection ended by itself.
    Clean,
    /// This many were cut off when the wait was over.
    CutOff(usize),
}

/// Binds a listening socket.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        tokio::net::TcpSocket::new_v4()?
    } else {
        tokio::net::TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl<S: Serve> Server<S> {
    pub(crate) fn new(
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        current: CurrentShift<S>,
        draining: Arc<Draining>,
    ) -> Self {
        let connections = current.borrow().limits.connections;
        Self {
            listener,
            tls,
            current,
            draining,
            places: Arc::new(Semaphore::new(connections)),
        }
    }

    /// Serves until `stop` resolves, then drains.
    pub(crate) async fn run(self, stop: impl Future<Output = ()>) -> Drained {
        let (close, closing) = watch::channel(false);
        let mut connections = JoinSet::new();
        self.accept_until(stop, &mut connections, &closing).await;

        self.draining.0.store(true, Ordering::Release);
        let limits = self.current.borrow().limits;
        tracing::info!(
            accepting_for_s = limits.drain_delay.as_secs(),
            waiting_up_to_s = limits.drain_timeout.as_secs(),
            connections = connections.len(),
            "draining"
        );
        let delay = tokio::time::sleep(limits.drain_delay);
        self.accept_until(delay, &mut connections, &closing).await;

        let Self { listener, .. } = self;
        drop(listener);
        close.send_replace(true);
        let all_done = async { while connections.join_next().await.is_some() {} };
        let waited = tokio::time::timeout(limits.drain_timeout, all_done).await;
        if waited.is_ok() {
            return Drained::Clean;
        }
        let left = connections.len();
        connections.shutdown().await;
        Drained::CutOff(left)
    }

    async fn accept_until(
        &self,
        stop: impl Future<Output = ()>,
        connections: &mut JoinSet<()>,
        closing: &watch::Receiver<bool>,
    ) {
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = self.accept() => match accepted {
                    Ok((stream, peer, place)) => {
                        let serving = self.connection(stream, peer, closing.clone());
                        connections.spawn(async move {
                            serving.await;
                            drop(place);
                        });
                    }
                    Err(error) => {
                        // Out of file descriptors, as a rule: wait for some to be given back.
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        }
    }

    /// Accepts when there is a place for one more connection.
    async fn accept(&self) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        let (stream, peer) = self.listener.accept().await?;
        Ok((stream, peer, place))
    }

    fn connection(
        &self,
        mut stream: TcpStream,
        peer: SocketAddr,
        closing: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send + use<S> {
        let tls = self.tls.clone();
        let current = self.current.clone();
        let shift = Arc::clone(&current.borrow());
        let (limits, trusted) = (shift.limits, Arc::clone(&shift.trusted));
        let draining = Arc::clone(&self.draining);
        async move {
            let _open = metrics::connection_opened();
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY could not be set");
            }
            let mut peer = peer;
            if trusted.trusts(peer.ip().to_canonical()) {
                let told = proxy_protocol::read(&mut stream);
                match tokio::time::timeout(limits.header_timeout, told).await {
                    Ok(Ok(Some(client))) => peer.set_ip(client),
                    Ok(Ok(None)) => {}
                    Ok(Err(error)) => {
                        tracing::debug!(%peer, %error, "a load balancer's connection was refused");
                        return;
                    }
                    Err(_) => return,
                }
            }
            match tls {
                None => {
                    let client = (peer, Scheme::HTTP);
                    serve_connection(stream, client, limits, current, draining, closing).await;
                }
                Some(acceptor) => {
                    let handshake = acceptor.accept(stream);
                    match tokio::time::timeout(limits.header_timeout, handshake).await {
                        Ok(Ok(stream)) => {
                            let client = (peer, Scheme::HTTPS);
                            serve_connection(stream, client, limits, current, draining, closing)
                                .await;
                        }
                        Ok(Err(error)) => {
                            tracing::debug!(%peer, %error, "the TLS handshake failed");
                        }
                        Err(_) => tracing::debug!(%peer, "the TLS handshake took too long"),
                    }
                }
            }
        }
    }
}

async fn serve_connection<S, IO>(
    stream: IO,
    (peer, scheme): (SocketAddr, Scheme),
    limits: Limits,
    current: CurrentShift<S>,
    draining: Arc<Draining>,
    mut closing: watch::Receiver<bool>,
) where
    S: Serve,
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let serving = Serving::default();
    let stream = TimedSocket::new(stream, serving.clone(), limits);
    let respond = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(scheme.clone());
        let service = Arc::clone(&current.borrow().service);
        let draining = Arc::clone(&draining);
        let serving = serving.clone();
        async move {
            serving.begin();
            let mut response = service.serve(request, peer).await;
            serving.end();
            if draining.has_begun() {
                let close = http::HeaderValue::from_static("close");
                response
                    .headers_mut()
                    .insert(http::header::CONNECTION, close);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        .max_header_size(limits.header_bytes)
        .max_buf_size(limits.header_bytes.max(READ_AHEAD_BYTES))
        .half_close(false)
        .serve_connection(TokioIo::new(stream), respond);
    let mut connection = pin!(connection);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%peer, %error, "a connection ended early");
                }
                return;
            }
            Ok(()) = closing.changed() => connection.as_mut().graceful_shutdown(),
        }
    }
}

/// What a connection may read ahead of its body's reader, in bytes: one piece, so that a sealed
/// chunk is seldom split between reads.
const READ_AHEAD_BYTES: usize = 64 * 1024;
