//! Entry points for the targets in `fuzz/` to parsers that are otherwise private.
//!
//! Compiled with the feature `fuzzing` and with unit tests, never into the program. Findings of the
//! targets are tested next to the code in question, not here.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderMap, StatusCode};
use s3proxy_protocol::address::{Address, EndpointSelection, HostRules};
use s3proxy_protocol::copy_source::CopySource;
use s3proxy_protocol::error::S3Error;
use s3proxy_protocol::operation::Operation;
use s3proxy_protocol::post::FormParser;
use s3proxy_protocol::query::Query;
use s3proxy_protocol::sigv4::{PayloadMode, SecretAccessKey};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::auth::{self, Admission, Authenticator, Client, SigningKeys};
use crate::config::resolved::{Permission, SecretText};
use crate::keys::fuzzing as keys;
use crate::listen::proxy_protocol;
use crate::record::RequestRecord;
use crate::telemetry::traces;
use crate::trusted_proxies::TrustedProxies;

pub use crate::backend::fuzzing::{Service, other_region, redirected};

/// Domain whose virtual hosts are buckets.
pub const DOMAIN: &str = "s3.example.com";

/// Authentication and admission of requests.
pub struct Gate(auth::Gate);

/// A request that was admitted.
pub struct AdmittedRequest {
    /// Name of the client in logs.
    pub client: String,
    /// Whether the client signed the request.
    pub is_signed: bool,
    /// Headers, including those from the query.
    pub headers: HeaderMap,
    /// Parameters of the query.
    pub query: Query,
    /// Bucket and key.
    pub address: Address,
    /// Requested operation.
    pub operation: Operation,
    /// Framing of the body.
    pub payload: PayloadMode,
    /// Source of a copy.
    pub copy_source: Option<CopySource>,
    /// Whether chunks of the body are decoded.
    pub is_chunked: bool,
}

/// Result of admitting the head of a request.
pub enum Admitted {
    /// The request is admitted.
    Request(Box<AdmittedRequest>),
    /// The request is a browser's form, whose fields are still to be read.
    Form,
}

/// A form that was admitted.
pub struct AdmittedForm {
    /// Name of the client in logs.
    pub client: String,
    /// Key of the object.
    pub key: String,
    /// Headers that the object is stored with.
    pub headers: HeaderMap,
}

impl Gate {
    /// Makes a gate that knows one client; everybody may read objects of `public`.
    #[must_use]
    pub fn with_client(
        access_key_id: &str,
        secret: &str,
        session_token: Option<&str>,
        public: &str,
    ) -> Self {
        let token = session_token.map(|token| SecretText::new(Zeroizing::new(token.to_owned())));
        let client = Client {
            name: "client".to_owned(),
            access_key_id: access_key_id.to_owned(),
            secret: SecretAccessKey::new(secret.to_owned()),
            session_token: token.map(|token| token.expect("a token is not empty")),
            signature_v2: Permission::Allow,
            grants: Vec::new(),
            signing_keys: SigningKeys::default(),
        };
        let clients = HashMap::from([(access_key_id.to_owned(), Arc::new(client))]);
        Self::new(Authenticator::SigV4 { clients }, vec![public.to_owned()])
    }

    /// Makes a gate that admits everybody: `auth = none`.
    #[must_use]
    pub fn without_authentication() -> Self {
        Self::new(Authenticator::Nobody, Vec::new())
    }

    fn new(authenticator: Authenticator, anonymous_read_buckets: Vec<String>) -> Self {
        Self(auth::Gate {
            hosts: HostRules {
                virtual_host_domains: vec![DOMAIN.to_owned(), "localhost".to_owned()],
                names: Vec::new(),
                selection: EndpointSelection::Configured,
            },
            authenticator,
            anonymous_read_buckets,
        })
    }

