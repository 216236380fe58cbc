//! Accepting and closing connections.
//!
//! HTTP/1.1 only: some S3 clients break on HTTP/2. Every connection is a task owned by the
//! [`Server`]. A drain has these steps: the server goes on accepting for a moment, with
//! `Connection: close` on every response (load balancers need time to notice that `/readyz` fails);
//! it closes its socket; it ends connections that have been idle for that moment; and it waits for
//! the others up to a limit.
//!
//! If all places are taken, a connection that is idle or unauthenticated is evicted ([`seats`]). If
//! there is none, new connections are not left waiting in the kernel, where a health check would
//! wait with them: they are accepted as a [`crowd`], in which health checks are answered and all
//! other requests are told to slow down.

mod activity;
pub(crate) mod certificate;
pub(crate) mod crowd;
pub(crate) mod descriptors;
mod other_protocol;
pub(crate) mod proxy_protocol;
pub(crate) mod seats;
mod served_body;
mod timeouts;
pub(crate) mod tls;
mod unreadable;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use http::StatusCode;
use http::uri::Scheme;
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use s3proxy_protocol::request_head::MAXIMUM_HEADERS;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use self::activity::Activity;
use self::crowd::{Crowd, Place};
use self::other_protocol::FirstByte;
use self::seats::{Seat, Seats, Visit};
use self::served_body::ServedBody;
use self::timeouts::TimedSocket;
use crate::body::buffers::STREAM_BYTES;
use crate::body::client_pace::PaceLimits;
use crate::body::outbound::ResponseBody;
use crate::panics::{PanicWatch, Panicked};
use crate::telemetry::metrics;
use crate::trusted_proxies::TrustedProxies;

/// Number of connections that may wait in the kernel to be accepted.
const BACKLOG: u32 = 1024;

