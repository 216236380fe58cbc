//! The configuration after every check: what the rest of the program sees.
//!
//! Only valid values can be written down in these types. Modes are enums, addresses are parsed,
//! limits have their units in their names or types, and where something may be off there is a
//! variant that says so. Secrets are [`SecretText`], which is why the structs that hold them have
//! no `Debug`.
//!
//! Absent on purpose: where a value came from (flag, environment, file, default), which only the
//! messages of this module's neighbours need; and anything read later, such as certificates.

mod telemetry;

use std::collections::BTreeSet;
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
    /// The first that matches counts.
    pub rules: Vec<Rule>,
    pub limits: Limits,
    pub log: Log,
    pub watch: Watch,
    pub audit: Audit,
    pub traces: Traces,
}

/// Where clients connect.
#[derive(Debug, Clone)]
pub struct Listen {
    pub address: SocketAddr,
    /// Where metrics and probes are asked for, beside S3.
    pub admin: Option<SocketAddr>,
    pub tls: Tls,
    /// The only host names that are answered to, in lower case; empty: every name.
    pub hosts: Vec<String>,
    /// Domains in lower case whose first-level names are buckets: `bucket.<domain>`.
    pub virtual_host_domains: Vec<String>,
    /// Peers whose `X-Forwarded-*` headers and PROXY protocol are believed.
    pub trusted_proxies: Vec<IpNet>,
    pub max_connections: NonZeroUsize,
    pub max_header_bytes: usize,
    /// A connection between two requests.
    pub idle_timeout: Duration,
    /// From the first byte of a request to the end of its headers; also for the TLS handshake.
    pub header_timeout: Duration,
    /// A body, in either direction, that makes no progress.
    pub body_timeout: Duration,
    /// Per second; below it a body is cut off when others wait for memory.
    pub min_body_bytes: Option<NonZeroUsize>,
    /// After the signal to stop: accepting goes on, with `Connection: close`, while load balancers
    /// take the replica out. May be zero.
    pub drain_delay: Duration,
    /// After the delay: what is still running may take this long to end.
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

/// The S3 server that stores what was sealed.
pub struct Backend {
    pub endpoint: Endpoint,
    pub region: String,
    pub addressing: Addressing,
    pub authorities: Authorities,
    pub client_certificate: ClientCertificate,
    pub connect_timeout: Duration,
    /// From the last byte of a request to the first of the answer.
    pub response_timeout: Duration,
    /// A body, in either direction, that makes no progress.
    pub body_timeout: Duration,
    pub connection_idle: Duration,
    pub connection_max_age: Duration,
    pub max_idle_connections: usize,
    pub retry: Retry,
    pub integrity: Integrity,
    /// Changes of sub-resources that the backend has, besides those that it shows to have.
    pub operations: Vec<Operation>,
    /// Without duplicates of meaning; the order says nothing.
    pub lacks: Vec<Feature>,
    pub credential: Credential,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    Fixed(ServerAddress),
    /// The name that the client asked for, from the exact list of AWS's regional S3 names.
    ByHostName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    Path,
    VirtualHost,
}

/// Who may have signed the backend's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorities {
    /// The system's roots, with webpki-roots where there are none.
    System,
    /// The certificates of this PEM file, and no others.
    File(PathBuf),
}

/// What the proxy shows of itself in TLS towards the backend.
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
    /// The first one included: 1 means no retries.
    pub attempts: NonZeroU32,
    pub base_delay: Duration,
    pub max_delay: Duration,
    /// Retries that may be outstanding across all requests before further ones are not made.
    pub budget: u32,
}

/// How a streamed body's integrity is shown to the backend.
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
    /// With the server's keys; a customer's keys are another feature.
    ServerSideEncryption,
    /// The expected owner of a bucket, as a condition.
    BucketOwner,
    RequestPayer,
    Website,
    /// Checksums behind a body.
    TrailingChecksums,
}

impl Feature {
    /// Its name in settings.
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
    /// AWS's default chain, which reads `AWS_ACCESS_KEY_ID` and its neighbours itself.
    DefaultChain,
}

