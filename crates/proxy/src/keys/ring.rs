//! The configured keys, by name and by label.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use s3proxy_envelope::dek::{Binding, Dek, WrappedDek};
use s3proxy_envelope::header::Envelope;
use s3proxy_envelope::kek::Kek;

use super::key_service::{KeyService, ServiceError};
use super::opened::OpenedKeks;
use super::writing::{LentKek, Need, Writing};
use super::{KeyError, KeyringError};
use crate::config::resolved::{ActiveKey, Keys, ServiceCalls};
use crate::telemetry::metrics;
use crate::telemetry::traces::call;

// Names of spans.
const CREATE: &str = "key_service create";
const OPEN: &str = "key_service open";

/// How often a service is asked that cannot be reached, and how long is waited before the second
/// and the third time.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];

/// Longest ciphertext of a KEK: the envelope has to fit S3's 2 KB of metadata.
const MAX_CIPHERTEXT_BYTES: usize = 1024;

/// The configured keys.
pub(crate) struct Keyring {
    active: ChosenKey,
    by_name: HashMap<Arc<str>, Arc<Key>>,
    /// What rules may choose: labels, and names of keys that may seal.
    sealing: HashMap<String, ChosenKey>,
    opened: OpenedKeks,
    calls: ServiceCalls,
}

/// A key that may seal.
#[derive(Clone)]
pub(crate) struct ChosenKey(Arc<Key>);

struct Key {
    name: Arc<str>,
    holder: Holder,
}

enum Holder {
    Local(Kek),
    Service(Box<Held>),
}

/// A key at a service, and what is known of the service.
struct Held {
    keeper: Arc<dyn KeyService>,
    writing: Writing,
    /// It has made a KEK once.
    answered: AtomicBool,
    failing: AtomicBool,
}

/// A data key wrapped for an envelope.
pub(crate) struct Wrapped {
    pub(crate) key_name: String,
    pub(crate) dek: WrappedDek,
    pub(crate) encrypted_kek: Option<Vec<u8>>,
}

/// Whether requests that need keys can be served.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    Ready,
    /// Some cannot: a line for each key.
    Degraded(Vec<String>),
    /// Nothing can be written, and never could.
    NotReady(String),
}

impl Keyring {
    /// The keys of the configuration; those at services are given by `connect`. Deriving a key from
    /// a passphrase takes 64 MiB for a moment (FORMAT, "Keys").
    pub(crate) fn new(
        keys: &Keys,
        services: Vec<Arc<dyn KeyService>>,
    ) -> Result<Self, KeyringError> {
        let mut by_name = HashMap::new();
        let mut sealing = HashMap::new();
        let mut add = |setting: &str, key: Key| {
            let key = Arc::new(key);
            let name = Arc::clone(&key.name);
            if by_name
                .insert(Arc::clone(&name), Arc::clone(&key))
                .is_some()
            {
                let (setting, name) = (setting.to_owned(), name.to_string());
                return Err(KeyringError::Twice { setting, name });
            }
            Ok(ChosenKey(key))
        };
        if let Some(text) = &keys.encrypt_key {
            let key = add(
                "keys.encrypt_key",
                local("keys.encrypt_key", text.expose())?,
            )?;
            sealing.insert(key.name().to_owned(), key.clone());
            sealing.insert("encrypt_key".to_owned(), key);
        }
        for labelled in &keys.labelled {
            let setting = format!("keys.local, {}", labelled.label);
            let key = add(&setting, local(&setting, labelled.key.expose())?)?;
            sealing.insert(key.name().to_owned(), key.clone());
            sealing.insert(labelled.label.clone(), key);
        }
        for service in services {
            let key = add("key services", Key::held(service))?;
            sealing.insert(key.name().to_owned(), key);
        }
        for text in &keys.decrypt_keys {
            add(
                "keys.decrypt_keys",
                local("keys.decrypt_keys", text.expose())?,
            )?;
        }
        let active = match &keys.active {
            ActiveKey::EncryptKey => "encrypt_key",
            ActiveKey::Named(name) => name,
        };
        Ok(Self {
            active: choose(&sealing, "keys.active", active)?,
            by_name,
            sealing,
            opened: OpenedKeks::new(keys.service_calls.cache_keks, keys.service_calls.cache_time),
            calls: keys.service_calls,
        })
    }