/// Limits on connections.
#[derive(Clone)]
pub(crate) struct Limits {
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
pub(crate) struct Draining(AtomicBool);

impl Draining {
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
pub(crate) struct Shift<S> {
    pub(crate) service: Arc<S>,
    pub(crate) panics: Arc<PanicWatch>,
    pub(crate) limits: Limits,
    pub(crate) trusted: Arc<TrustedProxies>,
}

/// The current shift.
pub(crate) type CurrentShift<S> = watch::Receiver<Arc<Shift<S>>>;

/// A bound socket with everything that it needs to serve.
pub(crate) struct Server<S> {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    current: CurrentShift<S>,
    draining: Arc<Draining>,
    seats: Arc<Seats>,
}

/// Tasks of all connections.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    crowd: Crowd,
}

/// How a drain ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Drained {
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
        current: CurrentShift<S>,
        draining: Arc<Draining>,
    ) -> Self {
        let connections = current.borrow().limits.connections;
        Self {
            listener,
            tls,
            current,
            draining,
            seats: Arc::new(Seats::new(connections)),
        }
    }

    /// Serves until `stop` resolves, then drains.
    pub(crate) async fn run(self, stop: impl Future<Output = ()>) -> Drained {
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
            return Drained::Clean;
        }
        let left = connections.len();
        connections.shutdown().await;
        Drained::CutOff(left)
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
                        tracing::warn!(%error, "a connection could not be accepted");
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

    fn take(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        connections: &mut Connections,
        closing: &watch::Receiver<bool>,
    ) {
        let activity = Activity::new(peer.ip());
        let seat = self.seats.take(peer.ip(), &activity);
        let id = seat.as_ref().map(Seat::id);
        let serving = self.connection(stream, peer, (activity, seat), closing.clone());
        let task = connections.tasks.spawn(serving);
        match id {
            Some(id) => Seat::served_by(&self.seats, id, task),
            None => connections.crowd.join(task),
        }
    }

    fn connection(
        &self,
        mut stream: TcpStream,
        peer: SocketAddr,
        (activity, seat): (Activity, Option<Seat>),
        closing: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send + use<S> {
        let place = match &seat {
            Some(_) => Place::Own,
            None => Place::InTheCrowd,
        };
        if seat.is_some() {
            activity.is_seated(&self.seats);
        }
        let tls = self.tls.clone();
        let current = self.current.clone();
        let shift = Arc::clone(&current.borrow());
        let (limits, trusted) = (place.limits(&shift.limits), Arc::clone(&shift.trusted));
        let draining = Arc::clone(&self.draining);
        async move {
            let _open = metrics::connection_opened();
            // A connection that waits for a place: slow clients in the places have to give way.
            let _wanted = match place {
                Place::Own => None,
                Place::InTheCrowd => Some(limits.patience.pressure.want(STREAM_BYTES)),
            };
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY could not be set");
            }
            let mut peer = peer;
            // Only a trusted peer may send the PROXY header; for any other it would be part of the
            // request.
            if trusted.trusts(peer.ip().to_canonical()) {
                activity.is_trusted();
                let told = proxy_protocol::read(&mut stream);
                match tokio::time::timeout(limits.header_timeout, told).await {
                    Ok(Ok(Some(client))) => {
                        peer.set_ip(client);
                        activity.is_from(client);
                    }
                    Ok(Ok(None)) => {}
                    Ok(Err(error)) => {
                        tracing::debug!(%peer, %error, "a load balancer's connection was refused");
                        return;
                    }
                    Err(_) => return,
                }
            }
            let visit = seat.as_ref().map(Seat::visit);
            match tls {
                None => {
                    let client = Client {
                        peer,
                        scheme: Scheme::HTTP,
                        activity,
                        visit,
                    };
                    serve_connection(stream, client, limits, current, draining, closing).await;
                }
                Some(acceptor) => {
                    let handshake = async {
                        if other_protocol::refuse_plain_http(&mut stream, peer).await? {
                            return Ok(None);
                        }
                        let stream = acceptor.accept(stream).await?;
                        io::Result::Ok(Some(stream))
                    };
                    match tokio::time::timeout(limits.header_timeout, handshake).await {
                        Ok(Ok(None)) => {}
                        Ok(Ok(Some(stream))) => {
                            let client = Client {
                                peer,
                                scheme: Scheme::HTTPS,
                                activity,
                                visit,
                            };
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

/// The other end of a connection.
struct Client {
    peer: SocketAddr,
    scheme: Scheme,
    activity: Activity,
    /// `None` if the connection has no place.
    visit: Option<Visit>,
}

async fn serve_connection<S, IO>(
    stream: IO,
    client: Client,
    limits: Limits,
    current: CurrentShift<S>,
    draining: Arc<Draining>,
    closing: watch::Receiver<bool>,
) where
    S: Serve,
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Client {
        peer,
        scheme,
        activity,
        visit,
    } = client;
    let place = match visit {
        Some(_) => Place::Own,
        None => Place::InTheCrowd,
    };
    let first_byte = FirstByte::default();
    let is_plain = scheme == Scheme::HTTP;
    let stream = TimedSocket::new(stream, activity.clone(), first_byte.clone(), &limits);
    let leaving = activity
        .clone()
        .idle_at_the_end(closing, limits.drain_delay);
    let respond = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(scheme.clone());
        request.extensions_mut().insert(place);
        if let Some(visit) = &visit {
            request.extensions_mut().insert(visit.clone());
        }
        let shift = Arc::clone(&current.borrow());
        let (service, panics) = (Arc::clone(&shift.service), Arc::clone(&shift.panics));
        let draining = Arc::clone(&draining);
        let serving = activity.begin();
        let activity = activity.clone();
        // On the heap, and only now: the HTTP library reserves room for the future in every
        // connection, idle ones included.
        let answer = Box::pin(service.serve(request, peer));
        async move {
            let (mut response, panicked) = match panics.guard(answer).await {
                Ok(response) => (response, false),
                Err(Panicked) => (internal_error(), true),
            };
            if draining.has_begun()
                || place == Place::InTheCrowd
                || activity.is_closing()
                || panicked
            {
                let close = http::HeaderValue::from_static("close");
                response
                    .headers_mut()
                    .insert(http::header::CONNECTION, close);
            }
            Ok::<_, Infallible>(served(response, serving, panics))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        .max_header_size(limits.header_bytes)
        .max_headers(HEADERS)
        .max_buf_size(limits.header_bytes.max(READ_AHEAD_BYTES))
        // A client that closes its side has left, and its request with it.
        .half_close(false)
        .serve_connection(TokioIo::new(stream), respond);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        // The connection first: received bytes are processed before anything is closed.
        biased;
        ended = connection.as_mut() => ended,
        () = leaving => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection ended early");
        if is_plain && error.is_parse() {
            first_byte.tell_of_tls(peer);
        }
    }
}

/// Returns the response as it is sent. A success that was sent completely shows that the process
/// serves requests.
fn served<B: Body + Unpin>(
    response: Response<B>,
    serving: activity::Serving,
    panics: Arc<PanicWatch>,
) -> Response<ServedBody<B>> {
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    response.map(|body| ServedBody::new(body, serving, panics, !is_error))
}

/// Returns the response to a request whose service panicked.
fn internal_error() -> Response<ResponseBody> {
    let document = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>InternalError</Code>\
                    <Message>We encountered an internal error. Please try again.</Message></Error>";
    let mut response = Response::new(ResponseBody::held(document));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    let xml = http::HeaderValue::from_static("application/xml");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, xml);
    response
}

/// Headers that the HTTP library takes: some more than the gate, which refuses with more to say.
const HEADERS: usize = MAXIMUM_HEADERS + 64;

/// Number of bytes that a connection may read ahead of its body's reader: one piece, so that a
/// sealed chunk is rarely split between reads.
const READ_AHEAD_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests;