/// Who may ask.
pub struct Clients {
    pub authentication: Authentication,
    /// Buckets whose objects anyone may read without a signature.
    pub anonymous_read_buckets: Vec<String>,
}

pub enum Authentication {
    SigV4 { known: KnownClients },
    None,
}

pub enum KnownClients {
    /// Never empty.
    List(Vec<Client>),
    /// No list: the proxy's own static backend credential is the one client.
    BackendCredential,
}

pub struct Client {
    pub name: String,
    pub access_key_id: String,
    pub secret_access_key: SecretText,
    pub session_token: SessionToken,
    /// Whether Signature Version 2 is accepted.
    pub signature_v2: Permission,
    /// Absent where that of all clients counts.
    pub requests_per_second: Option<Bound>,
    /// Never empty.
    pub grants: Vec<Grant>,
}

pub enum SessionToken {
    Absent,
    Required(SecretText),
}

/// Operations on what lies in matching buckets under matching prefixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub operations: BTreeSet<Access>,
    pub buckets: Vec<Pattern>,
    pub prefixes: Vec<Pattern>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    Read,
    Write,
    Delete,
    List,
    Admin,
}

/// The keys of all kinds.
pub struct Keys {
    /// `keys.encrypt_key`: FORMAT.md, `s3pk1.` and base64url, or a passphrase.
    pub encrypt_key: Option<SecretText>,
    /// Open only, and never seal.
    pub decrypt_keys: Vec<SecretText>,
    /// Further local keys, which rules choose by their labels.
    pub labelled: Vec<LabelledKey>,
    pub services: Vec<Service>,
    pub active: ActiveKey,
    pub service_calls: ServiceCalls,
    pub dek_tag: DekTag,
    pub legacy_zero_key: Permission,
}

/// Which key seals where no rule says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActiveKey {
    /// `keys.encrypt_key`.
    EncryptKey,
    /// The label of a local key, or the name of a key as envelopes have it.
    Named(String),
}

pub struct LabelledKey {
    pub label: String,
    pub key: SecretText,
}

/// How the key services are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceCalls {
    /// One request.
    pub timeout: Duration,
    /// Objects that one KEK serves, at one replica.
    pub kek_objects: NonZeroU32,
    /// How long one KEK serves new objects.
    pub kek_time: Duration,
    /// How long an opened KEK is remembered. May be zero.
    pub cache_time: Duration,
    /// Opened KEKs that are remembered at most.
    pub cache_keks: NonZeroU32,
}

/// A key at a key service.
pub enum Service {
    Vault(VaultKey),
    AwsKms(AwsKmsKey),
    Pkcs11(Pkcs11Key),
    Constellation(ConstellationKey),
}

impl Service {
    /// The name of the key in envelopes. Frozen: objects carry it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Vault(vault) => format!("vault:{}/{}", vault.mount, vault.key),
            Self::AwsKms(kms) => format!("aws-kms:{}", kms.key),
            Self::Pkcs11(hsm) => format!("pkcs11:{}/{}", hsm.token_label, hsm.key_label),
            Self::Constellation(_) => "constellation:s3proxy-kek".to_owned(),
        }
    }
}

/// A key of HashiCorp Vault's, or OpenBao's, Transit engine.
pub struct VaultKey {
    pub address: ServerAddress,
    pub authorities: Authorities,
    pub namespace: Option<String>,
    /// Path of the Transit engine, without slashes at its ends.
    pub mount: String,
    pub key: String,
    pub associated_data: AssociatedData,
    pub login: VaultLogin,
}

/// Whether a key service is given associated data with what it encrypts and decrypts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssociatedData {
    On,
    Off,
}

/// How the proxy logs in to Vault. Mounts are paths without slashes at their ends.
pub enum VaultLogin {
    /// Renewed as long as it can be, never replaced.
    Token(SecretText),
    AppRole {
        mount: String,
        role_id: String,
        secret_id: SecretText,
    },
    Kubernetes {
        mount: String,
        role: String,
        /// The service account's token, which the kubelet replaces now and then.
        token_file: PathBuf,
    },
}

