//! Lengths and offsets of plaintext and of stored bytes.
//!
//! The two have different types, so that they cannot be confused. The length of a stored object is
//! a function of its plaintext length alone, equal for both layouts and strictly increasing. It
//! therefore has an inverse, and HEAD and listings need no read of the body.
//!
//! Invariants: nothing here overflows or panics, whatever length a backend claims; a stored length
//! outside the function's image has no inverse. Constants are part of the format and frozen.
//! Absent: the parts of a multipart body, see `multipart`.

use crate::message::{HEAD_BYTES, TAG_BYTES};

/// Plaintext bytes of every chunk except the last.
pub const CHUNK_BYTES: usize = 16_384;
/// Stored bytes of a full chunk: plaintext and tag.
pub const STORED_CHUNK_BYTES: usize = CHUNK_BYTES + TAG_BYTES;

/// Plaintext length from which stored objects are padded, so that both layouts have equal lengths.
pub const PADDED_FROM: PlaintextLength = PlaintextLength(5 * 1024 * 1024);
/// Largest plaintext for one `PutObject`: 5 GiB once sealed.
pub const MAX_PUT_OBJECT: PlaintextLength = PlaintextLength(5_363_307_328);
/// Largest plaintext of one part of a multipart upload: 5 GiB once sealed.
pub const MAX_PART: PlaintextLength = PlaintextLength(5_363_471_288);
/// Largest plaintext that the format can express: six bytes of length, far above S3's limits.
pub const MAX_PLAINTEXT: PlaintextLength = PlaintextLength((1 << 48) - 1);

const CHUNK: u64 = CHUNK_BYTES as u64;
const STORED_CHUNK: u64 = STORED_CHUNK_BYTES as u64;
const TAG: u64 = TAG_BYTES as u64;
const HEAD: u64 = HEAD_BYTES as u64;
const EMPTY_MESSAGE: u64 = HEAD + TAG;
const TAIL_PER_PART: u64 = 160;
const TAIL_FIXED: u64 = 512;
const MAX_PARTS: u64 = 10_000;

/// A number of plaintext bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlaintextLength(pub u64);

/// A number of stored bytes, as the backend holds and counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoredLength(pub u64);

/// Returns the length of the stored object. Saturates beyond any length that exists.
#[must_use]
pub fn stored_length(plaintext: PlaintextLength) -> StoredLength {
    // Below 5 MiB both layouts are one message, so their lengths agree without padding.
    if plaintext < PADDED_FROM {
        return StoredLength(message_length(plaintext));
    }
    StoredLength(chunked_length(plaintext).saturating_add(tail_length(plaintext)))
}

/// Returns the inverse of [`stored_length`], if there is one.
#[must_use]
pub fn plaintext_length(stored: StoredLength) -> Option<PlaintextLength> {
    if stored < stored_length(PADDED_FROM) {
        return message_plaintext_length(stored.0).filter(|plaintext| *plaintext < PADDED_FROM);
    }
    // `stored_length` is strictly increasing: bisect for the smallest plaintext that reaches
    // `stored`.
    let (mut low, mut high) = (PADDED_FROM.0, MAX_PLAINTEXT.0);
    while low < high {
        let middle = low + (high - low) / 2;
        if stored_length(PlaintextLength(middle)) < stored {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Some(PlaintextLength(low)).filter(|plaintext| stored_length(*plaintext) == stored)
}

/// Returns the length of one sealed message: head, chunks, tags. Saturates.
#[must_use]
pub fn message_length(plaintext: PlaintextLength) -> u64 {
    chunked_length(plaintext).saturating_add(EMPTY_MESSAGE)
}

/// Returns the inverse of [`message_length`], if there is one.
#[must_use]
pub fn message_plaintext_length(message: u64) -> Option<PlaintextLength> {
    let chunks = message.checked_sub(HEAD)?;
    // A message always ends with a chunk shorter than a full one, possibly empty, so at least a tag
    // remains after the full chunks.
    let last = (chunks % STORED_CHUNK).checked_sub(TAG)?;
    let plaintext = PlaintextLength(chunks / STORED_CHUNK * CHUNK + last);
    Some(plaintext).filter(|plaintext| *plaintext <= MAX_PLAINTEXT)
}

/// Returns the length of the plaintext and the tags of its full chunks.
fn chunked_length(plaintext: PlaintextLength) -> u64 {
    plaintext.0.saturating_add(TAG * (plaintext.0 / CHUNK))
}

/// Returns the length of a padded object beyond [`chunked_length`]: room for the heads and tags of
/// its parts, the seal and the footer, for any number of parts.
pub(crate) fn tail_length(plaintext: PlaintextLength) -> u64 {
    // A part has at least 5 MiB, except the last one; this bounds how many parts there can be.
    TAIL_PER_PART * (plaintext.0 / PADDED_FROM.0 + 1).min(MAX_PARTS) + TAIL_FIXED
}

/// Returns the number of plaintext bytes in chunk `index` of a message.
pub(crate) fn chunk_length(message: PlaintextLength, index: u64) -> usize {
    let rest = message.0.saturating_sub(index.saturating_mul(CHUNK));
    usize::try_from(rest.min(CHUNK)).expect("at most a chunk")
}

/// Returns the index of the chunk that holds a plaintext position.
pub(crate) fn chunk_of(position: u64) -> u64 {
    position / CHUNK
}

/// Returns the offset of a plaintext position inside its chunk.
pub(crate) fn position_in_chunk(position: u64) -> usize {
    usize::try_from(position % CHUNK).expect("less than a chunk")
}

/// Returns the offset, from the start of the message, of the chunk that holds a plaintext position.
pub(crate) fn stored_chunk_start(position: u64) -> u64 {
    HEAD.saturating_add(chunk_of(position).saturating_mul(STORED_CHUNK))
}

/// A range of plaintext positions, both ends inclusive, as in HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaintextRange {
    /// Position of the first byte.
    pub first: u64,
    /// Position of the last byte; never below `first`.
    pub last: u64,
}

impl PlaintextRange {
    /// Returns `None` unless `first <= last`.
    #[must_use]
    pub fn new(first: u64, last: u64) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }
}

