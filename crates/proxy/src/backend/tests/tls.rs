//! TLS with a private authority and a client certificate, and tunnels through an outbound proxy.

use std::path::PathBuf;
use std::sync::Arc;

use http::StatusCode;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::support::{
    Seen, Server, backend_with, get, put, read_request, response, settings, streamed, text,
};
use crate::backend::{BackendError, ClientCertificate, OutboundProxy, Scheme, Settings};

/// A certificate authority, and files of its certificates.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Authority {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
            folder: TempDir::new().unwrap(),
        }
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn ca_file(&self) -> PathBuf {
        self.file("ca.pem", &self.issuer.pem())
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    fn client(&self) -> ClientCertificate {
        let (certificate, key) = self.issue("s3proxy.example");
        ClientCertificate {
            certificate: self.file("client.pem", &certificate.pem()),
            key: self.file("client.key", &key.serialize_pem()),
        }
    }
}

#[derive(Clone, Copy)]
enum Ask {
    NoCertificate,
    Certificate,
}

/// Starts a TLS server that drops its first `dropped` connections before the handshake.
async fn server(authority: &Authority, ask: Ask, dropped: usize) -> Server {
    let (certificate, key) = authority.issue("127.0.0.1");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match ask {
        Ask::NoCertificate => builder.with_no_client_auth(),
        Ask::Certificate => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(authority.issuer.der().clone()).unwrap();
            builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .unwrap(),
            )
        }
    };
    let config = builder
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (server, listener) =
        Server::bind("127.0.0.1:0", |_, _| response("200 OK", &[], "tls")).await;
    let serving = server.clone();
    tokio::spawn(async move {
        for connection in 0.. {
            let (socket, _) = listener.accept().await.unwrap();
            // Dropping the socket closes it.
            if connection < dropped {
                continue;
            }
            if let Ok(stream) = acceptor.accept(socket).await {
                tokio::spawn(serving.clone().converse(connection, stream));
            }
        }
    });
    server
}

fn https(server: &Server, authority: &Authority) -> Settings {
    let mut settings = settings(server.address);
    settings.endpoint.scheme = Scheme::Https;
    settings.ca_file = Some(authority.ca_file());
    settings
}

#[tokio::test]
async fn a_private_authority_is_trusted_when_it_is_named() {
    let authority = Authority::new();
    let server = server(&authority, Ask::NoCertificate, 0).await;
    let backend = backend_with(https(&server, &authority)).await;
    let response = backend.send(get("k")).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "tls");
}

#[tokio::test]
async fn another_authority_is_not_trusted() {
    let authority = Authority::new();
    let server = server(&authority, Ask::NoCertificate, 0).await;
    // `None` means the authorities of the system.
    for ca_file in [Some(Authority::new()), None] {
        let mut settings = https(&server, &authority);
        settings.ca_file = ca_file.as_ref().map(Authority::ca_file);
        let error = backend_with(settings)
            .await
            .send(get("k"))
            .await
            .err()
            .unwrap();
        assert!(matches!(error, BackendError::Tls { .. }), "{error}");
        assert!(error.to_string().contains("certificate"), "{error}");
    }
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn a_server_of_plain_http_is_reported_as_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = settings(listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let response = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(response).await.unwrap();
        // Wait until the client has closed.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    settings.endpoint.scheme = Scheme::Https;
    settings.retry.attempts = 1;
    let error = backend_with(settings).await.send(get("k")).await;
    let error = error.err().unwrap().to_string();
    assert!(error.contains("use http://"), "{error}");
}

#[tokio::test]
async fn the_client_certificate_is_shown() {
    let authority = Authority::new();
    let server = server(&authority, Ask::Certificate, 0).await;
    let mut settings = https(&server, &authority);
    settings.retry.attempts = 1;
    backend_with(settings.clone())
        .await
        .send(get("k"))
        .await
        .err()
        .unwrap();
    assert_eq!(server.seen().len(), 0);
    settings.client_certificate = Some(authority.client());
    let response = backend_with(settings).await.send(get("k")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn files_that_hold_no_certificates_are_named() {
    let authority = Authority::new();
    let empty = authority.file("empty.pem", "");
    let mut settings = settings("127.0.0.1:9".parse().unwrap());
    settings.ca_file = Some(empty.clone());
    let keys = super::support::fixed_keys().await;
    let error = crate::backend::Backend::new(settings, keys).err().unwrap();
    assert!(matches!(error, BackendError::Settings(_)), "{error}");
    assert!(error.to_string().contains("empty.pem"), "{error}");
}

#[tokio::test]
async fn a_stream_of_which_nothing_was_taken_is_sent_on_the_next_connection() {
    let authority = Authority::new();
    let server = server(&authority, Ask::NoCertificate, 1).await;
    let backend = backend_with(https(&server, &authority)).await;
    let request = put("k", streamed(7, &["content"], None));
    let response = backend.send(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].connection, &*seen[0].body), (1, &b"content"[..]));
}

/// Starts an HTTP proxy for one tunnel at a time; returns the requests that it received.
async fn outbound_proxy(status: &'static str) -> (String, tokio::sync::mpsc::Receiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, asks) = tokio::sync::mpsc::channel(8);
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let ask = read_request(&mut socket, &mut Vec::new(), 0).await.unwrap();
            let head = format!("HTTP/1.1 {status}\r\n\r\n");
            socket.write_all(head.as_bytes()).await.unwrap();
            let target = ask.target.clone();
            asked.send(ask).await.unwrap();
            if status.starts_with("200") {
                let mut backend = TcpStream::connect(target).await.unwrap();
                // The end of the tunnel is not the subject of this test.
                let _ = copy_bidirectional(&mut socket, &mut backend).await;
            }
        }
    });
    (format!("http://user:password@{address}"), asks)
}

