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

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::{Addresses, Transport};

/// Longest response that is read, in bytes.
const ANSWER_BYTES: usize = 16 * 1024;

/// Question to the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthCheck {
    /// Liveness.
    Alive,
    /// Readiness for requests.
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
    fn patience(self) -> Duration {
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
        "port 0 takes any free port, so the proxy's is not known; set listen.port or \
         listen.admin to a number"
    )]
    AnyPort,
    /// Nothing responds, or not in HTTP.
    #[error("no answer from {address}: {reason}; give this command the same settings as the proxy")]
    Unanswered {
        /// Address that was asked.
        address: SocketAddr,
        /// Error.
        reason: String,
    },
    /// There was no response in time.
    #[error("no answer from {address} within {} s", patience.as_secs())]
    Late {
        /// Address that was asked.
        address: SocketAddr,
        /// Time limit.
        patience: Duration,
    },
    /// The proxy reports a problem.
    #[error("{status}: {}", said.trim())]
    Unhealthy {
        /// Status of the response.
        status: StatusCode,
        /// Text of the response.
        said: String,
    },
}

/// Asks once. Returns the proxy's text if it is healthy.
pub async fn ask(addresses: &Addresses, question: HealthCheck) -> Result<String, HealthError> {
    let (address, transport) = target(addresses)?;
    let patience = question.patience();
    let asking = exchange(address, transport, question);
    let answer = tokio::time::timeout(patience, asking).await;
    let answer = answer.map_err(|_| HealthError::Late { address, patience })?;
    let (status, said) = answer.map_err(|error| HealthError::Unanswered {
        address,
        reason: error.to_string(),
    })?;
    if status == StatusCode::OK {
        Ok(said)
    } else {
        Err(HealthError::Unhealthy { status, said })
    }
}

/// Returns the address to ask.
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

type Fault = Box<dyn std::error::Error + Send + Sync>;

async fn exchange(
    address: SocketAddr,
    transport: Transport,
    question: HealthCheck,
) -> Result<(StatusCode, String), Fault> {
    let stream = TcpStream::connect(address).await?;
    match transport {
        Transport::Plain => speak(stream, address, question).await,
        Transport::Tls => {
            let name = ServerName::IpAddress(address.ip().into());
            match connector()?.connect(name, stream).await {
                Ok(stream) => speak(stream, address, question).await,
                // A new connection: the first one has seen the beginning of a TLS handshake.
                Err(no_tls) => {
                    let stream = TcpStream::connect(address).await?;
                    let answered = speak(stream, address, question).await;
                    answered.map_err(|_| no_tls.into())
                }
            }
        }
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    address: SocketAddr,
    question: HealthCheck,
) -> Result<(StatusCode, String), Fault> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(Method::GET)
        .uri(question.path())
        .header(header::HOST, address.to_string())
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let answering = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let said = Limited::new(answer.into_body(), ANSWER_BYTES).collect();
        let said = String::from_utf8_lossy(&said.await?.to_bytes()).into_owned();
        Ok((status, said))
    };
    let driving = async {
        match connection.await {
            // A clean end of the connection is no result: the response decides.
            Ok(()) => std::future::pending().await,
            Err(error) => Err(Fault::from(error)),
        }
    };
    tokio::select! {
        biased;
        answered = answering => answered,
        failed = driving => failed,
    }
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
/// The proxy is asked on this machine, by an address that its certificate does not name, and the
/// request contains no secret. The result is one bit, which a program on the proxy's own port could
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
    fn the_admin_listener_comes_first_and_everywhere_is_asked_on_loopback() {
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
    async fn answered(answer: &'static str) -> (Result<String, HealthError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = Some(listener.local_addr().unwrap());
        let addresses = Addresses {
            admin,
            ..addresses("127.0.0.1:1", None)
        };
        tokio::join!(
            ask(&addresses, HealthCheck::Ready),
            serve(&listener, answer)
        )
    }

    async fn serve(listener: &TcpListener, answer: &'static str) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(head).unwrap()
    }

    #[tokio::test]
    async fn an_answer_of_200_is_health_and_any_other_is_none() {
        let (health, asked) = answered("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n").await;
        assert_eq!(health.unwrap(), "ready\n");
        assert!(asked.starts_with("GET /readyz HTTP/1.1\r\n"), "{asked}");
        let (health, _) = answered("HTTP/1.1 503 No\r\ncontent-length: 9\r\n\r\ndraining\n").await;
        let text = health.unwrap_err().to_string();
        assert_eq!(text, "503 Service Unavailable: draining");
        let (health, _) = answered("SSH-2.0-server\r\n").await;
        assert!(matches!(health, Err(HealthError::Unanswered { .. })));
        let (health, _) = answered("").await;
        assert!(matches!(health, Err(HealthError::Unanswered { .. })));
    }

    #[tokio::test]
    async fn plain_http_is_asked_for_where_tls_is_expected_and_not_spoken() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let addresses = addresses(&address.to_string(), None);
        for (answer, healthy) in [
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
                serve(&listener, answer).await
            };
            let (health, asked) = tokio::join!(ask(&addresses, HealthCheck::Alive), serving);
            assert_eq!(health.is_ok(), healthy, "{health:?}");
            assert!(asked.starts_with("GET /healthz HTTP/1.1\r\n"), "{asked}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_no_health_and_the_error_says_who_was_asked() {
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
