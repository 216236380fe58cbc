//! A key service: it holds a key that never leaves it, and encrypts KEKs under that key.
//!
//! One small trait covers all services. A service is asked for a new KEK now and then, and to open
//! a KEK that an envelope carries; it never learns which objects they protect. Implementations send
//! each request once, within the given time. Retries, caching and sharing are up to the
//! [`super::Keyring`].

use futures_util::future::BoxFuture;
use s3proxy_envelope::kek::Kek;

use crate::telemetry::metrics::ServiceKind;

/// A key that a service holds.
pub(crate) trait KeyService: Send + Sync {
    /// Returns the name of the key in envelopes, such as `vault:transit/s3proxy`. Frozen for each
    /// service: objects carry it.
    fn name(&self) -> &str;

    /// Returns the kind of service, for metrics.
    fn kind(&self) -> ServiceKind;

    /// Makes a new KEK and the service's ciphertext of it. At most one request that uses the key.
    fn create(&self) -> BoxFuture<'_, Result<NewKek, ServiceError>>;

    /// Opens a ciphertext that [`create`](Self::create) made, here or at another replica. At most
    /// one request that uses the key.
    fn open<'a>(&'a self, ciphertext: &'a [u8]) -> BoxFuture<'a, Result<Kek, ServiceError>>;

    /// Checks that the service answers, without using the key.
    fn check(&self) -> BoxFuture<'_, Result<(), ServiceError>>;
}

/// A KEK that nothing is wrapped under yet.
pub(crate) struct NewKek {
    pub(crate) kek: Kek,
    /// Ciphertext that the service opens again; envelopes carry it. 1 to 1024 bytes.
    pub(crate) ciphertext: Vec<u8>,
}

/// Why a key service did not do its work. The texts name the service's own reason, and never a
/// token, key or ciphertext.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ServiceError {
    /// The service is unreachable, too slow, sealed, or failing inside: it may recover.
    #[error("the key service cannot be reached: {0}")]
    Unavailable(String),
    /// The service limits the rate of requests.
    #[error("the key service is overloaded or limits the rate of requests: {0}")]
    Throttled(String),
    /// The login was refused, has expired, or does not cover the key.
    #[error("the key service refused the login or denied permission: {0}")]
    Refused(String),
    /// The key is missing, disabled, about to be deleted, or of the wrong kind.
    #[error("the key at the service cannot be used: {0}")]
    Key(String),
    /// The ciphertext belongs to another key or service, or was altered.
    #[error("the key service cannot decrypt the KEK: {0}")]
    Ciphertext(String),
}

impl ServiceError {
    /// Returns one word for each kind of error, for traces.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Throttled(_) => "throttled",
            Self::Refused(_) => "refused",
            Self::Key(_) => "key",
            Self::Ciphertext(_) => "ciphertext",
        }
    }
}
