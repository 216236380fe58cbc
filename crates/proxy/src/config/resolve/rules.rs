//! Rules: which objects are stored how.

use super::super::declare::Setting;
use super::super::reader::{Place, Reader};
use super::super::resolved::{Encryption, Keys, Pattern, Rule};
use super::super::settings::{RULE_BIND, RULE_BUCKETS, RULE_ENCRYPTION, RULE_KEY, RULE_PREFIXES};
use super::super::value::List;
use super::keys::require_sealing;

/// `keys` are those that rules may name, where they are known.
pub(super) fn rules(reader: &mut Reader, keys: Option<&Keys>) -> Vec<Rule> {
    let count = reader.count("rules", &[]);
    (0..count)
        .map(|index| rule(reader, keys, &[index]))
        .collect()
}

fn rule(reader: &mut Reader, keys: Option<&Keys>, place: Place<'_>) -> Rule {
    let rule = Rule {
        buckets: patterns(reader, RULE_BUCKETS, place),
        prefixes: patterns(reader, RULE_PREFIXES, place),
        key: reader.optional_in(RULE_KEY, place),
        bind: reader.optional_in(RULE_BIND, place),
        encryption: reader.value_in(RULE_ENCRYPTION, place),
    };
    if let (Some(keys), Some(name)) = (keys, &rule.key) {
        require_sealing(reader, keys, name, (&RULE_KEY.declaration, place));
    }
    let seals = match rule.encryption {
        Encryption::On | Encryption::Required => true,
        Encryption::Off => false,
    };
    if !seals && (rule.key.is_some() || rule.bind.is_some()) {
        let message = "what is stored as it comes has no key and is bound to nothing; expected no \
                       key and no bind in this rule, or encryption = \"on\"";
        reader.conflict(&RULE_ENCRYPTION.declaration, place, message);
    }
    rule
}

/// An empty list would match nothing, which can only be a mistake.
fn patterns(
    reader: &mut Reader,
    setting: &Setting<List<Pattern>>,
    place: Place<'_>,
) -> Vec<Pattern> {
    let List(patterns) = reader.value_in(setting, place);
    if patterns.is_empty() {
        let expected = (setting.declaration.expects)();
        let message = format!("the list is empty; expected {expected}, or no such line");
        reader.conflict(&setting.declaration, place, message);
    }
    patterns
}
