//! Accepting and closing connections.
//!
//! HTTP/1.1 only: some S3 clients break on HTTP/2. Every connection is a task owned by the
//! [`Server`]. A drain has these steps: the server goes on accepting for a moment, with
//! `Connection: close` on every response (load balancers need time to notice that `/readyz` fails);
//! it closes its socket; it ends connections that have been idle for that moment; and it waits for
//! the others up to a limit.
//!
//! If all slots are taken, an idle or unauthenticated connection is evicted ([`connection_limits`]).
//! If there is none, new connections are not left waiting in the kernel, where a health check would
//! wait with them: they are accepted as [`overflow_connections`]. There health checks are answered,
//! and all other requests get `SlowDown`.

mod accepted_connection;
pub(crate) mod certificate;
mod connection;
mod connection_activity;
pub(crate) mod connection_limits;
pub(crate) mod descriptors;
pub(crate) mod overflow_connections;
mod parse_error_responses;
mod protocol_mismatch;
pub(crate) mod proxy_protocol;
mod response_tracking;
mod timeouts;
pub(crate) mod tls;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use self::accepted_connection::AcceptedConnection;
use self::connection::ConnectionContext;
use self::connection_activity::Activity;
use self::connection_limits::{ConnectionSlot, ConnectionSlots};
use self::overflow_connections::{ConnectionClass, OverflowConnections};
use crate::body::client_pace::PaceLimits;
use crate::body::outbound::ResponseBody;
use crate::panics::PanicWatch;
use crate::trusted_proxies::TrustedProxies;

/// Number of connections that may wait in the kernel to be accepted.
const BACKLOG: u32 = 1024;

/// Limits on connections.
#[derive(Clone)]
pub(crate) struct ConnectionLimits {
    /// Largest request line and headers, in bytes.
    pub(crate) header_bytes: usize,
    /// Number of connections held at once; requests on further ones are told to slow down.
    pub(crate) connections: usize,
    /// Timeout between two requests of one connection.
    pub(crate) idle_timeout: Duration,
    /// Timeout of the TLS handshake, and of a head from its first byte.
    pub(crate) header_timeout: Duration,
    /// Patience with clients that read their responses slowly.
    pub(crate) patience: PaceLimits,
    /// How long accepting goes on after the drain began.
    pub(crate) drain_delay: Duration,
    /// How long requests in flight may take after accepting ended.
    pub(crate) drain_timeout: Duration,
}

/// Whether the server is shutting down; `/readyz` fails from then on.
#[derive(Default)]
pub(crate) struct DrainState(AtomicBool);

impl DrainState {
    pub(crate) fn has_begun(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A service for requests. Errors are responses, too, so serving cannot fail.
pub(crate) trait Serve: Send + Sync + 'static {
    fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<ResponseBody>> + Send;
}

/// The service until another replaces it. A request is served by the service that is current when
/// it arrives; a connection keeps the limits that it began with.
pub(crate) struct ServiceGeneration<S> {
    pub(crate) service: Arc<S>,
    pub(crate) panics: Arc<PanicWatch>,
    pub(crate) limits: ConnectionLimits,
    pub(crate) trusted: Arc<TrustedProxies>,
}

/// The current generation.
pub(crate) type CurrentGeneration<S> = watch::Receiver<Arc<ServiceGeneration<S>>>;

/// A bound socket with everything that it needs to serve.
pub(crate) struct Server<S> {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    current: CurrentGeneration<S>,
    draining: Arc<DrainState>,
    slots: Arc<ConnectionSlots>,
}

/// Tasks of all connections.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    overflow: OverflowConnections,
}

/// How a drain ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DrainOutcome {
    /// Every connection ended by itself.
    Clean,
    /// This many connections were aborted after the timeout.
    CutOff(usize),
}

