//! Bodies of multipart uploads: any range that is read through its span is the slice of the
//! plaintext, however it is cut, and no altered span opens.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use s3proxy_envelope::dek::Dek;
use s3proxy_envelope::layout::{
    CHUNK_BYTES, PADDED_FROM, PlaintextRange, STORED_CHUNK_BYTES, StoredLength, stored_length,
};
use s3proxy_envelope::message::{HEAD_BYTES, MessageHead};
use s3proxy_envelope::multipart::{Seal, SealFields, tail_first};
use s3proxy_fuzz::choices::Choices;
use s3proxy_fuzz::sealing::{opened, plaintext, sealed_part};

struct Body {
    dek: Dek,
    plain: Vec<u8>,
    stored: Vec<u8>,
    seal: Seal,
    /// The plaintext offsets of the parts, and of the end.
    edges: Vec<usize>,
}

impl Body {
    fn new(lengths: &[usize]) -> Self {
        let dek = Dek::generate();
        let (mut plain, mut stored, mut parts) = (Vec::new(), Vec::new(), Vec::new());
        let mut edges = vec![0];
        for (number, length) in (1..).zip(lengths) {
            let content = plaintext(*length);
            let (part, body) = sealed_part(&dek, number, &content);
            plain.extend(content);
            stored.extend(body);
            parts.push(part);
            edges.push(plain.len());
        }
        let seal = Seal::new(SealFields::default(), &parts).expect("parts of 5 MiB");
        stored.extend(seal.tail(&dek));
        let length = StoredLength(stored.len() as u64);
        assert_eq!(stored_length(seal.length()), length);
        let first = usize::try_from(tail_first(length).expect("a tail")).expect("in memory");
        let seal = Seal::open(&dek, length, &stored[first..]).expect("it opens");
        Self {
            dek,
            plain,
            stored,
            seal,
            edges,
        }
    }
}

static BODIES: LazyLock<[Body; 2]> = LazyLock::new(|| {
    // All parts but the last need at least 5 MiB.
    let least = usize::try_from(PADDED_FROM.0).expect("5 MiB");
    [
        Body::new(&[least, least + 5, 20_000]),
        Body::new(&[least + CHUNK_BYTES - 1, 0]),
    ]
});

/// A position near the edge of a part or of a chunk, or anywhere.
fn position(body: &Body, choices: &mut Choices<'_>) -> usize {
    let end = body.plain.len();
    let base = match choices.byte() % 3 {
        0 => choices.position(end),
        1 => body.edges[choices.position(body.edges.len())],
        _ => choices.position(end) / CHUNK_BYTES * CHUNK_BYTES,
    };
    let near = base + usize::from(choices.byte());
    near.saturating_sub(usize::from(choices.byte()))
        .min(end - 1)
}

fn check(body: &Body, choices: &mut Choices<'_>) {
    let first = position(body, choices);
    let last = if choices.flag() {
        let length = usize::from(choices.u16());
        (first + length).min(body.plain.len() - 1)
    } else {
        let other = position(body, choices);
        // Longer ranges test nothing more, and cost time.
        other
            .clamp(first, first + 8 * CHUNK_BYTES)
            .min(body.plain.len() - 1)
    };
    let range = PlaintextRange::new(first as u64, last as u64).expect("in order");
    let span = body.seal.span(range).expect("inside");
    let from = usize::try_from(span.stored_first()).expect("in memory");
    let to = usize::try_from(span.stored_last()).expect("in memory");
    let head = span.head_position().map(|at| {
        let at = usize::try_from(at).expect("in memory");
        MessageHead::from_slice(&body.stored[at..at + HEAD_BYTES]).expect("56 bytes")
    });
    let unit = choices.pick(&[61, 4096, CHUNK_BYTES, STORED_CHUNK_BYTES]);
    let pieces = choices.pieces().scaled(unit);
    let capacity = CHUNK_BYTES + usize::from(choices.u16());
    let open = || {
        body.seal
            .open_span(&body.dek, &span, head.as_ref())
            .expect("its head fits")
    };
    let mut bytes = body.stored[from..=to].to_vec();
    let slice = opened(open(), &bytes, &pieces, capacity).expect("authentic");
    assert!(
        slice == body.plain[first..=last],
        "a range is that of the plaintext"
    );
    let end = choices.position(bytes.len());
    assert!(
        opened(open(), &bytes[..end], &pieces, capacity).is_err(),
        "a cut span"
    );
    if choices.mutate(&mut bytes) {
        assert!(
            opened(open(), &bytes, &pieces, capacity).is_err(),
            "a changed span"
        );
    }
    if let Some(head) = head {
        let mut changed = *head.as_bytes();
        choices.mutate(&mut changed);
        let changed = MessageHead::from_slice(&changed).expect("56 bytes");
        assert!(
            body.seal
                .open_span(&body.dek, &span, Some(&changed))
                .is_err()
        );
        assert!(body.seal.open_span(&body.dek, &span, None).is_err());
    }
}

fuzz_target!(|input: &[u8]| {
    let mut choices = Choices::new(input);
    let body = &BODIES[usize::from(choices.byte() % 2)];
    check(body, &mut choices);
});