/// The stored bytes of a single message that hold a plaintext range: whole chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkSpan {
    first: u64,
    last: u64,
}

impl ChunkSpan {
    /// Computes the span of a range in a plaintext of known, non-zero length. A range beyond the
    /// end is cut to the length.
    #[must_use]
    pub fn of(range: PlaintextRange, length: PlaintextLength) -> Self {
        let last = range.last.min(length.0.saturating_sub(1));
        let chunk = chunk_length(length, chunk_of(last)) + TAG_BYTES;
        Self {
            first: stored_chunk_start(range.first),
            last: stored_chunk_start(last).saturating_add(chunk as u64 - 1),
        }
    }

    /// Returns the position of the first stored byte.
    #[must_use]
    pub fn stored_first(&self) -> u64 {
        self.first
    }

    /// Returns the position of the last stored byte, inclusive.
    #[must_use]
    pub fn stored_last(&self) -> u64 {
        self.last
    }
}

/// Returns the stored position to request from, for a range that starts at `first`. For the first
/// chunk that is 0, so that the response includes a head that no envelope holds.
#[must_use]
pub fn stored_first_guess(first: u64) -> u64 {
    match chunk_of(first) {
        0 => 0,
        _ => stored_chunk_start(first),
    }
}

/// Returns the stored position to request up to, inclusive, for a range that ends at `last`. The
/// position may lie beyond the object; the backend cuts the range.
///
/// From 5 MiB on, parts of 5 MiB or more may precede the range. If their lengths are whole chunks,
/// as most clients choose them, each shifts the following bytes by its head and the tag of its
/// empty last chunk. The guess adds that much.
#[must_use]
pub fn stored_last_guess(last: u64) -> u64 {
    let parts_before = (last / PADDED_FROM.0).min(MAX_PARTS - 1);
    stored_chunk_start(last)
        .saturating_add(STORED_CHUNK - 1)
        .saturating_add(EMPTY_MESSAGE * parts_before)
}

