//! Key-encryption keys: which one wraps, which ones open.
//!
//! One key is active and wraps the data keys of new objects; the others only open. An envelope
//! names its key, and a name that is not configured is never passed on: the object cannot be
//! opened here, and the error says which key is missing. Key services are absent so far: every
//! key is local.

pub(crate) mod legacy;

use std::collections::HashMap;
use std::sync::Arc;

use s3proxy_envelope::dek::{Binding, Dek, WrappedDek};
use s3proxy_envelope::header::Envelope;
use s3proxy_envelope::kek::{Kek, KekError};

/// Why a data key could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// The envelope names a key that is not configured.
    #[error("the object is sealed under the key {0:?}, which is not configured here")]
    Missing(String),
    /// The wrapped key does not open: another object's, or altered.
    #[error("the data key does not unwrap under its key for this object")]
    Unwrap,
}

/// Why the configured keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// A key is malformed.
    #[error("{setting}: {error}")]
    Key {
        /// The setting that holds it.
        setting: String,
        /// What is wrong with it.
        error: KekError,
    },
    /// Two keys have one name.
    #[error("{setting}: a key of the name {name} is configured already; remove one of the two")]
    Twice {
        /// The setting that holds the second.
        setting: String,
        /// The name of both.
        name: String,
    },
}

/// The configured keys.
pub(crate) struct Keyring {
    active: Arc<NamedKek>,
    by_name: HashMap<String, Arc<NamedKek>>,
}

struct NamedKek {
    name: String,
    kek: Kek,
}

/// A data key wrapped for an envelope.
pub(crate) struct Wrapped {
    pub(crate) key_name: String,
    pub(crate) wrapped_dek: WrappedDek,
}

impl Keyring {
    /// A ring of local keys. Each comes with the setting that holds it, for errors. Deriving a key
    /// from a passphrase takes 64 MiB for a moment (FORMAT, "Keys").
    pub(crate) fn local<'a>(
        active: (&str, &str),
        others: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, KeyringError> {
        let active = Arc::new(NamedKek::parse(active.0, active.1)?);
        let mut by_name = HashMap::from([(active.name.clone(), Arc::clone(&active))]);
        for (setting, text) in others {
            let key = NamedKek::parse(setting, text)?;
            if by_name.contains_key(&key.name) {
                return Err(KeyringError::Twice {
                    setting: setting.to_owned(),
                    name: key.name,
                });
            }
            by_name.insert(key.name.clone(), Arc::new(key));
        }
        Ok(Self { active, by_name })
    }

    /// The name of the key that wraps new objects' data keys.
    pub(crate) fn active_name(&self) -> &str {
        &self.active.name
    }

    /// Wraps a new object's data key under the active key.
    pub(crate) fn wrap(&self, dek: &Dek, binding: &Binding) -> Wrapped {
        Wrapped {
            key_name: self.active.name.clone(),
            wrapped_dek: dek.wrap(&self.active.kek, binding),
        }
    }

    /// The data key of a stored object.
    pub(crate) fn unwrap(&self, envelope: &Envelope, binding: &Binding) -> Result<Dek, KeyError> {
        let key = self
            .by_name
            .get(&envelope.key_name)
            .ok_or_else(|| KeyError::Missing(envelope.key_name.clone()))?;
        Dek::unwrap(&envelope.wrapped_dek, &key.kek, binding).map_err(|_| KeyError::Unwrap)
    }
}

impl NamedKek {
    fn parse(setting: &str, text: &str) -> Result<Self, KeyringError> {
        let kek = Kek::from_configured(text).map_err(|error| KeyringError::Key {
            setting: setting.to_owned(),
            error,
        })?;
        Ok(Self {
            name: kek.local_name(),
            kek,
        })
    }
}
