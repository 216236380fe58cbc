//! Construction of the keyring from the configured keys.

use std::collections::HashMap;
use std::sync::Arc;

use s3proxy_envelope::kek::Kek;
use s3proxy_envelope::legacy::LegacyTextKeks;

use super::{ChosenKey, Key, KeyHolder, KeyOrigin, Keyring, choose};
use crate::config::resolved::{ActiveKey, Keys, ServiceCalls};
use crate::keys::KeyringError;
use crate::keys::key_cache::KeyCache;
use crate::keys::key_service::KeyService;
use crate::keys::remote_key::RemoteKey;

/// Label of the key from `keys.encrypt_key`.
const ENCRYPT_KEY_LABEL: &str = "encrypt_key";

/// A keyring under construction, without its active key; the fields are those of [`Keyring`].
#[derive(Default)]
pub(super) struct KeyringBuilder {
    by_name: HashMap<Arc<str>, Arc<Key>>,
    passphrases: Vec<(Arc<str>, LegacyTextKeks)>,
    sealing: HashMap<String, ChosenKey>,
}

impl KeyringBuilder {
    /// Adds the local keys that may seal: `keys.encrypt_key` and `keys.local`.
    pub(super) fn add_local_keys(&mut self, keys: &Keys) -> Result<(), KeyringError> {
        if let Some(text) = &keys.encrypt_key {
            let key = self.add_text("keys.encrypt_key", text.expose())?;
            self.allow_sealing(&key);
            self.sealing.insert(ENCRYPT_KEY_LABEL.to_owned(), key);
        }
        for labelled in &keys.labelled {
            let setting = format!("keys.local, {}", labelled.label);
            let key = self.add_text(&setting, labelled.key.expose())?;
            self.allow_sealing(&key);
            self.sealing.insert(labelled.label.clone(), key);
        }
        Ok(())
    }

    /// Adds the keys at key services, all of which may seal. They share one cache of opened keys.
    pub(super) fn add_services(
        &mut self,
        services: Vec<Arc<dyn KeyService>>,
        calls: ServiceCalls,
    ) -> Result<(), KeyringError> {
        let opened = Arc::new(KeyCache::new(calls.cache_keks, calls.cache_time));
        for service in services {
            let name = service.name().into();
            let remote = RemoteKey::new(service, calls, Arc::clone(&opened));
            let key = Key {
                name,
                holder: KeyHolder::Service(Box::new(remote)),
                origin: KeyOrigin::Service,
            };
            let key = self.add("key services", key)?;
            self.allow_sealing(&key);
        }
        Ok(())
    }

    /// Adds the keys of `keys.decrypt_keys`, which only open.
    pub(super) fn add_decrypt_keys(&mut self, keys: &Keys) -> Result<(), KeyringError> {
        for text in &keys.decrypt_keys {
            self.add_text("keys.decrypt_keys", text.expose())?;
        }
        Ok(())
    }

    /// Returns the keyring with its active key, which must be one that may seal.
    pub(super) fn finish(self, active: &ActiveKey) -> Result<Keyring, KeyringError> {
        let active = match active {
            ActiveKey::EncryptKey => ENCRYPT_KEY_LABEL,
            ActiveKey::Named(name) => name,
        };
        Ok(Keyring {
            active: choose(&self.sealing, "keys.active", active)?,
            by_name: self.by_name,
            passphrases: self.passphrases,
            sealing: self.sealing,
        })
    }

    /// Adds a key from its configured text, with the older proxies' keys from the same text.
    fn add_text(&mut self, setting: &str, text: &str) -> Result<ChosenKey, KeyringError> {
        let key = self.add(setting, local(setting, text)?)?;
        let legacy = LegacyTextKeks::new(text);
        self.passphrases.push((key.shared_name(), legacy));
        Ok(key)
    }

    /// Adds a key, unless another has its name.
    fn add(&mut self, setting: &str, key: Key) -> Result<ChosenKey, KeyringError> {
        let key = Arc::new(key);
        let name = Arc::clone(&key.name);
        let former = self.by_name.insert(Arc::clone(&name), Arc::clone(&key));
        if former.is_some() {
            let (setting, name) = (setting.to_owned(), name.to_string());
            return Err(KeyringError::Twice { setting, name });
        }
        Ok(ChosenKey(key))
    }

    /// Lets rules and `keys.active` choose the key by its name.
    fn allow_sealing(&mut self, key: &ChosenKey) {
        self.sealing.insert(key.name().to_owned(), key.clone());
    }
}

/// Makes the key of a text in the configuration: a generated key or a passphrase.
fn local(setting: &str, text: &str) -> Result<Key, KeyringError> {
    let kek = Kek::from_configured(text).map_err(|error| KeyringError::Key {
        setting: setting.to_owned(),
        error,
    })?;
    Ok(Key {
        name: kek.local_name().into(),
        holder: KeyHolder::Local(Arc::new(kek)),
        origin: if Kek::is_passphrase(text) {
            KeyOrigin::Passphrase {
                characters: text.chars().count(),
            }
        } else {
            KeyOrigin::Generated
        },
    })
}
