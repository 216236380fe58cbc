//! A plain HTTP/1.1 client for servers other than the backend: key services with JSON, and
//! collectors of traces. It opens connections only on demand.
//!
//! Absent: time limits and retries (up to the callers), redirects, outbound proxies, HTTP/2.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};

/// Most headers of a response: far more than such servers send.
const HEADERS: usize = 256;
/// Most bytes of a response's head: far more than such servers send.
const HEAD_BYTES: usize = 64 * 1024;

/// Client with a connection pool of its own.
pub(crate) type ServiceClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Builds a client that trusts these roots.
pub(crate) fn service_client(roots: RootCertStore) -> ServiceClient {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider supports the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    Client::builder(TokioExecutor::new())
        .http1_max_headers(HEADERS)
        .http1_max_buf_size(HEAD_BYTES)
        .build(HttpsConnector::from((tcp, Arc::new(tls))))
}
