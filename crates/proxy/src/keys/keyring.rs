//! The configured keys, by name and by label.

mod builder;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures_util::future::join_all;
use s3proxy_envelope::dek::Dek;
use s3proxy_envelope::header::Envelope;
use s3proxy_envelope::kek::Kek;
use s3proxy_envelope::legacy::LegacyTextKeks;

use self::builder::KeyringBuilder;
use super::active_kek::KekPurpose;
use super::key_service::{KeyService, ServiceError};
use super::remote_key::RemoteKey;
use super::scope::StoredPlace;
use super::sealing_key::SealingKey;
use super::{KeyError, KeyringError};
use crate::config::resolved::Keys;
use crate::telemetry::metrics;

/// The configured keys.
pub(crate) struct Keyring {
    active: ChosenKey,
    by_name: HashMap<Arc<str>, Arc<Key>>,
    /// Keys of the older proxies from the same texts, with the names of the keys in format v1.
    passphrases: Vec<(Arc<str>, LegacyTextKeks)>,
    /// Keys that rules may choose: by label, and by name for keys that may seal.
    sealing: HashMap<String, ChosenKey>,
}

/// A key that may seal.
#[derive(Clone)]
pub(crate) struct ChosenKey(Arc<Key>);

struct Key {
    name: Arc<str>,
    holder: KeyHolder,
    origin: KeyOrigin,
}

/// Source material of a key.
#[derive(Clone, Copy)]
enum KeyOrigin {
    Generated,
    Passphrase { characters: usize },
    Service,
}

enum KeyHolder {
    Local(Arc<Kek>),
    Service(Box<RemoteKey>),
}

/// Source of the KEK of an envelope that may be opened.
enum KekSource<'k> {
    Local(&'k Kek),
    Service {
        key: &'k Key,
        remote: &'k RemoteKey,
        ciphertext: &'k [u8],
    },
}

/// Whether requests that need keys can be served.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    Ready,
    /// Some keys cannot be used: one line per key.
    Degraded(Vec<String>),
    /// Nothing can be written, and never could.
    NotReady(String),
}

impl Keyring {
    /// Builds the configured keys; `connect` makes those at services. Deriving a key from a
    /// passphrase takes 64 MiB for a moment (FORMAT, "Keys").
    pub(crate) fn new(
        keys: &Keys,
        services: Vec<Arc<dyn KeyService>>,
    ) -> Result<Self, KeyringError> {
        let mut builder = KeyringBuilder::default();
        builder.add_local_keys(keys)?;
        builder.add_services(services, keys.service_calls)?;
        builder.add_decrypt_keys(keys)?;
        builder.finish(&keys.active)
    }

    /// Takes over which services have answered. A service that is unavailable now, but worked under
    /// the configuration before, must not take the replica out.
    pub(crate) fn follow(&self, before: &Self) {
        for (name, key) in &self.by_name {
            let known = before.by_name.get(name).map(|known| &known.holder);
            if let (KeyHolder::Service(remote), Some(KeyHolder::Service(known))) =
                (&key.holder, known)
            {
                remote.follow(known);
            }
        }
    }

    /// Returns the key that wraps new objects' data keys if no rule chooses another.
    pub(crate) fn active(&self) -> &ChosenKey {
        &self.active
    }

    /// Logs the active key and its kind.
    pub(crate) fn announce(&self) {
        let ChosenKey(key) = &self.active;
        let name = &*key.name;
        metrics::active_key(name);
        let message = "new objects are sealed under this key";
        match key.origin {
            KeyOrigin::Generated => tracing::info!(key = name, kind = "generated", "{message}"),
            KeyOrigin::Passphrase { characters } => {
                tracing::info!(key = name, kind = "passphrase", characters, "{message}");
            }
            KeyOrigin::Service => tracing::info!(key = name, kind = "service", "{message}"),
        }
    }

    /// Returns the key with this label or name; `setting` refers to it.
    pub(crate) fn choose(&self, setting: &str, asked: &str) -> Result<ChosenKey, KeyringError> {
        choose(&self.sealing, setting, asked)
    }

    /// Returns the name in envelopes of any configured key, by its label or name; `setting` refers
    /// to it.
    pub(crate) fn name_of(&self, setting: &str, asked: &str) -> Result<Arc<str>, KeyringError> {
        if let Some(chosen) = self.sealing.get(asked) {
            return Ok(chosen.shared_name());
        }
        let named = self.by_name.get_key_value(asked);
        named.map(|(name, _)| Arc::clone(name)).ok_or_else(|| {
            let labels = self.sealing.keys().map(String::as_str);
            let in_envelopes = self.by_name.keys().map(AsRef::as_ref);
            KeyringError::unknown(setting, asked, labels.chain(in_envelopes))
        })
    }

