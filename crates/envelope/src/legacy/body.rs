//! The cached result of a body's verification; and bodies that are held whole.
//!
//! Blocks are cut from the start of the plaintext; the nonce shifts the stored bytes of a block by
//! 12. The block size grows with the body, so that there are never more than 8192 blocks.

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use zeroize::Zeroize;

use super::siv::SivMessage;
use super::{LegacyDek, LegacyError, NONCE_BYTES, TAG_BYTES, legacy_plaintext_length};
use crate::layout::{PlaintextLength, PlaintextRange, StoredLength};

/// Smallest block size in bytes.
const MIN_BLOCK_BYTES: u64 = 64 * 1024;
const MAX_BLOCKS: u64 = 8192;

pub(super) type BlockDigest = [u8; SHA256_OUTPUT_LEN];

/// Division of a body into blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Blocks {
    pub(super) length: PlaintextLength,
    pub(super) size: u64,
}

impl Blocks {
    pub(super) fn of(length: PlaintextLength) -> Self {
        // A power of two, so that blocks consist of whole slices of the verifier and whole AES
        // blocks.
        let size = length.0.div_ceil(MAX_BLOCKS).next_power_of_two();
        Self {
            length,
            size: size.max(MIN_BLOCK_BYTES),
        }
    }

    pub(super) fn count(self) -> usize {
        usize::try_from(self.length.0.div_ceil(self.size)).expect("at most 8192")
    }

    /// Returns the length in bytes of the block that begins at `first`.
    pub(super) fn bytes_from(self, first: u64) -> usize {
        usize::try_from(self.size.min(self.length.0 - first)).expect("a block fits memory")
    }
}

/// Result of a body's verification: its nonce and tag, and a digest of each block.
///
/// The record belongs to one stored body and one data-encryption key. With any other, nothing
/// opens.
pub struct VerifiedBody {
    pub(super) blocks: Blocks,
    pub(super) nonce: [u8; NONCE_BYTES],
    pub(super) tag: [u8; TAG_BYTES],
    pub(super) digests: Box<[BlockDigest]>,
}

impl VerifiedBody {
    /// Returns the plaintext length.
    #[must_use]
    pub fn length(&self) -> PlaintextLength {
        self.blocks.length
    }

    /// Returns the size in bytes of the largest block, which an opener holds in memory.
    #[must_use]
    pub fn block_bytes(&self) -> usize {
        Self::block_bytes_of(self.blocks.length)
    }

    /// Returns the block size in bytes of a body that is not verified yet.
    #[must_use]
    pub fn block_bytes_of(length: PlaintextLength) -> usize {
        usize::try_from(Blocks::of(length).size).expect("a block fits memory")
    }

    /// Returns how many bytes of memory the digests of a body of this length take.
    #[must_use]
    pub fn memory_of(length: PlaintextLength) -> usize {
        Blocks::of(length).count() * SHA256_OUTPUT_LEN
    }

    /// Returns the positions of the first and the last stored byte of the blocks that hold a range;
    /// `None` if the range does not lie inside the plaintext.
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

/// Returns the digest of a block of stored bytes.
pub(super) fn block_digest(stored: &[u8]) -> BlockDigest {
    let digest = digest(&SHA256, stored);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Opens a body that is held whole, in its own buffer. After an error the buffer is wiped.
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
            // GCM-SIV decrypts before it can verify: wipe the plaintext that failed.
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
    // The tag covers the plaintext, so decryption comes first.
    message.apply(0, data);
    let mut hash = message.hash(associated_data);
    hash.update(data);
    message.verify(hash)
}
