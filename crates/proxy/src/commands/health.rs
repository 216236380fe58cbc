//! `s3proxy health`: asks the proxy on the same machine, for the health checks of containers.
//!
//! The address follows from the settings of `serve`: the admin listener if there is one, else the
//! S3 port. So an image without shell and `curl` needs only this program. Only addresses are read
//! from the configuration, so that a file that was broken while the proxy kept running does not
//! make the proxy look dead.
//!
//! An image's health check has the proxy's file and environment, but not its arguments. `--no-tls`
//! may have been one of them, so if TLS is expected and its handshake fails, plain HTTP is tried,
//! too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::http_get::{HttpGetError, get};
use crate::config::{Addresses, Transport};

/// Longest response that is read, in bytes.
const RESPONSE_BYTES: usize = 16 * 1024;

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthCheck {
    /// The proxy is alive.
    Alive,
    /// The proxy is ready for requests.
    Ready,
}

impl HealthCheck {
    fn path(self) -> &'static str {
        match self {
            Self::Alive => "/healthz",
            Self::Ready => "/readyz",
        }
    }

    /// Returns the time limit for the whole check: for readiness the proxy may have to ask the
    /// backend.
    fn timeout(self) -> Duration {
        match self {
            Self::Alive => Duration::from_secs(5),
            Self::Ready => Duration::from_secs(10),
        }
    }
}

/// Why the proxy does not count as healthy.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// The configured port is 0, so the actual port is unknown.
    #[error(
        "the proxy's port is unknown, since port 0 takes any free one; set listen.port or \
         listen.admin to a fixed port"
    )]
    AnyPort,
    /// Nothing responds, or not in HTTP.
    #[error(
        "no response from {address}: {reason}; give this command the same settings as the proxy"
    )]
    NoResponse {
        /// Address of the proxy.
        address: SocketAddr,
        /// Error.
        reason: String,
    },
    /// There was no response in time.
    #[error("timed out after {} s waiting for {address}", timeout.as_secs())]
    TimedOut {
        /// Address of the proxy.
        address: SocketAddr,
        /// Time limit.
        timeout: Duration,
    },
    /// The proxy reports a problem.
    #[error("{status}: {}", text.trim())]
    Unhealthy {
        /// Status of the response.
        status: StatusCode,
        /// Text of the response.
        text: String,
    },
}

/// Sends one request to the proxy. Returns its text if it is healthy.
pub async fn ask(addresses: &Addresses, check: HealthCheck) -> Result<String, HealthError> {
    let (address, transport) = target(addresses)?;
    let timeout = check.timeout();
    let response = tokio::time::timeout(timeout, exchange(address, transport, check)).await;
    let response = response.map_err(|_| HealthError::TimedOut { address, timeout })?;
    let (status, text) = response.map_err(|error| HealthError::NoResponse {
        address,
        reason: error.to_string(),
    })?;
    if status == StatusCode::OK {
        Ok(text)
    } else {
        Err(HealthError::Unhealthy { status, text })
    }
}

/// Returns the address and the transport of the request.
fn target(addresses: &Addresses) -> Result<(SocketAddr, Transport), HealthError> {
    let (mut address, transport) = match addresses.admin {
        Some(admin) => (admin, Transport::Plain),
        None => (addresses.s3, addresses.transport),
    };
    if address.port() == 0 {
        return Err(HealthError::AnyPort);
    }
    // A proxy that listens on every address is reachable on loopback.
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    Ok((address, transport))
}

