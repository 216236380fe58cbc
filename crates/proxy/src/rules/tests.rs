//! Which keys, bindings and formats open where, as tables.

use std::num::NonZeroU32;
use std::time::Duration;

use s3proxy_envelope::dek::{Dek, WRAPPED_DEK_BYTES, WrappedDek};
use s3proxy_envelope::header::{Envelope, Flags, Layout};
use s3proxy_envelope::kek::Kek;
use s3proxy_envelope::names::{BucketStr, KeyStr};

use super::*;
use crate::config::resolved::{
    ActiveKey, AnnounceEncryption, Authorities, ConstellationKey, Keys, LabelledKey, Listing,
    Metadata, Multipart, PartSizes, SecretText, Service, ServiceCalls, StateBucket, SweepInterval,
};
use crate::keys::legacy::{ConstellationKek, KekOrigin, LegacyEnvelope, LegacyKeyError};
use crate::keys::legacy::{LegacyKeys, LegacyTag, RecordedVersion};
use crate::keys::scope::binding_flags;
use crate::keys::{KeyError, placeholders};

const SERVICE: &str = "constellation:s3proxy-kek";

/// Of the known answers: wrapped under `toto`, and under 32 zero bytes.
const UNDER_TOTO: &str =
    "9eac60c9de9cb3010734f1b158cd599ecc14626fe5270d6c8f3859af0ef2452d0d5b1a3f953c6b8b";
const UNDER_ZEROS: &str =
    "7291ad2e81569cb22dbf60fb0ee7df054b0893de554140a24d39d65d77a395e909a6ab5aaecbc90c";

fn generated() -> SecretText {
    SecretText::new(Kek::generate().to_configured()).expect("a generated key")
}

fn passphrase(text: &str) -> SecretText {
    SecretText::new(text.to_owned().into()).expect("a passphrase")
}

/// `encrypt_key`, which is active; the labels `a`, `a-old`, `b` and `spare`; one key for reading
/// only, the passphrase `toto`; and one of a service.
fn keys() -> Keys {
    let labelled = |label: &str| LabelledKey {
        label: label.to_owned(),
        key: generated(),
    };
    Keys {
        encrypt_key: Some(generated()),
        decrypt_keys: vec![passphrase("toto")],
        labelled: ["a", "a-old", "b", "spare"].map(labelled).into(),
        services: vec![Service::Constellation(ConstellationKey {
            address: "localhost:9000".parse().expect("an address"),
            authorities: Authorities::System,
        })],
        active: ActiveKey::EncryptKey,
        service_calls: ServiceCalls {
            timeout: Duration::from_secs(5),
            kek_objects: NonZeroU32::MIN,
            kek_time: Duration::from_hours(1),
            cache_time: Duration::ZERO,
            cache_keks: NonZeroU32::MIN,
        },
        dek_tag: "isec".parse().expect("a tag"),
        legacy_zero_key: Permission::Deny,
    }
}

fn policy() -> Policy {
    Policy {
        key_binding: KeyBinding::Key,
        plaintext_reads: Permission::Allow,
        legacy_reads: Permission::Allow,
        listing: Listing::Exact,
        lookup_concurrency: std::num::NonZeroUsize::MIN,
        multipart: Multipart::Encrypt,
        part_sizes: PartSizes::Any,
        metadata: Metadata::Plain,
        announce_encryption: AnnounceEncryption::On,
        state_prefix: ".s3proxy/".to_owned(),
        state_bucket: StateBucket::Same,
        sweep_interval: SweepInterval::Never,
    }
}

