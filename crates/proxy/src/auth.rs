//! Authentication: turns a request as it arrived into one from a known sender.
//!
//! Only the [`Gate`] makes an [`Authenticated`], by its one constructor. Later steps may rely on the
//! request being unambiguous, addressed to this proxy, a known operation, and signed by a known
//! client (or admitted by a setting that names the exception). [`Gate::admit`] decides by the head
//! of a request. A browser's form carries its signature in its body: the gate returns it as an
//! [`UnreadForm`], and [`Gate::admit_form`] decides after its fields have been read. The next step,
//! [`crate::authorization`], decides which operations the client may perform.

mod authenticated;
mod form;
mod signing_keys;
mod version_2;

use std::collections::HashMap;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, Method, header};
use s3proxy_protocol::address::{self, Address, HostRules};
use s3proxy_protocol::chunked::ChunkMode;
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::headers;
use s3proxy_protocol::ids::VersionId;
use s3proxy_protocol::name::{BucketName, ObjectKey};
use s3proxy_protocol::operation::{self, Kind, Operation};
use s3proxy_protocol::query::Query;
use s3proxy_protocol::request_head::refuse_ambiguous;
use s3proxy_protocol::sigv4::{
    self, Authentication, PayloadMode, SecretAccessKey, SignedRequest, Verified,
};
use s3proxy_protocol::{header_rules, query_headers, sigv2};
use time::OffsetDateTime;

use crate::config::resolved::{Access, Grant, Pattern, Permission};
use crate::effective_name::KeyReach;
use crate::record::RequestRecord;
use crate::s3_request::UnparsedRequest;
use crate::telemetry::traces::Trust;

use self::authenticated::ClassifiedHead;
pub(crate) use authenticated::Authenticated;
pub(crate) use form::{PostedForm, UnreadForm};
pub(crate) use signing_keys::SigningKeys;

/// A client of the proxy: its credential and its grants.
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) access_key_id: String,
    pub(crate) secret: SecretAccessKey,
    pub(crate) session_token: Option<crate::config::resolved::SecretText>,
    /// Whether it may sign with Version 2.
    pub(crate) signature_v2: Permission,
    pub(crate) grants: Vec<Grant>,
    /// Cached signing keys that verified this client's earlier requests.
    pub(crate) signing_keys: SigningKeys,
}

/// How clients prove who they are.
pub(crate) enum Authenticator {
    SigV4 {
        clients: HashMap<String, Arc<Client>>,
    },
    /// `auth = none`: every request is admitted and may do everything.
    Nobody,
}

/// Sender of a request, with the permissions that later steps check.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) name: String,
    grants: Grants,
}

#[derive(Clone)]
enum Grants {
    Everything,
    Of(Arc<Client>),
    AnonymousRead,
}

impl Identity {
    fn listed(client: &Arc<Client>) -> Self {
        Self {
            name: client.name.clone(),
            grants: Grants::Of(Arc::clone(client)),
        }
    }

    /// Client's name as a metrics label. Access key ids must not appear in metrics.
    fn label(&self) -> &str {
        match &self.grants {
            // A client without a configured name is named by its access key id.
            Grants::Of(client) if client.name == client.access_key_id => "unnamed",
            Grants::Of(_) | Grants::Everything | Grants::AnonymousRead => &self.name,
        }
    }

    /// Sender of every request under `auth = none`.
    fn unauthenticated() -> Self {
        Self {
            name: "unauthenticated".to_owned(),
            grants: Grants::Everything,
        }
    }

    /// Whether the proxy continues the trace that the client's headers announce.
    pub(crate) fn trust(&self) -> Trust {
        match &self.grants {
            Grants::Of(_) | Grants::Everything => Trust::Client,
            Grants::AnonymousRead => Trust::Nobody,
        }
    }

    /// Whether the sender is a listed client, known by its access key.
    pub(crate) fn is_listed(&self) -> bool {
        match &self.grants {
            Grants::Of(_) => true,
            Grants::Everything | Grants::AnonymousRead => false,
        }
    }

    /// Whether the sender is an unsigned reader although `auth` requires signatures.
    pub(crate) fn is_anonymous(&self) -> bool {
        match &self.grants {
            Grants::AnonymousRead => true,
            Grants::Of(_) | Grants::Everything => false,
        }
    }

