//! The tail of a multipart body: any list of parts that is sealed and opened again is the same or
//! is refused, no altered tail opens, and the arithmetic of lengths is right for any number.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use s3proxy_envelope::dek::Dek;
use s3proxy_envelope::layout::{
    self, ChunkSpan, MAX_PLAINTEXT, PADDED_FROM, PlaintextLength, PlaintextRange, StoredLength,
};
use s3proxy_envelope::message;
use s3proxy_envelope::multipart::{
    ChecksumAlgorithm, Frame, Mark, PartNumber, Seal, SealFields, SealedPart, tail_first,
};
use s3proxy_fuzz::choices::Choices;

static DEK: LazyLock<Dek> = LazyLock::new(Dek::generate);

fn lengths(number: u64) {
    let plaintext = PlaintextLength(number);
    let stored = layout::stored_length(plaintext);
    assert!(stored.0 >= number);
    if plaintext <= MAX_PLAINTEXT {
        assert_eq!(layout::plaintext_length(stored), Some(plaintext));
        assert_eq!(
            layout::message_plaintext_length(layout::message_length(plaintext)),
            Some(plaintext)
        );
    }
    if let Some(plaintext) = layout::plaintext_length(StoredLength(number)) {
        assert_eq!(layout::stored_length(plaintext), StoredLength(number));
        assert_eq!(
            tail_first(StoredLength(number)).is_some(),
            plaintext >= PADDED_FROM
        );
    }
    if let Some(first) = tail_first(StoredLength(number)) {
        assert!(first < number && number - first < 2_000_000);
    }
}

fn guesses(first: u64, last: u64, length: u64) {
    let length = PlaintextLength(length % (MAX_PLAINTEXT.0 + 1));
    let Some(range) = PlaintextRange::new(first, last).filter(|range| range.last < length.0) else {
        return;
    };
    let span = ChunkSpan::of(range, length);
    assert!(span.stored_first() <= span.stored_last());
    assert!(span.stored_last() < layout::message_length(length));
    assert!(layout::stored_first_guess(range.first) <= span.stored_first());
    assert!(layout::stored_last_guess(range.last) >= span.stored_last());
    if length <= layout::MAX_PUT_OBJECT {
        let wanted = length.0 - range.first;
        let behind = layout::stored_length(length).0 - span.stored_first();
        assert!(layout::stored_suffix_guess(wanted) >= behind);
    }
}

fn check(seal: &Seal, stored: StoredLength, choices: &mut Choices<'_>) {
    assert_eq!(layout::stored_length(seal.length()), stored);
    assert!(seal.parts_end() <= stored.0);
    assert!(seal.frames().len() > 0);
    assert!(
        seal.frames()
            .is_sorted_by(|one, next| one.number() < next.number())
    );
    let sum: u64 = seal.frames().map(|frame| frame.length().0).sum();
    assert_eq!(sum, seal.length().0);
    for (index, frame) in seal.frames().enumerate().take(4) {
        let bytes = seal.fields().part_checksum.map(ChecksumAlgorithm::length);
        assert_eq!(seal.checksum(index).map(<[u8]>::len), bytes);
        if let Some(range) = seal.part_range(frame.number()) {
            assert_eq!(range.last - range.first + 1, frame.length().0);
        }
    }
    let (one, other) = (choices.u64(), choices.u64());
    let (one, other) = (one % sum, other % sum);
    let range = PlaintextRange::new(one.min(other), one.max(other)).expect("in order");
    let span = seal.span(range).expect("inside");
    assert!(span.stored_first() <= span.stored_last() && span.stored_last() < seal.parts_end());
    assert!(
        span.head_position()
            .is_none_or(|head| head < span.stored_first())
    );
    let past = PlaintextRange::new(0, sum).expect("in order");
    assert!(seal.span(past).is_none());
}

