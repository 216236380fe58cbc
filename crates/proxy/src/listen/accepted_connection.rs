//! The beginning of a connection: the PROXY header and the TLS handshake, before any request.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Scheme;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection::{ClientConnection, ConnectionContext, serve_connection};
use super::connection_activity::Activity;
use super::connection_limits::ConnectionSlot;
use super::overflow_connections::ConnectionClass;
use super::{Serve, protocol_mismatch, proxy_protocol};
use crate::body::buffers::STREAM_BYTES;
use crate::telemetry::metrics;
use crate::trusted_proxies::TrustedProxies;

/// A connection of which nothing has been read yet.
pub(super) struct AcceptedConnection<S> {
    pub(super) stream: TcpStream,
    /// Address of the client, or of the trusted proxy that connected on its behalf.
    pub(super) peer: SocketAddr,
    pub(super) activity: Activity,
    /// Slot within the connection limit; `None` on overflow connections.
    pub(super) slot: Option<ConnectionSlot>,
    /// `None` if the listener serves plain HTTP.
    pub(super) tls: Option<TlsAcceptor>,
    /// Addresses that may send a PROXY header.
    pub(super) trusted: Arc<TrustedProxies>,
    pub(super) context: ConnectionContext<S>,
}

impl<S: Serve> AcceptedConnection<S> {
    /// Serves the connection until it ends.
    pub(super) async fn serve(mut self) {
        let _open = metrics::connection_opened();
        // An overflow connection waits for a slot: slow clients that hold one have to give way.
        let _wanted = match ConnectionClass::from_slot(self.slot.as_ref()) {
            ConnectionClass::Regular => None,
            ConnectionClass::Overflow => {
                Some(self.context.limits.patience.pressure.want(STREAM_BYTES))
            }
        };
        if let Err(error) = self.stream.set_nodelay(true) {
            tracing::debug!(%error, "could not set TCP_NODELAY");
        }
        if !self.read_proxy_header().await {
            return;
        }
        let timeout = self.context.limits.header_timeout;
        let mut client = ClientConnection {
            peer: self.peer,
            scheme: Scheme::HTTP,
            activity: self.activity,
            handle: self.slot.as_ref().map(ConnectionSlot::handle),
        };
        match self.tls {
            None => serve_connection(self.stream, client, self.context).await,
            Some(acceptor) => {
                let accepted = accept_tls(acceptor, self.stream, client.peer, timeout);
                if let Some(stream) = accepted.await {
                    client.scheme = Scheme::HTTPS;
                    serve_connection(stream, client, self.context).await;
                }
            }
        }
    }

    /// Reads the PROXY header, if the peer is trusted and sends one, and takes the client's address
    /// from it. Returns `false` if the connection must be closed: the header is invalid or late.
    async fn read_proxy_header(&mut self) -> bool {
        // Only a trusted peer may send the PROXY header; for any other it would be part of the
        // request.
        if !self.trusted.trusts(self.peer.ip().to_canonical()) {
            return true;
        }
        self.activity.is_trusted();
        let header = proxy_protocol::read(&mut self.stream);
        match tokio::time::timeout(self.context.limits.header_timeout, header).await {
            Ok(Ok(Some(client))) => {
                self.peer.set_ip(client);
                self.activity.is_from(client);
                true
            }
            Ok(Ok(None)) => true,
            Ok(Err(error)) => {
                tracing::debug!(peer = %self.peer, %error, "no valid PROXY header");
                false
            }
            Err(_) => false,
        }
    }
}

/// Performs the TLS handshake. Returns `None` if it failed, which is logged, or if the client sent
/// plain HTTP, which gets a response that names the mistake.
async fn accept_tls(
    acceptor: TlsAcceptor,
    mut stream: TcpStream,
    peer: SocketAddr,
    timeout: Duration,
) -> Option<TlsStream<TcpStream>> {
    let handshake = async {
        if protocol_mismatch::refuse_plain_http(&mut stream, peer).await? {
            return Ok(None);
        }
        let stream = acceptor.accept(stream).await?;
        io::Result::Ok(Some(stream))
    };
    match tokio::time::timeout(timeout, handshake).await {
        Ok(Ok(accepted)) => accepted,
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(%peer, "TLS handshake timed out");
            None
        }
    }
}