    /// Records the sender in the request's log and audit records.
    fn tell(&self, record: &RequestRecord) {
        record.client(&self.name);
        match &self.grants {
            Grants::Of(client) => record.trail.verified(&client.access_key_id),
            Grants::Everything | Grants::AnonymousRead => {}
        }
    }

    /// Whether a grant covers `access` to `object_key` (or to the bucket itself without one).
    pub(crate) fn may(&self, access: Access, bucket: &str, object_key: Option<&str>) -> bool {
        match &self.grants {
            Grants::Everything => true,
            Grants::AnonymousRead => {
                // A key with dot segments may lead to another object or bucket at the backend.
                let is_literal = |key| KeyReach::from_key(key) == KeyReach::Literal;
                access == Access::Read && object_key.is_some_and(is_literal)
            }
            Grants::Of(client) => client.grants.iter().any(|grant| {
                grant.operations.contains(&access)
                    && grant.buckets.iter().any(|pattern| pattern.matches(bucket))
                    && match object_key {
                        Some(key) => covers(grant, key),
                        None => grant.prefixes.iter().any(is_everything),
                    }
            }),
        }
    }

    /// Whether a grant covers `access` to some key of `bucket`.
    pub(crate) fn may_somewhere(&self, access: Access, bucket: &str) -> bool {
        match &self.grants {
            Grants::Everything => true,
            Grants::AnonymousRead => access == Access::Read,
            Grants::Of(client) => client.grants.iter().any(|grant| {
                grant.operations.contains(&access)
                    && grant.buckets.iter().any(|pattern| pattern.matches(bucket))
            }),
        }
    }

    /// Whether any grant names `bucket`, which lets ListBuckets show it.
    pub(crate) fn may_see(&self, bucket: &str) -> bool {
        match &self.grants {
            Grants::Everything => true,
            Grants::AnonymousRead => false,
            Grants::Of(client) => client
                .grants
                .iter()
                .any(|grant| grant.buckets.iter().any(|pattern| pattern.matches(bucket))),
        }
    }
}

#[cfg(test)]
impl Identity {
    /// A client with these grants, for policy tests.
    pub(crate) fn with_grants(grants: Vec<Grant>) -> Self {
        let client = Client {
            name: "tester".to_owned(),
            access_key_id: "tester".to_owned(),
            secret: SecretAccessKey::new("secret".to_owned()),
            session_token: None,
            signature_v2: Permission::Deny,
            grants,
            signing_keys: SigningKeys::default(),
        };
        Self {
            name: client.name.clone(),
            grants: Grants::Of(Arc::new(client)),
        }
    }
}

/// Whether a grant covers a key wherever the backend may resolve it: a grant for part of a bucket
/// must not reach the rest of it, nor a grant for some buckets reach the others.
fn covers(grant: &Grant, key: &str) -> bool {
    let whole_bucket = || grant.prefixes.iter().any(is_everything);
    let is_far_enough = match KeyReach::from_key(key) {
        KeyReach::Literal => true,
        KeyReach::Bucket => whole_bucket(),
        // `..` beyond the bucket's root: only a grant for every bucket covers it.
        KeyReach::Beyond => whole_bucket() && grant.buckets.iter().any(is_everything),
    };
    is_far_enough && grant.prefixes.iter().any(|prefix| prefix.covers(key))
}

fn is_everything(pattern: &Pattern) -> bool {
    pattern.as_str() == "*"
}

/// An admitted request, and the state that verifies the chunks of its body.
pub(crate) struct Admitted {
    pub(crate) request: Authenticated<UnparsedRequest>,
    /// `None` unless the body is `aws-chunked`.
    pub(crate) chunks: Option<ChunkMode>,
}

/// Decision of the gate about the head of a request.
pub(crate) enum Admission {
    /// The request is admitted.
    Request(Box<Admitted>),
    /// The signature is in the body: a browser's form, whose fields must be read first.
    Form(Box<UnreadForm>),
}

struct VerifiedSender {
    identity: Identity,
    payload: PayloadMode,
    chunks: Option<ChunkMode>,
}

