//! Keys: the local ones, the one that seals, and the use of key services.

use std::num::NonZeroU32;

use s3proxy_protocol::quote::quoted;

use super::super::declare::Declaration;
use super::super::notice::Notice;
use super::super::reader::{HERE, Place, Reader, concrete};
use super::super::resolved::{
    ActiveKey, DekTag, Keys, LabelledKey, MetadataName, Permission, Rule, SecretText, Service,
    ServiceCalls,
};
use super::super::settings::{
    KEYS_ACTIVE, KEYS_CACHE_KEKS, KEYS_CACHE_TIME, KEYS_DECRYPT_KEYS, KEYS_DECRYPTION_FALLBACK,
    KEYS_DEKTAG_KEKVER, KEYS_DEKTAG_NAME, KEYS_ENCRYPT_KEY, KEYS_KEK_OBJECTS, KEYS_KEK_TIME,
    KEYS_SERVICE_TIMEOUT, KEYS_SHORT_PASSPHRASE, LOCAL_KEY, LOCAL_LABEL,
};
use super::super::value::{Whole, passphrase_length};
use super::services;

/// Label of `keys.encrypt_key` in `keys.active` and rules.
const ENCRYPT_KEY: &str = "encrypt_key";

/// Resolves the keys; `None` if a problem was noted and nothing can replace the value.
pub(super) fn keys(reader: &mut Reader) -> Option<Keys> {
    let encrypt_key = reader.optional(KEYS_ENCRYPT_KEY);
    let decrypt_keys = reader
        .optional(KEYS_DECRYPT_KEYS)
        .map_or_else(Vec::new, |keys| keys.0);
    let count = reader.count("keys.local", HERE);
    let labelled: Vec<LabelledKey> = (0..count)
        .filter_map(|index| labelled(reader, index))
        .collect();
    let services = services::services(reader);
    let legacy_zero_key = reader.value(KEYS_DECRYPTION_FALLBACK);
    match legacy_zero_key {
        Permission::Allow => reader.findings.notices.push(Notice::ZeroKeyAllowed),
        Permission::Deny => {}
    }
    let dek_tag = dek_tag(reader);
    let service_calls = service_calls(reader);
    let given = reader.is_given(&KEYS_ENCRYPT_KEY.declaration);
    let active = active(reader, given, &labelled, &services);
    let keys = Keys {
        encrypt_key: encrypt_key.map(|key| key.0),
        decrypt_keys,
        labelled,
        services,
        active: active?,
        service_calls,
        dek_tag,
        legacy_zero_key,
    };
    if let ActiveKey::Named(name) = &keys.active {
        require_sealing(reader, &keys, name, (&KEYS_ACTIVE.declaration, HERE));
    }
    Some(keys)
}

fn dek_tag(reader: &mut Reader) -> DekTag {
    let envelope = reader.value(KEYS_DEKTAG_NAME);
    let kek_version = reader.optional(KEYS_DEKTAG_KEKVER);
    let is_taken = |name: &MetadataName| {
        name.is_same_to_servers(envelope.header().as_str())
            || name.is_same_to_servers("x-amz-meta-constellation-dek")
    };
    if kek_version.as_ref().is_some_and(is_taken) {
        let message = "the envelope's metadata field has this name; expected a different one, \
                       such as isec-kek-ver";
        reader.conflict(&KEYS_DEKTAG_KEKVER.declaration, HERE, message);
    }
    DekTag::new(envelope, kek_version)
}

/// Least length in characters of a passphrase that seals without explicit permission.
const SHORT_PASSPHRASE: usize = 8;

/// Warns of passphrases that may seal, and refuses short ones that do.
pub(super) fn judge_passphrases(reader: &mut Reader, keys: &Keys, rules: &[Rule]) {
    let short = reader.value(KEYS_SHORT_PASSPHRASE);
    let active = match &keys.active {
        ActiveKey::EncryptKey => ENCRYPT_KEY,
        ActiveKey::Named(name) => name,
    };
    let chosen = rules.iter().filter_map(|rule| rule.key.as_deref());
    let sealing: Vec<&str> = std::iter::once(active).chain(chosen).collect();
    // The names of local keys are known only after derivation, so any of them may mean this key.
    let seals = |label: &str| {
        let mut names = sealing.iter();
        names.any(|name| *name == label || name.starts_with("local:"))
    };
    let mut judge = |label: &str, key: &SecretText, setting: &Declaration, place: Place<'_>| {
        let Some(characters) = passphrase_length(key.expose()) else {
            return;
        };
        let is_refused = characters < SHORT_PASSPHRASE && short == Permission::Deny;
        if is_refused && seals(label) {
            let message = format!(
                "a passphrase of fewer than {SHORT_PASSPHRASE} characters is too short to seal \
                 objects: anyone who sees one of them can guess it; use a key made by `s3proxy \
                 keygen`, with the passphrase in keys.decrypt_keys (S3PROXY_KEYS_DECRYPT_KEYS) for \
                 older objects, or set keys.short_passphrase (S3PROXY_KEYS_SHORT_PASSPHRASE) to \
                 allow"
            );
            reader.conflict(setting, place, message);
            return;
        }
        let setting = concrete(setting.path, place);
        reader.findings.notice(Notice::Passphrase {
            setting,
            characters,
        });
    };
    if let Some(key) = &keys.encrypt_key {
        judge(ENCRYPT_KEY, key, &KEYS_ENCRYPT_KEY.declaration, HERE);
    }
    for (index, LabelledKey { label, key }) in keys.labelled.iter().enumerate() {
        judge(label, key, &LOCAL_KEY.declaration, &[index]);
    }
}

