//! One GET request to a running proxy, on a new connection.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// Why there is no response.
pub(super) type HttpGetError = Box<dyn std::error::Error + Send + Sync>;

/// Sends the request on a new connection. Returns the status and the body of the response, and
/// refuses a body of more than `most_bytes`.
pub(super) async fn get(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    address: SocketAddr,
    path: &str,
    most_bytes: usize,
) -> Result<(StatusCode, Bytes), HttpGetError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(Method::GET)
        .uri(path)
        .header(header::HOST, address.to_string())
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), most_bytes).collect();
        Ok((status, body.await?.to_bytes()))
    };
    let driver = async {
        match connection.await {
            // A clean end of the connection is no result: the response decides.
            Ok(()) => std::future::pending().await,
            Err(error) => Err(HttpGetError::from(error)),
        }
    };
    tokio::select! {
        // The response wins if the connection ends at the same time.
        biased;
        response = exchange => response,
        failure = driver => failure,
    }
}