/// The rules that admit requests: host names, clients, and buckets open to anonymous readers.
pub(crate) struct Gate {
    pub(crate) hosts: HostRules,
    pub(crate) authenticator: Authenticator,
    pub(crate) anonymous_read_buckets: Vec<String>,
}

impl Gate {
    /// Admits a request, or hands back a form to be read. `now` is the proxy's own clock.
    pub(crate) fn admit(
        &self,
        mut parts: Parts,
        now: OffsetDateTime,
        record: &RequestRecord,
    ) -> Result<Admission, S3Error> {
        let query = Query::parse(parts.uri.query())?;
        // First of all: an ambiguous request could mean one thing here and another at the backend.
        refuse_ambiguous(&parts.method, &parts.uri, &parts.headers, &query)?;
        let query = sigv2::without_signature(query);
        let host = host(&parts.headers)?;
        let address = address::address(&self.hosts, host, parts.uri.path())?;
        record.target(
            address.bucket.as_ref().map(BucketName::as_str),
            address.key.as_ref().map(ObjectKey::as_str),
        );
        if let Some(version) = query.get("versionId").filter(|version| !version.is_empty()) {
            record.trail.requests_version(version);
        }
        if form::is_form(&parts, &address, &query) {
            record.operation(Operation::PostObject.as_str());
            let form = UnreadForm::new(parts, address, &query)?;
            return Ok(Admission::Form(Box::new(form)));
        }
        let VerifiedSender {
            identity,
            payload,
            chunks,
        } = self
            .authenticate(&parts, &address, now, record)
            .inspect_err(|_| {
                // Only for the log: the refused operation, if it can be determined.
                let operation =
                    operation::classify(&parts.method, &address, &query, &parts.headers);
                if let Ok(operation) = operation {
                    record.claims_operation(operation.as_str());
                }
            })?;
        identity.tell(record);
        record.counted_as(identity.label());
        // After the signature was checked: promotion changes the headers that it covers.
        query_headers::promote(&mut parts.headers, &query)?;
        header_rules::remove_empty(&mut parts.headers);
        let operation = operation::classify(&parts.method, &address, &query, &parts.headers)?;
        record.operation(operation.as_str());
        if matches!(identity.grants, Grants::AnonymousRead) {
            refuse_to_anonymous(operation, &query)?;
        }
        let head = ClassifiedHead {
            method: parts.method,
            headers: parts.headers,
            address,
            operation,
            query,
        };
        let request = Authenticated::new(head, identity, payload)?;
        if let Some(source) = request.parameters.copy_source() {
            let (bucket, key) = (source.bucket.as_str(), source.key.as_str());
            let version = source.version_id.as_ref().map(VersionId::as_str);
            record.trail.copies(bucket, key, version);
        }
        Ok(Admission::Request(Box::new(Admitted { request, chunks })))
    }

    fn authenticate(
        &self,
        parts: &Parts,
        address: &Address,
        now: OffsetDateTime,
        record: &RequestRecord,
    ) -> Result<VerifiedSender, S3Error> {
        let parsed = sigv4::parse(parts.uri.query(), &parts.headers);
        if let Ok(Authentication::Signed(request)) = &parsed {
            // Before verification: a refused request is logged with the key that it claims.
            record.claims(request.access_key_id());
        }
        let clients = match &self.authenticator {
            Authenticator::SigV4 { clients } => clients,
            Authenticator::Nobody => return unauthenticated(parsed, &parts.headers),
        };
        // A preflight repeats the query of the announced request, whose signature is over another
        // method. Browsers never sign the preflight itself.
        if parts.method == Method::OPTIONS {
            return self.anonymous(parts, address);
        }
        if let Some(sender) = version_2::sender(clients, parts, address, now, record)? {
            return Ok(sender);
        }
        match parsed.map_err(|error| error.s3_error())? {
            Authentication::Anonymous => self.anonymous(parts, address),
            Authentication::Signed(request) => {
                let client = known_client(clients, request.access_key_id())?;
                check_session_token(client, request.session_token())?;
                let verified = verify(client, &request, parts, now)?;
                Ok(VerifiedSender {
                    identity: Identity::listed(client),
                    payload: request.payload().clone(),
                    chunks: ChunkMode::checked(request.payload(), verified),
                })
            }
        }
    }