/// Notes a problem if no key with that name seals, or could turn out to.
pub(super) fn require_sealing(
    reader: &mut Reader,
    keys: &Keys,
    name: &str,
    (setting, place): (&Declaration, Place<'_>),
) {
    // A key that was given and refused has its own problem, so it counts as given here.
    let encrypt_key = reader.is_given(&KEYS_ENCRYPT_KEY.declaration);
    let names = names(reader, keys);
    let may_be_local = encrypt_key || reader.count("keys.local", HERE) > 0;
    if !is_among(&names, name, may_be_local) {
        let message = format!(
            "unknown key {}; available: {}",
            quoted(name),
            names.join(", ")
        );
        reader.conflict(setting, place, message);
    }
}

/// Notes a problem if there is no key with that name, and none could turn out to have it.
pub(super) fn require_configured(
    reader: &mut Reader,
    keys: &Keys,
    name: &str,
    (setting, place): (&Declaration, Place<'_>),
) {
    let names = names(reader, keys);
    if !is_among(&names, name, true) {
        let message = format!(
            "unknown key {}; available: {}, or the name of a local key as in envelopes",
            quoted(name),
            names.join(", ")
        );
        reader.conflict(setting, place, message);
    }
}

/// Returns the names in settings of the keys that may seal.
fn names(reader: &Reader, keys: &Keys) -> Vec<String> {
    let encrypt_key = reader.is_given(&KEYS_ENCRYPT_KEY.declaration);
    let count = reader.count("keys.local", HERE);
    let labels = (0..count).filter_map(|index| reader.text(&LOCAL_LABEL.declaration, &[index]));
    encrypt_key
        .then(|| ENCRYPT_KEY.to_owned())
        .into_iter()
        .chain(labels)
        .chain(keys.services.iter().map(Service::name))
        .collect()
}

/// Returns whether a name is valid. The name of a local key in envelopes is known only after
/// derivation, at start.
fn is_among(names: &[String], name: &str, may_be_local: bool) -> bool {
    (may_be_local && name.starts_with("local:")) || names.iter().any(|known| known == name)
}

fn labelled(reader: &mut Reader, index: usize) -> Option<LabelledKey> {
    let place = [index];
    let label = reader.required_in(LOCAL_LABEL, &place);
    let key = reader.required_in(LOCAL_KEY, &place);
    let label = label?;
    // Names in envelopes contain a colon and labels do not, so the two never collide.
    if label == ENCRYPT_KEY || label.contains(':') {
        let message = "it could be mistaken for another key; expected a label without colons that \
                       is not encrypt_key";
        reader.conflict(&LOCAL_LABEL.declaration, &place, message);
    }
    let taken = (0..index).any(|other| {
        reader
            .text(&LOCAL_LABEL.declaration, &[other])
            .is_some_and(|text| text == label)
    });
    if taken {
        let message = "another key has the same label; expected a unique label";
        reader.conflict(&LOCAL_LABEL.declaration, &place, message);
    }
    Some(LabelledKey { label, key: key?.0 })
}

fn active(
    reader: &mut Reader,
    encrypt_key_given: bool,
    labelled: &[LabelledKey],
    services: &[Service],
) -> Option<ActiveKey> {
    if let Some(name) = reader.optional(KEYS_ACTIVE) {
        if name != ENCRYPT_KEY {
            return Some(ActiveKey::Named(name));
        }
        if !encrypt_key_given {
            let message = "keys.encrypt_key is not set; expected the name of a configured key";
            reader.conflict(&KEYS_ACTIVE.declaration, HERE, message);
        }
        return Some(ActiveKey::EncryptKey);
    }
    let labels = labelled.iter().map(|key| key.label.clone());
    let mut others = services.iter().map(Service::name).chain(labels);
    match (encrypt_key_given, others.next(), others.next()) {
        // Rules may choose labelled keys, so a lone `encrypt_key` is the active one. A key service
        // next to a local key leaves open which of them is meant.
        (true, _, _) if services.is_empty() => Some(ActiveKey::EncryptKey),
        (false, Some(only), None) => Some(ActiveKey::Named(only)),
        (false, None, _) => {
            reader.missing(&KEYS_ENCRYPT_KEY.declaration, HERE);
            None
        }
        (true, _, _) | (false, Some(_), Some(_)) => {
            let message = "several keys are configured, and it is not set which of them seals; \
                           expected encrypt_key, the label of a local key, or the name of a key \
                           service's";
            reader.conflict(&KEYS_ACTIVE.declaration, HERE, message);
            None
        }
    }
}

fn service_calls(reader: &mut Reader) -> ServiceCalls {
    ServiceCalls {
        timeout: reader.value(KEYS_SERVICE_TIMEOUT).0,
        kek_objects: non_zero(reader.value(KEYS_KEK_OBJECTS)),
        kek_time: reader.value(KEYS_KEK_TIME).0,
        cache_time: reader.value(KEYS_CACHE_TIME).0,
        cache_keks: non_zero(reader.value(KEYS_CACHE_KEKS)),
    }
}

fn non_zero<const MAX: u64>(Whole(number): Whole<1, MAX>) -> NonZeroU32 {
    u32::try_from(number)
        .ok()
        .and_then(NonZeroU32::new)
        .expect("the declaration bounds it")
}