fn rule(bucket: &str) -> Rule {
    Rule {
        buckets: vec![bucket.parse().expect("a pattern")],
        prefixes: vec!["*".parse().expect("a pattern")],
        key: None,
        opens: None,
        key_binding: None,
        opens_key_binding: None,
        encryption: Encryption::On,
        legacy_reads: None,
        decryption_fallback: None,
    }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Keys and rules, and the names of the keys by how settings call them; `toto` is the passphrase.
struct Ruled {
    keys: Keyring,
    rules: Rules,
    toto: Arc<str>,
}

impl Ruled {
    fn new(rules: Vec<Rule>) -> Self {
        Self::under(rules, &policy(), Permission::Deny)
    }

    fn under(rules: Vec<Rule>, policy: &Policy, zero_key: Permission) -> Self {
        let configured = keys();
        let keys =
            Keyring::new(&configured, placeholders(&configured.services)).expect("right keys");
        let toto = Kek::from_configured("toto").expect("a passphrase");
        Self {
            rules: Rules::new(rules, policy, zero_key, &keys).expect("right rules"),
            keys,
            toto: toto.local_name().into(),
        }
    }

    fn name(&self, key: &str) -> Arc<str> {
        match key {
            "toto" => Arc::clone(&self.toto),
            key => self.keys.name_of("test", key).expect("a configured key"),
        }
    }

    fn admits(&self, bucket: &str, key: &str, flags: Flags) -> Result<(), KeyError> {
        let envelope = Envelope {
            layout: Layout::Multipart,
            key_name: self.name(key).to_string(),
            wrapped_dek: WrappedDek::from_slice(&[7; WRAPPED_DEK_BYTES]).expect("40 bytes"),
            head: None,
            flags,
            private: None,
            encrypted_kek: None,
        };
        self.rules.place(bucket, "object").admit(&envelope)
    }
}

const ALL: [&str; 7] = ["encrypt_key", "a", "a-old", "b", "spare", "toto", SERVICE];

#[test]
fn a_key_opens_only_where_a_rule_names_it_or_where_no_rule_names_one() {
    let ruled = Ruled::new(vec![
        Rule {
            key: Some("a".to_owned()),
            ..rule("tenant-a")
        },
        Rule {
            key: Some("b".to_owned()),
            opens: Some(Vec::new()),
            ..rule("tenant-b")
        },
        Rule {
            key: Some("a".to_owned()),
            opens: Some(texts(&["a-old", "encrypt_key"])),
            ..rule("rotating")
        },
        Rule {
            encryption: Encryption::Required,
            ..rule("keyless")
        },
        Rule {
            opens: Some(texts(&["b"])),
            ..rule("keyless-and-b")
        },
        Rule {
            encryption: Encryption::Off,
            ..rule("open")
        },
        Rule {
            encryption: Encryption::Off,
            opens: Some(texts(&["a"])),
            ..rule("open-and-a")
        },
    ]);
    let shared: &[&str] = &["encrypt_key", "spare", "toto", SERVICE];
    for (bucket, opens) in [
        ("tenant-a", &["a"][..]),
        ("tenant-b", &["b"]),
        ("rotating", &["a", "a-old", "encrypt_key"]),
        ("keyless", shared),
        ("keyless-and-b", &["encrypt_key", "b"]),
        ("open", shared),
        ("open-and-a", &["a"]),
        ("any-other", shared),
    ] {
        for key in ALL {
            let admitted = ruled.admits(bucket, key, Flags::KEY_BOUND);
            assert_eq!(admitted.is_ok(), opens.contains(&key), "{key} in {bucket}");
        }
    }
}

#[test]
fn the_active_key_opens_where_no_rule_names_a_key_even_if_another_rule_names_it() {
    let ruled = Ruled::new(vec![Rule {
        key: Some("encrypt_key".to_owned()),
        ..rule("tenant-a")
    }]);
    for (bucket, key, opens) in [
        ("tenant-a", "encrypt_key", true),
        ("tenant-a", "toto", false),
        ("any-other", "encrypt_key", true),
        ("any-other", "toto", true),
    ] {
        let admitted = ruled.admits(bucket, key, Flags::KEY_BOUND);
        assert_eq!(admitted.is_ok(), opens, "{key} in {bucket}");
    }
}

#[test]
fn a_key_is_named_by_its_label_or_its_name() {
    let configured = keys();
    let keys = Keyring::new(&configured, placeholders(&configured.services)).expect("right keys");
    let toto = Kek::from_configured("toto").expect("a passphrase");
    for (opens, known) in [
        (toto.local_name().as_str(), true),
        (SERVICE, true),
        ("spare", true),
        ("absent", false),
        ("local:0011223344556677", false),
    ] {
        let rule = Rule {
            opens: Some(texts(&[opens])),
            ..rule("*")
        };
        let rules = Rules::new(vec![rule], &policy(), Permission::Deny, &keys);
        assert_eq!(rules.is_ok(), known, "{opens}");
    }
}

#[test]
fn a_place_opens_no_envelope_with_a_weaker_binding_than_its_rule() {
    let strict = Policy {
        key_binding: KeyBinding::BucketAndKey,
        ..policy()
    };
    let bound = Flags::KEY_BOUND.with_bucket_bound();
    let bucket_only = Flags::NONE.with_bucket_bound();
    for (policy, own, opens, accepted) in [
        (policy(), None, None, &[Flags::KEY_BOUND, bound][..]),
        (policy(), Some(KeyBinding::BucketAndKey), None, &[bound]),
        (
            policy(),
            Some(KeyBinding::BucketAndKey),
            Some(KeyBinding::Key),
            &[Flags::KEY_BOUND, bound],
        ),
        (strict.clone(), None, None, &[bound]),
        (
            strict,
            None,
            Some(KeyBinding::Key),
            &[Flags::KEY_BOUND, bound],
        ),
    ] {
        let rule = Rule {
            key_binding: own,
            opens_key_binding: opens,
            ..rule("*")
        };
        let ruled = Ruled::under(vec![rule], &policy, Permission::Deny);
        for flags in [Flags::NONE, bucket_only, Flags::KEY_BOUND, bound] {
            for flags in [flags, flags.with_private()] {
                let admitted = ruled.admits("bucket", "encrypt_key", flags).is_ok();
                let expected = accepted.contains(&flags.without_private());
                assert_eq!(admitted, expected, "{own:?}, {opens:?}, {flags:?}");
            }
        }
    }
}

#[test]
fn a_refusal_names_the_key_and_the_setting() {
    let ruled = Ruled::new(vec![Rule {
        key: Some("a".to_owned()),
        key_binding: Some(KeyBinding::BucketAndKey),
        ..rule("tenant-a")
    }]);
    for (bucket, key, setting) in [
        ("tenant-a", "b", "rules[0].opens"),
        ("tenant-a", "a", "rules[0].opens_key_binding"),
        ("other", "a", "opens of a rule for this bucket and prefix"),
    ] {
        let refused = ruled.admits(bucket, key, Flags::KEY_BOUND);
        let message = refused.expect_err("it is refused").to_string();
        assert!(message.contains(&*ruled.name(key)), "{message}");
        assert!(message.contains(setting), "{message}");
    }
}

#[tokio::test]
async fn keys_unwrap_nothing_in_a_place_that_does_not_open_it() {
    let ruled = Ruled::new(vec![Rule {
        key: Some("a".to_owned()),
        ..rule("tenant-a")
    }]);
    let storing = ruled.rules.storing("tenant-a", "object");
    let flags = binding_flags(storing.key_binding);
    let binding = s3proxy_envelope::dek::Binding::new(
        Layout::Multipart,
        flags,
        BucketStr("tenant-a"),
        KeyStr("object"),
    );
    let dek = Dek::generate();
    let sealing = ruled.keys.sealing_key(&storing.key).await;
    let wrapped = sealing.expect("a local key").wrap(&dek, &binding);
    let envelope = Envelope {
        layout: Layout::Multipart,
        key_name: wrapped.key_name,
        wrapped_dek: wrapped.dek,
        head: None,
        flags,
        private: None,
        encrypted_kek: None,
    };
    for (bucket, opens) in [("tenant-a", true), ("tenant-b", false)] {
        let place = ruled.rules.place(bucket, "object");
        let unwrapped = ruled.keys.unwrap(place, &envelope).await;
        assert_eq!(unwrapped.is_ok(), opens, "{bucket}");
    }
}

fn legacy_rules() -> Vec<Rule> {
    let required = |bucket: &str, legacy_reads| Rule {
        encryption: Encryption::Required,
        legacy_reads,
        ..rule(bucket)
    };
    vec![
        required("required", None),
        required("required-with-legacy", Some(Permission::Allow)),
        Rule {
            legacy_reads: Some(Permission::Deny),
            ..rule("denied")
        },
        Rule {
            decryption_fallback: Some(Permission::Allow),
            ..rule("migrating")
        },
        Rule {
            decryption_fallback: Some(Permission::Deny),
            ..rule("no-fallback")
        },
        Rule {
            key: Some("a".to_owned()),
            ..rule("tenant-a")
        },
    ]
}

async fn legacy(
    ruled: &Ruled,
    keys: &LegacyKeys,
    bucket: &str,
    wrapped: &str,
) -> Result<KekOrigin, LegacyKeyError> {
    let wrapped_dek = s3proxy_envelope::legacy::LegacyWrappedDek::from_hex(wrapped);
    let envelope = LegacyEnvelope {
        tag: LegacyTag::Configured,
        kek_version: RecordedVersion::read(None),
        wrapped_dek: wrapped_dek.expect("80 digits"),
    };
    let unwrapped = keys.unwrap(ruled.rules.place(bucket, "object"), &envelope);
    unwrapped.await.map(|unwrapped| unwrapped.origin)
}

#[tokio::test]
async fn legacy_formats_and_the_all_zero_key_open_only_by_rule() {
    for (fallback, bucket, toto, zeros) in [
        (Permission::Deny, "required", false, false),
        (Permission::Allow, "required", false, false),
        (Permission::Deny, "required-with-legacy", true, false),
        (Permission::Allow, "required-with-legacy", true, false),
        (Permission::Allow, "denied", false, false),
        (Permission::Deny, "migrating", true, true),
        (Permission::Allow, "no-fallback", true, false),
        (Permission::Deny, "other", true, false),
        (Permission::Allow, "other", true, true),
        (Permission::Deny, "tenant-a", false, false),
    ] {
        let mut ruled = Ruled::under(legacy_rules(), &policy(), fallback);
        let keys = LegacyKeys::new(ruled.keys.take_passphrases(), ConstellationKek::Absent);
        for (wrapped, opens) in [(UNDER_TOTO, toto), (UNDER_ZEROS, zeros)] {
            let origin = legacy(&ruled, &keys, bucket, wrapped).await;
            assert_eq!(origin.is_ok(), opens, "{bucket}, {fallback:?}: {origin:?}");
        }
    }
}

#[tokio::test]
async fn a_legacy_object_under_another_places_key_is_refused_with_the_name_of_that_key() {
    let mut ruled = Ruled::new(legacy_rules());
    let keys = LegacyKeys::new(ruled.keys.take_passphrases(), ConstellationKek::Absent);
    let refused = legacy(&ruled, &keys, "tenant-a", UNDER_TOTO).await;
    let expected = LegacyKeyError::OtherPlace {
        key: ruled.toto.to_string(),
        rule: RuleName::Numbered(5),
    };
    assert_eq!(refused, Err(expected));
}
