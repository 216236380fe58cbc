//! Key-encryption keys: which one wraps, which ones open, and where they are held.
//!
//! A key is local, or held by a key service. A service encrypts KEKs and nothing else, so wrapping,
//! unwrapping and binding share one path (FORMAT, "Keys"). One key is active and wraps the data
//! keys of new objects, unless a rule chooses another. Which keys open depends on the place that an
//! object is read from ([`scope`]). An envelope names its key, and an unconfigured name is never
//! passed on: the object cannot be opened here, and the error says which key is missing.
//!
//! A request that needs a KEK of a service causes one call at most, and none on a cache hit. KEKs
//! in use are renewed before they expire. A service that keeps failing is not called for a while
//! ([`circuit_breaker`]). Nothing here holds memory for bodies: requests get their KEK before they
//! take any. Absent: the protocols of the services, each in its own file.

mod active_kek;
mod aws_kms;
mod call_metrics;
mod circuit_breaker;
pub(crate) mod connect;
mod constellation;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod http;
mod jitter;
mod key_cache;
pub(crate) mod key_service;
mod keyring;
pub(crate) mod keys_in_use;
pub(crate) mod legacy;
mod pkcs11;
mod placeholder;
mod remote_key;
pub(crate) mod scope;
mod sealing_key;
mod service_caller;
mod single_flight;
mod vault;

pub(crate) use keyring::{ChosenKey, Keyring, Readiness};
pub(crate) use placeholder::placeholders;
pub(crate) use sealing_key::{SealingKey, WrappedKey};

use s3proxy_envelope::kek::KekError;

use key_service::ServiceError;
use scope::RuleName;

use crate::telemetry::metrics::{OpenFailure, SealFailure};

/// Why a data key could not be unwrapped, or a KEK not obtained.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// The envelope names a key that is not configured.
    #[error("the object is sealed under the key {0:?}, which is not configured here")]
    Missing(String),
    /// The key is configured, but does not open in the object's place.
    #[error(
        "the object is sealed under the key {key:?}, which does not open {rule}: the object was \
         moved here, or {} has to list the key until the object is rewrapped",
        .rule.setting("opens")
    )]
    OtherPlace {
        /// Name of the key.
        key: String,
        /// Rule that applies to the place of the object.
        rule: RuleName,
    },
    /// The envelope's binding is weaker than its place demands.
    #[error(
        "the object is sealed under the key {key:?} without the binding to its bucket that \
         key_binding requires {rule}: the object was moved here, or set {} = \"key\" until it is \
         rewrapped",
        .rule.setting("opens_key_binding")
    )]
    WeakBinding {
        /// Name of the key.
        key: String,
        /// Rule that applies to the place of the object.
        rule: RuleName,
    },
    /// The wrapped key does not open: it belongs to another object, or was altered.
    #[error(
        "the data key cannot be unwrapped for this object: it belongs to another object, or was \
         altered"
    )]
    Unwrap,
    /// The envelope has an encrypted KEK under a local key, or none under a service's key.
    #[error(
        "the envelope does not match the type of its key {0:?}: only keys at services have an \
         encrypted KEK"
    )]
    Misfit(String),
    /// The key service failed.
    #[error("{key}: {error}")]
    Service {
        /// Name of the key.
        key: String,
        /// Error of the service.
        error: ServiceError,
    },
}

impl KeyError {
    /// Returns the kind of failure for a read.
    fn open_failure(&self) -> OpenFailure {
        match self {
            Self::Missing(_) => OpenFailure::UnknownKey,
            Self::OtherPlace { .. } | Self::WeakBinding { .. } => OpenFailure::OtherPlace,
            Self::Unwrap => OpenFailure::WrongKey,
            Self::Misfit(_) => OpenFailure::Malformed,
            Self::Service { error, .. } => error.open_failure(),
        }
    }

    /// Returns the kind of failure for a write.
    fn seal_failure(&self) -> SealFailure {
        match self {
            Self::Missing(_)
            | Self::OtherPlace { .. }
            | Self::WeakBinding { .. }
            | Self::Unwrap
            | Self::Misfit(_) => SealFailure::Unusable,
            Self::Service { error, .. } => match error {
                ServiceError::Unavailable(_) | ServiceError::Throttled(_) => SealFailure::Service,
                ServiceError::Refused(_) => SealFailure::Refused,
                ServiceError::Key(_) | ServiceError::Ciphertext(_) => SealFailure::Unusable,
            },
        }
    }
}

impl ServiceError {
    fn open_failure(&self) -> OpenFailure {
        match self {
            Self::Unavailable(_) | Self::Throttled(_) => OpenFailure::KeyService,
            Self::Refused(_) => OpenFailure::KeyRefused,
            Self::Key(_) => OpenFailure::KeyUnusable,
            Self::Ciphertext(_) => OpenFailure::WrongKey,
        }
    }
}

/// Why the configured keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// A key is malformed.
    #[error("{setting}: {error}")]
    Key {
        /// Setting that contains the key.
        setting: String,
        /// Error about the key.
        error: KekError,
    },
    /// Two keys have the same name.
    #[error("{setting}: the key {name} is configured twice; remove one")]
    Twice {
        /// Setting that contains the second key.
        setting: String,
        /// Name of both keys.
        name: String,
    },
    /// A setting refers to a key that does not exist.
    #[error("{setting}: unknown key {asked:?}; expected one of {known}")]
    Unknown {
        /// Setting that refers to the key.
        setting: String,
        /// Label or name as the setting gives it.
        asked: String,
        /// Labels and names of the keys that may seal.
        known: String,
    },
    /// A key service cannot be used as configured.
    #[error("{name}: {reason}")]
    Service {
        /// Name of the key.
        name: String,
        /// Reason of the failure.
        reason: String,
    },
}