    /// Returns the names of all configured keys.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_name.keys()
    }

    /// Returns the older proxies' keys from the same texts, in the order of their settings.
    pub(crate) fn take_passphrases(&mut self) -> Vec<(Arc<str>, LegacyTextKeks)> {
        std::mem::take(&mut self.passphrases)
    }

    /// Returns the KEK for a new object. At most one request to a service.
    pub(crate) async fn sealing_key(&self, key: &ChosenKey) -> Result<SealingKey, KeyError> {
        let key = &key.0;
        let (kek, encrypted_kek) = match &key.holder {
            KeyHolder::Local(kek) => (Arc::clone(kek), None),
            KeyHolder::Service(remote) => {
                let lent = remote.lend(KekPurpose::Object).await;
                let lent = lent.map_err(|error| failed(key, error));
                let lent = lent.inspect_err(|error| metrics::seal_failed(error.seal_failure()))?;
                (lent.kek, Some(lent.ciphertext))
            }
        };
        Ok(SealingKey {
            key_name: Arc::clone(&key.name),
            kek,
            encrypted_kek,
        })
    }

    /// Unwraps the data key of an object that is stored in this place, if the place opens it. At
    /// most one request to a service, and none if the place refuses.
    pub(crate) async fn unwrap(
        &self,
        place: StoredPlace<'_>,
        envelope: &Envelope,
    ) -> Result<Dek, KeyError> {
        let unwrapped = self.dek(place, envelope).await;
        unwrapped.inspect_err(|error| metrics::open_failed(error.open_failure()))
    }

    /// Judges an object without a request to a service: its key is configured and opens in this
    /// place, and the binding is strong enough for the place. Under a local key the data key is
    /// unwrapped, too, which detects an envelope that was altered or belongs to another object.
    pub(crate) fn check(
        &self,
        place: StoredPlace<'_>,
        envelope: &Envelope,
    ) -> Result<(), KeyError> {
        let checked = match self.kek_source(place, envelope) {
            Ok(KekSource::Local(kek)) => unwrap(place, envelope, kek).map(drop),
            Ok(KekSource::Service { .. }) => Ok(()),
            Err(error) => Err(error),
        };
        checked.inspect_err(|error| metrics::open_failed(error.open_failure()))
    }

    async fn dek(&self, place: StoredPlace<'_>, envelope: &Envelope) -> Result<Dek, KeyError> {
        match self.kek_source(place, envelope)? {
            KekSource::Local(kek) => unwrap(place, envelope, kek),
            KekSource::Service {
                key,
                remote,
                ciphertext,
            } => {
                let kek = remote.open(ciphertext).await;
                let kek = kek.map_err(|error| failed(key, error))?;
                unwrap(place, envelope, &kek)
            }
        }
    }

    /// Finds the KEK of an envelope that its place opens.
    fn kek_source<'k>(
        &'k self,
        place: StoredPlace<'_>,
        envelope: &'k Envelope,
    ) -> Result<KekSource<'k>, KeyError> {
        let key = self
            .by_name
            .get(envelope.key_name.as_str())
            .ok_or_else(|| KeyError::Missing(envelope.key_name.clone()))?;
        // Before any service is asked: a refused place must not cost a call.
        place.admit(envelope)?;
        match (&key.holder, &envelope.encrypted_kek) {
            (KeyHolder::Local(kek), None) => Ok(KekSource::Local(kek)),
            (KeyHolder::Service(remote), Some(ciphertext)) => Ok(KekSource::Service {
                key,
                remote,
                ciphertext,
            }),
            (KeyHolder::Local(_), Some(_)) | (KeyHolder::Service(_), None) => {
                Err(KeyError::Misfit(envelope.key_name.clone()))
            }
        }
    }

    /// Checks that every service answers, without using a key that was used already.
    pub(crate) async fn readiness(&self) -> Readiness {
        // Only a service that never made a KEK takes the replica out: later outages degrade it,
        // since reads with cached keys go on.
        if let KeyHolder::Service(remote) = &self.active.0.holder
            && let Err(error) = remote.can_seal().await
            && !remote.has_answered()
        {
            return Readiness::NotReady(failed(&self.active.0, error).to_string());
        }
        // Concurrently, so that several silent services take no longer than one.
        let checks = self.by_name.values().map(|key| async {
            let KeyHolder::Service(remote) = &key.holder else {
                return None;
            };
            let error = remote.check().await.err()?;
            Some(format!("{}: {error}", key.name))
        });
        let mut lines: Vec<String> = join_all(checks).await.into_iter().flatten().collect();
        if lines.is_empty() {
            Readiness::Ready
        } else {
            lines.sort();
            Readiness::Degraded(lines)
        }
    }
}

impl ChosenKey {
    /// Returns the name of the key in envelopes.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.0.name)
    }
}

fn choose(
    sealing: &HashMap<String, ChosenKey>,
    setting: &str,
    asked: &str,
) -> Result<ChosenKey, KeyringError> {
    sealing.get(asked).cloned().ok_or_else(|| {
        let known = sealing.keys().map(String::as_str);
        KeyringError::unknown(setting, asked, known)
    })
}

impl KeyringError {
    fn unknown<'k>(setting: &str, asked: &str, known: impl Iterator<Item = &'k str>) -> Self {
        // Sorted and without duplicates: a key may be listed under its label and its name.
        let known: Vec<&str> = known.collect::<BTreeSet<_>>().into_iter().collect();
        let known = known.join(", ");
        Self::Unknown {
            setting: setting.to_owned(),
            asked: asked.to_owned(),
            known,
        }
    }
}

fn unwrap(place: StoredPlace<'_>, envelope: &Envelope, kek: &Kek) -> Result<Dek, KeyError> {
    let binding = place.binding(envelope);
    Dek::unwrap(&envelope.wrapped_dek, kek, &binding).map_err(|_| KeyError::Unwrap)
}

fn failed(key: &Key, error: ServiceError) -> KeyError {
    KeyError::Service {
        key: key.name.to_string(),
        error,
    }
}

#[cfg(test)]
mod tests;
