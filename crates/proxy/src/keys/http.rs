//! A small HTTP client for key services that speak JSON: one server, one request, one whole answer.
//!
//! Invariants: a request is sent once; bodies of both directions lie in memory that is wiped, as
//! far as it is this program's own (the HTTP and TLS libraries' buffers are not); an answer longer
//! than any key service's is refused. Who calls sets the time limit around it all.
//!
//! Absent: repetitions, which are the keyring's.

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use zeroize::Zeroizing;

use crate::config::resolved::{Authorities, ServerAddress};
use crate::net::{ServiceClient, service_client, trusted_roots, with_causes};

/// Far above what a key service says in one answer.
const MOST_ANSWER_BYTES: usize = 64 * 1024;

/// Why there is no answer, as a text for operators.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NoAnswer(String);

/// The settings do not make a client.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct ClientError(String);

/// An answer, read to its end.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// One server, and the connections to it.
pub(super) struct HttpClient {
    server: ServerAddress,
    client: ServiceClient,
}

impl HttpClient {
    /// Reads the certificates; opens no connection.
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

    /// Sends a request once and reads the answer, whatever its status.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &PathAndQuery,
        headers: HeaderMap,
        body: Zeroizing<Vec<u8>>,
    ) -> Result<Answer, NoAnswer> {
        let mut request = Request::new(Full::new(Bytes::from_owner(body)));
        *request.method_mut() = method;
        *request.uri_mut() = self.uri(path);
        *request.headers_mut() = headers;
        let answer = self
            .client
            .request(request)
            .await
            .map_err(|error| self.no_answer(&with_causes(&error)))?;
        let status = answer.status();
        let body = self.read(answer.into_body()).await?;
        Ok(Answer { status, body })
    }

    async fn read(&self, mut body: hyper::body::Incoming) -> Result<Zeroizing<Vec<u8>>, NoAnswer> {
        // Room for all of it: a vector that grows leaves copies behind that nobody wipes.
        let mut whole = Zeroizing::new(Vec::with_capacity(MOST_ANSWER_BYTES));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.no_answer(&with_causes(&error)))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if whole.len() + data.len() > MOST_ANSWER_BYTES {
                return Err(
                    self.no_answer("the answer is longer than 64 KiB; is it a key service?")
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

    fn no_answer(&self, reason: &str) -> NoAnswer {
        NoAnswer(format!("{}: {reason}", self.server))
    }
}
