//! The first pass: the tag over the whole body, and a digest of every block.
//!
//! The decrypted plaintext exists only in a buffer of 16 KiB and never leaves it.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context, SHA256};
use zeroize::Zeroizing;

use super::body::{BlockDigest, Blocks, VerifiedBody};
use super::siv::{SivHash, SivMessage};
use super::{LegacyDek, LegacyError, NONCE_BYTES, TAG_BYTES, legacy_plaintext_length};
use crate::layout::StoredLength;

/// Size in bytes of the buffer; block sizes are multiples of it.
const SLICE_BYTES: usize = 16 * 1024;

/// Verifier of a stored body that arrives in pieces, from the end of the nonce to the end of the
/// body.
pub struct LegacyVerifier {
    message: SivMessage,
    hash: SivHash,
    blocks: Blocks,
    nonce: [u8; NONCE_BYTES],
    tag: [u8; TAG_BYTES],
    /// Number of ciphertext bytes already processed; those waiting in `slice` do not count.
    position: u64,
    slice: Zeroizing<Vec<u8>>,
    block: Context,
    digests: Vec<BlockDigest>,
    /// Tag as the stream carries it at its end.
    last: Vec<u8>,
}

impl LegacyVerifier {
    /// Begins the verification. Nonce and tag are the first and the last bytes of the body; the
    /// caller fetches the tag beforehand, since nothing can be decrypted without it.
    pub fn new(
        dek: &LegacyDek,
        stored: StoredLength,
        nonce: [u8; NONCE_BYTES],
        tag: [u8; TAG_BYTES],
    ) -> Result<Self, LegacyError> {
        let blocks = Blocks::of(legacy_plaintext_length(stored)?);
        let message = SivMessage::new(dek, nonce, tag);
        Ok(Self {
            hash: message.hash(&[]),
            message,
            blocks,
            nonce,
            tag,
            position: 0,
            slice: Zeroizing::new(Vec::with_capacity(SLICE_BYTES)),
            block: Context::new(&SHA256),
            digests: Vec::with_capacity(blocks.count()),
            last: Vec::with_capacity(TAG_BYTES),
        })
    }

    /// Takes the next stored bytes.
    pub fn push(&mut self, mut stored: &[u8]) -> Result<(), LegacyError> {
        while !stored.is_empty() {
            let waiting = self.slice.len();
            // Never negative: position and slice together do not exceed the length.
            let left = self.blocks.length.0 - self.position - waiting as u64;
            if left == 0 {
                return self.push_tag(stored);
            }
            // Never past the end of the ciphertext: the tag that follows is not decrypted.
            let room = (SLICE_BYTES - waiting).min(stored.len());
            let taken = usize::try_from(left).map_or(room, |left| left.min(room));
            let (now, later) = stored.split_at(taken);
            self.slice.extend_from_slice(now);
            stored = later;
            if self.slice.len() == SLICE_BYTES || taken as u64 == left {
                self.take_up_slice();
            }
        }
        Ok(())
    }

    /// Returns the record, if the whole body arrived and is authentic.
    pub fn finish(self) -> Result<VerifiedBody, LegacyError> {
        if self.position != self.blocks.length.0 || self.last.len() != TAG_BYTES {
            return Err(LegacyError::OtherLength);
        }
        // The tag in the stream must be the one fetched at first, or the second pass would use a
        // tag that belongs to another version of the object.
        verify_slices_are_equal(&self.last, &self.tag).map_err(|_| LegacyError::NotAuthentic)?;
        self.message.verify(self.hash)?;
        Ok(VerifiedBody {
            blocks: self.blocks,
            nonce: self.nonce,
            tag: self.tag,
            digests: self.digests.into_boxed_slice(),
        })
    }

    fn take_up_slice(&mut self) {
        let slice = &mut self.slice;
        // The digest covers the stored bytes, so it must come before decryption in place.
        self.block.update(slice);
        self.message.apply(self.position, slice);
        self.hash.update(slice);
        self.position += slice.len() as u64;
        slice.clear();
        // The last block may be shorter than the others.
        let at_end = self.position == self.blocks.length.0;
        if at_end || self.position.is_multiple_of(self.blocks.size) {
            let block = std::mem::replace(&mut self.block, Context::new(&SHA256));
            let digest = block.finish();
            self.digests
                .push(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"));
        }
    }

    fn push_tag(&mut self, stored: &[u8]) -> Result<(), LegacyError> {
        if self.last.len() + stored.len() > TAG_BYTES {
            return Err(LegacyError::OtherLength);
        }
        self.last.extend_from_slice(stored);
        Ok(())
    }
}
