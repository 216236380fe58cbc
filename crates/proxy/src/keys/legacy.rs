//! Keys of the two older proxies' objects: the key-encryption keys that may have wrapped a data
//! key.
//!
//! Such an object does not name its key, so candidates are tried; unwrapping detects the right one
//! (RFC 5649, section 3). The keys in memory come first: those of the configured texts, derived as
//! Intrinsec's proxy derived them in the version that the object records, and the all-zero key if
//! `keys.decryption_fallback` allows it. Constellation's key, which may cost a request, is tried
//! last and only for objects under Constellation's tag. For an unknown version nothing is tried.
//!
//! Only keys that open in the object's place count. If another configured key would have opened the
//! object, the refusal names it.
//!
//! Invariant: nothing opens under the all-zero key unless the place allows it; an object under that
//! key is distinguished from one whose key is missing. Absent: writing this format.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use futures_util::FutureExt;
use s3proxy_envelope::legacy::{
    KekVersion, LegacyDek, LegacyKek, LegacyTextKeks, LegacyWrappedDek,
};

use super::call_metrics::measured;
use super::constellation::{self, Constellation};
use super::key_cache::KeyCache;
use super::key_service::ServiceError;
use super::scope::{RuleName, StoredPlace};
use super::service_caller::Caller;
use crate::config::resolved::{Permission, ServiceCalls};
use crate::telemetry::metrics::{self, KeyCall, OpenFailure, ServiceKind};
use crate::telemetry::traces::call;

/// Name of the trace span around a request for Constellation's key.
const SPAN: &str = "key_service open";

/// Name of that key in traces and the log.
const KEY: &str = "constellation";

/// Metadata field in which a wrapped key was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum LegacyTag {
    /// The configured field of Intrinsec's proxy.
    Configured,
    /// `constellation-dek`, the field of the original.
    Constellation,
}

/// Longest version that an error quotes, in characters: a backend chooses it.
const MAX_QUOTED_VERSION: usize = 16;

/// Derivation of the key-encryption key from its text, as the object records it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RecordedVersion {
    Known(KekVersion),
    /// A version of a later release; the recorded value, truncated if it is long.
    Unknown(Arc<str>),
}

impl RecordedVersion {
    pub(crate) fn read(value: Option<&str>) -> Self {
        KekVersion::from_recorded(value).map_or_else(
            |_| {
                let value = value.unwrap_or_default().chars();
                Self::Unknown(value.take(MAX_QUOTED_VERSION).collect::<String>().into())
            },
            Self::Known,
        )
    }
}

impl fmt::Display for RecordedVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(version) => version.fmt(formatter),
            Self::Unknown(value) => formatter.write_str(value),
        }
    }
}

/// Wrapped key of an object of the older formats, as its metadata carry it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LegacyEnvelope {
    pub(crate) tag: LegacyTag,
    pub(crate) kek_version: RecordedVersion,
    pub(crate) wrapped_dek: LegacyWrappedDek,
}

/// Origin of the key-encryption key that wrapped a data key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KekOrigin {
    /// The key was derived from a configured text.
    Passphrase,
    /// The key came from Constellation's key service.
    Constellation,
    /// The key is 32 zero bytes: everyone who can read the object can decrypt it.
    Zero,
}

/// Source of Constellation's key.
pub(crate) enum ConstellationKek {
    /// No key service is configured.
    Absent,
    /// The key service is asked, and its key cached for a while.
    Service(Box<CachedConstellationKek>),
    /// The key is given.
    #[cfg(test)]
    Fixed(LegacyKek),
}

/// Constellation's key service, and its cached key.
pub(crate) struct CachedConstellationKek {
    service: Arc<Constellation>,
    caller: Caller,
    /// Cache for the one key.
    opened: Arc<KeyCache<LegacyKek>>,
}

impl ConstellationKek {
    /// Uses the key service: one request, and none while its key is cached.
    pub(crate) fn from_service(service: Arc<Constellation>, calls: ServiceCalls) -> Self {
        Self::Service(Box::new(CachedConstellationKek {
            service,
            caller: Caller::new(KEY.into(), ServiceKind::Constellation, calls.timeout),
            opened: Arc::new(KeyCache::new(NonZeroU32::MIN, calls.cache_time)),
        }))
    }

