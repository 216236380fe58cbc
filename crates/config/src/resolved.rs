//! The configuration after every check, as the rest of the program sees it.
//!
//! Only valid values can be represented in these types. Modes are enums, addresses are parsed,
//! limits have their units in their names or types, and a feature that may be off has a variant for
//! that. Secrets are [`SecretText`], which is why structs with secrets have no `Debug`.
//!
//! Absent on purpose: the origin of a value (flag, environment, file, default), which only the
//! messages of the neighbouring modules need; and files that are read later, such as certificates.

mod clients;
mod keys;
mod telemetry;

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use s3proxy_protocol::operation::Operation;

pub use super::dek_tag::{DekTag, MetadataName};
pub use super::endpoint::{Host, Scheme, ServerAddress};
pub use super::pattern::Pattern;
pub use super::secret::SecretText;
pub use clients::{Access, Authentication, Client, Clients, Grant, KnownClients, SessionToken};
pub use keys::{
    ActiveKey, AssociatedData, AwsKmsKey, ConstellationKey, Keys, LabelledKey, Pkcs11Key, Service,
    ServiceCalls, VaultKey, VaultLogin,
};
pub use telemetry::{
    Audit, AuditFailure, AuditObjectKeys, AuditOutput, Collector, Log, LogFormat, LogLevel,
    OtlpTransport, Traces,
};

pub struct Config {
    pub listen: Listen,
    pub backend: Backend,
    pub clients: Clients,
    pub keys: Keys,
    pub policy: Policy,
    /// Rules; the first one that matches counts.
    pub rules: Vec<Rule>,
    pub limits: Limits,
    pub log: Log,
    pub watch: Watch,
    pub audit: Audit,
    pub traces: Traces,
}

/// Listener for clients.
#[derive(Debug, Clone)]
pub struct Listen {
    pub address: SocketAddr,
    /// Address for metrics and probes, in addition to S3.
    pub admin: Option<SocketAddr>,
    pub tls: Tls,
    /// Host names that are served, in lower case; empty: all names.
    pub hosts: Vec<String>,
    /// Domains in lower case whose first-level names are buckets: `bucket.<domain>`.
    pub virtual_host_domains: Vec<String>,
    /// Peers whose `X-Forwarded-*` headers and PROXY protocol are trusted.
    pub trusted_proxies: Vec<IpNet>,
    pub max_connections: NonZeroUsize,
    pub max_header_bytes: usize,
    /// Timeout of a connection between two requests.
    pub idle_timeout: Duration,
    /// Timeout from the first byte of a request to the end of its headers; also for the TLS
    /// handshake.
    pub header_timeout: Duration,
    /// Timeout of a body, in either direction, that makes no progress.
    pub body_timeout: Duration,
    /// Least rate in bytes per second; a slower body is ended if others wait for memory.
    pub min_body_bytes: Option<NonZeroUsize>,
    /// Time after the signal to stop during which connections are still accepted, with `Connection:
    /// close`, while load balancers take the replica out. May be zero.
    pub drain_delay: Duration,
    /// Time after the delay during which requests in flight may end.
    pub drain_timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    Off,
    Files {
        certificate: PathBuf,
        private_key: PathBuf,
    },
}

/// The S3 server that stores the sealed objects.
pub struct Backend {
    pub endpoint: Endpoint,
    pub region: String,
    pub addressing: Addressing,
    pub authorities: Authorities,
    pub client_certificate: ClientCertificate,
    pub connect_timeout: Duration,
    /// Timeout from the last byte of a request to the first of the response.
    pub response_timeout: Duration,
    /// Timeout of a body, in either direction, that makes no progress.
    pub body_timeout: Duration,
    pub connection_idle: Duration,
    pub connection_max_age: Duration,
    pub max_idle_connections: usize,
    pub retry: Retry,
    pub integrity: Integrity,
    /// Operations that change sub-resources and that the backend supports, besides those it shows
    /// to support.
    pub operations: Vec<Operation>,
    /// Features that the backend lacks, in any order.
    pub lacks: Vec<Feature>,
    pub credential: Credential,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    Fixed(ServerAddress),
    /// The endpoint that the client's Host names, from the exact list of AWS's regional S3 names.
    ByHostName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    Path,
    VirtualHost,
}

/// Certificate authorities trusted for the backend's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorities {
    /// The system's roots, or webpki-roots if there are none.
    System,
    /// The certificates of this PEM file, and no others.
    File(PathBuf),
}

/// The proxy's own certificate in TLS towards the backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientCertificate {
    Absent,
    Files {
        certificate: PathBuf,
        private_key: PathBuf,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Number of attempts including the first: 1 means no retries.
    pub attempts: NonZeroU32,
    pub base_delay: Duration,
    pub max_delay: Duration,
    /// Number of retries that may be outstanding across all requests; further ones are not made.
    pub budget: u32,
}

/// How the integrity of a streamed body is proven to the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integrity {
    Auto,
    Trailer,
    Unsigned,
}

