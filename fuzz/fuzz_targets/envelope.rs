//! Envelopes, sealed metadata and upload states: each has one text form, which parses to the same
//! value; no altered one opens.

#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use s3proxy_envelope::dek::{Binding, Dek, WRAPPED_DEK_BYTES, WrappedDek};
use s3proxy_envelope::header::{Envelope, Flags, Layout, PrivateMap};
use s3proxy_envelope::kek::Kek;
use s3proxy_envelope::legacy::{KekVersion, LegacyWrappedDek};
use s3proxy_envelope::message::{self, HEAD_BYTES, MessageHead};
use s3proxy_envelope::multipart::{SealedUploadState, UploadHash, UploadName, UploadState};
use s3proxy_envelope::names::{BucketStr, KeyStr, UploadIdStr};
use s3proxy_fuzz::choices::Choices;

static DEK: LazyLock<Dek> = LazyLock::new(Dek::generate);
static KEK: LazyLock<Kek> = LazyLock::new(Kek::generate);

fn text(value: &str) {
    if let Ok(envelope) = Envelope::parse(value) {
        assert_eq!(envelope.encode(), value, "an envelope has one text form");
        assert_eq!(envelope.head.is_some(), envelope.layout == Layout::Single);
        assert_eq!(envelope.private.is_some(), envelope.flags.has_private());
        let unwrapped = Dek::unwrap(&envelope.wrapped_dek, &KEK, &binding(&envelope, "b", "k"));
        assert!(unwrapped.is_err(), "it was not wrapped under this key");
    }
    if LegacyWrappedDek::from_hex(value).is_some() {
        assert_eq!(value.len(), 2 * WRAPPED_DEK_BYTES);
    }
    if let Ok(version) = KekVersion::from_recorded(Some(value)) {
        assert!(value.is_empty() || value == version.to_string());
    }
}

fn binding(envelope: &Envelope, bucket: &str, key: &str) -> Binding {
    Binding::new(
        envelope.layout,
        envelope.flags,
        BucketStr(bucket),
        KeyStr(key),
    )
}

/// Opens any bytes as the sealed map of an object, sealed with the right key.
fn private_map(map: &[u8]) {
    let binding = Binding::new(
        Layout::Single,
        Flags::KEY_BOUND,
        BucketStr("b"),
        KeyStr("k"),
    );
    let context = [b"s3proxy/v1/private\0", binding.as_bytes()].concat();
    // Sealed here and not by the crate, so that the map can be any bytes.
    let sealed = message::seal(&DEK, &context, map);
    if let Ok(private) = PrivateMap::open(&DEK, &binding, &sealed) {
        let again = PrivateMap::open(&DEK, &binding, &private.seal(&DEK, &binding));
        assert_eq!(again, Ok(private));
    }
}

/// Opens any bytes as the sealed part of a state, sealed with the right key.
fn upload_state(map: &[u8]) {
    let envelope = envelope(&mut Choices::new(&[]), &Dek::generate());
    let upload = UploadName {
        bucket: "b".to_owned(),
        object_key: "k".to_owned(),
        upload_id: "id".to_owned(),
    };
    let bytes = UploadState::default().seal(&DEK, &envelope, &upload);
    let whole = SealedUploadState::parse(&bytes).expect("what was sealed is read");
    assert!(whole.envelope == envelope);
    assert_eq!(whole.upload.as_ref(), Some(&upload));
    // The sealed part comes last, in one CBOR string. Another length needs another CBOR head.
    let sealed = message::seal(&DEK, b"s3proxy/v1/state\0id", map);
    let text = envelope.encode();
    let state = [
        &[0xa2, 0x01][..],
        &head(3, text.len()),
        text.as_bytes(),
        &[0x02],
    ]
    .concat();
    let state = [&state, &head(2, sealed.len())[..], &sealed].concat();
    let parsed = SealedUploadState::parse(&state).expect("it is the map of this version");
    if let Ok(opened) = parsed.open(&DEK, "id") {
        let again = opened.seal(&DEK, &envelope, &upload);
        let again = SealedUploadState::parse(&again).expect("what was sealed is read");
        assert!(again.open(&DEK, "id") == Ok(opened));
    }
    // The upload id is in the context of the sealed part.
    assert!(parsed.open(&DEK, "another").is_err());
}

