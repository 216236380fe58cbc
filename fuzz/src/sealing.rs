//! Seals and opens whole bodies.

use s3proxy_envelope::dek::Dek;
use s3proxy_envelope::layout::{PlaintextLength, STORED_CHUNK_BYTES};
use s3proxy_envelope::message::{HEAD_BYTES, MessageHead, OpenError};
use s3proxy_envelope::multipart::{Frame, Mark, PartNumber, SealedPart};
use s3proxy_envelope::object::{ObjectOpener, ObjectSealer};

use crate::choices::Pieces;

/// Bytes that differ from position to position.
#[must_use]
pub fn plaintext(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

/// A buffer that is `more` bytes longer than a sealer's minimum.
#[must_use]
pub fn buffer(more: usize) -> Vec<u8> {
    Vec::with_capacity(HEAD_BYTES + STORED_CHUNK_BYTES + more)
}

/// Seals `plaintext` in pieces, through buffers of one size.
#[must_use]
pub fn sealed(mut sealer: ObjectSealer, plaintext: &[u8], pieces: &Pieces, more: usize) -> Vec<u8> {
    let announced = sealer.stored_length().0;
    let mut stored = Vec::new();
    for piece in pieces.of(plaintext) {
        let mut rest = piece;
        while !rest.is_empty() {
            let taken = sealer.push(rest).expect("no more than was announced");
            rest = &rest[taken..];
            stored.extend(sealer.take(|| buffer(more)).into_iter().flatten());
        }
    }
    let mut tail = sealer.finish().expect("as much as was announced");
    while let Some(piece) = tail.take(|| buffer(more)) {
        assert!(!piece.is_empty());
        stored.extend(piece);
    }
    assert_eq!(stored.len() as u64, announced);
    stored
}

/// Opens `stored` in pieces. Takes out up to `capacity` bytes of plaintext at a time.
pub fn opened(
    mut opener: ObjectOpener,
    stored: &[u8],
    pieces: &Pieces,
    capacity: usize,
) -> Result<Vec<u8>, OpenError> {
    let mut plaintext = Vec::new();
    let mut out = Vec::with_capacity(capacity);
    let room = out.capacity();
    for piece in pieces.of(stored) {
        let mut rest = piece;
        while !rest.is_empty() {
            out.clear();
            let consumed = opener.push(rest, &mut out)?;
            assert!(consumed > 0 || !out.is_empty(), "an opener makes progress");
            assert_eq!(out.capacity(), room, "the buffer is never exchanged");
            plaintext.extend_from_slice(&out);
            rest = &rest[consumed..];
        }
    }
    opener.finish().map(|()| plaintext)
}

/// A sealed part and its body.
#[must_use]
pub fn sealed_part(dek: &Dek, number: u16, plaintext: &[u8]) -> (SealedPart, Vec<u8>) {
    let number = PartNumber::new(number).expect("a number of a part");
    let length = PlaintextLength(plaintext.len() as u64);
    let frame = Frame::new(number, length).expect("a length of a part");
    let sealer = ObjectSealer::part(dek, frame, buffer(1 << 20));
    let head: MessageHead = *sealer.head();
    let body = sealed(sealer, plaintext, &Pieces::whole(), 1 << 20);
    let part = SealedPart {
        frame,
        mark: Mark::of(&head),
        checksum: Vec::new(),
    };
    (part, body)
}