async fn exchange(
    address: SocketAddr,
    transport: Transport,
    check: HealthCheck,
) -> Result<(StatusCode, String), HttpGetError> {
    let stream = TcpStream::connect(address).await?;
    let (status, body) = match transport {
        Transport::Plain => get(stream, address, check.path(), RESPONSE_BYTES).await?,
        Transport::Tls => {
            let name = ServerName::IpAddress(address.ip().into());
            match connector()?.connect(name, stream).await {
                Ok(stream) => get(stream, address, check.path(), RESPONSE_BYTES).await?,
                // A new connection: the first one has seen the beginning of a TLS handshake.
                Err(no_tls) => {
                    let stream = TcpStream::connect(address).await?;
                    let response = get(stream, address, check.path(), RESPONSE_BYTES).await;
                    response.map_err(|_| no_tls)?
                }
            }
        }
    };
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

fn connector() -> Result<TlsConnector, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unverified(provider)))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Verifier that accepts any certificate.
///
/// The request goes to this machine, to an address that the certificate does not name, and contains
/// no secret. The result is one bit, which a program on the proxy's own port could
/// also forge with the proxy's own certificate.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn addresses(s3: &str, admin: Option<&str>) -> Addresses {
        Addresses {
            s3: s3.parse().unwrap(),
            transport: Transport::Tls,
            admin: admin.map(|admin| admin.parse().unwrap()),
        }
    }

    #[test]
    fn the_admin_listener_comes_first_and_an_unspecified_address_means_loopback() {
        for (s3, admin, expected, transport) in [
            ("0.0.0.0:4433", None, "127.0.0.1:4433", Transport::Tls),
            ("[::]:4433", None, "[::1]:4433", Transport::Tls),
            ("10.0.0.7:4433", None, "10.0.0.7:4433", Transport::Tls),
            (
                "0.0.0.0:4433",
                Some("0.0.0.0:9090"),
                "127.0.0.1:9090",
                Transport::Plain,
            ),
            (
                "0.0.0.0:4433",
                Some("[::]:9090"),
                "[::1]:9090",
                Transport::Plain,
            ),
            (
                "0.0.0.0:0",
                Some("127.0.0.2:9090"),
                "127.0.0.2:9090",
                Transport::Plain,
            ),
        ] {
            let found = target(&addresses(s3, admin)).unwrap();
            assert_eq!(
                found,
                (expected.parse().unwrap(), transport),
                "{s3} {admin:?}"
            );
        }
        // The system chose the port, and a check cannot find it out.
        for (s3, admin) in [("0.0.0.0:0", None), ("0.0.0.0:4433", Some("0.0.0.0:0"))] {
            let found = target(&addresses(s3, admin));
            assert!(matches!(found, Err(HealthError::AnyPort)), "{s3} {admin:?}");
        }
    }

    /// Serves one request with a fixed response. Returns the result of the check and the request.
    async fn response_to(response: &'static str) -> (Result<String, HealthError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = Some(listener.local_addr().unwrap());
        let addresses = Addresses {
            admin,
            ..addresses("127.0.0.1:1", None)
        };
        tokio::join!(
            ask(&addresses, HealthCheck::Ready),
            serve(&listener, response)
        )
    }

    async fn serve(listener: &TcpListener, response: &'static str) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(response.as_bytes()).await.unwrap();
        String::from_utf8(head).unwrap()
    }

    #[tokio::test]
    async fn a_response_of_200_is_healthy_and_no_other_is() {
        let (health, request) =
            response_to("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n").await;
        assert_eq!(health.unwrap(), "ready\n");
        assert!(request.starts_with("GET /readyz HTTP/1.1\r\n"), "{request}");
        let (health, _) =
            response_to("HTTP/1.1 503 No\r\ncontent-length: 9\r\n\r\ndraining\n").await;
        let text = health.unwrap_err().to_string();
        assert_eq!(text, "503 Service Unavailable: draining");
        let (health, _) = response_to("SSH-2.0-server\r\n").await;
        assert!(matches!(health, Err(HealthError::NoResponse { .. })));
        let (health, _) = response_to("").await;
        assert!(matches!(health, Err(HealthError::NoResponse { .. })));
    }

    #[tokio::test]
    async fn plain_http_is_tried_if_the_proxy_does_not_speak_tls() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let addresses = addresses(&address.to_string(), None);
        for (response, healthy) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n", true),
            ("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", false),
        ] {
            let serving = async {
                let (mut greeting, _) = listener.accept().await.unwrap();
                greeting
                    // A server without TLS refuses the handshake like this.
                    .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    .await
                    .unwrap();
                drop(greeting);
                serve(&listener, response).await
            };
            let (health, request) = tokio::join!(ask(&addresses, HealthCheck::Alive), serving);
            assert_eq!(health.is_ok(), healthy, "{health:?}");
            assert!(
                request.starts_with("GET /healthz HTTP/1.1\r\n"),
                "{request}"
            );
        }
    }

    #[tokio::test]
    async fn without_a_listener_the_error_names_the_address() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let nobody = Addresses {
            admin: Some(address),
            ..addresses("127.0.0.1:1", None)
        };
        let error = ask(&nobody, HealthCheck::Alive).await.unwrap_err();
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}
