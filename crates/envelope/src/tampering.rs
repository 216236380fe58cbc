//! Properties of refusal: anything that is flipped, cut, appended, exchanged or moved is detected,
//! in both layouts.

use std::sync::LazyLock;

use proptest::prelude::*;

use crate::{
    dek::Dek,
    drive::{opened, plaintext, sealed},
    layout::{PADDED_FROM, PlaintextLength, StoredLength, message_length},
    message::{MessageHead, OpenError},
    multipart::{
        ChecksumAlgorithm, Frame, Mark, PartNumber, Seal, SealFields, SealListError, SealedPart,
        tail_first,
    },
    object::{ObjectOpener, ObjectSealer},
};

fn buffer() -> Vec<u8> {
    Vec::with_capacity(1 << 20)
}

struct SingleSample {
    dek: Dek,
    head: MessageHead,
    stored: Vec<u8>,
}

impl SingleSample {
    fn new(length: u64) -> Self {
        let dek = Dek::generate();
        let sealer = ObjectSealer::new(&dek, PlaintextLength(length), buffer());
        let head = *sealer.head();
        let stored = sealed(sealer, &plaintext(length));
        Self { dek, head, stored }
    }

    fn opens(&self, stored: &[u8]) -> bool {
        ObjectOpener::whole(&self.dek, &self.head, StoredLength(stored.len() as u64))
            .and_then(|opener| opened(opener, stored))
            .is_ok()
    }
}

static SINGLE: LazyLock<SingleSample> = LazyLock::new(|| SingleSample::new(40_000));
static PADDED: LazyLock<SingleSample> = LazyLock::new(|| SingleSample::new(PADDED_FROM.0 + 3));

struct MultipartSample {
    dek: Dek,
    parts: Vec<SealedPart>,
    bodies: Vec<Vec<u8>>,
}

impl MultipartSample {
    fn new(lengths: &[u64]) -> Self {
        let dek = Dek::generate();
        let (mut parts, mut bodies) = (Vec::new(), Vec::new());
        for (number, length) in (1..).zip(lengths) {
            let (part, body) = sealed_part(&dek, number, *length);
            parts.push(part);
            bodies.push(body);
        }
        Self { dek, parts, bodies }
    }

    fn stored(&self) -> Vec<u8> {
        let seal = Seal::new(SealFields::default(), &self.parts).unwrap();
        [self.bodies.concat(), seal.tail(&self.dek)].concat()
    }

    fn opens(&self, stored: &[u8]) -> bool {
        open_multipart(&self.dek, stored).is_ok()
    }
}

fn sealed_part(dek: &Dek, number: u16, length: u64) -> (SealedPart, Vec<u8>) {
    let number = PartNumber::new(number).unwrap();
    let frame = Frame::new(number, PlaintextLength(length)).unwrap();
    let sealer = ObjectSealer::part(dek, frame, buffer());
    let mark = Mark::of(sealer.head());
    let checksum = Vec::new();
    let part = SealedPart {
        frame,
        mark,
        checksum,
    };
    (part, sealed(sealer, &plaintext(length)))
}

fn open_multipart(dek: &Dek, stored: &[u8]) -> Result<Vec<u8>, SealListError> {
    let length = StoredLength(stored.len() as u64);
    let first = tail_first(length).ok_or(SealListError::Footer)?;
    let first = usize::try_from(first).unwrap();
    let seal = Seal::open(dek, length, &stored[first..])?;
    Ok(opened(seal.open_whole(dek)?, stored)?)
}

static MULTIPART: LazyLock<MultipartSample> =
    LazyLock::new(|| MultipartSample::new(&[PADDED_FROM.0, PADDED_FROM.0, 20_000]));