    async fn unwrap(&self, wrapped: &LegacyWrappedDek) -> Result<Option<LegacyDek>, ServiceError> {
        let kek = match self {
            Self::Absent => return Ok(None),
            #[cfg(test)]
            Self::Fixed(kek) => return Ok(LegacyDek::unwrap(wrapped, kek).ok()),
            Self::Service(cached) => cached.kek().await?,
        };
        Ok(LegacyDek::unwrap(wrapped, &kek).ok())
    }
}

impl CachedConstellationKek {
    async fn kek(&self) -> Result<Arc<LegacyKek>, ServiceError> {
        let ask = || {
            let (service, retrier) = (Arc::clone(&self.service), Arc::clone(self.caller.retrier()));
            async move {
                let bytes = retrier.call(|| {
                    let asking = service.legacy_kek();
                    let asking = measured(ServiceKind::Constellation, KeyCall::Legacy, asking);
                    call(SPAN, KEY, ServiceError::kind, asking)
                });
                let bytes = bytes.await?;
                Ok(LegacyKek::from_bytes(&bytes[..]).expect("32 bytes are a key"))
            }
        };
        let name = KEY.into();
        // Boxed, so that the futures of requests stay small.
        let opening = self.opened.get(&name, &[], &self.caller, ask);
        opening.boxed().await
    }
}

/// Why a data key could not be unwrapped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LegacyKeyError {
    /// The place does not allow reading such objects.
    #[error(
        "the object is in an older proxy's format, which legacy_reads = deny or encryption = \
         \"required\" refuses {rule}; set {} = \"allow\" to open it",
        .rule.setting("legacy_reads")
    )]
    Refused {
        /// Rule that applies to the place of the object.
        rule: RuleName,
    },
    /// No candidate opens the data key.
    #[error(
        "the object is in an older proxy's format, and none of the configured keys opens it; add \
         the key that it was written with to keys.decrypt_keys, or set it as keys.encrypt_key"
    )]
    Missing,
    /// The object records a derivation that is newer than this program.
    #[error(
        "the object was written by a newer version of Intrinsec's s3proxy, which records the KEK \
         version {version:?}; this proxy supports the versions 0 and 1; update it, or read the \
         object with Intrinsec's proxy and write it again through this one"
    )]
    NewerVersion {
        /// Version as recorded.
        version: Arc<str>,
    },
    /// A configured key opens the data key, but not in the object's place.
    #[error(
        "the object is in an older proxy's format, under the key {key:?}, which does not open \
         {rule}: the object was moved here, or {} has to list the key until the object is migrated",
        .rule.setting("opens")
    )]
    OtherPlace {
        /// Name of the key.
        key: String,
        /// Rule that applies to the place of the object.
        rule: RuleName,
    },
    /// The all-zero key opens the data key, but is not allowed.
    #[error(
        "the object was written by a faulty version of an older proxy, which sealed its key with \
         32 zero bytes, so anyone who can read the bucket can decrypt it; to open it, set \
         keys.decryption_fallback = allow (S3PROXY_DECRYPTION_FALLBACK), or decryption_fallback of \
         a rule without required encryption"
    )]
    ZeroKeyDenied,
    /// Constellation's key service failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl LegacyKeyError {
    /// Returns the kind of failure for metrics; `None` if the settings refuse an object that could
    /// be opened.
    fn open_failure(&self) -> Option<OpenFailure> {
        match self {
            Self::Refused { .. } => None,
            Self::Missing | Self::NewerVersion { .. } => Some(OpenFailure::UnknownKey),
            Self::OtherPlace { .. } => Some(OpenFailure::OtherPlace),
            Self::ZeroKeyDenied => Some(OpenFailure::ZeroKey),
            Self::Service(error) => Some(error.open_failure()),
        }
    }
}

/// A data key, and the origin of the key that had wrapped it.
pub(crate) struct LegacyUnwrapped {
    pub(crate) dek: LegacyDek,
    pub(crate) origin: KekOrigin,
}

/// All key-encryption keys that objects of the older formats may need.
pub(crate) struct LegacyKeys {
    passphrases: Vec<(Arc<str>, LegacyTextKeks)>,
    constellation: ConstellationKek,
}

impl LegacyKeys {
    /// Takes the configured texts, with the names of their keys in format v1. Every text counts,
    /// also one that is no passphrase in format v1, since the older proxies took any text.
    pub(crate) fn new(
        passphrases: Vec<(Arc<str>, LegacyTextKeks)>,
        constellation: ConstellationKek,
    ) -> Self {
        Self {
            passphrases,
            constellation,
        }
    }

