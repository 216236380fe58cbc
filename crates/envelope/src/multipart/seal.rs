//! The seal: the authentic list of a multipart body's parts, and the tail that holds it.
//!
//! `seal message = seal(DEK, "s3proxy/v1/seal", map length (2) || map || entries)`, with one entry
//! per part: frame (8), mark (8), checksum (its length follows from the algorithm in the map;
//! absent without one). The tail of a body is zeros, the seal message and a footer: the length of
//! the message (4) and `s3p1seal`.
//!
//! Invariants: a `Seal` has at least one part, ascending numbers and a plaintext length of at least
//! 5 MiB, and fits the stored length that follows from it. An opened seal was also preceded by
//! zeros only, in a body of exactly that length.
//! Absent: opening the parts, see `span`.

use thiserror::Error;

use super::{
    fields::SealFields,
    part::{Frame, Mark, PartNumber},
};
use crate::{
    cbor::CborError,
    dek::Dek,
    layout::{
        MAX_PLAINTEXT, PADDED_FROM, PlaintextLength, StoredLength, message_length,
        plaintext_length, stored_length, tail_length,
    },
    message::{self, OpenError, Salt},
};

// Frozen: these constants are part of the format.
const CONTEXT: &[u8] = b"s3proxy/v1/seal";
const FOOTER_MAGIC: &[u8; 8] = b"s3p1seal";
const FOOTER_BYTES: usize = 12;
const MAX_MAP_BYTES: usize = 256;
const ENTRY_BYTES: usize = 16;

/// Why a list of parts makes no seal, or a tail holds none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SealListError {
    /// The list has no parts.
    #[error("the list has no parts")]
    NoParts,
    /// Part numbers do not ascend.
    #[error("part {0} does not come behind a part of a lower number")]
    Order(u16),
    /// The map is longer than 256 bytes.
    #[error("the seal's map is longer than 256 bytes")]
    MapTooLong,
    /// A checksum does not have its algorithm's length, or is present without an algorithm.
    #[error("the checksum of part {0} does not have its algorithm's length")]
    ChecksumLength(u16),
    /// The checksum algorithm belongs to a later version.
    #[error("the parts' checksums are of an unknown algorithm")]
    Algorithm,
    /// The plaintext is below 5 MiB: such an object is one message and has no seal.
    #[error("a body with a seal has at least 5 MiB of plaintext; this one has {0} bytes")]
    TooShort(u64),
    /// The plaintext is longer than any object.
    #[error("the parts add up to more than any object has")]
    TooLong,
    /// A part other than the last is below 5 MiB, so that heads and seal do not fit.
    #[error("the parts leave no room for the seal: every part but the last needs 5 MiB")]
    NoRoom,
    /// The parts do not add up to a body of this length.
    #[error("the parts do not add up to the stored length")]
    Sum,
    /// The given bytes are not the tail of a body of this length.
    #[error("a tail of {found} bytes was given where the body has one of {expected}")]
    TailLength {
        /// Number of bytes given.
        found: usize,
        /// Number of bytes of the tail.
        expected: u64,
    },
    /// There is no footer at the end, or it points outside the tail.
    #[error("the body does not end in a footer")]
    Footer,
    /// An entry is cut or contains an invalid part.
    #[error("the list of parts is damaged")]
    Entries,
    /// The bytes between the last part and the seal are not all zeros.
    #[error("the padding before the seal is not all zeros")]
    Padding,
    /// The seal is not authentic.
    #[error("the seal is not authentic: {0}")]
    Open(#[from] OpenError),
    /// The seal's map is not one of this version.
    #[error("the seal's map is damaged: {0}")]
    Cbor(#[from] CborError),
}

/// One part for a new seal.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedPart {
    /// Number and plaintext length of the part.
    pub frame: Frame,
    /// Mark of the part, or [`Mark::UNKNOWN`].
    pub mark: Mark,
    /// Raw checksum of the part; empty unless the fields name an algorithm.
    pub checksum: Vec<u8>,
}

/// A part with its position in the body.
pub(super) struct PlacedPart {
    pub(super) frame: Frame,
    pub(super) mark: Mark,
    /// Plaintext position, in the object, of the part's first byte.
    pub(super) plaintext_first: u64,
    /// Stored position, in the body, of the part's head.
    pub(super) stored_first: u64,
}

impl PlacedPart {
    /// Returns the plaintext position after the part's last byte.
    pub(super) fn plaintext_end(&self) -> u64 {
        self.plaintext_first + self.frame.length().0
    }
}

