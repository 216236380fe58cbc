//! Bodies of single uploads: any cut and any buffer give the same bytes, any range is the slice of
//! the plaintext, and any change, truncation or extension is refused.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use s3proxy_envelope::dek::Dek;
use s3proxy_envelope::layout::{
    CHUNK_BYTES, ChunkSpan, PlaintextLength, PlaintextRange, STORED_CHUNK_BYTES, StoredLength,
};
use s3proxy_envelope::message::{self, MessageHead};
use s3proxy_envelope::object::ObjectOpener;
use s3proxy_envelope::object::ObjectSealer;
use s3proxy_fuzz::choices::{Choices, Pieces};
use s3proxy_fuzz::sealing::{buffer, opened, plaintext, sealed};

static DEK: LazyLock<Dek> = LazyLock::new(Dek::generate);

/// A length near a multiple of the chunk, or a small one.
fn length(choices: &mut Choices<'_>) -> usize {
    let chunks = usize::from(choices.byte() % 5);
    // Adding one byte and subtracting another reaches both sides of a chunk's edge.
    (chunks * CHUNK_BYTES + usize::from(choices.byte())).saturating_sub(usize::from(choices.byte()))
}

/// Pieces around the size of a stored chunk, and few small ones, since every piece costs a call.
fn pieces(choices: &mut Choices<'_>) -> Pieces {
    let unit = choices.pick(&[1, 97, 4096, CHUNK_BYTES, STORED_CHUNK_BYTES]);
    choices.pieces().scaled(unit)
}

fn range(head: &MessageHead, stored: &[u8], plain: &[u8], choices: &mut Choices<'_>) {
    let (one, other) = (choices.position(plain.len()), choices.position(plain.len()));
    let (first, last) = (one.min(other), one.max(other));
    let range = PlaintextRange::new(first as u64, last as u64).expect("in order");
    let span = ChunkSpan::of(range, PlaintextLength(plain.len() as u64));
    let from = usize::try_from(span.stored_first()).expect("in memory");
    let to = usize::try_from(span.stored_last()).expect("in memory");
    let size = StoredLength(stored.len() as u64);
    let opener = || ObjectOpener::range(&DEK, head, size, range).expect("inside");
    let pieces = pieces(choices);
    let mut bytes = stored[from..=to].to_vec();
    let slice = opened(opener(), &bytes, &pieces, CHUNK_BYTES).expect("authentic");
    assert!(
        slice == plain[first..=last],
        "a range is that of the plaintext"
    );
    if choices.mutate(&mut bytes) {
        assert!(opened(opener(), &bytes, &pieces, CHUNK_BYTES).is_err());
    }
}

fn short_message(choices: &mut Choices<'_>) {
    let context = choices.text();
    let content = choices.rest();
    let mut message = message::seal(&DEK, context.as_bytes(), content);
    let opened = message::open(&DEK, context.as_bytes(), &message).expect("it opens");
    assert!(opened[..] == *content);
    assert!(message::open(&DEK, b"another context, longer than any", &message).is_err());
    assert!(message::open(&DEK, context.as_bytes(), content).is_err());
    if Choices::new(content).mutate(&mut message) {
        assert!(message::open(&DEK, context.as_bytes(), &message).is_err());
    }
}

fuzz_target!(|input: &[u8]| {
    let mut choices = Choices::new(input);
    if choices.byte() % 4 == 0 {
        return short_message(&mut choices);
    }
    let plain = plaintext(length(&mut choices));
    let more = usize::from(choices.u16());
    let sealer = ObjectSealer::new(&DEK, PlaintextLength(plain.len() as u64), buffer(more));
    let head = *sealer.head();
    let mut stored = sealed(sealer, &plain, &pieces(&mut choices), more);
    let size = StoredLength(stored.len() as u64);
    let cut = pieces(&mut choices);
    let capacity = CHUNK_BYTES + usize::from(choices.u16());
    let whole = || ObjectOpener::whole(&DEK, &head, size).expect("its length is one of ours");
    let headless = || ObjectOpener::whole_headless(&DEK, size).expect("the same");
    assert!(opened(whole(), &stored, &cut, capacity).expect("authentic") == plain);
    assert!(opened(headless(), &stored, &cut, capacity).expect("authentic") == plain);
    if !plain.is_empty() {
        range(&head, &stored, &plain, &mut choices);
    }
    let at = choices.position(stored.len());
    assert!(
        opened(whole(), &stored[..at], &cut, capacity).is_err(),
        "a cut body"
    );
    for length in [at, stored.len() + 1 + at] {
        let other = ObjectOpener::whole(&DEK, &head, StoredLength(length as u64));
        assert!(other.is_err(), "the commitment holds the length");
    }
    if choices.mutate(&mut stored) {
        assert!(
            opened(whole(), &stored, &cut, capacity).is_err(),
            "a changed body"
        );
        assert!(
            opened(headless(), &stored, &cut, capacity).is_err(),
            "a changed body"
        );
    }
});
