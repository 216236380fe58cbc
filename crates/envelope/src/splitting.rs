//! Properties of streaming: the result does not depend on how the bytes arrive or on the buffers,
//! and any range of the plaintext equals that slice of it.

use std::sync::LazyLock;

use proptest::prelude::*;

use crate::{
    dek::Dek,
    drive::{opened, plaintext, sealed},
    layout::{ChunkSpan, PADDED_FROM, PlaintextLength, PlaintextRange},
    message::{HEAD_BYTES, MessageHead, Salt},
    multipart::{Frame, Mark, PartNumber, Seal, SealFields, SealedPart, tail_first},
    object::{ObjectOpener, ObjectSealer, SealError},
};

// A message head and one stored chunk.
const SMALLEST_BUFFER: usize = 56 + 16_400;

/// A multipart body: parts around 5 MiB, one of an odd length and an empty one.
struct Body {
    dek: Dek,
    plaintext: Vec<u8>,
    stored: Vec<u8>,
}

static BODY: LazyLock<Body> = LazyLock::new(|| {
    let dek = Dek::generate();
    let least = PADDED_FROM.0;
    // Numbers with gaps, and lengths around the borders of chunks and parts.
    let lengths = [
        (1, least),
        (2, least + 5),
        (5, least + 16_384),
        (9, 40_000),
        (10, 0),
    ];
    let (mut stored, mut parts, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for (number, length) in lengths {
        let number = PartNumber::new(number).unwrap();
        let frame = Frame::new(number, PlaintextLength(length)).unwrap();
        let sealer = ObjectSealer::part(&dek, frame, Vec::with_capacity(1 << 20));
        let mark = Mark::of(sealer.head());
        let checksum = Vec::new();
        parts.push(SealedPart {
            frame,
            mark,
            checksum,
        });
        stored.extend(sealed(sealer, &plaintext(length)));
        whole.extend(plaintext(length));
    }
    let seal = Seal::new(SealFields::default(), &parts).unwrap();
    stored.extend(seal.tail(&dek));
    Body {
        dek,
        plaintext: whole,
        stored,
    }
});

impl Body {
    fn seal(&self) -> Seal {
        let stored = crate::layout::StoredLength(self.stored.len() as u64);
        let first = usize::try_from(tail_first(stored).unwrap()).unwrap();
        Seal::open(&self.dek, stored, &self.stored[first..]).unwrap()
    }
}

fn slice(bytes: &[u8], first: u64, last: u64) -> &[u8] {
    &bytes[usize::try_from(first).unwrap()..=usize::try_from(last).unwrap()]
}

fn seal_in_pieces(
    dek: &Dek,
    salt: &Salt,
    plaintext: &[u8],
    pieces: &[usize],
    capacity: usize,
) -> Vec<u8> {
    let buffer = || Vec::with_capacity(capacity);
    let length = PlaintextLength(plaintext.len() as u64);
    let mut sealer = ObjectSealer::object_with(dek, salt, length, buffer());
    let (mut stored, mut rest, mut pieces) = (Vec::new(), plaintext, pieces.iter().cycle());
    while !rest.is_empty() {
        let piece = rest.len().min(*pieces.next().unwrap());
        let consumed = sealer.push(&rest[..piece]).unwrap();
        rest = &rest[consumed..];
        let taken = sealer.take(buffer);
        // The sealer may stop early only if its buffer is full.
        assert!(consumed == piece || taken.is_some(), "no progress");
        if let Some(full) = taken {
            assert_eq!(full.capacity(), capacity);
            stored.extend(full);
        }
    }
    let mut tail = sealer.finish().unwrap();
    while let Some(piece) = tail.take(buffer) {
        assert!(!piece.is_empty() && piece.capacity() == capacity);
        stored.extend(piece);
    }
    stored
}

fn open_in_pieces(
    mut opener: ObjectOpener,
    stored: &[u8],
    pieces: &[usize],
    capacity: usize,
) -> Vec<u8> {
    let mut plaintext = Vec::new();
    let (mut rest, mut pieces) = (stored, pieces.iter().cycle());
    let mut out = Vec::with_capacity(capacity);
    while !rest.is_empty() {
        let piece = rest.len().min(*pieces.next().unwrap());
        let consumed = opener.push(&rest[..piece], &mut out).unwrap();
        assert_eq!(out.capacity(), capacity);
        assert!(consumed == piece || !out.is_empty(), "no progress");
        rest = &rest[consumed..];
        if consumed < piece {
            plaintext.append(&mut out);
        }
    }
    plaintext.append(&mut out);
    opener.finish().unwrap();
    plaintext
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(
        // Tiny, of any length, and around the length of a chunk.
        prop_oneof![1_usize..40, 1_usize..40_000, 16_300_usize..16_500],
        1..8,
    )
}

fn lengths() -> impl Strategy<Value = u64> {
    prop_oneof![
        // Around zero, one and two chunks, and of any length.
        0_u64..100,
        16_380_u64..16_390,
        32_760_u64..32_775,
        0_u64..150_000
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_split_into_any_buffers_seals_to_the_same_bytes(
        length in lengths(), pieces in pieces(), spare in 0_usize..70_000,
    ) {
        let (dek, salt) = (Dek::generate(), Salt::fresh());
        let plaintext = plaintext(length);
        let capacity = SMALLEST_BUFFER + spare;
        let stored = seal_in_pieces(&dek, &salt, &plaintext, &pieces, capacity);
        let buffer = Vec::with_capacity(1 << 20);
        let at_once = ObjectSealer::object_with(&dek, &salt, PlaintextLength(length), buffer);
        prop_assert_eq!(at_once.stored_length().0, stored.len() as u64);
        prop_assert!(sealed(at_once, &plaintext) == stored);
    }

    #[test]
    fn any_split_into_any_buffers_opens_to_the_same_plaintext(
        length in lengths(), pieces in pieces(), spare in 0_usize..70_000,
    ) {
        let dek = Dek::generate();
        let plaintext = plaintext(length);
        let sealer = ObjectSealer::new(&dek, PlaintextLength(length), Vec::with_capacity(1 << 20));
        let (head, size) = (*sealer.head(), sealer.stored_length());
        let stored = sealed(sealer, &plaintext);
        let opener = ObjectOpener::whole(&dek, &head, size).unwrap();
        prop_assert!(open_in_pieces(opener, &stored, &pieces, 16_384 + spare) == plaintext);
    }

    #[test]
    fn any_range_of_an_object_equals_the_slice(
        length in lengths(), a in any::<u64>(), b in any::<u64>(), pieces in pieces(),
        behind in 0_usize..100,
    ) {
        prop_assume!(length > 0);
        let (a, b) = (a % length, b % length);
        let range = PlaintextRange::new(a.min(b), a.max(b)).unwrap();
        let dek = Dek::generate();
        let plaintext = plaintext(length);
        let sealer = ObjectSealer::new(&dek, PlaintextLength(length), Vec::with_capacity(1 << 20));
        let (head, size) = (*sealer.head(), sealer.stored_length());
        let mut stored = sealed(sealer, &plaintext);
        // A backend may send more than was requested.
        stored.extend(vec![7; behind]);
        let span = ChunkSpan::of(range, PlaintextLength(length));
        let opener = ObjectOpener::range(&dek, &head, size, range).unwrap();
        let end = span.stored_last() + behind as u64;
        let bytes = slice(&stored, span.stored_first(), end);
        let opened = open_in_pieces(opener, bytes, &pieces, 16_384);
        prop_assert!(opened == slice(&plaintext, range.first, range.last));
    }

    #[test]
    fn any_range_of_a_multipart_body_equals_the_slice(
        near in prop::sample::select(vec![0, 16_384, 5_242_880, 10_485_765, 15_745_029]),
        from in 0_u64..33_000, length in prop_oneof![0_u64..40_000, 0_u64..11_000_000],
        pieces in pieces(),
    ) {
        let (body, seal) = (&*BODY, BODY.seal());
        // Within 16,500 bytes of a border.
        let first = (near + from).saturating_sub(16_500).min(seal.length().0 - 1);
        let range = PlaintextRange::new(first, (first + length).min(seal.length().0 - 1)).unwrap();
        let span = seal.span(range).unwrap();
        let head = span.head_position().map(|head| {
            let last = head + HEAD_BYTES as u64 - 1;
            MessageHead::from_slice(slice(&body.stored, head, last)).unwrap()
        });
        let opener = seal.open_span(&body.dek, &span, head.as_ref()).unwrap();
        let bytes = slice(&body.stored, span.stored_first(), span.stored_last());
        let opened = open_in_pieces(opener, bytes, &[pieces, vec![90_000]].concat(), 64 * 1024);
        prop_assert!(opened == slice(&body.plaintext, range.first, range.last));
    }
}

#[test]
fn a_multipart_body_opens_whole_and_part_by_part() {
    let (body, seal) = (&*BODY, BODY.seal());
    assert_eq!(seal.length().0, body.plaintext.len() as u64);
    let whole = seal.open_whole(&body.dek).unwrap();
    assert!(opened(whole, &body.stored).unwrap() == body.plaintext);
    let mut first = 0;
    for frame in seal.frames() {
        let length = frame.length().0;
        let range = seal.part_range(frame.number());
        assert_eq!(
            range,
            (length > 0).then(|| PlaintextRange {
                first,
                last: first + length - 1
            })
        );
        first += length;
    }
    // No part has this number.
    assert_eq!(seal.part_range(PartNumber::new(3).unwrap()), None);
}

#[test]
fn a_span_without_the_head_that_it_needs_does_not_open() {
    let (body, seal) = (&*BODY, BODY.seal());
    // In the second chunk, so the span does not begin with the head.
    let span = seal
        .span(PlaintextRange::new(20_000, 20_001).unwrap())
        .unwrap();
    assert!(span.head_position().is_some());
    assert!(seal.open_span(&body.dek, &span, None).is_err());
    let wrong = MessageHead::from_slice(&body.stored[1..=HEAD_BYTES]).unwrap();
    assert!(seal.open_span(&body.dek, &span, Some(&wrong)).is_err());
}

#[test]
fn a_range_beyond_the_plaintext_does_not_open() {
    let seal = BODY.seal();
    let beyond = PlaintextRange::new(0, seal.length().0).unwrap();
    assert_eq!(seal.span(beyond), None);
    let dek = Dek::generate();
    let sealer = ObjectSealer::new(&dek, PlaintextLength(5), Vec::with_capacity(20_000));
    let (head, size) = (*sealer.head(), sealer.stored_length());
    // Beyond the end, after it, and reversed.
    for (first, last) in [(0, 5), (5, 5), (3, 2)] {
        let range = PlaintextRange { first, last };
        assert!(ObjectOpener::range(&dek, &head, size, range).is_err());
    }
}

#[test]
fn the_last_chunk_is_handed_out_only_after_all_plaintext_came() {
    let dek = Dek::generate();
    let buffer = || Vec::with_capacity(SMALLEST_BUFFER);
    let mut sealer = ObjectSealer::new(&dek, PlaintextLength(16_390), buffer());
    assert_eq!(sealer.push(&[1; 16_384]), Ok(16_384));
    // The buffer has no room for another chunk.
    assert_eq!(sealer.push(&[1; 5]), Ok(0));
    assert_eq!(sealer.take(buffer).unwrap().len(), SMALLEST_BUFFER);
    assert_eq!(sealer.push(&[1; 5]), Ok(5));
    assert!(sealer.take(buffer).is_none());
    let missing = SealError::TooShort {
        announced: 16_390,
        missing: 1,
    };
    assert_eq!(sealer.finish().err(), Some(missing));
}

#[test]
fn plaintext_beyond_the_announced_length_is_refused() {
    let dek = Dek::generate();
    let mut sealer = ObjectSealer::new(&dek, PlaintextLength(5), Vec::with_capacity(20_000));
    assert_eq!(
        sealer.push(&[1; 6]),
        Err(SealError::TooLong { announced: 5 })
    );
    assert_eq!(sealer.push(&[1; 5]), Ok(5));
    assert_eq!(
        sealer.push(&[1; 1]),
        Err(SealError::TooLong { announced: 5 })
    );
}

#[test]
fn every_message_draws_its_own_salt() {
    let dek = Dek::generate();
    let frame = Frame::new(PartNumber::MAX, PlaintextLength(1)).unwrap();
    let head = || *ObjectSealer::part(&dek, frame, Vec::with_capacity(20_000)).head();
    let heads: Vec<_> = (0..100).map(|_| head()).collect();
    for (index, one) in heads.iter().enumerate() {
        assert!(
            heads[index + 1..]
                .iter()
                .all(|other| one.salt() != other.salt())
        );
    }
}