/// Layout of a multipart body.
pub struct Seal {
    fields: SealFields,
    pub(super) parts: Vec<PlacedPart>,
    /// Concatenated checksums of the parts.
    checksums: Vec<u8>,
    length: PlaintextLength,
    /// Stored position after the last part.
    parts_end: u64,
}

impl Seal {
    /// Makes the seal of an upload that completes.
    pub fn new(fields: SealFields, parts: &[SealedPart]) -> Result<Self, SealListError> {
        let checksum_bytes = fields.checksum_bytes();
        let mut seal = Self {
            fields,
            parts: Vec::with_capacity(parts.len().min(PartNumber::MAX.get().into())),
            checksums: Vec::new(),
            length: PlaintextLength(0),
            parts_end: 0,
        };
        for part in parts {
            seal.append(part.frame, part.mark)?;
            if part.checksum.len() != checksum_bytes {
                let number = part.frame.number().get();
                return Err(SealListError::ChecksumLength(number));
            }
            seal.checksums.extend_from_slice(&part.checksum);
        }
        // Also the check that the list describes a body at all.
        seal.padding()?;
        Ok(seal)
    }

    /// Opens the tail of a body: exactly the stored bytes from [`tail_first`] on.
    pub fn open(dek: &Dek, stored: StoredLength, tail: &[u8]) -> Result<Self, SealListError> {
        let first = tail_first(stored).ok_or(OpenError::Length(stored.0))?;
        if tail.len() as u64 != stored.0 - first {
            return Err(SealListError::TailLength {
                found: tail.len(),
                expected: stored.0 - first,
            });
        }
        let (before, message) = split_footer(tail).ok_or(SealListError::Footer)?;
        let list = message::open(dek, CONTEXT, message)?;
        let seal = Self::parse(&list)?;
        if stored_length(seal.length) != stored {
            return Err(SealListError::Sum);
        }
        let padding = usize::try_from(seal.padding()?).map_err(|_| SealListError::Sum)?;
        // The sums agree, so the padding starts exactly where the parts end. Bytes before it belong
        // to the last part: the tail's start is a bound, not the end of the parts.
        let zeros = before
            .len()
            .checked_sub(padding)
            .ok_or(SealListError::Sum)?;
        if before[zeros..].iter().any(|octet| *octet != 0) {
            return Err(SealListError::Padding);
        }
        Ok(seal)
    }

    /// Returns the tail of the body: zeros, seal and footer, at most 1.6 MB.
    #[must_use]
    pub fn tail(&self, dek: &Dek) -> Vec<u8> {
        self.tail_with(dek, &Salt::fresh())
    }

    pub(crate) fn tail_with(&self, dek: &Dek, salt: &Salt) -> Vec<u8> {
        let padding = self.padding().expect("checked when the seal was made");
        let padding = usize::try_from(padding).expect("at most 1.6 MB");
        let mut tail = vec![0; padding];
        let message = message::seal_with(dek, salt, CONTEXT, &self.encode());
        tail.extend_from_slice(&message);
        let length = u32::try_from(message.len()).expect("at most 1.6 MB");
        tail.extend_from_slice(&length.to_be_bytes());
        tail.extend_from_slice(FOOTER_MAGIC);
        tail
    }

    /// Returns the plaintext length of the whole object.
    #[must_use]
    pub fn length(&self) -> PlaintextLength {
        self.length
    }

    /// Returns the fields about the whole object.
    #[must_use]
    pub fn fields(&self) -> &SealFields {
        &self.fields
    }

    /// Returns the frames of the parts, in order.
    #[must_use]
    pub fn frames(&self) -> impl ExactSizeIterator<Item = Frame> {
        self.parts.iter().map(|part| part.frame)
    }

    /// Returns the marks of the parts, in order; [`Mark::UNKNOWN`] for a part without a recorded
    /// one.
    #[must_use]
    pub fn marks(&self) -> impl ExactSizeIterator<Item = Mark> {
        self.parts.iter().map(|part| part.mark)
    }

    /// Returns the raw checksum of the part at `index` (counted from 0), if parts have checksums.
    #[must_use]
    pub fn checksum(&self, index: usize) -> Option<&[u8]> {
        let bytes = self.fields.part_checksum?.length();
        let start = index.checked_mul(bytes)?;
        self.checksums.get(start..start.checked_add(bytes)?)
    }

    /// Returns the position after the last part in the stored body.
    #[must_use]
    pub fn parts_end(&self) -> u64 {
        self.parts_end
    }

