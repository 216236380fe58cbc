//! Which stored objects open in a place: under which keys, with which binding, in which formats.
//!
//! A backend can move any stored object, envelope included, to any other place. The check here
//! protects one tenant's objects from another tenant's clients: a key opens only in the places of
//! rules that name it. [`super::Keyring`] and [`super::legacy::LegacyKeys`] unwrap only for a
//! [`StoredPlace`]. It is made from a [`Scope`], and the rules give none away, so nothing unwraps a
//! data key without naming the place that its object was read from.
//!
//! Absent: the choice of a place's rule ([`crate::rules`]), and objects that are not sealed.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use s3proxy_envelope::dek::Binding;
use s3proxy_envelope::header::{Envelope, Flags};
use s3proxy_envelope::names::{BucketStr, KeyStr};

use super::KeyError;
use crate::config::resolved::{KeyBinding, Permission};

/// Objects that open in the places of one rule, or in those without a rule.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    /// Names of the keys that open, as in envelopes.
    pub(crate) keys: BTreeSet<Arc<str>>,
    /// The weakest binding that opens.
    pub(crate) least_bind: KeyBinding,
    /// Whether objects in an older proxy's format open.
    pub(crate) legacy_reads: Permission,
    /// Whether the all-zero key of the older proxies opens; without effect if `legacy_reads` is
    /// denied.
    pub(crate) zero_key: Permission,
    pub(crate) rule: RuleName,
}

/// The rule of a place, for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RuleName {
    /// No rule matches: the policy applies.
    Absent,
    /// Index of the rule in the configuration, from 0.
    Numbered(usize),
}

/// Bucket and key of a stored object, with the scope of that place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoredPlace<'p> {
    bucket: &'p str,
    object_key: &'p str,
    scope: &'p Scope,
}

impl Scope {
    /// Returns the place with this bucket and object key; the scope must be that place's.
    pub(crate) fn at<'p>(&'p self, bucket: &'p str, object_key: &'p str) -> StoredPlace<'p> {
        StoredPlace {
            bucket,
            object_key,
            scope: self,
        }
    }
}

impl StoredPlace<'_> {
    /// Checks that an envelope may be opened here. Whether its key is configured is checked
    /// elsewhere.
    pub(crate) fn admit(&self, envelope: &Envelope) -> Result<(), KeyError> {
        let scope = self.scope;
        if !self.opens(&envelope.key_name) {
            return Err(KeyError::OtherPlace {
                key: envelope.key_name.clone(),
                rule: scope.rule,
            });
        }
        // The binding to the object key is the minimum in every place.
        let is_bound = envelope.flags.is_key_bound()
            && match scope.least_bind {
                KeyBinding::Key => true,
                KeyBinding::BucketAndKey => envelope.flags.is_bucket_bound(),
            };
        if is_bound {
            Ok(())
        } else {
            Err(KeyError::WeakBinding {
                key: envelope.key_name.clone(),
                rule: scope.rule,
            })
        }
    }

    /// Returns whether the key with this name opens here.
    pub(crate) fn opens(&self, key: &str) -> bool {
        self.scope.keys.contains(key)
    }

    /// Returns the binding that an envelope in this place must have been wrapped for.
    pub(super) fn binding(&self, envelope: &Envelope) -> Binding {
        Binding::new(
            envelope.layout,
            envelope.flags,
            BucketStr(self.bucket),
            KeyStr(self.object_key),
        )
    }

    /// Returns whether objects in an older proxy's format open here.
    pub(crate) fn legacy_reads(&self) -> Permission {
        self.scope.legacy_reads
    }

    pub(super) fn zero_key(&self) -> Permission {
        self.scope.zero_key
    }

    pub(super) fn rule(&self) -> RuleName {
        self.scope.rule
    }
}

/// Envelope flags for a binding, without a private map.
pub(crate) fn binding_flags(key_binding: KeyBinding) -> Flags {
    match key_binding {
        KeyBinding::Key => Flags::KEY_BOUND,
        KeyBinding::BucketAndKey => Flags::KEY_BOUND.with_bucket_bound(),
    }
}

impl RuleName {
    /// Returns the named setting of the rule, as the end of "set …" or "list it in …".
    pub(crate) fn setting(self, name: &str) -> String {
        match self {
            Self::Absent => format!("{name} of a rule for this bucket and prefix"),
            Self::Numbered(index) => format!("rules[{index}].{name}"),
        }
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => formatter.write_str("where no rule matches"),
            Self::Numbered(index) => write!(formatter, "under rules[{index}]"),
        }
    }
}