fn through(proxy: &str, no_proxy: &str) -> OutboundProxy {
    OutboundProxy::Explicit {
        https_proxy: proxy.to_owned(),
        no_proxy: no_proxy.to_owned(),
    }
}

#[tokio::test]
async fn an_outbound_proxy_tunnels_https_and_sees_nothing_but_the_address() {
    let authority = Authority::new();
    let server = server(&authority, Ask::NoCertificate, 0).await;
    let (proxy, mut asks) = outbound_proxy("200 OK").await;
    let mut settings = https(&server, &authority);
    settings.outbound_proxy = through(&proxy, "");
    let response = backend_with(settings).await.send(get("k")).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "tls");
    let ask = asks.recv().await.unwrap();
    assert_eq!(ask.method, "CONNECT");
    assert_eq!(ask.target, server.address.to_string());
    assert_eq!(
        ask.header("Proxy-Authorization"),
        // Base64 of `user:password`.
        "Basic dXNlcjpwYXNzd29yZA=="
    );
    // The signature for the backend passes only inside the tunnel.
    assert_eq!(ask.header("authorization"), "");
}

#[tokio::test]
async fn a_refused_tunnel_is_the_outbound_proxys_error() {
    let authority = Authority::new();
    let server = server(&authority, Ask::NoCertificate, 0).await;
    let (proxy, _asks) = outbound_proxy("407 Authenticate").await;
    let mut settings = https(&server, &authority);
    settings.outbound_proxy = through(&proxy, "");
    settings.retry.attempts = 1;
    let error = backend_with(settings)
        .await
        .send(get("k"))
        .await
        .err()
        .unwrap();
    assert!(
        matches!(error, BackendError::OutboundProxy { .. }),
        "{error}"
    );
    assert!(!error.to_string().contains("password"), "{error}");
}

#[tokio::test]
async fn exempt_hosts_and_plain_http_bypass_the_outbound_proxy() {
    let authority = Authority::new();
    let tls = server(&authority, Ask::NoCertificate, 0).await;
    let plain = Server::start(|_, _| response("200 OK", &[], "plain")).await;
    // Nothing listens there, so a request through this proxy fails.
    let nobody = "http://127.0.0.1:9";
    let mut exempt = https(&tls, &authority);
    exempt.outbound_proxy = through(nobody, "127.0.0.0/8");
    let mut unencrypted = settings(plain.address);
    unencrypted.outbound_proxy = through(nobody, "");
    for settings in [exempt, unencrypted] {
        let response = backend_with(settings).await.send(get("k")).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
}
