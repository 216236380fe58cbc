//! Keys of the two older proxies' objects: the key-encryption keys that may have wrapped a data key.
//!
//! Nothing in such an object names its key, so the candidates are tried; unwrapping tells the right
//! one (RFC 5649, section 3). Those at hand come first: the keys of the configured texts, derived as
//! Intrinsec's proxy derived them in the version that the object records, and the all-zero key where
//! `keys.decryption_fallback` allows it. Constellation's, which may cost a request, is tried last and
//! only for objects under Constellation's tag. Nothing is tried for a version that is not known.
//!
//! Only keys that open in the object's place are tried for good; one of the others is named in the
//! refusal where it would have opened the object.
//!
//! Invariant: where the place does not allow it nothing opens under the all-zero key; an object that
//! would is told apart from one whose key is missing. Absent: writing, which is never done in this format.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use futures_util::FutureExt;
use s3proxy_envelope::legacy::{
    KekVersion, LegacyDek, LegacyKek, LegacyTextKeks, LegacyWrappedDek,
};

use super::caller::Caller;
use super::constellation::{self, Constellation};
use super::key_service::ServiceError;
use super::measured::measured;
use super::opened::OpenedKeys;
use super::scope::{RuleName, StoredPlace};
use crate::config::resolved::{Permission, ServiceCalls};
use crate::telemetry::metrics::{self, KeyCall, OpenFailure, ServiceKind};
use crate::telemetry::traces::call;

/// The name of the span of asking Constellation for its key.
const SPAN: &str = "key_service open";

/// What traces and the log call that key.
const KEY: &str = "constellation";

/// The metadata that a wrapped key was found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum LegacyTag {
    /// The configured one: Intrinsec's proxy.
    Configured,
    /// `constellation-dek`: the original.
    Constellation,
}

/// Longest version that an error quotes, in characters: a backend chooses it.
const MAX_QUOTED_VERSION: usize = 16;

/// How the key-encryption key was derived from its text, as the object records it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RecordedVersion {
    Known(KekVersion),
    /// Of a release that came after this program; the value, cut off where it is long.
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

/// The wrapped key of an object of the older formats, as its metadata carry it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LegacyEnvelope {
    pub(crate) tag: LegacyTag,
    pub(crate) kek_version: RecordedVersion,
    pub(crate) wrapped_dek: LegacyWrappedDek,
}

/// What kind of key-encryption key wrapped a data key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KekOrigin {
    /// Derived from a configured text.
    Passphrase,
    /// Constellation's key service.
    Constellation,
    /// 32 zero bytes: whoever can read the object can decrypt it.
    Zero,
}

/// Where Constellation's key comes from.
pub(crate) enum ConstellationKek {
    /// No key service is configured.
    Absent,
    /// The service is asked, and its answer remembered for a while.
    Asked(Box<Asked>),
    /// It is at hand.
    #[cfg(test)]
    Given(LegacyKek),
}

/// Constellation's key service, and the key that it gave last.
pub(crate) struct Asked {
    service: Arc<Constellation>,
    caller: Caller,
    /// That one key.
    opened: Arc<OpenedKeys<LegacyKek>>,
}

impl ConstellationKek {
    /// One request, and none within the time that its answer is remembered.
    pub(crate) fn asked_of(service: Arc<Constellation>, calls: ServiceCalls) -> Self {
        Self::Asked(Box::new(Asked {
            service,
            caller: Caller::new(KEY.into(), ServiceKind::Constellation, calls.timeout),
            opened: Arc::new(OpenedKeys::new(NonZeroU32::MIN, calls.cache_time)),
        }))
    }

    async fn unwrap(&self, wrapped: &LegacyWrappedDek) -> Result<Option<LegacyDek>, ServiceError> {
        let kek = match self {
            Self::Absent => return Ok(None),
            #[cfg(test)]
            Self::Given(kek) => return Ok(LegacyDek::unwrap(wrapped, kek).ok()),
            Self::Asked(asked) => asked.kek().await?,
        };
        Ok(LegacyDek::unwrap(wrapped, &kek).ok())
    }
}