/// The shortest CBOR head of a string.
fn head(major: u8, length: usize) -> Vec<u8> {
    let major = major << 5;
    match u8::try_from(length) {
        Ok(short) if short < 24 => vec![major | short],
        Ok(byte) => vec![major | 24, byte],
        Err(_) => {
            let length = u16::try_from(length).expect("inputs are short");
            [&[major | 25][..], &length.to_be_bytes()].concat()
        }
    }
}

fn envelope(choices: &mut Choices<'_>, dek: &Dek) -> Envelope {
    let layout = choices.pick(&[Layout::Single, Layout::Multipart]);
    let bits = choices.byte();
    let mut flags = if bits & 1 == 0 {
        Flags::KEY_BOUND
    } else {
        Flags::NONE
    };
    if bits & 2 != 0 {
        flags = flags.with_bucket_bound();
    }
    if bits & 4 != 0 {
        flags = flags.with_private();
    }
    let binding = Binding::new(layout, flags, BucketStr("bucket"), KeyStr("key"));
    let private = flags.has_private().then(|| {
        let mut map = PrivateMap::default();
        map.user_metadata = BTreeMap::from([(choices.text(), choices.text().into_bytes())]);
        map.seal(dek, &binding)
    });
    Envelope {
        layout,
        key_name: choices.text(),
        wrapped_dek: dek.wrap(&KEK, &binding),
        head: match layout {
            Layout::Single => MessageHead::from_slice(&[7; HEAD_BYTES]),
            Layout::Multipart => None,
        },
        flags,
        private,
        encrypted_kek: choices.flag().then(|| choices.text().into_bytes()),
    }
}

fn opens(envelope: &Envelope, bucket: &str, key: &str) -> bool {
    let binding = binding(envelope, bucket, key);
    let Ok(dek) = Dek::unwrap(&envelope.wrapped_dek, &KEK, &binding) else {
        return false;
    };
    let private = envelope.private.as_ref();
    private.is_none_or(|sealed| PrivateMap::open(&dek, &binding, sealed).is_ok())
}

fn built(choices: &mut Choices<'_>) {
    let envelope = envelope(choices, &Dek::generate());
    let value = envelope.encode();
    let Ok(parsed) = Envelope::parse(&value) else {
        // Refused only if a field has a length that no real ciphertext and no real metadata have.
        assert!(
            envelope.key_name.is_empty() || value.len() > 1024 || envelope.encrypted_kek.is_some()
        );
        return;
    };
    assert!(parsed == envelope);
    assert!(opens(&parsed, "bucket", "key"));
    assert_eq!(
        opens(&parsed, "other", "key"),
        !envelope.flags.is_bucket_bound()
    );
    assert_eq!(
        opens(&parsed, "bucket", "other"),
        !envelope.flags.is_key_bound()
    );
    let mut changed = value.into_bytes();
    if choices.mutate(&mut changed)
        && let Ok(text) = std::str::from_utf8(&changed)
        && let Ok(forged) = Envelope::parse(text)
        && opens(&forged, "bucket", "key")
    {
        let same = (
            forged.layout,
            forged.flags,
            forged.wrapped_dek,
            &forged.private,
        ) == (
            parsed.layout,
            parsed.flags,
            parsed.wrapped_dek,
            &parsed.private,
        );
        assert!(same, "what is bound cannot be changed");
    }
}

fuzz_target!(|input: &[u8]| {
    let mut choices = Choices::new(input);
    match choices.byte() % 6 {
        0 => {
            if let Ok(value) = std::str::from_utf8(choices.rest()) {
                text(value);
            }
        }
        1 => text(&format!("s3p1.{}", URL_SAFE_NO_PAD.encode(choices.rest()))),
        2 => private_map(choices.rest()),
        3 => upload_state(choices.rest()),
        4 => {
            let _ = SealedUploadState::parse(choices.rest());
            let _ = WrappedDek::from_slice(choices.rest());
            let _ = UploadHash::new(BucketStr("b"), KeyStr("k"), UploadIdStr("u")).id();
        }
        _ => built(&mut choices),
    }
});
