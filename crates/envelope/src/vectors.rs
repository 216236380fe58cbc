//! Known answers of format v1: every section of `tests/vectors/v1.json`, written and read.

use crate::names::{BucketStr, KeyStr};
use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use serde::Deserialize;

use crate::{
    dek::{Binding, Dek},
    drive::{bytes, hex, opened, plaintext, sealed},
    header::{Envelope, Layout, PrivateMap},
    kek::Kek,
    layout::{
        PADDED_FROM, PlaintextLength, StoredLength, message_length, message_plaintext_length,
        plaintext_length, stored_length,
    },
    message::{MessageHead, SALT_BYTES, Salt},
    multipart::{
        ChecksumAlgorithm, Frame, Mark, PartNumber, Seal, SealFields, SealedPart, UploadHash,
        tail_first,
    },
    object::{ObjectOpener, ObjectSealer},
};

#[derive(Deserialize)]
struct Vectors {
    kek: String,
    keys: Vec<Configured>,
    lengths: Vec<Lengths>,
    invalid_stored_lengths: Vec<u64>,
    refused_encrypt_keys: Vec<String>,
    objects: Vec<Single>,
    multipart: Vec<Multipart>,
    malformed_objects: Vec<Malformed>,
}

#[derive(Deserialize)]
struct Configured {
    encrypt_key: String,
    kek: String,
    key_id: String,
}

#[derive(Deserialize)]
struct Lengths {
    plaintext: u64,
    message: u64,
    stored: u64,
}

#[derive(Deserialize)]
struct Single {
    bucket: String,
    object_key: String,
    flags: u8,
    plaintext_length: u64,
    dek: String,
    salt: String,
    binding: String,
    envelope: String,
    body_length: u64,
    body_sha256: String,
    body: Option<String>,
}

#[derive(Deserialize)]
struct Multipart {
    object_key: String,
    dek: String,
    parts: Vec<Part>,
    marks: bool,
    seal_fields: Option<BTreeMap<String, serde_json::Value>>,
    seal_salt: String,
    envelope: String,
    body_length: u64,
    body_sha256: String,
    body_tail: String,
}

#[derive(Deserialize)]
struct Part {
    number: u16,
    length: u64,
    salt: String,
    checksum: Option<String>,
}

#[derive(Deserialize)]
struct Malformed {
    name: String,
    dek: String,
    body: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../tests/vectors/v1.json")).unwrap()
}

#[test]
fn configured_keys_give_the_known_keks_and_names() {
    for key in vectors().keys {
        let kek = Kek::from_configured(&key.encrypt_key).unwrap();
        assert_eq!(hex(kek.as_bytes()), key.kek, "{}", key.encrypt_key);
        assert_eq!(kek.local_name(), format!("local:{}", key.key_id));
        // A passphrase cannot be found again from its KEK.
        if key.encrypt_key.starts_with("s3pk1.") {
            assert_eq!(*kek.to_configured(), key.encrypt_key);
        }
    }
}

#[test]
fn malformed_configured_keys_are_refused() {
    for text in vectors().refused_encrypt_keys {
        assert!(Kek::from_configured(&text).is_err(), "{text}");
    }
}

#[test]
fn lengths_map_both_ways() {
    let vectors = vectors();
    for lengths in vectors.lengths {
        let plaintext = PlaintextLength(lengths.plaintext);
        assert_eq!(message_length(plaintext), lengths.message);
        assert_eq!(message_plaintext_length(lengths.message), Some(plaintext));
        assert_eq!(stored_length(plaintext), StoredLength(lengths.stored));
        assert_eq!(
            plaintext_length(StoredLength(lengths.stored)),
            Some(plaintext)
        );
    }
    for stored in vectors.invalid_stored_lengths {
        assert_eq!(plaintext_length(StoredLength(stored)), None, "{stored}");
    }
}

#[test]
fn objects_are_sealed_and_opened_as_known() {
    let vectors = vectors();
    let kek = Kek::from_bytes(&bytes(&vectors.kek)).unwrap();
    for object in vectors.objects {
        let envelope = Envelope::parse(&object.envelope).unwrap();
        assert_eq!(envelope.encode(), object.envelope);
        assert_eq!(envelope.flags.octet(), object.flags);
        assert_eq!(envelope.layout, Layout::Single);
        assert_eq!(envelope.key_name, kek.local_name());
        let binding = Binding::new(
            envelope.layout,
            envelope.flags,
            BucketStr(&object.bucket),
            KeyStr(&object.object_key),
        );
        assert_eq!(hex(binding.as_bytes()), object.binding);
        let dek = Dek::unwrap(&envelope.wrapped_dek, &kek, &binding).unwrap();
        assert_eq!(hex(dek.as_bytes()), object.dek);
        // KWP is deterministic, so wrapping again gives the same bytes.
        assert_eq!(dek.wrap(&kek, &binding), envelope.wrapped_dek);

        let length = PlaintextLength(object.plaintext_length);
        let sealer = ObjectSealer::object_with(
            &dek,
            &Salt::fixed(&bytes(&object.salt)),
            length,
            Vec::with_capacity(100_000),
        );
        let head = envelope.head.unwrap();
        assert_eq!(*sealer.head(), head);
        assert_eq!(sealer.stored_length().0, object.body_length);
        let plaintext = plaintext(length.0);
        let stored = sealed(sealer, &plaintext);
        assert_eq!(stored.len() as u64, object.body_length);
        assert_eq!(hex(digest(&SHA256, &stored).as_ref()), object.body_sha256);
        if let Some(body) = object.body {
            assert_eq!(hex(&stored), body);
        }
        let opener = ObjectOpener::whole(&dek, &head, StoredLength(object.body_length)).unwrap();
        assert!(opened(opener, &stored).unwrap() == plaintext);
        check_private(&envelope, &dek, &binding);
    }
}

