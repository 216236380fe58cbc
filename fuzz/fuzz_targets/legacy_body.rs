//! Bodies of the older proxies, sealed by another implementation of GCM-SIV: any cut gives the same
//! bytes, any range is the slice of the plaintext, no altered body passes verification, and no byte
//! that changes after the verification passes the second read.

#![no_main]

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded};
use libfuzzer_sys::fuzz_target;
use s3proxy_envelope::layout::{PlaintextRange, StoredLength};
use s3proxy_envelope::legacy::{
    LegacyDek, LegacyError, LegacyKek, LegacyOpener, LegacyVerifier, LegacyWrappedDek, NONCE_BYTES,
    TAG_BYTES, VerifiedBody, open_held,
};
use s3proxy_fuzz::choices::{Choices, Pieces};
use s3proxy_fuzz::sealing::plaintext;

const DEK: [u8; 32] = [9; 32];
const NONCE: [u8; NONCE_BYTES] = [3; NONCE_BYTES];
/// The last length has two blocks: 64 KiB and one byte.
const LENGTHS: [usize; 6] = [0, 1, 16, 5_000, 20_000, 65_537];

struct Body {
    plain: Vec<u8>,
    stored: Vec<u8>,
    verified: Arc<VerifiedBody>,
}

static UNWRAPPED: LazyLock<LegacyDek> = LazyLock::new(|| {
    let kek = AesKek::new(&AES_256, &[0; 32]).expect("32 bytes");
    let mut output = [0; 48];
    let wrapped = kek
        .wrap_with_padding(&DEK, &mut output)
        .expect("room for 40 bytes");
    let hex = wrapped.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    });
    let wrapped = LegacyWrappedDek::from_hex(&hex).expect("80 digits");
    LegacyDek::unwrap(&wrapped, &LegacyKek::zero()).expect("the same key")
});

fn sealed(length: usize) -> Body {
    let plain = plaintext(length);
    let key = UnboundKey::new(&AES_256_GCM_SIV, &DEK).expect("32 bytes");
    let mut stored = plain.clone();
    let tag = LessSafeKey::new(key)
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(NONCE),
            Aad::empty(),
            &mut stored,
        )
        .expect("a short message");
    let stored = [&NONCE[..], &stored, tag.as_ref()].concat();
    let verified = verify(&stored, &Pieces::whole()).expect("authentic");
    Body {
        plain,
        stored,
        verified: Arc::new(verified),
    }
}

static BODIES: LazyLock<Vec<Body>> = LazyLock::new(|| LENGTHS.map(sealed).into());

fn verify(stored: &[u8], pieces: &Pieces) -> Result<VerifiedBody, LegacyError> {
    let length = StoredLength(stored.len() as u64);
    let (Some(nonce), Some(tag)) = (stored.first_chunk(), stored.last_chunk::<TAG_BYTES>()) else {
        return Err(LegacyError::Length(length.0));
    };
    let mut verifier = LegacyVerifier::new(&UNWRAPPED, length, *nonce, *tag)?;
    for piece in pieces.of(&stored[NONCE_BYTES..]) {
        verifier.push(piece)?;
    }
    verifier.finish()
}

fn read(
    body: &Body,
    stored: &[u8],
    range: PlaintextRange,
    pieces: &Pieces,
) -> Result<Vec<u8>, LegacyError> {
    let mut opener = LegacyOpener::new(&body.verified, &UNWRAPPED, range)?;
    let mut plain = Vec::new();
    for piece in pieces.of(stored) {
        let mut rest = piece;
        while !rest.is_empty() {
            assert!(!opener.is_complete(), "no byte of no use was asked for");
            plain.extend(opener.push(&mut rest)?.into_iter().flatten());
        }
    }
    assert!(opener.is_complete());
    Ok(plain)
}

fuzz_target!(|input: &[u8]| {
    let mut choices = Choices::new(input);
    let body = &BODIES[usize::from(choices.byte()) % LENGTHS.len()];
    let unit = choices.pick(&[1, 97, 16_384]);
    let pieces = choices.pieces().scaled(unit);
    let whole = verify(&body.stored, &pieces).expect("authentic, however it is cut");
    assert_eq!(whole.length().0, body.plain.len() as u64);
    if choices.flag() {
        assert!(open_held(&UNWRAPPED, body.stored.clone()).expect("authentic") == body.plain);
    }
    if !body.plain.is_empty() {
        let (one, other) = (
            choices.position(body.plain.len()),
            choices.position(body.plain.len()),
        );
        let (first, last) = (one.min(other), one.max(other));
        let range = PlaintextRange::new(first as u64, last as u64).expect("in order");
        let (from, to) = body.verified.stretch(range).expect("inside");
        let from = usize::try_from(from).expect("in memory");
        let to = usize::try_from(to).expect("in memory");
        let mut stretch = body.stored[from..=to].to_vec();
        let slice = read(body, &stretch, range, &pieces).expect("as it was verified");
        assert!(
            slice == body.plain[first..=last],
            "a range is that of the plaintext"
        );
        if choices.mutate(&mut stretch) {
            let changed = read(body, &stretch, range, &pieces);
            assert_eq!(changed.err(), Some(LegacyError::Changed));
        }
    }
    let mut changed = body.stored.clone();
    if choices.flag() {
        changed.truncate(choices.position(changed.len()));
        assert!(verify(&changed, &pieces).is_err(), "a cut body");
        assert!(open_held(&UNWRAPPED, changed).is_err());
    } else if choices.mutate(&mut changed) {
        assert!(verify(&changed, &pieces).is_err(), "a changed body");
        assert!(open_held(&UNWRAPPED, changed).is_err());
    }
});