    fn anonymous(&self, parts: &Parts, address: &Address) -> Result<VerifiedSender, S3Error> {
        let preflight = parts.method == Method::OPTIONS;
        let readable = address.bucket.as_ref().is_some_and(|bucket| {
            let listed = &self.anonymous_read_buckets;
            // Objects only: listing the bucket requires a signature.
            address.key.is_some() && listed.iter().any(|name| name == bucket.as_str())
        });
        if !preflight && !readable {
            return Err(anonymous());
        }
        let identity = Identity {
            name: "anonymous".to_owned(),
            grants: Grants::AnonymousRead,
        };
        Ok(VerifiedSender {
            identity,
            payload: PayloadMode::Unsigned,
            chunks: None,
        })
    }
}

fn host(headers: &HeaderMap) -> Result<&str, S3Error> {
    headers::text(headers, header::HOST).ok_or_else(|| {
        S3Error::new(
            ErrorCode::InvalidRequest,
            "The Host header is missing or not ASCII; every request must carry it.",
        )
    })
}

/// Refuses requests that unsigned clients may not make even in buckets that they may read. Only a
/// signer may choose response headers: otherwise a link could have an object rendered as a page.
fn refuse_to_anonymous(operation: Operation, query: &Query) -> Result<(), S3Error> {
    if operation.kind() == Kind::Preflight {
        return Ok(());
    }
    if !matches!(operation.kind(), Kind::GetObject | Kind::HeadObject) {
        return Err(anonymous());
    }
    // Overwritten and deleted versions are no longer public.
    if query.contains("versionId") {
        return Err(anonymous());
    }
    if query.pairs().any(|(name, _)| name.starts_with("response-")) {
        return Err(S3Error::new(
            ErrorCode::InvalidRequest,
            "response-* parameters require a signed request.",
        ));
    }
    Ok(())
}

fn anonymous() -> S3Error {
    S3Error::new(
        ErrorCode::AccessDenied,
        "The request is not signed; sign it with a key that this proxy knows (AWS SigV4).",
    )
}

/// Sender under `auth = none`: no signature is verified, but the framing that it announces applies.
fn unauthenticated(
    parsed: Result<Authentication, sigv4::SigV4Error>,
    headers: &HeaderMap,
) -> Result<VerifiedSender, S3Error> {
    let payload = match parsed {
        Ok(Authentication::Signed(request)) => request.payload().clone(),
        // A malformed signature is no reason to refuse: none is verified here.
        Ok(Authentication::Anonymous) | Err(_) => {
            PayloadMode::of_unauthenticated(headers).map_err(|error| error.s3_error())?
        }
    };
    Ok(VerifiedSender {
        identity: Identity::unauthenticated(),
        chunks: ChunkMode::unchecked(&payload),
        payload,
    })
}

fn verify(
    client: &Client,
    request: &SignedRequest,
    parts: &Parts,
    now: OffsetDateTime,
) -> Result<Verified, S3Error> {
    let (path, query) = (parts.uri.path(), parts.uri.query());
    let verified = client
        .signing_keys
        .verify(&client.secret, request.scope(), |key| {
            request.verify_with_key(key, &parts.method, path, query, &parts.headers, now)
        });
    verified.map_err(|error| error.s3_error())
}

fn known_client<'c>(
    clients: &'c HashMap<String, Arc<Client>>,
    access_key_id: &str,
) -> Result<&'c Arc<Client>, S3Error> {
    clients.get(access_key_id).ok_or_else(|| {
        S3Error::new(
            ErrorCode::InvalidAccessKeyId,
            "Unknown access key id; use one that this proxy's configuration lists.",
        )
    })
}

fn check_session_token(client: &Client, given: Option<&str>) -> Result<(), S3Error> {
    let given = given.unwrap_or_default();
    let expected = client
        .session_token
        .as_ref()
        .map_or("", |token| token.expose());
    // Constant time: the session token is a secret.
    let equal =
        aws_lc_rs::constant_time::verify_slices_are_equal(given.as_bytes(), expected.as_bytes());
    equal.map_err(|_| {
        S3Error::new(
            ErrorCode::InvalidToken,
            "The session token is not the one configured for this access key.",
        )
    })
}
