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
    /// Handle of the connection's slot; `None` on overflow connections.
    pub(super) handle: Option<ConnectionHandle>,
}

/// State of the server that its connections work with.
pub(super) struct ConnectionContext<S> {
    /// Limits that applied when the connection was accepted.
    pub(super) limits: ConnectionLimits,
    pub(super) current: CurrentGeneration<S>,
    pub(super) draining: Arc<DrainState>,
    /// Becomes `true` when idle connections have to end.
    pub(super) closing: watch::Receiver<bool>,
}

/// Serves the requests of one connection until it ends.
pub(super) async fn serve_connection<S, IO>(
    stream: IO,
    client: ClientConnection,
    context: ConnectionContext<S>,
) where
    S: Serve,
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let ConnectionContext {
        limits,
        current,
        draining,
        closing,
    } = context;
    let peer = client.peer;
    let is_plain = client.scheme == Scheme::HTTP;
    let first_byte = FirstByte::default();
    let activity = client.activity.clone();
    let stream = TimedSocket::new(stream, activity.clone(), first_byte.clone(), &limits);
    let leaving = activity.idle_while_closing(closing, limits.drain_delay);
    let handler = RequestHandler {
        client,
        current,
        draining,
    };
    let respond = service_fn(move |request| handler.respond(request));
    let connection = http1_settings(&limits).serve_connection(TokioIo::new(stream), respond);
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

/// Returns the HTTP library's settings for a connection with these limits.
fn http1_settings(limits: &ConnectionLimits) -> http1::Builder {
    let mut settings = http1::Builder::new();
    settings
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        .max_header_size(limits.header_bytes)
        .max_headers(HEADERS)
        .max_buf_size(limits.header_bytes.max(READ_AHEAD_BYTES))
        // A client that closes its side has left, and its request with it.
        .half_close(false);
    settings
}

/// Passes the requests of one connection to the service that is current when they arrive.
struct RequestHandler<S> {
    client: ClientConnection,
    current: CurrentGeneration<S>,
    draining: Arc<DrainState>,
}

impl<S: Serve> RequestHandler<S> {
    /// Returns the response to a request, with `Connection: close` if no other may follow.
    fn respond(
        &self,
        mut request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<TrackedBody<ResponseBody>>, Infallible>> + use<S>
    {
        let class = self.add_extensions(&mut request);
        let generation = Arc::clone(&self.current.borrow());
        let (service, panics) = (
            Arc::clone(&generation.service),
            Arc::clone(&generation.panics),
        );
        let draining = Arc::clone(&self.draining);
        let activity = self.client.activity.clone();
        let serving = activity.begin();
        // On the heap, and only now: the HTTP library reserves room for the future in every
        // connection, idle ones included.
        let response = Box::pin(service.serve(request, self.client.peer));
        async move {
            let (mut response, panicked) = match panics.guard(response).await {
                Ok(response) => (response, false),
                Err(Panicked) => (internal_error(), true),
            };
            if draining.has_begun()
                || class == ConnectionClass::Overflow
                || activity.is_closing()
                || panicked
            {
                let close = http::HeaderValue::from_static("close");
                response
                    .headers_mut()
                    .insert(http::header::CONNECTION, close);
            }
            Ok(served(response, serving, panics))
        }
    }

    /// Tells the service about the connection of a request. Returns the connection's class.
    fn add_extensions(&self, request: &mut Request<Incoming>) -> ConnectionClass {
        let handle = self.client.handle.as_ref();
        let class = ConnectionClass::from_slot(handle);
        let extensions = request.extensions_mut();
        extensions.insert(self.client.scheme.clone());
        extensions.insert(class);
        if let Some(handle) = handle {
            extensions.insert(handle.clone());
        }
        class
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
