//! The backend: a script that records requests, in front of the embedded store.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request as the backend received it.
#[derive(Clone, Debug)]
pub(crate) struct RecordedRequest {
    pub(crate) method: Method,
    /// Path and query, as on the wire.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl RecordedRequest {
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(crate) fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// Whether the query names the parameter, with or without a value.
    pub(crate) fn has_parameter(&self, name: &str) -> bool {
        self.query()
            .split('&')
            .any(|pair| pair.split('=').next() == Some(name))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap_or("(not ASCII)"))
    }
}

/// The backend's reaction to a request.
pub(crate) enum Reply {
    /// The response of the embedded store.
    Store,
    /// The response of the embedded store, altered.
    Altered(Alteration),
    /// This response, with its true Content-Length unless it has one.
    Answer(Response<Vec<u8>>),
    /// These bytes; then the connection is closed.
    Raw(Vec<u8>),
    /// These bytes, and nothing more on the open connection.
    Hang(Vec<u8>),
    /// The first bytes, then the second again and again until the proxy closes the connection.
    Endless(Vec<u8>, Vec<u8>),
    /// Another reply, later.
    After(Duration, Box<Reply>),
    /// Another reply, which first waits for something to happen.
    When(Pin<Box<dyn Future<Output = Reply> + Send>>),
    /// Closes the connection without a response.
    Close,
}

impl Reply {
    /// A response with these headers.
    pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Self {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        Self::Answer(response.body(body.into()).unwrap())
    }

    /// An error document of S3.
    pub(crate) fn error(status: u16, code: &str) -> Self {
        let document = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>m</Message></Error>"
        );
        Self::answer(status, &[("content-type", "application/xml")], document)
    }

    /// Alters the embedded store's response.
    pub(crate) fn altered(alter: impl FnOnce(&mut Response<Vec<u8>>) + Send + 'static) -> Self {
        Self::Altered(Box::new(alter))
    }
}

type Alteration = Box<dyn FnOnce(&mut Response<Vec<u8>>) + Send>;

type Script = Arc<dyn Fn(&RecordedRequest) -> Reply + Send + Sync>;

/// A running backend; it ends when dropped.
pub(crate) struct Backend {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    store: SocketAddr,
    script: Mutex<Script>,
    requests: Mutex<Vec<RecordedRequest>>,
}

impl Backend {
    /// A script in front of the store at `store`.
    pub(super) async fn start(store: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            store,
            script: Mutex::new(Arc::new(|_: &RecordedRequest| Reply::Store)),
            requests: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            // Aborting the task drops the set, which aborts all connections.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(converse(Arc::clone(&serving), stream));
            }
        });
        Self {
            address,
            shared,
            task,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Address of the embedded store, for requests that the script must not see.
    pub(crate) fn store_address(&self) -> SocketAddr {
        self.shared.store
    }

    /// Handles requests with `script` from now on.
    pub(crate) fn script(
        &self,
        script: impl Fn(&RecordedRequest) -> Reply + Send + Sync + 'static,
    ) {
        *self.shared.script.lock().unwrap() = Arc::new(script);
    }

    /// Forwards requests to the embedded store from now on.
    pub(crate) fn honest(&self) {
        self.script(|_| Reply::Store);
    }

    /// Every request so far.
    pub(crate) fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// The requests since the last call; forgets them.
    pub(crate) fn take_requests(&self) -> Vec<RecordedRequest> {
        std::mem::take(&mut self.shared.requests.lock().unwrap())
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn converse(shared: Arc<Shared>, mut stream: TcpStream) {
    let mut unread = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut unread).await {
        shared.requests.lock().unwrap().push(request.clone());
        // Cloned, so that a test can replace the script while this one runs.
        let script = Arc::clone(&shared.script.lock().unwrap());
        let mut reply = script(&request);
        loop {
            reply = match reply {
                Reply::After(delay, next) => {
                    tokio::time::sleep(delay).await;
                    *next
                }
                Reply::When(next) => next.await,
                _ => break,
            };
        }
        let bytes = match reply {
            Reply::Store => to_bytes(&request, from_store(&shared, &request).await),
            Reply::Altered(alter) => {
                let mut response = from_store(&shared, &request).await;
                alter(&mut response);
                to_bytes(&request, response)
            }
            Reply::Answer(response) => to_bytes(&request, response),
            Reply::Raw(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Reply::Hang(bytes) => {
                let _ = stream.write_all(&bytes).await;
                std::future::pending().await
            }
            Reply::Endless(bytes, piece) => {
                let mut sent = stream.write_all(&bytes).await;
                while sent.is_ok() {
                    sent = stream.write_all(&piece).await;
                }
                return;
            }
            Reply::Close | Reply::After(..) | Reply::When(_) => return,
        };
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

fn to_bytes(request: &RecordedRequest, mut response: Response<Vec<u8>>) -> Vec<u8> {
    let has_length = response.headers().contains_key("content-length");
    if !has_length && response.status() != 204 && response.status() != 304 {
        let length = response.body().len().to_string();
        let length = HeaderValue::try_from(length).unwrap();
        response.headers_mut().insert("content-length", length);
    }
    let status = response.status();
    let reason = status.canonical_reason().unwrap_or("Unknown");
    let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    for (name, value) in response.headers() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    // A response to HEAD announces the length of a body that is not sent.
    if request.method != Method::HEAD {
        bytes.extend_from_slice(response.body());
    }
    bytes
}

/// The embedded store's own response, read completely.
async fn from_store(shared: &Shared, request: &RecordedRequest) -> Response<Vec<u8>> {
    let stream = TcpStream::connect(shared.store).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_headers(1000)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut outgoing = http::Request::builder()
        .method(request.method.clone())
        .uri(request.target.as_str());
    *outgoing.headers_mut().unwrap() = request.headers.clone();
    let outgoing = outgoing.body(Full::new(request.body.clone())).unwrap();
    let Ok(response) = sender.send_request(outgoing).await else {
        return Response::builder().status(500).body(Vec::new()).unwrap();
    };
    let (mut parts, body) = response.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes().to_vec(),
        Err(_) => Vec::new(),
    };
    // `to_bytes` frames the response again.
    parts.headers.remove("transfer-encoding");
    parts.headers.remove("connection");
    Response::from_parts(parts, body)
}

/// The next request of a connection; `None` if the proxy closed it.
async fn read_request(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<RecordedRequest> {
    let end = loop {
        if let Some(end) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        read_more(stream, unread).await?;
    };
    let head: Vec<u8> = unread.drain(..end).collect();
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let method = words.next()?.parse().unwrap();
    let target = words.next()?.to_owned();
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let name: HeaderName = name.parse().unwrap();
        let value = HeaderValue::from_bytes(value.trim().as_bytes()).unwrap();
        headers.append(name, value);
    }
    let length = headers.get("content-length");
    let length = length.map_or(0, |length| length.to_str().unwrap().parse().unwrap());
    if headers.get("expect").is_some() {
        stream
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            .await
            .ok()?;
    }
    while unread.len() < length {
        read_more(stream, unread).await?;
    }
    let body = unread.drain(..length).collect::<Vec<u8>>().into();
    Some(RecordedRequest {
        method,
        target,
        headers,
        body,
    })
}

async fn read_more(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<()> {
    match stream.read_buf(unread).await {
        Ok(count) if count > 0 => Some(()),
        _ => None,
    }
}