/// A key of AWS KMS.
pub struct AwsKmsKey {
    /// ARN, alias ARN, alias or id, as configured: envelopes carry it.
    pub key: String,
    /// That of an ARN where nothing is said, and else of the default chain.
    pub region: Option<String>,
    pub endpoint: Option<ServerAddress>,
}

/// A secret key in a PKCS#11 token.
pub struct Pkcs11Key {
    /// The vendor's library.
    pub module: PathBuf,
    pub token_label: String,
    pub key_label: String,
    pub pin: SecretText,
}

/// Constellation's key service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConstellationKey {
    /// With `https`, TLS.
    pub address: ServerAddress,
    pub authorities: Authorities,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    Allow,
    Deny,
}

/// How objects are stored that lie in matching buckets under matching prefixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Never empty, like `prefixes`.
    pub buckets: Vec<Pattern>,
    pub prefixes: Vec<Pattern>,
    /// A key's label or name; the active one where nothing is said.
    pub key: Option<String>,
    /// Labels or names of the keys that open, besides the one that seals. Where nothing is said:
    /// none in a rule with a key, and those that no rule names in one without.
    pub opens: Option<Vec<String>>,
    /// That of the policy where nothing is said.
    pub key_binding: Option<KeyBinding>,
    /// The weakest binding that opens; `bind` where nothing is said.
    pub opens_key_binding: Option<KeyBinding>,
    pub encryption: Encryption,
    /// Whether older formats open. Where nothing is said, that of the policy, or not at all where
    /// encryption is required.
    pub legacy_reads: Option<Permission>,
    /// Whether the all-zero key of the older proxies opens. Where nothing is said, that of the keys,
    /// or not at all where encryption is required.
    pub decryption_fallback: Option<Permission>,
}

/// Whether objects are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// New ones are sealed; what is there unsealed is served as the policy says.
    On,
    /// New ones are sealed, and nothing else is served.
    Required,
    /// New ones are stored as they come.
    Off,
}

/// What may be stored and read, and in which form.
#[derive(Debug, Clone)]
pub struct Policy {
    pub key_binding: KeyBinding,
    pub plaintext_reads: Permission,
    pub legacy_reads: Permission,
    pub listing: Listing,
    /// Look-ups side by side for one exact listing.
    pub lookup_concurrency: NonZeroUsize,
    pub multipart: Multipart,
    pub part_sizes: PartSizes,
    pub metadata: Metadata,
    pub announce_encryption: AnnounceEncryption,
    /// Ends with `/`.
    pub state_prefix: String,
    pub state_bucket: StateBucket,
    pub sweep_interval: SweepInterval,
}

/// What an envelope is bound to, so that a sealed object cannot be passed off as another.
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

/// What the backend demands of the parts of a multipart upload, the last one aside.
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

/// Whether answers to writes of sealed objects carry `x-amz-server-side-encryption: aws:kms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnnounceEncryption {
    On,
    Off,
}

/// Where the state of multipart uploads lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateBucket {
    /// In the bucket of the upload itself.
    Same,
    Named(String),
}

/// How often a serving proxy removes what uploads have left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SweepInterval {
    Never,
    Every(Duration),
}

#[derive(Debug, Clone)]
pub struct Limits {
    pub requests_per_second: Bound,
    /// Of a client that has no bound of its own.
    pub client_requests_per_second: Bound,
    /// Of an address that sends unsigned requests where others have to sign.
    pub anonymous_requests_per_second: Bound,
    pub requests_in_flight: Bound,
    pub client_requests_in_flight: Bound,
    /// A request waits so long for its turn, then gets `SlowDown`.
    pub throttle_wait: Duration,
    /// One budget for the buffers of all bodies.
    pub body_memory_bytes: usize,
    /// Bodies up to this length are held whole, so that a checksum in a trailer can be stored and a
    /// failed backend request can be retried.
    pub held_body_bytes: usize,
    /// The largest object that a client may upload in one request.
    pub put_body_bytes: Option<NonZeroU64>,
}

/// A bound on requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    Off,
    At(NonZeroU32),
}

/// What makes a running proxy load its configuration anew, besides SIGHUP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// A change of one of the files that it came from.
    Files,
    Nothing,
}