/// A feature of S3 that some servers lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Tags of objects and buckets.
    Tagging,
    Acl,
    ObjectLock,
    /// Encryption with the server's keys; keys of the customer are another feature.
    ServerSideEncryption,
    /// The expected owner of a bucket, as a condition.
    BucketOwner,
    RequestPayer,
    Website,
    /// Checksums after a body, in trailers.
    TrailingChecksums,
}

impl Feature {
    /// Returns the feature's name in settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tagging => "tagging",
            Self::Acl => "acl",
            Self::ObjectLock => "object-lock",
            Self::ServerSideEncryption => "server-side-encryption",
            Self::BucketOwner => "bucket-owner",
            Self::RequestPayer => "request-payer",
            Self::Website => "website",
            Self::TrailingChecksums => "trailing-checksums",
        }
    }
}

/// The proxy's own credential for the backend.
pub enum Credential {
    Static {
        access_key_id: String,
        secret_access_key: SecretText,
    },
    /// AWS's default chain, which reads `AWS_ACCESS_KEY_ID` and the related variables itself.
    DefaultChain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    Allow,
    Deny,
}

/// How objects in matching buckets under matching prefixes are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Bucket patterns; never empty, like `prefixes`.
    pub buckets: Vec<Pattern>,
    pub prefixes: Vec<Pattern>,
    /// A key's label or name; the active key if absent.
    pub key: Option<String>,
    /// Labels or names of the keys that open, besides the one that seals. If absent: none in a rule
    /// with a key, and all keys that no rule names in a rule without one.
    pub opens: Option<Vec<String>>,
    /// Binding of new objects; the policy's if absent.
    pub key_binding: Option<KeyBinding>,
    /// The weakest binding that opens; `key_binding` if absent.
    pub opens_key_binding: Option<KeyBinding>,
    pub encryption: Encryption,
    /// Whether older formats open. If absent: as the policy says, or not at all if encryption is
    /// required.
    pub legacy_reads: Option<Permission>,
    /// Whether the all-zero key of the older proxies opens. If absent: as the keys say, or not at
    /// all if encryption is required.
    pub decryption_fallback: Option<Permission>,
}

/// Whether objects are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// New objects are sealed; existing plaintext is served as the policy says.
    On,
    /// New objects are sealed, and nothing else is served.
    Required,
    /// New objects are stored unencrypted.
    Off,
}

/// Objects that may be stored and read, and their form.
#[derive(Debug, Clone)]
pub struct Policy {
    pub key_binding: KeyBinding,
    pub plaintext_reads: Permission,
    pub legacy_reads: Permission,
    pub listing: Listing,
    /// Concurrent look-ups for one exact listing.
    pub lookup_concurrency: NonZeroUsize,
    pub multipart: Multipart,
    pub part_sizes: PartSizes,
    pub metadata: Metadata,
    pub announce_encryption: AnnounceEncryption,
    /// Prefix of the state's keys; ends with `/`.
    pub state_prefix: String,
    pub state_bucket: StateBucket,
    pub sweep_interval: SweepInterval,
}

/// Binding of envelopes, so that a sealed object cannot be passed off as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyBinding {
    Key,
    BucketAndKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    Exact,
    Computed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Multipart {
    Encrypt,
    Block,
    ForwardPlaintext,
}

/// The backend's demand on the parts of a multipart upload, except the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartSizes {
    Any,
    Equal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metadata {
    Plain,
    Sealed,
}

/// Whether responses to writes of sealed objects carry `x-amz-server-side-encryption: aws:kms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnnounceEncryption {
    On,
    Off,
}

/// Bucket for the state of multipart uploads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateBucket {
    /// The bucket of the upload itself.
    Same,
    Named(String),
}

/// How often a serving proxy removes leftovers of uploads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SweepInterval {
    Never,
    Every(Duration),
}

#[derive(Debug, Clone)]
pub struct Limits {
    pub requests_per_second: Bound,
    /// Limit for a client that has none of its own.
    pub client_requests_per_second: Bound,
    /// Limit for an address that sends unsigned requests if other clients have to sign.
    pub anonymous_requests_per_second: Bound,
    pub requests_in_flight: Bound,
    pub client_requests_in_flight: Bound,
    /// Time that a request waits for its turn before it gets `SlowDown`.
    pub throttle_wait: Duration,
    /// Budget for the buffers of all bodies.
    pub body_memory_bytes: usize,
    /// Bodies up to this length are held whole, so that a checksum in a trailer can be stored and a
    /// failed backend request can be retried.
    pub held_body_bytes: usize,
    /// Largest object that a client may upload in one request.
    pub put_body_bytes: Option<NonZeroU64>,
}

/// A bound on requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    Off,
    At(NonZeroU32),
}

/// Triggers of a reload in a running proxy, besides SIGHUP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// A change of one of the configuration's files.
    Files,
    Nothing,
}