static MULTIPART_STORED: LazyLock<Vec<u8>> = LazyLock::new(|| MULTIPART.stored());

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_flipped_bit_of_an_object_is_refused(at in any::<usize>(), bit in 0_u32..8) {
        let mut stored = SINGLE.stored.clone();
        prop_assert!(SINGLE.opens(&stored));
        let at = at % stored.len();
        stored[at] ^= 1_u8 << bit;
        prop_assert!(!SINGLE.opens(&stored));
    }

    #[test]
    fn a_cut_or_extended_object_is_refused(cut in 1_usize..40_104, more in 1_usize..70_000) {
        // 40,104 bytes: a head, the plaintext and three tags.
        let stored = &SINGLE.stored;
        prop_assert!(!SINGLE.opens(&stored[..stored.len() - cut]));
        prop_assert!(!SINGLE.opens(&stored[cut..]));
        prop_assert!(!SINGLE.opens(&[&stored[..], &vec![0; more]].concat()));
    }

    #[test]
    fn a_body_that_ends_early_is_never_complete(end in 0_usize..40_104) {
        let size = StoredLength(SINGLE.stored.len() as u64);
        let mut opener = ObjectOpener::whole(&SINGLE.dek, &SINGLE.head, size).unwrap();
        let mut out = Vec::with_capacity(64 * 1024);
        opener.push(&SINGLE.stored[..end], &mut out).unwrap();
        prop_assert!(!opener.is_complete());
        prop_assert_eq!(opener.finish(), Err(OpenError::Truncated));
    }

    #[test]
    fn a_flipped_bit_of_a_padded_object_is_refused(
        from_end in prop_oneof![0_usize..1_000, 0_usize..5_248_835], bit in 0_u32..8,
    ) {
        let mut stored = PADDED.stored.clone();
        // Counted from the end, where the padding is.
        let at = stored.len() - 1 - from_end;
        stored[at] ^= 1_u8 << bit;
        prop_assert!(!PADDED.opens(&stored));
    }

    #[test]
    fn a_flipped_bit_of_a_multipart_body_is_refused(
        from_end in prop_oneof![0_usize..400, 0_usize..21_500, 0_usize..10_513_000], bit in 0_u32..8,
    ) {
        let mut stored = MULTIPART_STORED.clone();
        // Counted from the end, where the footer and the seal are.
        let at = stored.len() - 1 - from_end;
        stored[at] ^= 1_u8 << bit;
        prop_assert!(!MULTIPART.opens(&stored));
    }

    #[test]
    fn a_cut_or_extended_multipart_body_is_refused(cut in 1_usize..6_000_000, more in 1_usize..20) {
        let stored = &*MULTIPART_STORED;
        prop_assert!(!MULTIPART.opens(&stored[..stored.len() - cut]));
        prop_assert!(!MULTIPART.opens(&stored[cut..]));
        prop_assert!(!MULTIPART.opens(&[&stored[..], &vec![0; more]].concat()));
    }

    #[test]
    fn a_seal_does_not_open_from_random_bytes(tail in prop::collection::vec(any::<u8>(), 832)) {
        let stored = StoredLength(5_248_833);
        let first = tail_first(stored).unwrap();
        prop_assert_eq!(stored.0 - first, 832);
        prop_assert!(Seal::open(&MULTIPART.dek, stored, &tail).is_err());
    }
}

/// A body must end exactly at the announced stored length.
#[test]
fn zeros_behind_the_end_and_padding_that_is_cut_are_refused() {
    for single in [&*SINGLE, &*PADDED] {
        let size = StoredLength(single.stored.len() as u64);
        let open = || ObjectOpener::whole(&single.dek, &single.head, size).unwrap();
        let mut out = Vec::with_capacity(single.stored.len());
        let mut longer = open();
        longer.push(&single.stored, &mut out).unwrap();
        assert!(longer.is_complete());
        assert_eq!(longer.push(&[0], &mut out), Err(OpenError::Trailing));
    }
    let size = StoredLength(PADDED.stored.len() as u64);
    let mut shorter = ObjectOpener::whole(&PADDED.dek, &PADDED.head, size).unwrap();
    let mut out = Vec::with_capacity(PADDED.stored.len());
    let cut = &PADDED.stored[..PADDED.stored.len() - 1];
    shorter.push(cut, &mut out).unwrap();
    // All plaintext came, but the object is incomplete.
    assert_eq!(out.len() as u64, PADDED_FROM.0 + 3);
    assert_eq!(shorter.finish(), Err(OpenError::Truncated));
}

