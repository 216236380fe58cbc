//! A body that was verified, as it is remembered; and bodies that are held whole.
//!
//! Blocks are cut from the plaintext's start, so a block of stored bytes stands 12 bytes further
//! on. Their size grows with the body, so that there are never more than 8192 of them.

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use zeroize::Zeroize;

use super::siv::SivMessage;
use super::{LegacyDek, LegacyError, NONCE_BYTES, TAG_BYTES, legacy_plaintext_length};
use crate::layout::{PlaintextLength, PlaintextRange, StoredLength};

/// Smallest size of a block, in bytes.
const MIN_BLOCK_BYTES: u64 = 64 * 1024;
const MAX_BLOCKS: u64 = 8192;

pub(super) type BlockDigest = [u8; SHA256_OUTPUT_LEN];

/// How a body is cut into blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Blocks {
    pub(super) length: PlaintextLength,
    pub(super) size: u64,
}

impl Blocks {
    pub(super) fn of(length: PlaintextLength) -> Self {
        let size = length.0.div_ceil(MAX_BLOCKS).next_power_of_two();
        Self {
            length,
            size: size.max(MIN_BLOCK_BYTES),
        }
    }

    pub(super) fn count(self) -> usize {
        usize::try_from(self.length.0.div_ceil(self.size)).expect("at most 8192")
    }

    /// Bytes of the block that begins at a position.
    pub(super) fn bytes_from(self, first: u64) -> usize {
        usize::try_from(self.size.min(self.length.0 - first)).expect("a block fits memory")
    }
}

/// What the verification of a body leaves: where its bytes lie, and a digest of each block.
///
/// It belongs to one stored body and one data key, and is of no use with others: nothing opens.
pub struct VerifiedBody {
    pub(super) blocks: Blocks,
    pub(super) nonce: [u8; NONCE_BYTES],
    pub(super) tag: [u8; TAG_BYTES],
    pub(super) digests: Box<[BlockDigest]>,
}

impl VerifiedBody {
    /// Bytes of plaintext.
    #[must_use]
    pub fn length(&self) -> PlaintextLength {
        self.blocks.length
    }

    /// Bytes of the largest block, which is what an opener holds.
    #[must_use]
    pub fn block_bytes(&self) -> usize {
        Self::block_bytes_of(self.blocks.length)
    }

    /// The same for a body that is not verified yet.
    #[must_use]
    pub fn block_bytes_of(length: PlaintextLength) -> usize {
        usize::try_from(Blocks::of(length).size).expect("a block fits memory")
    }

    /// Bytes of memory that the digests of a body of this length take.
    #[must_use]
    pub fn memory_of(length: PlaintextLength) -> usize {
        Blocks::of(length).count() * SHA256_OUTPUT_LEN
    }

    /// The stored bytes, both ends included, that hold the blocks of a range; `None` where the
    /// range does not lie inside the plaintext.
    #[must_use]
    pub fn stretch(&self, range: PlaintextRange) -> Option<(u64, u64)> {
        let Blocks { length, size } = self.blocks;
        if range.first > range.last || range.last >= length.0 {
            return None;
        }
        let first = range.first / size * size;
        let end = (range.last / size + 1).saturating_mul(size).min(length.0);
        Some((first + NONCE_BYTES as u64, end + NONCE_BYTES as u64 - 1))
    }
}

/// The digest of a block of stored bytes.
pub(super) fn block_digest(stored: &[u8]) -> BlockDigest {
    let digest = digest(&SHA256, stored);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Opens a body that is held whole, in its own buffer. After an error nothing of it is left.
pub fn open_held(dek: &LegacyDek, mut stored: Vec<u8>) -> Result<Vec<u8>, LegacyError> {
    let length = legacy_plaintext_length(StoredLength(stored.len() as u64))?;
    let end = NONCE_BYTES + usize::try_from(length.0).expect("it is in memory");
    let nonce = stored[..NONCE_BYTES].try_into().expect("12 bytes");
    let tag = stored[end..].try_into().expect("16 bytes");
    let message = SivMessage::new(dek, nonce, tag);
    match open_in_place(&message, &[], &mut stored[NONCE_BYTES..end]) {
        Ok(()) => {
            stored.truncate(end);
            stored.drain(..NONCE_BYTES);
            Ok(stored)
        }
        Err(error) => {
            stored.zeroize();
            Err(error)
        }
    }
}

pub(super) fn open_in_place(
    message: &SivMessage,
    associated_data: &[u8],
    data: &mut [u8],
) -> Result<(), LegacyError> {
    message.apply(0, data);
    let mut hash = message.hash(associated_data);
    hash.update(data);
    message.verify(hash)
}
