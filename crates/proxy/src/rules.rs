//! Storage of objects, and the keys that open them, by bucket and key: the first matching rule, or
//! the policy.
//!
//! A key that a rule names, as its `key` or among its `opens`, opens only in the places of rules
//! that name it. So keys separate tenants, wherever a backend moves objects. All other keys,
//! including those for reading only, open in the places of rules that name no key and in places
//! without a rule. The active key opens there, too, whether or not a rule names it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::config::resolved::{Encryption, KeyBinding, Permission, Policy, Rule};
use crate::keys::scope::{RuleName, Scope, StoredPlace};
use crate::keys::{ChosenKey, Keyring, KeyringError};

/// The rules, with the keys that they select.
pub(crate) struct Rules {
    in_order: Vec<(Rule, StoragePolicy, Scope)>,
    otherwise: (StoragePolicy, Scope),
    plaintext_reads: Permission,
}

/// Settings for new objects.
#[derive(Clone)]
pub(crate) struct StoragePolicy {
    pub(crate) key: ChosenKey,
    pub(crate) key_binding: KeyBinding,
    pub(crate) encryption: Encryption,
}

impl Rules {
    /// Resolves the keys that the rules name. `zero_key` says whether the all-zero key of older
    /// proxies opens if no rule says otherwise.
    pub(crate) fn new(
        rules: Vec<Rule>,
        policy: &Policy,
        zero_key: Permission,
        keys: &Keyring,
    ) -> Result<Self, KeyringError> {
        let otherwise = StoragePolicy {
            key: keys.active().clone(),
            key_binding: policy.key_binding,
            encryption: Encryption::On,
        };
        let mut named = Vec::with_capacity(rules.len());
        for (index, rule) in rules.iter().enumerate() {
            named.push(NamedKeys::resolve(index, rule, keys)?);
        }
        // Only now: a key that any of the rules names is not shared.
        let shared = Scope {
            keys: shared_keys(keys, &named),
            least_bind: policy.key_binding,
            legacy_reads: policy.legacy_reads,
            zero_key,
            rule: RuleName::Absent,
        };
        let in_order = rules.into_iter().zip(named).enumerate();
        let in_order = in_order.map(|(index, (rule, named))| {
            let storing = StoragePolicy {
                key: named.key.as_ref().unwrap_or(&otherwise.key).clone(),
                key_binding: rule.key_binding.unwrap_or(policy.key_binding),
                encryption: rule.encryption,
            };
            let rule_name = RuleName::Numbered(index);
            let scope = scope(&rule, &storing, named, (rule_name, &shared));
            (rule, storing, scope)
        });
        Ok(Self {
            in_order: in_order.collect(),
            otherwise: (otherwise, shared),
            plaintext_reads: policy.plaintext_reads,
        })
    }

    /// Returns the names of all keys that new objects may be sealed under.
    pub(crate) fn sealing_keys(&self) -> BTreeSet<&str> {
        let chosen = self.in_order.iter().map(|(_, storing, _)| storing);
        let chosen = chosen.chain([&self.otherwise.0]);
        chosen.map(|storing| storing.key.name()).collect()
    }

    /// Returns how an object is stored under this bucket and key.
    pub(crate) fn storing(&self, bucket: &str, object_key: &str) -> &StoragePolicy {
        self.matching(bucket, object_key).0
    }

    /// Returns the place of a stored object, for which its data key is unwrapped.
    pub(crate) fn place<'p>(&'p self, bucket: &'p str, object_key: &'p str) -> StoredPlace<'p> {
        self.matching(bucket, object_key).1.at(bucket, object_key)
    }

    /// Returns whether unsealed objects may be served from there.
    pub(crate) fn plaintext_reads(&self, bucket: &str, object_key: &str) -> Permission {
        match self.storing(bucket, object_key).encryption {
            Encryption::On | Encryption::Off => self.plaintext_reads,
            Encryption::Required => Permission::Deny,
        }
    }

    fn matching(&self, bucket: &str, object_key: &str) -> (&StoragePolicy, &Scope) {
        // In the operator's order: the first match wins, even if a later rule is more specific.
        let matching = self
            .in_order
            .iter()
            .find(|(rule, _, _)| covers(rule, bucket, object_key));
        let (otherwise, shared) = &self.otherwise;
        matching.map_or((otherwise, shared), |(_, storing, scope)| (storing, scope))
    }
}

/// Keys that a rule names.
struct NamedKeys {
    key: Option<ChosenKey>,
    opens: Option<BTreeSet<Arc<str>>>,
}

impl NamedKeys {
    fn resolve(index: usize, rule: &Rule, keys: &Keyring) -> Result<Self, KeyringError> {
        let choose = |asked: &String| keys.choose(&format!("rules[{index}].key"), asked);
        let name = |asked: &String| keys.name_of(&format!("rules[{index}].opens"), asked);
        let opens = rule.opens.as_ref();
        let opens = opens.map(|opens| opens.iter().map(name).collect());
        Ok(Self {
            key: rule.key.as_ref().map(choose).transpose()?,
            opens: opens.transpose()?,
        })
    }
}

/// Returns the keys that open if a rule names none: the active one, and those that no rule names.
fn shared_keys(keys: &Keyring, named: &[NamedKeys]) -> BTreeSet<Arc<str>> {
    let mut shared: BTreeSet<_> = keys.names().cloned().collect();
    for NamedKeys { key, opens } in named {
        if let Some(key) = key {
            shared.remove(key.name());
        }
        for name in opens.iter().flatten() {
            shared.remove(name);
        }
    }
    // The active key opens there even if a rule names it, since new objects are under it.
    shared.insert(keys.active().shared_name());
    shared
}

fn scope(
    rule: &Rule,
    storing: &StoragePolicy,
    named: NamedKeys,
    (rule_name, shared): (RuleName, &Scope),
) -> Scope {
    let mut keys = match (named.opens, &named.key) {
        (Some(opens), _) => opens,
        // The rule's own key is added below.
        (None, Some(_)) => BTreeSet::new(),
        (None, None) => shared.keys.clone(),
    };
    // `required` refuses both, unless the rule itself allows them.
    let (legacy_reads, zero_key) = match rule.encryption {
        Encryption::On | Encryption::Off => (shared.legacy_reads, shared.zero_key),
        Encryption::Required => (Permission::Deny, Permission::Deny),
    };
    match rule.encryption {
        Encryption::On | Encryption::Required => {
            // New objects must open in the place where they are stored.
            keys.insert(storing.key.shared_name());
        }
        // Nothing is sealed under this rule, so its key opens nothing unless `opens` lists it.
        Encryption::Off => {}
    }
    Scope {
        keys,
        least_bind: rule.opens_key_binding.unwrap_or(storing.key_binding),
        legacy_reads: rule.legacy_reads.unwrap_or(legacy_reads),
        zero_key: rule.decryption_fallback.unwrap_or(zero_key),
        rule: rule_name,
    }
}

fn covers(rule: &Rule, bucket: &str, object_key: &str) -> bool {
    rule.buckets.iter().any(|pattern| pattern.matches(bucket))
        && rule
            .prefixes
            .iter()
            .any(|pattern| pattern.covers(object_key))
}

#[cfg(test)]
mod tests;