/// Returns how many stored bytes from the end hold the last `n` plaintext bytes of any single
/// upload, padding included.
#[must_use]
pub fn stored_suffix_guess(n: u64) -> u64 {
    // The range may begin at any byte of a chunk, and that chunk is needed whole.
    let most = n.saturating_add(CHUNK - 1);
    let padding = stored_length(MAX_PUT_OBJECT).0 - message_length(MAX_PUT_OBJECT);
    most.saturating_add(TAG * (most / CHUNK + 1))
        .saturating_add(padding)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::multipart::{Frame, Mark, PartNumber, Seal, SealFields, SealedPart};

    fn seal(parts: &[u64]) -> Seal {
        let part = |(length, number): (&u64, u16)| SealedPart {
            frame: Frame::new(PartNumber::new(number).unwrap(), PlaintextLength(*length)).unwrap(),
            mark: Mark::UNKNOWN,
            checksum: Vec::new(),
        };
        let parts: Vec<_> = parts.iter().zip(1..).map(part).collect();
        Seal::new(SealFields::default(), &parts).unwrap()
    }

    #[test]
    fn limits_are_5_gib_once_sealed() {
        const FIVE_GIB: u64 = 5 * 1024 * 1024 * 1024;
        assert_eq!(stored_length(MAX_PUT_OBJECT).0, FIVE_GIB);
        assert_eq!(message_length(MAX_PART), FIVE_GIB);
        assert!(message_length(PlaintextLength(MAX_PART.0 + 1)) > FIVE_GIB);
    }

    #[test]
    fn absurd_lengths_neither_overflow_nor_invert() {
        assert_eq!(plaintext_length(StoredLength(u64::MAX)), None);
        assert_eq!(message_plaintext_length(u64::MAX), None);
        assert_eq!(stored_length(PlaintextLength(u64::MAX)).0, u64::MAX);
        let all = PlaintextRange::new(u64::MAX, u64::MAX).unwrap();
        assert!(ChunkSpan::of(all, PlaintextLength(u64::MAX)).stored_last() > 0);
        assert_eq!(stored_last_guess(u64::MAX), u64::MAX);
        assert_eq!(stored_suffix_guess(u64::MAX), u64::MAX);
    }

    #[test]
    fn the_largest_plaintext_inverts_and_one_more_does_not() {
        let largest = stored_length(MAX_PLAINTEXT);
        assert_eq!(plaintext_length(largest), Some(MAX_PLAINTEXT));
        let beyond = stored_length(PlaintextLength(MAX_PLAINTEXT.0 + 1));
        assert_eq!(plaintext_length(beyond), None);
    }

    #[test]
    fn a_range_must_not_end_before_it_starts() {
        assert!(PlaintextRange::new(1, 0).is_none());
        assert!(PlaintextRange::new(1, 1).is_some());
    }

    fn lengths() -> impl Strategy<Value = u64> {
        prop_oneof![
            0_u64..200_000,
            5_200_000_u64..5_300_000,
            0..MAX_PUT_OBJECT.0,
            0..MAX_PLAINTEXT.0
        ]
    }

    proptest! {
        #[test]
        fn stored_length_is_strictly_increasing_and_inverts(length in lengths()) {
            let plaintext = PlaintextLength(length);
            let stored = stored_length(plaintext);
            prop_assert!(stored < stored_length(PlaintextLength(length + 1)));
            prop_assert_eq!(plaintext_length(stored), Some(plaintext));
            prop_assert_eq!(message_plaintext_length(message_length(plaintext)), Some(plaintext));
        }

        #[test]
        fn only_lengths_that_the_function_takes_invert(stored in prop_oneof![
            0_u64..100_000, 5_240_000_u64..5_260_000, any::<u64>()
        ]) {
            if let Some(plaintext) = plaintext_length(StoredLength(stored)) {
                prop_assert_eq!(stored_length(plaintext), StoredLength(stored));
            }
        }

        #[test]
        fn the_tail_has_room_for_heads_seal_and_footer_of_every_legal_upload(
            parts in 1_u64..=10_000, last in 0_u64..MAX_PART.0, checksum in 0_u64..=64,
        ) {
            let least = PADDED_FROM.0;
            let total = PlaintextLength((parts - 1) * least + last);
            prop_assume!(total >= PADDED_FROM);
            let sum = (parts - 1) * message_length(PADDED_FROM)
                + message_length(PlaintextLength(last));
            // The longest list: a map of the largest size, and an entry for each part.
            let list = 2 + 256 + parts * (16 + checksum);
            let needed = sum + message_length(PlaintextLength(list)) + 12;
            prop_assert!(needed <= stored_length(total).0);
            // Counted from the end, the tail starts before the last part ends.
            prop_assert!(stored_length(total).0 - tail_length(total) < sum);
        }

        #[test]
        fn guesses_made_before_the_length_is_known_cover_the_exact_span(
            length in 1..=MAX_PUT_OBJECT.0, a in any::<u64>(), b in any::<u64>(), n in 1_u64..,
        ) {
            let plaintext = PlaintextLength(length);
            let (a, b) = (a % length, b % length);
            let range = PlaintextRange::new(a.min(b), a.max(b)).unwrap();
            let span = ChunkSpan::of(range, plaintext);
            let guess = stored_first_guess(range.first);
            prop_assert_eq!(guess, if range.first < CHUNK { 0 } else { span.stored_first() });
            prop_assert!(stored_last_guess(range.last) >= span.stored_last());
            prop_assert!(span.stored_last() < message_length(plaintext));

            // Suffixes longer than the object, too.
            let n = if n % 2 == 0 { n } else { n % length + 1 };
            let suffix = PlaintextRange::new(length.saturating_sub(n), length - 1).unwrap();
            let needed = stored_length(plaintext).0
                - ChunkSpan::of(suffix, plaintext).stored_first();
            prop_assert!(stored_suffix_guess(n) >= needed);
        }

        #[test]
        fn guesses_cover_the_exact_span_behind_parts_of_whole_chunks(
            chunks in proptest::collection::vec(320_u64..700, 1..40),
            last in 0..3 * PADDED_FROM.0, a in any::<u64>(), b in any::<u64>(),
        ) {
            let mut parts: Vec<_> = chunks.iter().map(|chunks| chunks * CHUNK).collect();
            parts.push(last);
            let length: u64 = parts.iter().sum();
            let (a, b) = (a % length, b % length);
            let range = PlaintextRange::new(a.min(b), a.max(b)).unwrap();
            let span = seal(&parts).span(range).unwrap();
            prop_assert!(stored_first_guess(range.first) <= span.stored_first());
            prop_assert!(stored_last_guess(range.last) >= span.stored_last());
        }
    }
}