/// The tail around any list of parts, sealed with the right key.
fn tail_of(list: &[u8], stored: StoredLength) -> Option<Vec<u8>> {
    let first = tail_first(stored)?;
    let message = message::seal(&DEK, b"s3proxy/v1/seal", list);
    let room = usize::try_from(stored.0 - first).ok()?;
    let mut tail = vec![0; room.checked_sub(message.len() + 12)?];
    let length = u32::try_from(message.len()).ok()?;
    tail.extend_from_slice(&message);
    tail.extend_from_slice(&length.to_be_bytes());
    tail.extend_from_slice(b"s3p1seal");
    Some(tail)
}

fn any_list(choices: &mut Choices<'_>) {
    let length = PADDED_FROM.0 + choices.u64() % (1 << 40);
    let stored = layout::stored_length(PlaintextLength(length));
    let list = choices.rest();
    if let Some(tail) = tail_of(list, stored)
        && let Ok(seal) = Seal::open(&DEK, stored, &tail)
    {
        check(&seal, stored, &mut Choices::new(list));
    }
}

fn any_tail(choices: &mut Choices<'_>) {
    let stored = layout::stored_length(PlaintextLength(PADDED_FROM.0 + u64::from(choices.byte())));
    let first = tail_first(stored).expect("it is long enough");
    let mut tail = choices.rest().to_vec();
    assert!(Seal::open(&DEK, stored, &tail).is_err());
    // With the right length and zeros in place of a footer, it is refused as well.
    tail.resize(
        usize::try_from(stored.0 - first).expect("some hundred bytes"),
        0,
    );
    assert!(Seal::open(&DEK, stored, &tail).is_err(), "nobody sealed it");
}

fn built(choices: &mut Choices<'_>) {
    let algorithm = choices.flag().then_some(ChecksumAlgorithm::Crc32c);
    let mut fields = SealFields::default();
    fields.part_checksum = algorithm;
    fields.checksum_type = choices.flag().then(|| choices.text());
    let mut parts = Vec::new();
    let mut number = 0_u16;
    for _ in 0..choices.byte() % 24 {
        number = number.saturating_add(u16::from(choices.byte()));
        let base = choices.pick(&[PADDED_FROM.0, 0, 16_384, 1 << 32]);
        let length = base + u64::from(choices.u16());
        let Some(number) = PartNumber::new(number) else {
            continue;
        };
        let frame = Frame::new(number, PlaintextLength(length)).expect("below six bytes");
        let checksum = vec![1; algorithm.map_or(0, ChecksumAlgorithm::length)];
        parts.push(SealedPart {
            frame,
            mark: Mark::UNKNOWN,
            checksum,
        });
    }
    let Ok(seal) = Seal::new(fields, &parts) else {
        return;
    };
    let stored = layout::stored_length(seal.length());
    check(&seal, stored, choices);
    let tail = seal.tail(&DEK);
    assert_eq!(seal.parts_end() + tail.len() as u64, stored.0);
    let first = tail_first(stored).expect("a body with a seal has a tail");
    let before = usize::try_from(seal.parts_end() - first).expect("heads and tags of parts");
    let mut bytes = [vec![0xaa; before], tail].concat();
    let opened = Seal::open(&DEK, stored, &bytes).expect("what was sealed opens");
    assert!(opened.frames().eq(seal.frames()));
    assert!(opened.fields() == seal.fields());
    if choices.mutate(&mut bytes[before..]) {
        assert!(
            Seal::open(&DEK, stored, &bytes).is_err(),
            "a changed tail does not open"
        );
    }
}

fuzz_target!(|input: &[u8]| {
    let mut choices = Choices::new(input);
    match choices.byte() % 4 {
        0 => {
            let number = choices.u64();
            lengths(number);
            lengths(number >> (number % 64));
            guesses(number, choices.u64(), choices.u64());
            let small = u64::from(choices.u16());
            guesses(
                small,
                small + u64::from(choices.u16()),
                choices.u64() % (1 << 33),
            );
        }
        1 => any_list(&mut choices),
        2 => any_tail(&mut choices),
        _ => built(&mut choices),
    }
});
