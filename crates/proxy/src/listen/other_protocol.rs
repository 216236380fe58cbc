//! Clients that speak HTTP to the port of HTTPS, or HTTPS to the port of HTTP.
//!
//! The first byte tells: a TLS record of a handshake begins with 0x16, an HTTP request with a letter.
//! Over TLS the byte is looked at before the handshake, which has not read it then, and plain HTTP gets
//! an answer that says so. It takes no more than a handshake may: the caller bounds the time, and what is
//! read and dropped here is bounded. Without TLS the HTTP library refuses the record, and only the log
//! can say why.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, LazyLock};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::telemetry::Seldom;

const TLS_HANDSHAKE: u8 = 0x16;

/// What is read of a request that is not served, so that its client reads the answer and sees no reset.
const DROPPED_BYTES: u64 = 64 * 1024;

const DOCUMENT: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>InvalidRequest</Code>\
    <Message>This port speaks HTTPS; write https:// in the endpoint.</Message></Error>";

static PLAIN_ON_TLS: LazyLock<Seldom> = LazyLock::new(Seldom::default);
static TLS_ON_PLAIN: LazyLock<Seldom> = LazyLock::new(Seldom::default);

/// Whether a connection to the port of HTTPS was plain HTTP; then it has been answered, and is over.
pub(super) async fn refuse_plain_http(
    stream: &mut TcpStream,
    peer: std::net::SocketAddr,
) -> io::Result<bool> {
    let mut first = [0];
    let seen = stream.peek(&mut first).await?;
    if seen == 0 || !first[0].is_ascii_uppercase() {
        return Ok(false);
    }
    if let Some(times) = PLAIN_ON_TLS.turn() {
        tracing::warn!(
            peer = %peer.ip(),
            times,
            "a client speaks plain HTTP to the port of HTTPS; its endpoint has to begin with https://"
        );
    }
    // An answer to HEAD has no body; no other method of HTTP begins so.
    let body = if first[0] == b'H' { "" } else { DOCUMENT };
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/xml\r\nx-s3proxy-reason: \
         InvalidRequest: This port speaks HTTPS; write https:// in the endpoint.\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        DOCUMENT.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    let mut rest = stream.take(DROPPED_BYTES);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
    Ok(true)
}

/// The first byte of a connection, which its reader notes.
#[derive(Clone, Default)]
pub(super) struct FirstByte(Arc<AtomicU8>);

impl FirstByte {
    /// Notes the first byte of what was read first.
    pub(super) fn note(&self, read: &[u8]) {
        if let Some(first) = read.first() {
            let _ = self
                .0
                .compare_exchange(0, *first, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Says of a connection that the HTTP library has refused that it was TLS, if it was.
    pub(super) fn tell_of_tls(&self, peer: std::net::SocketAddr) {
        if self.0.load(Ordering::Relaxed) != TLS_HANDSHAKE {
            return;
        }
        if let Some(times) = TLS_ON_PLAIN.turn() {
            tracing::warn!(
                peer = %peer.ip(),
                times,
                "a client speaks HTTPS to a port of plain HTTP; its endpoint has to begin with \
                 http://, or the proxy needs a certificate (S3PROXY_CERT, --cert) and no --no-tls"
            );
        }
    }
}
