//! How an object is stored, by where it will stand: the first rule that matches, or the policy.
//!
//! Rules concern writing, and what is served that is not sealed. What is sealed is opened by what
//! its envelope says, under any rule.

use std::collections::BTreeSet;

use crate::config::resolved::{Bind, Encryption, Permission, Policy, Rule};
use crate::keys::{ChosenKey, Keyring, KeyringError};

/// The rules, with the keys that they choose.
pub(crate) struct Rules {
    in_order: Vec<(Rule, Storing)>,
    otherwise: Storing,
    plaintext_reads: Permission,
}

/// How new objects are stored.
#[derive(Clone)]
pub(crate) struct Storing {
    pub(crate) key: ChosenKey,
    pub(crate) bind: Bind,
    pub(crate) encryption: Encryption,
}

impl Rules {
    /// Finds the keys that the rules name.
    pub(crate) fn new(
        rules: Vec<Rule>,
        policy: &Policy,
        keys: &Keyring,
    ) -> Result<Self, KeyringError> {
        let otherwise = Storing {
            key: keys.active().clone(),
            bind: policy.bind,
            encryption: Encryption::On,
        };
        let storing = |(index, rule): (usize, Rule)| {
            let key = match &rule.key {
                None => otherwise.key.clone(),
                Some(asked) => keys.choose(&format!("rules[{index}].key"), asked)?,
            };
            let storing = Storing {
                key,
                bind: rule.bind.unwrap_or(policy.bind),
                encryption: rule.encryption,
            };
            Ok((rule, storing))
        };
        let rules = rules.into_iter().enumerate().map(storing);
        Ok(Self {
            in_order: rules.collect::<Result<_, _>>()?,
            otherwise,
            plaintext_reads: policy.plaintext_reads,
        })
    }

    /// The names of all keys that something new may be sealed under.
    pub(crate) fn sealing_keys(&self) -> BTreeSet<&str> {
        let chosen = self.in_order.iter().map(|(_, storing)| storing);
        let chosen = chosen.chain([&self.otherwise]);
        chosen.map(|storing| storing.key.name()).collect()
    }

    /// How an object is stored under this bucket and key.
    pub(crate) fn storing(&self, bucket: &str, object_key: &str) -> &Storing {
        let matching = self
            .in_order
            .iter()
            .find(|(rule, _)| rule.covers(bucket, object_key));
        matching.map_or(&self.otherwise, |(_, storing)| storing)
    }

    /// Whether what is not sealed may be served from there.
    pub(crate) fn plaintext_reads(&self, bucket: &str, object_key: &str) -> Permission {
        match self.storing(bucket, object_key).encryption {
            Encryption::On | Encryption::Off => self.plaintext_reads,
            Encryption::Required => Permission::Deny,
        }
    }
}

impl Rule {
    fn covers(&self, bucket: &str, object_key: &str) -> bool {
        self.buckets.iter().any(|pattern| pattern.matches(bucket))
            && self
                .prefixes
                .iter()
                .any(|pattern| pattern.covers(object_key))
    }
}