    /// Takes over which services have answered: one that is away now, and has worked under the
    /// configuration before, takes no replica out.
    pub(crate) fn follow(&self, before: &Self) {
        for (name, key) in &self.by_name {
            let known = before.by_name.get(name).map(|known| &known.holder);
            if let (Holder::Service(held), Some(Holder::Service(known))) = (&key.holder, known) {
                let answered = known.answered.load(Ordering::Relaxed);
                held.answered.store(answered, Ordering::Relaxed);
            }
        }
    }

    /// The key that wraps new objects' data keys where no rule says otherwise.
    pub(crate) fn active(&self) -> &ChosenKey {
        &self.active
    }

    /// The key of a label or name. `setting` is where it was asked for.
    pub(crate) fn choose(&self, setting: &str, asked: &str) -> Result<ChosenKey, KeyringError> {
        choose(&self.sealing, setting, asked)
    }

    /// Wraps a new object's data key. At most one request to a service.
    pub(crate) async fn wrap(
        &self,
        key: &ChosenKey,
        dek: &Dek,
        binding: &Binding,
    ) -> Result<Wrapped, KeyError> {
        let key = &key.0;
        let (wrapped_dek, encrypted_kek) = match &key.holder {
            Holder::Local(kek) => (dek.wrap(kek, binding), None),
            Holder::Service(held) => {
                let lent = self.lend(key, held, Need::Object).await;
                let lent = lent.inspect_err(|error| metrics::seal_failed(error.seal_failure()))?;
                (dek.wrap(&lent.kek, binding), Some(lent.ciphertext.to_vec()))
            }
        };
        Ok(Wrapped {
            key_name: key.name.to_string(),
            dek: wrapped_dek,
            encrypted_kek,
        })
    }

    /// The data key of a stored object. At most one request to a service.
    pub(crate) async fn unwrap(
        &self,
        envelope: &Envelope,
        binding: &Binding,
    ) -> Result<Dek, KeyError> {
        let unwrapped = self.dek(envelope, binding).await;
        unwrapped.inspect_err(|error| metrics::open_failed(error.open_failure()))
    }

    async fn dek(&self, envelope: &Envelope, binding: &Binding) -> Result<Dek, KeyError> {
        let key = self
            .by_name
            .get(envelope.key_name.as_str())
            .ok_or_else(|| KeyError::Missing(envelope.key_name.clone()))?;
        let unwrapped = match (&key.holder, &envelope.encrypted_kek) {
            (Holder::Local(kek), None) => Dek::unwrap(&envelope.wrapped_dek, kek, binding),
            (Holder::Service(held), Some(ciphertext)) => {
                let kek = self.open(key, held, ciphertext).await?;
                Dek::unwrap(&envelope.wrapped_dek, &kek, binding)
            }
            (Holder::Local(_), Some(_)) | (Holder::Service(_), None) => {
                return Err(KeyError::Misfit(envelope.key_name.clone()));
            }
        };
        unwrapped.map_err(|_| KeyError::Unwrap)
    }

    /// Asks every service whether it answers, without using keys that were used already.
    pub(crate) async fn readiness(&self) -> Readiness {
        if let Holder::Service(held) = &self.active.0.holder
            && let Err(error) = self.lend(&self.active.0, held, Need::Readiness).await
            && !held.answered.load(Ordering::Relaxed)
        {
            return Readiness::NotReady(error.to_string());
        }
        let mut lines = Vec::new();
        for key in self.by_name.values() {
            let Holder::Service(held) = &key.holder else {
                continue;
            };
            let checked = tokio::time::timeout(self.calls.timeout, held.keeper.check()).await;
            let checked = checked.unwrap_or_else(|_| Err(too_late(self.calls.timeout)));
            held.note(&key.name, checked.as_ref().err());
            if let Err(error) = checked {
                lines.push(format!("{}: {error}", key.name));
            }
        }
        if lines.is_empty() {
            Readiness::Ready
        } else {
            lines.sort();
            Readiness::Degraded(lines)
        }
    }