#[test]
fn a_seal_of_a_body_of_another_length_is_refused() {
    let multipart = MultipartSample::new(&[PADDED_FROM.0]);
    let stored = multipart.stored();
    let length = StoredLength(stored.len() as u64);
    let tail = &stored[usize::try_from(tail_first(length).unwrap()).unwrap()..];
    assert!(Seal::open(&multipart.dek, length, tail).is_ok());
    let longer = Seal::open(&multipart.dek, StoredLength(length.0 + 1), tail);
    assert_eq!(longer.err(), Some(SealListError::Sum));
    let short = Seal::open(&multipart.dek, length, &tail[1..]);
    let expected = tail.len() as u64;
    let found = tail.len() - 1;
    assert_eq!(
        short.err(),
        Some(SealListError::TailLength { found, expected })
    );
}

#[test]
fn any_change_of_the_footer_is_refused() {
    let mut stored = MULTIPART_STORED.clone();
    let end = stored.len();
    // The footer is 12 bytes long.
    for at in end - 12..end {
        stored[at] ^= 0x20;
        assert!(!MULTIPART.opens(&stored), "{at}");
        stored[at] ^= 0x20;
    }
}

#[test]
fn chunks_that_change_places_are_refused() {
    let mut stored = SINGLE.stored.clone();
    // 56 bytes of head, then two full chunks with their tags.
    let (first, second) = stored[56..56 + 2 * 16_400].split_at_mut(16_400);
    first.swap_with_slice(second);
    assert!(!SINGLE.opens(&stored));
}

#[test]
fn another_body_of_the_same_length_and_key_is_refused() {
    let again = ObjectSealer::new(&SINGLE.dek, PlaintextLength(40_000), buffer());
    let stored = sealed(again, &plaintext(40_000));
    assert!(!SINGLE.opens(&stored));
    assert!(!SingleSample::new(40_000).opens(&SINGLE.stored));
}

#[test]
fn the_unchanged_multipart_body_opens() {
    let opened = open_multipart(&MULTIPART.dek, &MULTIPART_STORED).unwrap();
    assert_eq!(opened.len() as u64, 2 * PADDED_FROM.0 + 20_000);
}

#[test]
fn parts_of_one_length_that_change_places_are_refused() {
    let [one, two, three] = &MULTIPART.bodies[..] else {
        panic!("three parts");
    };
    let mut stored = MULTIPART_STORED.clone();
    stored[..2 * one.len()].copy_from_slice(&[&two[..], one].concat());
    // The parts have the same plaintext, but different salts.
    assert_ne!(stored[..one.len()], one[..]);
    assert!(!MULTIPART.opens(&stored) && !three.is_empty());
}

#[test]
fn another_attempt_at_a_part_is_refused_by_its_mark_and_only_by_it() {
    let (_, again) = sealed_part(&MULTIPART.dek, 1, PADDED_FROM.0);
    let mut stored = MULTIPART_STORED.clone();
    stored[..again.len()].copy_from_slice(&again);
    let result = open_multipart(&MULTIPART.dek, &stored);
    assert_eq!(result.err(), Some(SealListError::Open(OpenError::Mark(1))));

    // Without a recorded mark the other attempt is accepted: only the mark refuses it.
    let mut unmarked = MULTIPART.parts.clone();
    unmarked[0].mark = Mark::UNKNOWN;
    let seal = Seal::new(SealFields::default(), &unmarked).unwrap();
    let parts = [&again[..], &MULTIPART.bodies[1..].concat()].concat();
    let stored = [parts, seal.tail(&MULTIPART.dek)].concat();
    assert!(MULTIPART.opens(&stored));
}

#[test]
fn a_part_of_a_larger_number_may_not_stand_before_a_smaller_one() {
    let (first, second) = (MULTIPART.parts[0].clone(), MULTIPART.parts[1].clone());
    let swapped = Seal::new(SealFields::default(), &[second, first.clone()]);
    assert_eq!(swapped.err(), Some(SealListError::Order(1)));
    let twice = Seal::new(SealFields::default(), &[first.clone(), first]);
    assert_eq!(twice.err(), Some(SealListError::Order(1)));
}

