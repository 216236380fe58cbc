//! Candidates for each kind of object.

use super::*;
use crate::config::resolved::KeyBinding;
use crate::keys::scope::Scope;

/// From the known answers: a key wrapped under `toto` in both versions, and under 32 zero bytes.
const UNDER_TOTO: &str =
    "9eac60c9de9cb3010734f1b158cd599ecc14626fe5270d6c8f3859af0ef2452d0d5b1a3f953c6b8b";
const UNDER_TOTO_1: &str =
    "b06381355e8f3e10f41c27c02e5ce61f4935a2ccc691da0df110b9ac7066bc2617c249492a3678bb";
const UNDER_ZEROS: &str =
    "7291ad2e81569cb22dbf60fb0ee7df054b0893de554140a24d39d65d77a395e909a6ab5aaecbc90c";
/// SHA-256 of `toto`, as if a key service had returned it.
const TOTO: [u8; 32] = [
    0x31, 0xf7, 0xa6, 0x5e, 0x31, 0x55, 0x86, 0xac, 0x19, 0x8b, 0xd7, 0x98, 0xb6, 0x62, 0x9c, 0xe4,
    0x90, 0x3d, 0x08, 0x99, 0x47, 0x6d, 0x57, 0x41, 0xa9, 0xf3, 0x2e, 0x2e, 0x52, 0x1b, 0x6a, 0x66,
];

fn envelope(tag: LegacyTag, version: Option<&str>, value: &str) -> LegacyEnvelope {
    LegacyEnvelope {
        tag,
        kek_version: RecordedVersion::read(version),
        wrapped_dek: LegacyWrappedDek::from_hex(value).expect("80 digits"),
    }
}

fn keys(texts: &[&str], constellation: ConstellationKek) -> LegacyKeys {
    let passphrases = texts
        .iter()
        .map(|text| ((*text).into(), LegacyTextKeks::new(text)));
    LegacyKeys::new(passphrases.collect(), constellation)
}

/// A scope in which all keys open.
fn scope(zero_key: Permission) -> Scope {
    Scope {
        keys: ["toto", "other", constellation::NAME].map(Arc::from).into(),
        least_bind: KeyBinding::Key,
        legacy_reads: Permission::Allow,
        zero_key,
        rule: RuleName::Absent,
    }
}

async fn origin(
    keys: &LegacyKeys,
    scope: &Scope,
    tag: LegacyTag,
    value: &str,
) -> Result<KekOrigin, LegacyKeyError> {
    origin_of(keys, scope, &envelope(tag, None, value)).await
}

async fn origin_of(
    keys: &LegacyKeys,
    scope: &Scope,
    envelope: &LegacyEnvelope,
) -> Result<KekOrigin, LegacyKeyError> {
    let place = scope.at("bucket", "object");
    let unwrapped = keys.unwrap(place, envelope).await?;
    Ok(unwrapped.origin)
}

#[tokio::test]
async fn a_text_opens_in_the_recorded_version_alone() {
    let keys = keys(&["other", "toto"], ConstellationKek::Absent);
    let scope = scope(Permission::Allow);
    for tag in [LegacyTag::Configured, LegacyTag::Constellation] {
        for (version, value, expected) in [
            (None, UNDER_TOTO, Ok(KekOrigin::Passphrase)),
            (Some(""), UNDER_TOTO, Ok(KekOrigin::Passphrase)),
            (Some("1"), UNDER_TOTO_1, Ok(KekOrigin::Passphrase)),
            (None, UNDER_TOTO_1, Err(LegacyKeyError::Missing)),
            (Some("1"), UNDER_TOTO, Err(LegacyKeyError::Missing)),
            // The zero key is tried in every known version.
            (Some("1"), UNDER_ZEROS, Ok(KekOrigin::Zero)),
        ] {
            let opened = origin_of(&keys, &scope, &envelope(tag, version, value)).await;
            assert_eq!(opened, expected, "{version:?} {value}");
        }
    }
}

#[tokio::test]
async fn nothing_is_tried_for_a_version_that_is_not_known_and_the_error_names_it() {
    let keys = keys(&["toto"], ConstellationKek::Absent);
    let scope = scope(Permission::Allow);
    // A long version is shortened in the error.
    for (version, quoted) in [("2", "\"2\""), (&"9".repeat(500), &"9".repeat(16))] {
        for value in [UNDER_TOTO, UNDER_TOTO_1, UNDER_ZEROS] {
            let envelope = envelope(LegacyTag::Configured, Some(version), value);
            let error = origin_of(&keys, &scope, &envelope).await.unwrap_err();
            assert!(matches!(error, LegacyKeyError::NewerVersion { .. }));
            let text = error.to_string();
            assert!(text.contains(quoted) && text.len() < 400, "{text}");
            let checked = keys.check(scope.at("bucket", "object"), &envelope);
            assert_eq!(checked.err(), Some(error));
        }
    }
}

#[tokio::test]
async fn any_configured_text_opens_under_either_tag() {
    for tag in [LegacyTag::Configured, LegacyTag::Constellation] {
        for (texts, expected) in [
            (&["toto", "other"][..], Ok(KekOrigin::Passphrase)),
            (&["other", "toto"], Ok(KekOrigin::Passphrase)),
            (&["other"], Err(LegacyKeyError::Missing)),
            (&[], Err(LegacyKeyError::Missing)),
        ] {
            let keys = keys(texts, ConstellationKek::Absent);
            let opened = origin(&keys, &scope(Permission::Allow), tag, UNDER_TOTO).await;
            assert_eq!(opened, expected, "{texts:?}");
        }
    }
}

#[tokio::test]
async fn the_all_zero_key_opens_only_where_it_is_allowed_and_is_named_otherwise() {
    for (zero_key, expected) in [
        (Permission::Allow, Ok(KekOrigin::Zero)),
        (Permission::Deny, Err(LegacyKeyError::ZeroKeyDenied)),
    ] {
        let (keys, scope) = (keys(&["toto"], ConstellationKek::Absent), scope(zero_key));
        for tag in [LegacyTag::Configured, LegacyTag::Constellation] {
            assert_eq!(origin(&keys, &scope, tag, UNDER_ZEROS).await, expected);
        }
        let own = origin(&keys, &scope, LegacyTag::Configured, UNDER_TOTO).await;
        assert_eq!(own, Ok(KekOrigin::Passphrase));
    }
}

#[tokio::test]
async fn constellations_key_opens_what_is_under_its_tag_only() {
    let kek = LegacyKek::from_bytes(&TOTO).expect("32 bytes");
    let given = ConstellationKek::Fixed(kek);
    let keys = keys(&["other"], given);
    let everywhere = scope(Permission::Deny);
    let mut elsewhere = everywhere.clone();
    // A place whose rule does not name Constellation's key.
    elsewhere.keys.remove(constellation::NAME);
    for (scope, tag, expected) in [
        (
            &everywhere,
            LegacyTag::Constellation,
            Ok(KekOrigin::Constellation),
        ),
        (
            &everywhere,
            LegacyTag::Configured,
            Err(LegacyKeyError::Missing),
        ),
        (
            &elsewhere,
            LegacyTag::Constellation,
            Err(LegacyKeyError::Missing),
        ),
    ] {
        assert_eq!(origin(&keys, scope, tag, UNDER_TOTO).await, expected);
    }
}