    async fn lend(&self, key: &Key, held: &Held, need: Need) -> Result<LentKek, KeyError> {
        let create = async || {
            let made = self.patiently(key, held, || {
                let creating = held.keeper.create();
                call(CREATE, &key.name, ServiceError::kind, creating)
            });
            let made = made.await?;
            if !(1..=MAX_CIPHERTEXT_BYTES).contains(&made.ciphertext.len()) {
                let reason = "it encrypts a KEK to nothing, or to more than 1024 bytes";
                return Err(ServiceError::Key(reason.to_owned()));
            }
            let lent = LentKek {
                kek: Arc::new(made.kek),
                ciphertext: made.ciphertext.into(),
            };
            // Whoever reads what is written now finds its KEK here.
            self.opened
                .insert(&key.name, &lent.ciphertext, Arc::clone(&lent.kek));
            held.answered.store(true, Ordering::Relaxed);
            Ok(lent)
        };
        let lent = held.writing.lend(&self.calls, need, create).await;
        lent.map_err(|error| failed(key, error))
    }

    async fn open(&self, key: &Key, held: &Held, ciphertext: &[u8]) -> Result<Arc<Kek>, KeyError> {
        let open = self.patiently(key, held, || {
            let opening = held.keeper.open(ciphertext);
            call(OPEN, &key.name, ServiceError::kind, opening)
        });
        let kek = self.opened.get(&key.name, ciphertext, open).await;
        kek.map_err(|error| failed(key, error))
    }

    /// Asks a service, again where it could not be reached.
    async fn patiently<T, F>(
        &self,
        key: &Key,
        held: &Held,
        ask: impl Fn() -> F,
    ) -> Result<T, ServiceError>
    where
        F: Future<Output = Result<T, ServiceError>>,
    {
        let mut pauses = PAUSES.into_iter();
        loop {
            let answer = tokio::time::timeout(self.calls.timeout, ask()).await;
            let answer = answer.unwrap_or_else(|_| Err(too_late(self.calls.timeout)));
            held.note(&key.name, answer.as_ref().err());
            match (answer, pauses.next()) {
                (Err(ServiceError::Unavailable(_)), Some(pause)) => {
                    tokio::time::sleep(pause).await;
                }
                (answer, _) => return answer,
            }
        }
    }
}

impl ChosenKey {
    /// What envelopes call it.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }
}

impl Key {
    fn held(service: Arc<dyn KeyService>) -> Self {
        Self {
            name: service.name().into(),
            holder: Holder::Service(Box::new(Held {
                keeper: service,
                writing: Writing::default(),
                answered: AtomicBool::new(false),
                failing: AtomicBool::new(false),
            })),
        }
    }
}

impl Held {
    /// Remembers how a request to the service went, and says so in the log when that changes.
    fn note(&self, name: &str, error: Option<&ServiceError>) {
        let failing = match error {
            Some(ServiceError::Unavailable(_) | ServiceError::Refused(_)) => true,
            // The service answered; something is wrong with what it was asked for.
            Some(ServiceError::Key(_) | ServiceError::Ciphertext(_)) | None => false,
        };
        let failed_before = self.failing.swap(failing, Ordering::Relaxed);
        match error {
            Some(error) if failing && !failed_before => {
                tracing::warn!(key = name, %error, "a key service fails");
            }
            None if failed_before => tracing::info!(key = name, "the key service answers again"),
            Some(_) | None => {}
        }
    }
}

fn choose(
    sealing: &HashMap<String, ChosenKey>,
    setting: &str,
    asked: &str,
) -> Result<ChosenKey, KeyringError> {
    sealing.get(asked).cloned().ok_or_else(|| {
        let known: BTreeSet<_> = sealing.keys().map(String::as_str).collect();
        KeyringError::Unknown {
            setting: setting.to_owned(),
            asked: asked.to_owned(),
            known: Vec::from_iter(known).join(", "),
        }
    })
}

fn local(setting: &str, text: &str) -> Result<Key, KeyringError> {
    let kek = Kek::from_configured(text).map_err(|error| KeyringError::Key {
        setting: setting.to_owned(),
        error,
    })?;
    Ok(Key {
        name: kek.local_name().into(),
        holder: Holder::Local(kek),
    })
}

fn failed(key: &Key, error: ServiceError) -> KeyError {
    KeyError::Service {
        key: key.name.to_string(),
        error,
    }
}

fn too_late(timeout: Duration) -> ServiceError {
    let milliseconds = timeout.as_millis();
    ServiceError::Unavailable(format!("no answer within {milliseconds} ms"))
}

#[cfg(test)]
mod tests;
