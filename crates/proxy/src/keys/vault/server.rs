//! One Vault or OpenBao server: its conventions for requests, without their meaning.
//!
//! Every request carries `X-Vault-Request`, which the agents and proxies of both products may
//! demand, and the namespace if one is configured. Only the health check is sent without a
//! namespace, since it is served nowhere else.

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, StatusCode};
use zeroize::Zeroizing;

use super::super::http::{HttpClient, HttpResponse};
use super::super::key_service::ServiceError;
use super::{VaultError, response};
use crate::config::resolved::VaultKey;

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");

/// Address and client of a server.
pub(super) struct VaultServer {
    pub(super) address: String,
    http: HttpClient,
    namespace: Option<HeaderValue>,
}

/// A token as requests carry it. It is never printed.
#[derive(Clone, PartialEq)]
pub(super) struct VaultToken(HeaderValue);

impl VaultToken {
    /// Returns `None` if the text cannot be a header's value.
    pub(super) fn new(text: &str) -> Option<Self> {
        let mut value = HeaderValue::from_str(text).ok()?;
        value.set_sensitive(true);
        Some(Self(value))
    }
}

impl VaultServer {
    pub(super) fn new(config: &VaultKey) -> Result<Self, VaultError> {
        let address = config.address.to_string();
        let http = HttpClient::new(&config.address, &config.authorities).map_err(|error| {
            VaultError::Client {
                address: address.clone(),
                reason: error.to_string(),
            }
        })?;
        let namespace = match &config.namespace {
            None => None,
            Some(name) => Some(HeaderValue::from_str(name).map_err(|_| VaultError::Name {
                what: "namespace",
                value: name.clone(),
            })?),
        };
        Ok(Self {
            address,
            http,
            namespace,
        })
    }

    /// Sends one request; a response of any status is a success here.
    pub(super) async fn post(
        &self,
        path: &PathAndQuery,
        token: Option<&VaultToken>,
        body: Zeroizing<Vec<u8>>,
    ) -> Result<HttpResponse, ServiceError> {
        let mut headers = self.headers(token);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.send(Method::POST, path, headers, body).await
    }

    pub(super) async fn get(
        &self,
        path: &PathAndQuery,
        token: &VaultToken,
    ) -> Result<HttpResponse, ServiceError> {
        let headers = self.headers(Some(token));
        self.send(Method::GET, path, headers, Zeroizing::default())
            .await
    }

    /// Checks that the server is up and unsealed, active or standby. The query asks for no special
    /// status of a standby, but its statuses are accepted all the same.
    pub(super) async fn health(&self) -> Result<(), ServiceError> {
        let path = PathAndQuery::from_static("/v1/sys/health?standbyok=true&perfstandbyok=true");
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST, HeaderValue::from_static("true"));
        let response = self
            .send(Method::GET, &path, headers, Zeroizing::default())
            .await?;
        match response.status.as_u16() {
            200 | 429 | 473 => Ok(()),
            501 => Err(self.unhealthy("is not initialised")),
            503 => Err(self.unhealthy("is sealed; unseal it")),
            472 => {
                Err(self.unhealthy("is a disaster recovery secondary, which serves no requests"))
            }
            status => Err(self.unhealthy(&format!("returned status {status} for sys/health"))),
        }
    }

    fn unhealthy(&self, how: &str) -> ServiceError {
        ServiceError::Unavailable(format!("Vault at {} {how}", self.address))
    }

    async fn send(
        &self,
        method: Method,
        path: &PathAndQuery,
        headers: HeaderMap,
        body: Zeroizing<Vec<u8>>,
    ) -> Result<HttpResponse, ServiceError> {
        let response = self
            .http
            .send(method, path, headers, body)
            .await
            .map_err(|error| ServiceError::Unavailable(error.to_string()))?;
        // Not followed, since a redirect would carry the token to another server.
        if response.status.is_redirection() {
            return Err(self.unhealthy(
                "returned a redirect, as a standby node without request forwarding does; set the \
                 address of the active node or of a load balancer",
            ));
        }
        // Status 412: a node that has not replicated the latest state yet.
        if response.status == StatusCode::PRECONDITION_FAILED {
            return Err(self.unhealthy(&response::describe(
                "has not caught up with the active node",
                &response,
            )));
        }
        Ok(response)
    }

    fn headers(&self, token: Option<&VaultToken>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST, HeaderValue::from_static("true"));
        if let Some(namespace) = &self.namespace {
            headers.insert(NAMESPACE, namespace.clone());
        }
        if let Some(VaultToken(token)) = token {
            headers.insert(TOKEN, token.clone());
        }
        headers
    }
}

/// Joins the pieces to a path under `/v1/`. A piece may be a path itself, as mounts are.
pub(super) fn path(pieces: &[&str], what: &'static str) -> Result<PathAndQuery, VaultError> {
    let joined = pieces.join("/");
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    // Names that would change the path at the server, or be invalid, are refused instead of
    // escaped: no mount or key has such a name.
    let valid = joined.bytes().all(plain)
        && joined
            .split('/')
            .all(|segment| !matches!(segment, "" | "." | ".."));
    let name = || VaultError::Name {
        what,
        value: joined.clone(),
    };
    if !valid {
        return Err(name());
    }
    format!("/v1/{joined}").parse().map_err(|_| name())
}
