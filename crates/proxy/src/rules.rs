//! Storage and opening of objects by place: the first rule that matches applies, or else the
//! policy.
//!
//! A key that a rule names, as its `key` or among its `opens`, opens objects only in places of
//! rules that name it. Keys therefore separate tenants, even if a backend moves objects around. All
//! other keys, those for reading only included, open objects in places whose rule names no key, or
//! without a rule. The active key opens objects there too, even if a rule names it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::config::resolved::{Bind, Encryption, Permission, Policy, Rule};
use crate::keys::scope::{RuleName, Scope, StoredPlace};
use crate::keys::{ChosenKey, Keyring, KeyringError};

/// The rules, with the keys that they select.
pub(crate) struct Rules {
    in_order: Vec<(Rule, Storing, Scope)>,
    otherwise: (Storing, Scope),
    plaintext_reads: Permission,
}

/// Settings for new objects.
#[derive(Clone)]
pub(crate) struct Storing {
    pub(crate) key: ChosenKey,
    pub(crate) bind: Bind,
    pub(crate) encryption: Encryption,
}

impl Rules {
    /// Resolves the keys that the rules name. `zero_key` is the setting for the all-zero key of
    /// legacy proxies in places without a rule about it.
    pub(crate) fn new(
        rules: Vec<Rule>,
        policy: &Policy,
        zero_key: Permission,
        keys: &Keyring,
    ) -> Result<Self, KeyringError> {
        let otherwise = Storing {
            key: keys.active().clone(),
            bind: policy.bind,
            encryption: Encryption::On,
        };
        let mut named = Vec::with_capacity(rules.len());
        for (index, rule) in rules.iter().enumerate() {
            named.push(Named::of(index, rule, keys)?);
        }
        let shared = Scope {
            keys: shared_keys(keys, &named),
            least_bind: policy.bind,
            legacy_reads: policy.legacy_reads,
            zero_key,
            rule: RuleName::Absent,
        };
        let in_order = rules.into_iter().zip(named).enumerate();
        let in_order = in_order.map(|(index, (rule, named))| {
            let storing = Storing {
                key: named.key.as_ref().unwrap_or(&otherwise.key).clone(),
                bind: rule.bind.unwrap_or(policy.bind),
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

    /// Names of all keys that new objects may be sealed under.
    pub(crate) fn sealing_keys(&self) -> BTreeSet<&str> {
        let chosen = self.in_order.iter().map(|(_, storing, _)| storing);
        let chosen = chosen.chain([&self.otherwise.0]);
        chosen.map(|storing| storing.key.name()).collect()
    }

    /// Settings for storing an object under this bucket and key.
    pub(crate) fn storing(&self, bucket: &str, object_key: &str) -> &Storing {
        self.matching(bucket, object_key).0
    }

    /// Place of a stored object, which its data key is unwrapped for.
    pub(crate) fn place<'p>(&'p self, bucket: &'p str, object_key: &'p str) -> StoredPlace<'p> {
        self.matching(bucket, object_key).1.at(bucket, object_key)
    }

    /// Whether an object in this place may be served if it is not sealed.
    pub(crate) fn plaintext_reads(&self, bucket: &str, object_key: &str) -> Permission {
        match self.storing(bucket, object_key).encryption {
            Encryption::On | Encryption::Off => self.plaintext_reads,
            Encryption::Required => Permission::Deny,
        }
    }

    fn matching(&self, bucket: &str, object_key: &str) -> (&Storing, &Scope) {
        // In the operator's order: the first match wins, even if a later rule is more specific.
        let matching = self
            .in_order
            .iter()
            .find(|(rule, _, _)| rule.covers(bucket, object_key));
        let (otherwise, shared) = &self.otherwise;
        matching.map_or((otherwise, shared), |(_, storing, scope)| (storing, scope))
    }
}

/// Keys that a rule names.
struct Named {
    key: Option<ChosenKey>,
    opens: Option<BTreeSet<Arc<str>>>,
}

impl Named {
    fn of(index: usize, rule: &Rule, keys: &Keyring) -> Result<Self, KeyringError> {
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

/// Keys for places whose rule names none: the active key, and the keys that no rule names.
fn shared_keys(keys: &Keyring, named: &[Named]) -> BTreeSet<Arc<str>> {
    let mut shared: BTreeSet<_> = keys.names().cloned().collect();
    for Named { key, opens } in named {
        if let Some(key) = key {
            shared.remove(key.name());
        }
        for name in opens.iter().flatten() {
            shared.remove(name);
        }
    }
    // Added last: it opens these places even if a rule names it.
    shared.insert(keys.active().shared_name());
    shared
}

fn scope(
    rule: &Rule,
    storing: &Storing,
    named: Named,
    (rule_name, shared): (RuleName, &Scope),
) -> Scope {
    let mut keys = match (named.opens, &named.key) {
        (Some(opens), _) => opens,
        // The rule's own key is added below.
        (None, Some(_)) => BTreeSet::new(),
        (None, None) => shared.keys.clone(),
    };
    let (legacy_reads, zero_key) = match rule.encryption {
        Encryption::On | Encryption::Off => (shared.legacy_reads, shared.zero_key),
        Encryption::Required => (Permission::Deny, Permission::Deny),
    };
    match rule.encryption {
        Encryption::On | Encryption::Required => {
            keys.insert(storing.key.shared_name());
        }
        // Nothing is sealed under this rule, so its key opens nothing unless `opens` lists it.
        Encryption::Off => {}
    }
    Scope {
        keys,
        least_bind: rule.opens_bind.unwrap_or(storing.bind),
        legacy_reads: rule.legacy_reads.unwrap_or(legacy_reads),
        zero_key: rule.decryption_fallback.unwrap_or(zero_key),
        rule: rule_name,
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

#[cfg(test)]
mod tests;
