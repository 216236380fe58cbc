//! A client: signed, presigned, anonymous and raw requests, and their responses.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::PATIENCE;
use super::signer::Credential;

/// A request before it is signed. `target` is sent unchanged: path and query, encoded.
#[derive(Clone, Debug)]
pub(crate) struct ClientRequest {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    /// Value of `x-amz-content-sha256`; by default, the SHA-256 of the body.
    pub(crate) payload: Option<String>,
}

impl ClientRequest {
    pub(crate) fn new(method: Method, target: impl Into<String>) -> Self {
        Self {
            method,
            target: target.into(),
            headers: Vec::new(),
            body: Bytes::new(),
            payload: None,
        }
    }

    pub(crate) fn get(target: impl Into<String>) -> Self {
        Self::new(Method::GET, target)
    }

    pub(crate) fn head(target: impl Into<String>) -> Self {
        Self::new(Method::HEAD, target)
    }

    pub(crate) fn delete(target: impl Into<String>) -> Self {
        Self::new(Method::DELETE, target)
    }

    pub(crate) fn put(target: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self::new(Method::PUT, target).body(body)
    }

    pub(crate) fn post(target: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self::new(Method::POST, target).body(body)
    }

    #[must_use]
    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Adds a header, which will be signed.
    #[must_use]
    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.into()));
        self
    }

    /// Declares the payload, for example `UNSIGNED-PAYLOAD`.
    #[must_use]
    pub(crate) fn payload(mut self, payload: &str) -> Self {
        self.payload = Some(payload.to_owned());
        self
    }

    /// The request with the headers of a signature for `host`.
    pub(crate) fn signed(mut self, credential: &Credential, host: &str) -> Self {
        let payload = self.payload.clone().unwrap_or_else(|| sha256(&self.body));
        let described = (self.method.as_str(), host, self.target.as_str());
        let added = credential.headers(described, &self.headers, &payload);
        self.headers.extend(added);
        self
    }

    /// The bytes of the request, for a separate connection.
    pub(crate) fn to_bytes(&self, host: &str) -> Vec<u8> {
        use std::fmt::Write;
        let mut head = format!(
            "{} {} HTTP/1.1\r\nhost: {host}\r\n",
            self.method, self.target
        );
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        write!(
            head,
            "content-length: {}\r\nconnection: close\r\n\r\n",
            self.body.len()
        )
        .unwrap();
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends the request unchanged, from any address of the loopback network.
    pub(crate) async fn send_from(
        self,
        source: Option<IpAddr>,
        to: SocketAddr,
        host: &str,
    ) -> Answer {
        let exchange = async {
            let stream = connect(source, to).await;
            let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
                .max_headers(1000)
                .handshake(TokioIo::new(stream))
                .await
                .unwrap();
            tokio::spawn(connection);
            let mut request = Request::builder()
                .method(self.method.clone())
                .uri(self.target.as_str())
                .header("host", host);
            for (name, value) in &self.headers {
                request = request.header(name, value);
            }
            let has_body =
                !self.body.is_empty() || self.method == Method::PUT || self.method == Method::POST;
            let announced = self
                .headers
                .iter()
                .any(|(name, _)| name == "content-length");
            if has_body && !announced {
                request = request.header("content-length", self.body.len());
            }
            let request = request.body(Full::new(self.body.clone())).unwrap();
            match sender.send_request(request).await {
                Ok(response) => Answer::read(response).await,
                Err(error) => Answer::broken(&error.to_string()),
            }
        };
        tokio::time::timeout(PATIENCE, exchange)
            .await
            .unwrap_or_else(|_| panic!("no answer to {} {}", self.method, self.target))
    }
}

async fn connect(source: Option<IpAddr>, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    if let Some(source) = source {
        socket.bind((source, 0).into()).unwrap();
    }
    socket.connect(to).await.unwrap()
}

/// Lower-case hex of the SHA-256 of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

/// The proxy's response.
#[derive(Debug)]
pub(crate) struct Answer {
    /// `None` if the connection ended without a response.
    pub(crate) status: Option<StatusCode>,
    pub(crate) headers: HeaderMap,
    /// The part of the body that arrived.
    pub(crate) body: Bytes,
    /// The error that ended the exchange early.
    pub(crate) broken: Option<String>,
}

impl Answer {
    async fn read(response: http::Response<hyper::body::Incoming>) -> Self {
        let (parts, mut incoming) = response.into_parts();
        let mut body = Vec::new();
        let mut broken = None;
        while let Some(frame) = incoming.frame().await {
            match frame {
                Ok(frame) => body.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
                Err(error) => {
                    broken = Some(error.to_string());
                    break;
                }
            }
        }
        Self {
            status: Some(parts.status),
            headers: parts.headers,
            body: body.into(),
            broken,
        }
    }

    fn broken(error: &str) -> Self {
        Self {
            status: None,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            broken: Some(error.to_owned()),
        }
    }

    /// The status as a number, or 0 without a response.
    pub(crate) fn status(&self) -> u16 {
        self.status.map_or(0, |status| status.as_u16())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's text, or an empty string.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap_or("(not ASCII)"))
    }

    /// The text of the first element `name` in the body, or an empty string.
    pub(crate) fn element(&self, name: &str) -> String {
        let text = self.text();
        let opened = text
            .find(&format!("<{name}>"))
            .map(|start| start + name.len() + 2);
        let closed =
            opened.and_then(|start| Some(start + text[start..].find(&format!("</{name}>"))?));
        match (opened, closed) {
            (Some(start), Some(end)) => text[start..end].to_owned(),
            _ => String::new(),
        }
    }

    /// S3's error code in the body, or an empty string.
    pub(crate) fn code(&self) -> String {
        self.element("Code")
    }

    /// Fails the test unless the response has this status and is complete.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status(), status, "{self:?}");
        assert_eq!(self.broken, None, "{self:?}");
        self
    }

    /// Fails the test unless the response is this error.
    #[track_caller]
    pub(crate) fn expect_error(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.code(), code, "{}", answer.text());
        answer
    }

    /// Whether a client would count the response as a success.
    pub(crate) fn is_success(&self) -> bool {
        self.status.is_some_and(|status| status.is_success()) && self.broken.is_none()
    }
}

/// Writes `bytes` on a new connection and reads until the proxy closes it.
pub(crate) async fn raw_exchange(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let exchange = async {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // A reset ends a response just as a close does.
        let _ = stream.read_to_end(&mut answer).await;
        answer
    };
    tokio::time::timeout(PATIENCE, exchange)
        .await
        .expect("the proxy closes the connection")
}
