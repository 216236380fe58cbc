//! A small HTTP client for key services with JSON: one server, one request, one complete response.
//!
//! Invariants: a request is sent once; bodies of both directions are in memory that is wiped, as
//! far as it is this program's own (the buffers of the HTTP and TLS libraries are not); a response
//! longer than any key service's is refused. The caller sets the time limit around the whole
//! exchange.
//!
//! Absent: retries, which the Keyring does.

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use zeroize::Zeroizing;

use crate::config::resolved::{Authorities, ServerAddress};
use crate::net::{ServiceClient, service_client, trusted_roots, with_causes};

/// Longest response that is read, in bytes. Far above any of a key service.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// Why there is no response, as a text for operators.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct HttpError(String);

/// Why the settings make no client.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct ClientError(String);

/// A response, read to its end.
pub(super) struct HttpResponse {
    pub(super) status: StatusCode,
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// Client of one server, with its connection pool.
pub(super) struct HttpClient {
    server: ServerAddress,
    client: ServiceClient,
}

impl HttpClient {
    /// Reads the CA certificates; opens no connection.
    pub(super) fn new(
        server: &ServerAddress,
        authorities: &Authorities,
    ) -> Result<Self, ClientError> {
        let ca_file = match authorities {
            Authorities::System => None,
            Authorities::File(file) => Some(file.as_path()),
        };
        let roots = trusted_roots(ca_file).map_err(|error| ClientError(error.to_string()))?;
        Ok(Self {
            server: server.clone(),
            client: service_client(roots),
        })
    }

    /// Sends a request once and returns the response, of any status.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &PathAndQuery,
        headers: HeaderMap,
        body: Zeroizing<Vec<u8>>,
    ) -> Result<HttpResponse, HttpError> {
        let mut request = Request::new(Full::new(Bytes::from_owner(body)));
        *request.method_mut() = method;
        *request.uri_mut() = self.uri(path);
        *request.headers_mut() = headers;
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| self.http_error(&with_causes(&error)))?;
        let status = response.status();
        let body = self.read(response.into_body()).await?;
        Ok(HttpResponse { status, body })
    }

    async fn read(&self, mut body: hyper::body::Incoming) -> Result<Zeroizing<Vec<u8>>, HttpError> {
        // Allocate the maximum at once: a vector that grows leaves copies behind that nobody wipes.
        let mut whole = Zeroizing::new(Vec::with_capacity(MAX_RESPONSE_BYTES));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.http_error(&with_causes(&error)))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if whole.len() + data.len() > MAX_RESPONSE_BYTES {
                return Err(
                    self.http_error("the response is longer than 64 KiB; is this a key service?")
                );
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole)
    }

    fn uri(&self, path: &PathAndQuery) -> Uri {
        Uri::builder()
            .scheme(self.server.scheme.as_str())
            .authority(self.server.authority())
            .path_and_query(path.clone())
            .build()
            .expect("a server address and a path make a URI")
    }

    fn http_error(&self, reason: &str) -> HttpError {
        HttpError(format!("{}: {reason}", self.server))
    }
}
