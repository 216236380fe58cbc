//! Checks whether stored objects open under their bucket and key, with the configured keys and
//! rules.
//!
//! No key service is called: a service's key counts as opening its own envelopes. Under a local key
//! the data key is unwrapped. If the key of an object was not given, there is no verdict.

use serde_json::Value;

use super::listing::Item;
use crate::app;
use crate::config::resolved::{Config, Permission};
use crate::failure::Failure;
use crate::keys::legacy::{ConstellationKek, LegacyKeyError, LegacyKeys};
use crate::keys::{KeyError, Keyring, KeyringError, placeholders};
use crate::objects::stored::Form;
use crate::rules::Rules;

/// Check by the configured keys and rules.
pub(super) struct OpenCheck {
    keys: Keyring,
    legacy: LegacyKeys,
    rules: Rules,
}

/// Whether an object opens under its bucket and key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OpenVerdict {
    Here,
    /// The object does not open, for this reason.
    Refused(String),
    /// The key is not known here, or another failure came first.
    Undecided,
}

impl OpenCheck {
    /// Derives the keys of passphrases, which takes a moment.
    pub(super) fn new(config: &Config) -> Result<Self, KeyringError> {
        let mut keys = Keyring::new(&config.keys, placeholders(&config.keys.services))?;
        Ok(Self {
            legacy: LegacyKeys::new(keys.take_passphrases(), ConstellationKek::Absent),
            rules: app::rules(config, &keys)?,
            keys,
        })
    }

    pub(super) fn judge(&self, item: &Item, form: &Form) -> OpenVerdict {
        let place = self.rules.place(&item.bucket, &item.key);
        match form {
            Form::Sealed(envelope) => match self.keys.check(place, envelope) {
                Ok(()) => OpenVerdict::Here,
                Err(error) => OpenVerdict::of_key(&error),
            },
            Form::Legacy(envelope) => match self.legacy.check(place, envelope) {
                Ok(_) => OpenVerdict::Here,
                Err(error) => OpenVerdict::of_legacy_key(&error),
            },
            Form::Plain => match self.rules.plaintext_reads(&item.bucket, &item.key) {
                Permission::Allow => OpenVerdict::Here,
                Permission::Deny => {
                    OpenVerdict::Refused("plaintext reads are denied to clients".to_owned())
                }
            },
        }
    }
}

impl OpenVerdict {
    /// Returns the verdict about an object that could not be opened.
    pub(super) fn of(failure: &Failure) -> Self {
        match failure {
            Failure::Refused(error) => Self::Refused(error.to_string()),
            Failure::Key(error) => Self::of_key(error),
            Failure::LegacyKey(error) => Self::of_legacy_key(error),
            Failure::Explained(..)
            | Failure::Inbound(_)
            | Failure::Backend(_)
            | Failure::Answer(_)
            | Failure::Unusable(_)
            | Failure::Stored(_)
            | Failure::Audit(_)
            | Failure::Panicked(_)
            | Failure::Budget(_)
            | Failure::Throttled(_)
            | Failure::Replaced
            | Failure::Range(_) => Self::Undecided,
        }
    }

    fn of_key(error: &KeyError) -> Self {
        match error {
            KeyError::OtherPlace { .. }
            | KeyError::WeakBinding { .. }
            | KeyError::Unwrap
            | KeyError::Misfit(_) => Self::Refused(error.to_string()),
            KeyError::Missing(_) | KeyError::Service { .. } => Self::Undecided,
        }
    }

    fn of_legacy_key(error: &LegacyKeyError) -> Self {
        match error {
            LegacyKeyError::Refused { .. }
            | LegacyKeyError::OtherPlace { .. }
            | LegacyKeyError::NewerVersion { .. }
            | LegacyKeyError::ZeroKeyDenied => Self::Refused(error.to_string()),
            LegacyKeyError::Missing | LegacyKeyError::Service(_) => Self::Undecided,
        }
    }

    /// Renders the verdict for programs: true, false, or null if it is undecided.
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Here => Value::Bool(true),
            Self::Refused(_) => Value::Bool(false),
            Self::Undecided => Value::Null,
        }
    }
}
