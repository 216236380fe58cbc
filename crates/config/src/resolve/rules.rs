//! Rules: the form in which objects are stored.

use super::super::declare::Setting;
use super::super::notice::Notice;
use super::super::reader::{Place, Reader};
use super::super::resolved::{Encryption, KeyBinding, Keys, Pattern, Permission, Policy, Rule};
use super::super::settings::{
    RULE_BUCKETS, RULE_DECRYPTION_FALLBACK, RULE_ENCRYPTION, RULE_KEY, RULE_KEY_BINDING,
    RULE_LEGACY_READS, RULE_OPENS, RULE_OPENS_KEY_BINDING, RULE_PREFIXES,
};
use super::super::value::List;
use super::keys::{require_configured, require_sealing};

/// Resolves the rules. `keys` are those that rules may name, if they are known.
pub(super) fn rules(reader: &mut Reader, keys: Option<&Keys>, policy: &Policy) -> Vec<Rule> {
    let count = reader.count("rules", &[]);
    (0..count)
        .map(|index| {
            let rule = rule(reader, keys, &[index]);
            judge(reader, &rule, policy, &[index]);
            rule
        })
        .collect()
}

fn rule(reader: &mut Reader, keys: Option<&Keys>, place: Place<'_>) -> Rule {
    let opens = reader.optional_in(RULE_OPENS, place);
    let rule = Rule {
        buckets: patterns(reader, RULE_BUCKETS, place),
        prefixes: patterns(reader, RULE_PREFIXES, place),
        key: reader.optional_in(RULE_KEY, place),
        opens: opens.map(|List(opens)| opens),
        key_binding: reader.optional_in(RULE_KEY_BINDING, place),
        opens_key_binding: reader.optional_in(RULE_OPENS_KEY_BINDING, place),
        encryption: reader.value_in(RULE_ENCRYPTION, place),
        legacy_reads: reader.optional_in(RULE_LEGACY_READS, place),
        decryption_fallback: reader.optional_in(RULE_DECRYPTION_FALLBACK, place),
    };
    if let (Some(keys), Some(name)) = (keys, &rule.key) {
        require_sealing(reader, keys, name, (&RULE_KEY.declaration, place));
    }
    for name in rule.opens.iter().flatten() {
        if let Some(keys) = keys {
            require_configured(reader, keys, name, (&RULE_OPENS.declaration, place));
        }
    }
    rule
}

/// Notes contradictions between the settings of a rule.
fn judge(reader: &mut Reader, rule: &Rule, policy: &Policy, place: Place<'_>) {
    let seals = match rule.encryption {
        Encryption::On | Encryption::Required => true,
        Encryption::Off => false,
    };
    if !seals && (rule.key.is_some() || rule.key_binding.is_some()) {
        let message = "unencrypted objects have no key and no binding; expected no key and no \
                       key_binding in this rule, or encryption = \"on\"";
        reader.conflict(&RULE_ENCRYPTION.declaration, place, message);
    }
    let bind = rule.key_binding.unwrap_or(policy.key_binding);
    if (bind, rule.opens_key_binding) == (KeyBinding::Key, Some(KeyBinding::BucketAndKey)) {
        let message = "new objects have a weaker binding and would not open; expected key, or \
                       key_binding = \"bucket-and-key\" in this rule";
        reader.conflict(&RULE_OPENS_KEY_BINDING.declaration, place, message);
    }
    match (rule.encryption, rule.decryption_fallback) {
        (Encryption::Required, Some(Permission::Allow)) => {
            let message = "everyone knows the all-zero key, so objects under it break the promise \
                           of encryption = \"required\"; expected deny, or encryption = \"on\" \
                           until the objects are migrated";
            reader.conflict(&RULE_DECRYPTION_FALLBACK.declaration, place, message);
        }
        (Encryption::On | Encryption::Off, Some(Permission::Allow)) => {
            let notices = &mut reader.findings.notices;
            if !notices.contains(&Notice::ZeroKeyAllowed) {
                notices.push(Notice::ZeroKeyAllowed);
            }
        }
        (_, Some(Permission::Deny) | None) => {}
    }
}

/// Reads a list of patterns that must not be empty: it would match nothing, which can only be a
/// mistake.
fn patterns(
    reader: &mut Reader,
    setting: &Setting<List<Pattern>>,
    place: Place<'_>,
) -> Vec<Pattern> {
    let List(patterns) = reader.value_in(setting, place);
    if patterns.is_empty() {
        let expected = (setting.declaration.expects)();
        let message = format!("the list is empty; expected {expected}, or no such setting");
        reader.conflict(&setting.declaration, place, message);
    }
    patterns
}