    /// Unwraps the data key of an object that is stored in this place, if the place opens it.
    pub(crate) async fn unwrap(
        &self,
        place: StoredPlace<'_>,
        envelope: &LegacyEnvelope,
    ) -> Result<LegacyUnwrapped, LegacyKeyError> {
        let unwrapped = self.dek(place, envelope).await;
        unwrapped.inspect_err(count_failure)
    }

    /// Judges an object by the keys in memory, without a request to a service, and returns the
    /// origin of its key as far as those tell. An object that only Constellation's key can open
    /// counts as openable if that key opens in the place.
    pub(crate) fn check(
        &self,
        place: StoredPlace<'_>,
        envelope: &LegacyEnvelope,
    ) -> Result<KekOrigin, LegacyKeyError> {
        let checked = match self.unwrap_in_memory(place, envelope) {
            Ok(Some(unwrapped)) => Ok(unwrapped.origin),
            Ok(None) if self.may_be_constellations(place, envelope) => Ok(KekOrigin::Constellation),
            Ok(None) => Err(LegacyKeyError::Missing),
            Err(error) => Err(error),
        };
        checked.inspect_err(count_failure)
    }

    async fn dek(
        &self,
        place: StoredPlace<'_>,
        envelope: &LegacyEnvelope,
    ) -> Result<LegacyUnwrapped, LegacyKeyError> {
        if let Some(unwrapped) = self.unwrap_in_memory(place, envelope)? {
            return Ok(unwrapped);
        }
        let dek = if self.may_be_constellations(place, envelope) {
            self.constellation.unwrap(&envelope.wrapped_dek).await?
        } else {
            None
        };
        let origin = KekOrigin::Constellation;
        dek.map(|dek| LegacyUnwrapped { dek, origin })
            .ok_or(LegacyKeyError::Missing)
    }

    /// Returns whether Constellation's key is a candidate.
    fn may_be_constellations(&self, place: StoredPlace<'_>, envelope: &LegacyEnvelope) -> bool {
        let is_configured = !matches!(self.constellation, ConstellationKek::Absent);
        let is_tagged = envelope.tag == LegacyTag::Constellation;
        is_configured && is_tagged && place.opens(constellation::NAME)
    }

    /// Tries the configured texts and the all-zero key.
    fn unwrap_in_memory(
        &self,
        place: StoredPlace<'_>,
        envelope: &LegacyEnvelope,
    ) -> Result<Option<LegacyUnwrapped>, LegacyKeyError> {
        match place.legacy_reads() {
            Permission::Allow => {}
            Permission::Deny => {
                let rule = place.rule();
                return Err(LegacyKeyError::Refused { rule });
            }
        }
        let version = match &envelope.kek_version {
            RecordedVersion::Known(version) => *version,
            RecordedVersion::Unknown(version) => {
                let version = Arc::clone(version);
                return Err(LegacyKeyError::NewerVersion { version });
            }
        };
        let open = |kek: &LegacyKek, origin| {
            let dek = LegacyDek::unwrap(&envelope.wrapped_dek, kek).ok()?;
            Some(LegacyUnwrapped { dek, origin })
        };
        for (name, keks) in &self.passphrases {
            let Some(unwrapped) = open(keks.of(version), KekOrigin::Passphrase) else {
                continue;
            };
            if place.opens(name) {
                // Found, but not for this place: report the key instead of trying on, so that the
                // operator learns of a moved object.
                return Ok(Some(unwrapped));
            }
            return Err(LegacyKeyError::OtherPlace {
                key: name.to_string(),
                rule: place.rule(),
            });
        }
        // Tried even where it is denied, for the error that names the danger.
        if let Some(unwrapped) = open(&LegacyKek::zero(), KekOrigin::Zero) {
            return match place.zero_key() {
                Permission::Allow => Ok(Some(unwrapped)),
                Permission::Deny => Err(LegacyKeyError::ZeroKeyDenied),
            };
        }
        Ok(None)
    }
}

fn count_failure(error: &LegacyKeyError) {
    if let Some(kind) = error.open_failure() {
        metrics::open_failed(kind);
    }
}

#[cfg(test)]
mod tests;