    /// Authenticates the head of a request.
    pub fn admit(&self, parts: Parts, now: OffsetDateTime) -> Result<Admitted, S3Error> {
        let record = RequestRecord::begin(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let admitted = match self.0.admit(parts, now, &record)? {
            Admission::Request(admitted) => admitted,
            Admission::Form(_) => return Ok(Admitted::Form),
        };
        let request = admitted.request;
        let query = request.parameters.query().clone();
        let copy_source = request.parameters.copy_source().cloned();
        let request = request.parse()?;
        Ok(Admitted::Request(Box::new(AdmittedRequest {
            is_signed: request.identity.is_listed(),
            client: request.identity.name,
            headers: request.headers,
            query,
            address: request.address,
            operation: request.operation,
            payload: request.payload,
            copy_source,
            is_chunked: admitted.chunks.is_some(),
        })))
    }
}

impl Gate {
    /// Authenticates a form; `None` if the head is not a form's.
    pub fn admit_form(
        &self,
        parts: Parts,
        body: &[u8],
        now: OffsetDateTime,
    ) -> Result<Option<AdmittedForm>, S3Error> {
        let record = RequestRecord::begin(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let Admission::Form(form) = self.0.admit(parts, now, &record)? else {
            return Ok(None);
        };
        let mut parser = FormParser::new(form.boundary().clone());
        let head = parser.push(body).map_err(|error| error.s3_error())?;
        let head = head.ok_or_else(|| parser.end().s3_error())?;
        let first = Bytes::copy_from_slice(&body[head.length..]);
        let (request, _) = self.0.admit_form(*form, head, first, now, &record)?;
        let key = request.object_key().unwrap_or_default().to_owned();
        Ok(Some(AdmittedForm {
            client: request.identity.name,
            key,
            headers: request.headers,
        }))
    }
}

/// Meaning of the first bytes of a connection from a trusted load balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionStart {
    /// More bytes are needed for a decision.
    Incomplete,
    /// There is no header of the PROXY protocol.
    Absent,
    /// A header: its length in bytes, and the client's address.
    Header(usize, Option<IpAddr>),
    /// The bytes begin like a header, but are malformed.
    Malformed,
}

/// Parses the header of the PROXY protocol.
#[must_use]
pub fn connection_start(bytes: &[u8]) -> ConnectionStart {
    match proxy_protocol::parse(bytes) {
        proxy_protocol::ProxyHeader::Incomplete => ConnectionStart::Incomplete,
        proxy_protocol::ProxyHeader::Absent => ConnectionStart::Absent,
        proxy_protocol::ProxyHeader::Header(length, from) => ConnectionStart::Header(length, from),
        proxy_protocol::ProxyHeader::Malformed => ConnectionStart::Malformed,
    }
}

/// Returns the client's address and scheme, if all of `10.0.0.0/8` is trusted to name them.
#[must_use]
pub fn forwarded(peer: IpAddr, headers: &HeaderMap) -> (IpAddr, Option<Scheme>) {
    let network = "10.0.0.0/8".parse().expect("a network");
    let trusted = TrustedProxies::new(vec![network]);
    let scheme = trusted.client_scheme(peer, headers);
    (trusted.client_address(peer, headers), scheme)
}

/// Returns the trace headers that are passed on for a request; `None` if they are malformed.
#[must_use]
pub fn trace_parent(headers: &HeaderMap) -> Option<HeaderMap> {
    traces::carried(headers)
}

/// Returns the ciphertext in Vault's response to an encryption, or the text of the error.
pub fn vault_encrypted(status: StatusCode, body: &[u8]) -> Result<Vec<u8>, String> {
    keys::vault_encrypted(status, body).map_err(|error| error.to_string())
}

/// Returns the length of the key in Vault's response to a decryption, or the text of the error.
pub fn vault_decrypted(status: StatusCode, body: &[u8]) -> Result<usize, String> {
    keys::vault_decrypted(status, body).map_err(|error| error.to_string())
}

/// Returns whether Vault's response to a login grants a token, or the text of the error.
pub fn vault_login(status: StatusCode, body: &[u8]) -> Result<bool, String> {
    keys::vault_login(status, body).map_err(|error| error.to_string())
}

/// Returns the length of the key in a response of Constellation's service.
#[must_use]
pub fn constellation_key(message: &[u8]) -> Option<usize> {
    keys::constellation_key(message)
}

/// Returns whether the id in an envelope would be passed on to Constellation's service.
#[must_use]
pub fn constellation_asks(ciphertext: &[u8]) -> bool {
    keys::constellation_asks(ciphertext)
}

/// Returns the advice about an error of AWS KMS.
#[must_use]
pub fn kms_advice(code: &str, status: u16) -> &'static str {
    keys::kms_advice(code, status)
}