/// The vectors give no private map in the clear, so the map that was read must be written
/// identically.
fn check_private(envelope: &Envelope, dek: &Dek, binding: &Binding) {
    if let Some(sealed) = &envelope.private {
        let private = PrivateMap::open(dek, binding, sealed).unwrap();
        assert!(!private.checksums.is_empty() && !private.user_metadata.is_empty());
        let salt = Salt::fixed(&sealed[..SALT_BYTES]);
        assert_eq!(private.seal_with(dek, &salt, binding), *sealed);
    }
}

#[test]
fn multipart_bodies_are_sealed_and_opened_as_known() {
    let vectors = vectors();
    let kek = Kek::from_bytes(&bytes(&vectors.kek)).unwrap();
    for multipart in vectors.multipart {
        let envelope = Envelope::parse(&multipart.envelope).unwrap();
        assert_eq!(envelope.encode(), multipart.envelope);
        let binding = Binding::new(
            envelope.layout,
            envelope.flags,
            BucketStr("a-bucket"),
            KeyStr(&multipart.object_key),
        );
        let dek = Dek::unwrap(&envelope.wrapped_dek, &kek, &binding).unwrap();
        assert_eq!(hex(dek.as_bytes()), multipart.dek);
        let plaintexts: Vec<_> = multipart
            .parts
            .iter()
            .map(|part| plaintext(part.length))
            .collect();
        let total: u64 = multipart.parts.iter().map(|part| part.length).sum();
        let stored = if total < PADDED_FROM.0 {
            small_body(&multipart, &dek)
        } else {
            large_body(&multipart, &dek)
        };
        assert_eq!(stored.len() as u64, multipart.body_length);
        assert_eq!(
            hex(digest(&SHA256, &stored).as_ref()),
            multipart.body_sha256
        );
        assert!(hex(&stored).ends_with(&multipart.body_tail));

        let length = StoredLength(multipart.body_length);
        let opener = if total < PADDED_FROM.0 {
            // A small body is one message, without a tail.
            assert_eq!(tail_first(length), None);
            ObjectOpener::whole_headless(&dek, length).unwrap()
        } else {
            let first = usize::try_from(tail_first(length).unwrap()).unwrap();
            let seal = Seal::open(&dek, length, &stored[first..]).unwrap();
            assert_eq!(seal.length(), PlaintextLength(total));
            seal.open_whole(&dek).unwrap()
        };
        assert!(opened(opener, &stored).unwrap() == plaintexts.concat());
    }
}

fn small_body(multipart: &Multipart, dek: &Dek) -> Vec<u8> {
    let [part] = &multipart.parts[..] else {
        panic!("below 5 MiB there is one part");
    };
    let salt = Salt::fixed(&bytes(&part.salt));
    let buffer = Vec::with_capacity(100_000);
    let sealer = ObjectSealer::object_with(dek, &salt, PlaintextLength(part.length), buffer);
    sealed(sealer, &plaintext(part.length))
}

fn large_body(multipart: &Multipart, dek: &Dek) -> Vec<u8> {
    let mut stored = Vec::new();
    let mut parts = Vec::new();
    for part in &multipart.parts {
        let number = PartNumber::new(part.number).unwrap();
        let frame = Frame::new(number, PlaintextLength(part.length)).unwrap();
        let salt = Salt::fixed(&bytes(&part.salt));
        let sealer = ObjectSealer::part_with(dek, &salt, frame, Vec::with_capacity(100_000));
        let head: MessageHead = *sealer.head();
        let mark = if multipart.marks {
            Mark::of(&head)
        } else {
            Mark::UNKNOWN
        };
        let checksum = part.checksum.as_deref().map(bytes).unwrap_or_default();
        parts.push(SealedPart {
            frame,
            mark,
            checksum,
        });
        stored.extend(sealed(sealer, &plaintext(part.length)));
    }
    let fields = seal_fields(multipart.seal_fields.as_ref().unwrap());
    let seal = Seal::new(fields, &parts).unwrap();
    stored.extend(seal.tail_with(dek, &Salt::fixed(&bytes(&multipart.seal_salt))));
    stored
}

fn seal_fields(known: &BTreeMap<String, serde_json::Value>) -> SealFields {
    let mut fields = SealFields::default();
    for (key, value) in known {
        match key.as_str() {
            "1" => {
                for (name, checksum) in value.as_object().unwrap() {
                    let raw = bytes(checksum.as_str().unwrap());
                    fields.checksums.insert(name.clone(), raw);
                }
            }
            "3" => fields.upload_hash = UploadHash::from_slice(&bytes(value.as_str().unwrap())),
            "4" => fields.checksum_type = Some(value.as_str().unwrap().to_owned()),
            "5" => fields.part_checksum = ChecksumAlgorithm::from_name(value.as_str().unwrap()),
            other => panic!("unknown field {other}"),
        }
    }
    fields
}

/// Without an envelope, the head comes from the start of the body.
#[test]
fn malformed_objects_are_refused() {
    for malformed in vectors().malformed_objects {
        let (dek, body) = (
            Dek::from_bytes(&bytes(&malformed.dek)),
            bytes(&malformed.body),
        );
        let result = ObjectOpener::whole_headless(&dek, StoredLength(body.len() as u64))
            .and_then(|opener| opened(opener, &body));
        assert!(result.is_err(), "{}", malformed.name);
    }
}
