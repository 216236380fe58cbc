//! A scripted HTTP server that records requests, and requests for it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::backend::error::BodyStreamError;
use crate::backend::{
    Addressing, Backend, BackendError, Body, BodyStream, Credentials, Endpoint, Integrity,
    OutboundProxy, Request, RequestBody, RetrySettings, Scheme, Settings,
};

pub(super) const ACCESS_KEY: &str = "AKIDEXAMPLE";
pub(super) const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const PATIENCE: Duration = Duration::from_secs(20);

/// One request as it was on the wire.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Number of the connection, from 0.
    pub(super) connection: usize,
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
    /// Whether the body had its full length.
    pub(super) complete: bool,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Reaction of the server to a request.
pub(super) enum Reply {
    Respond(Vec<u8>),
    RespondAndClose(Vec<u8>),
    /// Sends this and then nothing more, on an open connection.
    RespondAndHang(Vec<u8>),
    Close,
}

pub(super) fn response(status: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    Reply::Respond(head_and(status, headers, body.len(), body))
}

/// Announces `length` bytes, sends `body`, and closes.
pub(super) fn broken(status: &str, headers: &[(&str, &str)], length: usize, body: &str) -> Reply {
    Reply::RespondAndClose(head_and(status, headers, length, body))
}

pub(super) fn head_and(
    status: &str,
    headers: &[(&str, &str)],
    length: usize,
    body: &str,
) -> Vec<u8> {
    use std::fmt::Write;
    let mut text = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n");
    for (name, value) in headers {
        write!(text, "{name}: {value}\r\n").unwrap();
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

type Script = Arc<dyn Fn(usize, &Seen) -> Reply + Send + Sync>;

#[derive(Clone)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Script,
}

impl Server {
    /// Starts a server; `script` gets the number of the request, from 0, and the request.
    pub(super) async fn start(
        script: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_on("127.0.0.1:0", script).await
    }

    pub(super) async fn start_on(
        address: &str,
        script: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let (server, listener) = Self::bind(address, script).await;
        let serving = server.clone();
        tokio::spawn(async move {
            for connection in 0.. {
                let (socket, _) = listener.accept().await.unwrap();
                tokio::spawn(serving.clone().converse(connection, socket));
            }
        });
        server
    }

    /// Binds a server whose connections the caller accepts.
    pub(super) async fn bind(
        address: &str,
        script: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static,
    ) -> (Self, TcpListener) {
        let listener = TcpListener::bind(address).await.unwrap();
        let server = Server {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            script: Arc::new(script),
        };
        (server, listener)
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) async fn converse<S>(self, connection: usize, mut socket: S)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut unread = Vec::new();
        while let Some(request) = read_request(&mut socket, &mut unread, connection).await {
            let complete = request.complete;
            // Recorded before the response, so that a test which has the response finds the
            // request.
            let number = self.note(request.clone());
            if !complete {
                return;
            }
            match (self.script)(number, &request) {
                Reply::Respond(bytes) => socket.write_all(&bytes).await.unwrap(),
                Reply::RespondAndClose(bytes) => {
                    socket.write_all(&bytes).await.unwrap();
                    socket.shutdown().await.unwrap();
                    return;
                }
                Reply::RespondAndHang(bytes) => {
                    socket.write_all(&bytes).await.unwrap();
                    std::future::pending::<()>().await;
                }
                Reply::Close => return,
            }
        }
    }

    fn note(&self, request: Seen) -> usize {
        let mut seen = self.seen.lock().unwrap();
        seen.push(request);
        seen.len() - 1
    }
}

/// Reads a request; `None` if the client closed instead of sending one.
pub(super) async fn read_request<S: AsyncRead + Unpin>(
    socket: &mut S,
    unread: &mut Vec<u8>,
    connection: usize,
) -> Option<Seen> {
    let end = loop {
        if let Some(end) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if !read_more(socket, unread).await {
            return None;
        }
    };
    let head = String::from_utf8(unread.drain(..end + 4).collect()).unwrap();
    let mut request = parse_head(&head, connection);
    let length = request.header("content-length").parse().unwrap_or(0);
    // A client that closes early leaves the body incomplete.
    while unread.len() < length && read_more(socket, unread).await {}
    request.complete = unread.len() >= length;
    request.body = unread.drain(..length.min(unread.len())).collect();
    Some(request)
}

async fn read_more<S: AsyncRead + Unpin>(socket: &mut S, unread: &mut Vec<u8>) -> bool {
    matches!(socket.read_buf(unread).await, Ok(count) if count > 0)
}

fn parse_head(head: &str, connection: usize) -> Seen {
    let mut lines = head.lines();
    let mut words = lines.next().unwrap().split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    assert_eq!(words.next(), Some("HTTP/1.1"));
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Seen {
        connection,
        method: method.to_owned(),
        target: target.to_owned(),
        headers,
        ..Seen::default()
    }
}

pub(super) fn settings(address: SocketAddr) -> Settings {
    Settings {
        endpoint: Endpoint {
            scheme: Scheme::Http,
            host: address.ip().to_string(),
            port: Some(address.port()),
        },
        region: "eu-west-1".to_owned(),
        addressing: Addressing::Path,
        ca_file: None,
        client_certificate: None,
        outbound_proxy: OutboundProxy::Direct,
        connect_timeout: PATIENCE,
        response_timeout: PATIENCE,
        body_timeout: PATIENCE,
        connection_idle: PATIENCE,
        connection_max_age: Duration::from_hours(1),
        max_idle_connections: 8,
        retry: RetrySettings {
            attempts: 3,
            base_delay: Duration::from_millis(2),
            max_delay: Duration::from_millis(20),
            budget: 100,
        },
        integrity: Integrity::Auto,
    }
}

pub(super) async fn fixed_keys() -> Credentials {
    Credentials::fixed(ACCESS_KEY, SECRET_KEY, None)
        .await
        .unwrap()
}

pub(super) async fn backend_with(settings: Settings) -> Backend {
    Backend::new(settings, fixed_keys().await).unwrap()
}

pub(super) async fn backend_at(address: SocketAddr) -> Backend {
    backend_with(settings(address)).await
}

pub(super) fn get(key: &str) -> Request {
    Request::new(Method::GET, Some("bucket"), Some(key))
}

pub(super) fn put(key: &str, body: RequestBody) -> Request {
    Request {
        body,
        ..Request::new(Method::PUT, Some("bucket"), Some(key))
    }
}

pub(super) fn held(text: &'static str) -> RequestBody {
    RequestBody::Held(Bytes::from_static(text.as_bytes()))
}

/// Makes a stream of these frames, with an error after them if one is given.
pub(super) fn streamed(
    length: u64,
    frames: &[&'static str],
    error: Option<&'static str>,
) -> RequestBody {
    let frames = frames
        .iter()
        .map(|frame| Ok(Frame::data(Bytes::from_static(frame.as_bytes()))));
    let error = error.map(|text| Err(BodyStreamError::from(text)));
    let all: Vec<Result<_, BodyStreamError>> = frames.chain(error).collect();
    RequestBody::Stream {
        length,
        body: BodyStream::new(StreamBody::new(stream::iter(all))),
    }
}

pub(super) async fn text(response: Response<Body>) -> Result<String, BackendError> {
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}