impl Asked {
    async fn kek(&self) -> Result<Arc<LegacyKek>, ServiceError> {
        let ask = || {
            let (service, line) = (Arc::clone(&self.service), Arc::clone(self.caller.line()));
            async move {
                let bytes = line.call(|| {
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

/// Why a data key could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LegacyKeyError {
    /// Such objects may not be read there.
    #[error(
        "the object is in an older proxy's format, which legacy_reads = deny or encryption = \
         \"required\" refuses to open {rule}; {} = \"allow\" opens it",
        .rule.setting("legacy_reads")
    )]
    Refused {
        /// The rule of the place.
        rule: RuleName,
    },
    /// No candidate opens it.
    #[error(
        "the object is in an older proxy's format, and none of the configured keys opens it; give \
         the key that it was written with in keys.encrypt_key or keys.decrypt_keys"
    )]
    Missing,
    /// Its key was derived in a way that came after this program.
    #[error(
        "the object was written by a newer version of Intrinsec's s3proxy, which records the KEK \
         version {version:?}; this proxy reads the versions 0 and 1, so update it, or have \
         Intrinsec's proxy read the object and write it again through this one"
    )]
    NewerVersion {
        /// As recorded.
        version: Arc<str>,
    },
    /// A key opens it that is not one of those that open where it stands.
    #[error(
        "the object is in an older proxy's format, under the key {key:?}, which does not open \
         {rule}: somebody moved the object here, or {} has to list its key until it is migrated",
        .rule.setting("opens")
    )]
    OtherPlace {
        /// The key's name.
        key: String,
        /// The rule of the place.
        rule: RuleName,
    },
    /// The all-zero key opens it, and is not allowed to.
    #[error(
        "the object was written by a faulty version of an older proxy, which sealed its key with \
         32 zero bytes, so that whoever can read the bucket can decrypt it; \
         keys.decryption_fallback = allow (S3PROXY_DECRYPTION_FALLBACK), or decryption_fallback of \
         a rule, opens it, but not where encryption is required"
    )]
    ZeroKeyDenied,
    /// Constellation's key service did not do what it was asked.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl LegacyKeyError {
    /// None where the settings refuse what could be opened.
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

/// A data key, and what kind of key had wrapped it.
pub(crate) struct LegacyUnwrapped {
    pub(crate) dek: LegacyDek,
    pub(crate) origin: KekOrigin,
}

/// Every key-encryption key that objects of the older formats may need.
pub(crate) struct LegacyKeys {
    passphrases: Vec<(Arc<str>, LegacyTextKeks)>,
    constellation: ConstellationKek,
}

impl LegacyKeys {
    /// Takes the configured texts, with the names of the keys that they are in format v1; each
    /// counts whatever it looks like, since the older proxies took any text.
    pub(crate) fn new(
        passphrases: Vec<(Arc<str>, LegacyTextKeks)>,
        constellation: ConstellationKek,
    ) -> Self {
        Self {
            passphrases,
            constellation,
        }
    }

    /// The data key of an object that is stored in this place, if the place opens it.
    pub(crate) async fn unwrap(
        &self,
        place: StoredPlace<'_>,
        envelope: &LegacyEnvelope,
    ) -> Result<LegacyUnwrapped, LegacyKeyError> {
        let unwrapped = self.dek(place, envelope).await;
        unwrapped.inspect_err(count_failure)
    }

    /// Judges an object by the keys at hand, and asks no service; the key that its data key is under,
    /// as far as they tell. One that only Constellation's key can open counts as openable where that
    /// key opens.
    pub(crate) fn check(
        &self,
        place: StoredPlace<'_>,
        envelope: &LegacyEnvelope,
    ) -> Result<KekOrigin, LegacyKeyError> {
        let checked = match self.at_hand(place, envelope) {
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
        if let Some(unwrapped) = self.at_hand(place, envelope)? {
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

    /// Whether Constellation's key is one to try.
    fn may_be_constellations(&self, place: StoredPlace<'_>, envelope: &LegacyEnvelope) -> bool {
        let is_configured = !matches!(self.constellation, ConstellationKek::Absent);
        let is_tagged = envelope.tag == LegacyTag::Constellation;
        is_configured && is_tagged && place.opens(constellation::NAME)
    }

    /// Tries the configured texts and the all-zero key.
    fn at_hand(
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
                return Ok(Some(unwrapped));
            }
            return Err(LegacyKeyError::OtherPlace {
                key: name.to_string(),
                rule: place.rule(),
            });
        }
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
