//! Opening one connection: name look-up, TCP, an outbound proxy's tunnel, TLS.
//!
//! One timeout covers all steps. Addresses of both families are tried concurrently (RFC 8305, in
//! the HTTP library). Each connection carries the time at which it was opened, by which the client
//! retires it. Errors name the layer that failed, since each has another remedy.
//!
//! Absent: HTTP/2, SOCKS, and outbound proxies for plain `http` backends.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use http::Uri;
use http::uri::Scheme;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

use super::settings::{OutboundProxy, Settings};
use crate::net::with_causes;

const TCP_KEEPALIVE: Duration = Duration::from_mins(1);

/// Time at which a connection was opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenedAt(pub(super) Instant);

/// Error by the layer that failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("{0}")]
    Reach(String),
    #[error("{0}")]
    Proxy(String),
    #[error("{0}")]
    Tls(String),
    #[error("not connected within {0:?}")]
    Timeout(Duration),
}

type TransportStream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Connector of the HTTP client.
#[derive(Clone)]
pub(super) struct Connector {
    tls: HttpsConnector<Dialer>,
    limit: Duration,
}

impl Connector {
    pub(super) fn new(settings: &Settings, tls: ClientConfig) -> Self {
        let tls = Arc::new(tls);
        let mut tcp = HttpConnector::new();
        // `https` is dialled, too: the layer above adds TLS.
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(TCP_KEEPALIVE));
        // Ends abandoned connections that still have unsent bytes.
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(settings.body_timeout));
        let dialer = Dialer {
            to_proxy: HttpsConnector::from((tcp.clone(), tls.clone())),
            tcp,
            rules: Arc::new(rules(&settings.outbound_proxy)),
        };
        Connector {
            tls: HttpsConnector::from((dialer, tls)),
            limit: settings.connect_timeout,
        }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<DatedStream>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Self::Response, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, destination: Uri) -> Self::Future {
        let connecting = self.tls.call(destination);
        let limit = self.limit;
        Box::pin(async move {
            match tokio::time::timeout(limit, connecting).await {
                Ok(Ok(stream)) => Ok(stream),
                // The dialer's own errors pass through unchanged; all others are TLS's.
                Ok(Err(error)) => Err(match error.downcast::<ConnectError>() {
                    Ok(error) => *error,
                    Err(error) => ConnectError::Tls(with_causes(&*error)),
                }),
                Err(_) => Err(ConnectError::Timeout(limit)),
            }
        })
    }
}

/// Opens the byte stream to the backend: directly, or through a tunnel.
#[derive(Clone)]
struct Dialer {
    tcp: HttpConnector,
    to_proxy: HttpsConnector<HttpConnector>,
    rules: Arc<Matcher>,
}

impl Service<Uri> for Dialer {
    type Response = DatedStream;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<DatedStream, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, destination: Uri) -> Self::Future {
        let linking: BoxFuture<'static, Result<TransportStream, ConnectError>> =
            if destination.scheme() == Some(&Scheme::HTTPS)
                && let Some(proxy) = self.rules.intercept(&destination)
            {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), self.to_proxy.clone());
                if let Some(auth) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(auth.clone());
                }
                let tunnelling = tunnel.call(destination);
                Box::pin(async move {
                    tunnelling
                        .await
                        .map_err(|error| ConnectError::Proxy(with_causes(&error)))
                })
            } else {
                let connecting = self.tcp.call(destination);
                Box::pin(async move {
                    match connecting.await {
                        Ok(stream) => Ok(TransportStream::Http(stream)),
                        Err(error) => Err(ConnectError::Reach(with_causes(&error))),
                    }
                })
            };
        Box::pin(async move {
            Ok(DatedStream {
                link: linking.await?,
                opened: OpenedAt(Instant::now()),
            })
        })
    }
}

fn rules(proxy: &OutboundProxy) -> Matcher {
    match proxy {
        OutboundProxy::Environment => Matcher::from_env(),
        #[cfg(test)]
        OutboundProxy::Direct => Matcher::builder().build(),
        #[cfg(test)]
        OutboundProxy::Explicit {
            https_proxy,
            no_proxy,
        } => Matcher::builder()
            .https(https_proxy.as_str())
            .no(no_proxy.as_str())
            .build(),
    }
}

/// A connection that tells the pool when it was opened.
pub(super) struct DatedStream {
    link: TransportStream,
    opened: OpenedAt,
}

impl Connection for DatedStream {
    fn connected(&self) -> Connected {
        self.link.connected().extra(self.opened)
    }
}

impl Read for DatedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_read(cx, buffer)
    }
}

impl Write for DatedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.link).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.link.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.link).poll_write_vectored(cx, slices)
    }
}