    /// Returns the approximate memory of this seal in bytes, for a cache's budget.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Self>()
            + self.parts.len() * size_of::<PlacedPart>()
            + self.checksums.len()
            + 2 * MAX_MAP_BYTES
    }

    fn append(&mut self, frame: Frame, mark: Mark) -> Result<(), SealListError> {
        let number = frame.number();
        let last = self.parts.last().map(|part| part.frame.number());
        if last.is_some_and(|last| last >= number) {
            return Err(SealListError::Order(number.get()));
        }
        self.parts.push(PlacedPart {
            frame,
            mark,
            plaintext_first: self.length.0,
            stored_first: self.parts_end,
        });
        // No overflow: at most 10000 lengths of 48 bits.
        self.length.0 += frame.length().0;
        self.parts_end += message_length(frame.length());
        Ok(())
    }

    /// Returns the number of zeros between the last part and the seal, or why the list makes no
    /// body.
    fn padding(&self) -> Result<u64, SealListError> {
        if self.parts.is_empty() {
            return Err(SealListError::NoParts);
        }
        if self.length < PADDED_FROM {
            return Err(SealListError::TooShort(self.length.0));
        }
        if self.length > MAX_PLAINTEXT {
            return Err(SealListError::TooLong);
        }
        let map = self.fields.encode().len();
        if map > MAX_MAP_BYTES {
            return Err(SealListError::MapTooLong);
        }
        let list = 2 + map + self.parts.len() * ENTRY_BYTES + self.checksums.len();
        // The list is sealed as a message, so its own head and tags need room, too.
        let needed = message_length(PlaintextLength(list as u64)) + FOOTER_BYTES as u64;
        stored_length(self.length)
            .0
            .checked_sub(self.parts_end)
            .and_then(|room| room.checked_sub(needed))
            .ok_or(SealListError::NoRoom)
    }

    fn encode(&self) -> Vec<u8> {
        let map = self.fields.encode();
        let bytes = self.fields.checksum_bytes();
        let entries = self.parts.len() * (ENTRY_BYTES + bytes);
        let mut list = Vec::with_capacity(2 + map.len() + entries);
        let map_length = u16::try_from(map.len()).expect("at most 256 bytes");
        list.extend_from_slice(&map_length.to_be_bytes());
        list.extend_from_slice(&map);
        for (index, part) in self.parts.iter().enumerate() {
            list.extend_from_slice(&part.frame.to_bytes());
            list.extend_from_slice(part.mark.as_bytes());
            list.extend_from_slice(self.checksum(index).unwrap_or_default());
        }
        list
    }

    fn parse(list: &[u8]) -> Result<Self, SealListError> {
        let (map_length, rest) = list.split_first_chunk().ok_or(SealListError::Entries)?;
        let map_length = usize::from(u16::from_be_bytes(*map_length));
        if map_length > MAX_MAP_BYTES {
            return Err(SealListError::MapTooLong);
        }
        let (map, entries) = rest
            .split_at_checked(map_length)
            .ok_or(SealListError::Entries)?;
        let fields = SealFields::parse(map)?;
        let entry_bytes = ENTRY_BYTES + fields.checksum_bytes();
        if !entries.len().is_multiple_of(entry_bytes) {
            return Err(SealListError::Entries);
        }
        // Bounded before allocating; `append` then refuses numbers that do not ascend.
        let count = entries.len() / entry_bytes;
        if count > PartNumber::MAX.get().into() {
            return Err(SealListError::Entries);
        }
        let mut seal = Self {
            checksums: Vec::with_capacity(count * fields.checksum_bytes()),
            parts: Vec::with_capacity(count),
            fields,
            length: PlaintextLength(0),
            parts_end: 0,
        };
        for entry in entries.chunks_exact(entry_bytes) {
            let (frame, rest) = entry.split_first_chunk().ok_or(SealListError::Entries)?;
            let (mark, checksum) = rest.split_first_chunk().ok_or(SealListError::Entries)?;
            let frame = Frame::from_bytes(*frame).ok_or(SealListError::Entries)?;
            seal.append(frame, Mark::from_bytes(*mark))?;
            seal.checksums.extend_from_slice(checksum);
        }
        Ok(seal)
    }
}

/// Returns the position of a body's tail; the stored bytes from there on contain the whole layout.
/// `None` if the body has no tail: below 5 MiB, or with a length that no object has.
#[must_use]
pub fn tail_first(stored: StoredLength) -> Option<u64> {
    plaintext_length(stored)
        .filter(|length| *length >= PADDED_FROM)
        .map(|length| stored.0 - tail_length(length))
}

/// Splits a tail into the bytes before the seal message, and the seal message.
fn split_footer(tail: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, magic) = tail.split_last_chunk::<8>()?;
    let (rest, length) = rest.split_last_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let seal_start = rest.len().checked_sub(length)?;
    (magic == FOOTER_MAGIC).then(|| rest.split_at(seal_start))
}
