//! Clients that speak HTTP to the HTTPS port, or HTTPS to the HTTP port.
//!
//! The first byte decides: a TLS handshake record begins with 0x16, an HTTP request with a letter.
//! With TLS the byte is peeked before the handshake, and plain HTTP gets a response that explains
//! the mistake. That costs no more than a handshake: the caller bounds the time, and the amount of
//! dropped data is bounded here. Without TLS the HTTP library refuses the record, and only the log
//! can give the reason.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, LazyLock};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::telemetry::LogRateLimit;

const TLS_HANDSHAKE: u8 = 0x16;

/// Number of bytes of a refused request that are read and dropped, so that its client reads the
/// response instead of seeing a reset.
const DROPPED_BYTES: u64 = 64 * 1024;

const DOCUMENT: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
    <Error><Code>InvalidRequest</Code>\
    <Message>This port requires HTTPS; use https:// in the endpoint.</Message></Error>";

static PLAIN_ON_TLS: LazyLock<LogRateLimit> = LazyLock::new(LogRateLimit::default);
static TLS_ON_PLAIN: LazyLock<LogRateLimit> = LazyLock::new(LogRateLimit::default);

/// Returns whether a connection to the HTTPS port was plain HTTP; then it was answered, and is
/// over.
pub(super) async fn refuse_plain_http(
    stream: &mut TcpStream,
    peer: std::net::SocketAddr,
) -> io::Result<bool> {
    let mut first = [0];
    let seen = stream.peek(&mut first).await?;
    if seen == 0 || !first[0].is_ascii_uppercase() {
        return Ok(false);
    }
    if let Some(times) = PLAIN_ON_TLS.count() {
        tracing::warn!(
            peer = %peer.ip(),
            times,
            "a client sent plain HTTP to the HTTPS port; its endpoint must begin with https://"
        );
    }
    // A response to HEAD has no body; no other HTTP method begins with H.
    let body = if first[0] == b'H' { "" } else { DOCUMENT };
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/xml\r\nx-s3proxy-reason: \
         InvalidRequest: This port requires HTTPS; use https:// in the endpoint.\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        DOCUMENT.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    let mut rest = stream.take(DROPPED_BYTES);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
    Ok(true)
}

/// First byte of a connection, noted by its reader.
#[derive(Clone, Default)]
pub(super) struct FirstByte(Arc<AtomicU8>);

impl FirstByte {
    /// Notes the first byte, if none was noted before.
    pub(super) fn note(&self, read: &[u8]) {
        if let Some(first) = read.first() {
            let _ = self
                // 0 means that none was noted yet; neither HTTP nor TLS begins with it.
                .0
                .compare_exchange(0, *first, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Logs that a connection refused by the HTTP library was TLS, if it was.
    pub(super) fn warn_if_tls(&self, peer: std::net::SocketAddr) {
        if self.0.load(Ordering::Relaxed) != TLS_HANDSHAKE {
            return;
        }
        if let Some(times) = TLS_ON_PLAIN.count() {
            tracing::warn!(
                peer = %peer.ip(),
                times,
                "a client sent HTTPS to the plain HTTP port; its endpoint must begin with http://, \
                 or the proxy needs a certificate (S3PROXY_CERT, --cert) and no --no-tls"
            );
        }
    }
}
