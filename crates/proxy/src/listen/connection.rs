//! Serving the requests of one connection by HTTP/1.1.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

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
use tokio::sync::watch;

use super::connection_activity::{Activity, ServingGuard};
use super::connection_limits::ConnectionHandle;
use super::overflow_connections::ConnectionClass;
use super::protocol_mismatch::FirstByte;
use super::response_tracking::TrackedBody;
use super::timeouts::TimedSocket;
use super::{ConnectionLimits, CurrentGeneration, DrainState, Serve};
use crate::body::outbound::ResponseBody;
use crate::panics::{PanicWatch, Panicked};

/// The other end of a connection.
pub(super) struct ClientConnection {
    pub(super) peer: SocketAddr,
    pub(super) scheme: Scheme,
    pub(super) activity: Activity,
    /// `None` if the connection has no place.
    pub(super) handle: Option<ConnectionHandle>,
}

/// Serves the requests of one connection until it ends.
pub(super) async fn serve_connection<S, IO>(
    stream: IO,
    client: ClientConnection,
    limits: ConnectionLimits,
    current: CurrentGeneration<S>,
    draining: Arc<DrainState>,
    closing: watch::Receiver<bool>,
) where
    S: Serve,
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let ClientConnection {
        peer,
        scheme,
        activity,
        handle,
    } = client;
    let place = match handle {
        Some(_) => ConnectionClass::Regular,
        None => ConnectionClass::Overflow,
    };
    let first_byte = FirstByte::default();
    let is_plain = scheme == Scheme::HTTP;
    let stream = TimedSocket::new(stream, activity.clone(), first_byte.clone(), &limits);
    let leaving = activity
        .clone()
        .idle_while_closing(closing, limits.drain_delay);
    let respond = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(scheme.clone());
        request.extensions_mut().insert(place);
        if let Some(handle) = &handle {
            request.extensions_mut().insert(handle.clone());
        }
        let generation = Arc::clone(&current.borrow());
        let (service, panics) = (
            Arc::clone(&generation.service),
            Arc::clone(&generation.panics),
        );
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
                || place == ConnectionClass::Overflow
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
        tracing::debug!(%peer, %error, "connection ended early");
        if is_plain && error.is_parse() {
            first_byte.warn_if_tls(peer);
        }
    }
}

/// Returns the response as it is sent. A success that was sent completely shows that the process
/// serves requests.
fn served<B: Body + Unpin>(
    response: Response<B>,
    serving: ServingGuard,
    panics: Arc<PanicWatch>,
) -> Response<TrackedBody<B>> {
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    response.map(|body| TrackedBody::new(body, serving, panics, !is_error))
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