/// Binds a listening socket.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        tokio::net::TcpSocket::new_v4()?
    } else {
        tokio::net::TcpSocket::new_v6()?
    };
    // A restart must not fail because of old connections in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl<S: Serve> Server<S> {
    pub(crate) fn new(
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        current: CurrentGeneration<S>,
        draining: Arc<DrainState>,
    ) -> Self {
        let connections = current.borrow().limits.connections;
        Self {
            listener,
            tls,
            current,
            draining,
            slots: Arc::new(ConnectionSlots::new(connections)),
        }
    }

    /// Serves until `stop` resolves, then drains.
    pub(crate) async fn run(self, stop: impl Future<Output = ()>) -> DrainOutcome {
        let (close, closing) = watch::channel(false);
        let mut connections = Connections::default();
        self.accept_until(stop, &mut connections, &closing).await;

        // Before the delay: `/readyz` has to fail while connections are still accepted.
        self.draining.0.store(true, Ordering::Release);
        let limits = self.current.borrow().limits.clone();
        tracing::info!(
            accepting_for_s = limits.drain_delay.as_secs(),
            waiting_up_to_s = limits.drain_timeout.as_secs(),
            connections = connections.tasks.len(),
            "draining"
        );
        let delay = tokio::time::sleep(limits.drain_delay);
        self.accept_until(delay, &mut connections, &closing).await;
        self.accept_waiting(&mut connections, &closing);

        let Self { listener, .. } = self;
        drop(listener);
        // Only now that no new connections can arrive.
        close.send_replace(true);
        let mut connections = connections.tasks;
        let all_done = async { while connections.join_next().await.is_some() {} };
        let waited = tokio::time::timeout(limits.drain_timeout, all_done).await;
        if waited.is_ok() {
            return DrainOutcome::Clean;
        }
        let left = connections.len();
        connections.shutdown().await;
        DrainOutcome::CutOff(left)
    }

    async fn accept_until(
        &self,
        stop: impl Future<Output = ()>,
        connections: &mut Connections,
        closing: &watch::Receiver<bool>,
    ) {
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return,
                // Reaps finished connections, so that their tasks do not accumulate.
                Some(_) = connections.tasks.join_next(), if !connections.tasks.is_empty() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => self.take(stream, peer, connections, closing),
                    Err(error) => {
                        // Usually the file descriptors are used up: wait for some to be freed.
                        tracing::warn!(%error, "could not accept a connection");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        }
    }

    /// Accepts the connections that the kernel has already established: closing the socket would
    /// reset them.
    fn accept_waiting(&self, connections: &mut Connections, closing: &watch::Receiver<bool>) {
        for _ in 0..BACKLOG {
            match self.listener.accept().now_or_never() {
                Some(Ok((stream, peer))) => self.take(stream, peer, connections, closing),
                Some(Err(_)) | None => return,
            }
        }
    }

    /// Spawns the task that serves an accepted connection.
    fn take(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        connections: &mut Connections,
        closing: &watch::Receiver<bool>,
    ) {
        let activity = Activity::new(peer.ip());
        let slot = self.slots.take(peer.ip(), &activity);
        let id = slot.as_ref().map(ConnectionSlot::id);
        if slot.is_some() {
            activity.set_slots(&self.slots);
        }
        let generation = Arc::clone(&self.current.borrow());
        let class = ConnectionClass::from_slot(slot.as_ref());
        let accepted = AcceptedConnection {
            stream,
            peer,
            activity,
            slot,
            tls: self.tls.clone(),
            trusted: Arc::clone(&generation.trusted),
            context: ConnectionContext {
                limits: class.limits(&generation.limits),
                current: self.current.clone(),
                draining: Arc::clone(&self.draining),
                closing: closing.clone(),
            },
        };
        let task = connections.tasks.spawn(accepted.serve());
        match id {
            Some(id) => ConnectionSlot::served_by(&self.slots, id, task),
            None => connections.overflow.join(task),
        }
    }
}

#[cfg(test)]
mod tests;