#[test]
fn lists_that_make_no_body_are_refused() {
    let part = |number, length| SealedPart {
        frame: Frame::new(PartNumber::new(number).unwrap(), PlaintextLength(length)).unwrap(),
        mark: Mark::UNKNOWN,
        checksum: Vec::new(),
    };
    let seal = |parts: &[SealedPart]| Seal::new(SealFields::default(), parts).err();
    assert_eq!(seal(&[]), Some(SealListError::NoParts));
    assert_eq!(seal(&[part(1, 5)]), Some(SealListError::TooShort(5)));
    // The heads of ten thousand small parts alone need more room than the tail has.
    let many: Vec<_> = (1..=10_000).map(|number| part(number, 1_000)).collect();
    assert_eq!(seal(&many), Some(SealListError::NoRoom));
    let huge = [part(1, (1 << 48) - 1), part(2, 1)];
    assert_eq!(seal(&huge), Some(SealListError::TooLong));

    let fields = SealFields {
        part_checksum: Some(ChecksumAlgorithm::Sha1),
        ..SealFields::default()
    };
    let without = Seal::new(fields.clone(), &[part(1, PADDED_FROM.0)]);
    assert_eq!(without.err(), Some(SealListError::ChecksumLength(1)));
    let mut long = fields;
    long.checksums.insert("SHA512".to_owned(), vec![0; 300]);
    let mut with = part(1, PADDED_FROM.0);
    with.checksum = vec![0; 20];
    assert_eq!(
        Seal::new(long, &[with]).err(),
        Some(SealListError::MapTooLong)
    );
}

#[test]
fn the_longest_list_with_the_longest_checksums_fits_and_reads_back() {
    let fields = SealFields {
        part_checksum: Some(ChecksumAlgorithm::Sha256),
        ..SealFields::default()
    };
    let parts: Vec<_> = (1..=10_000_u16)
        .map(|number| SealedPart {
            frame: Frame::new(PartNumber::new(number).unwrap(), PADDED_FROM).unwrap(),
            mark: Mark::UNKNOWN,
            checksum: vec![u8::try_from(number % 251).unwrap(); 32],
        })
        .collect();
    let dek = Dek::generate();
    let seal = Seal::new(fields, &parts).unwrap();
    let tail = seal.tail(&dek);
    let stored = StoredLength(seal.parts_end() + tail.len() as u64);
    let first = tail_first(stored).unwrap();
    // The fetched tail starts inside the last part; bytes before the zeros are not inspected.
    let before = usize::try_from(seal.parts_end() - first).unwrap();
    let fetched = [vec![9; before], tail].concat();
    let again = Seal::open(&dek, stored, &fetched).unwrap();
    assert_eq!(again.frames().len(), 10_000);
    assert_eq!(again.checksum(9_999), Some(&parts[9_999].checksum[..]));
    assert_eq!(again.checksum(10_000), None);
    let nonzero = [vec![9; before + 1], fetched[before + 1..].to_vec()].concat();
    let refused = Seal::open(&dek, stored, &nonzero);
    assert_eq!(refused.err(), Some(SealListError::Padding));
}

#[test]
fn a_staged_part_opens_under_its_own_number_and_length_only() {
    let (part, body) = sealed_part(&MULTIPART.dek, 7, 20_000);
    let open = |frame, mark| opened(ObjectOpener::part(&MULTIPART.dek, frame, mark), &body);
    assert!(open(part.frame, part.mark).unwrap() == plaintext(20_000));
    assert!(open(part.frame, Mark::UNKNOWN).is_ok());
    let other = Frame::new(PartNumber::new(8).unwrap(), PlaintextLength(20_000)).unwrap();
    assert!(open(other, Mark::UNKNOWN).is_err());
    assert!(open(part.frame, MULTIPART.parts[0].mark).is_err());
    assert_eq!(body.len() as u64, message_length(PlaintextLength(20_000)));
}
