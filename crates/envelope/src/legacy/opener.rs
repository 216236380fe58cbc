//! The second pass: blocks with a recorded digest, opened one by one.
//!
//! A block is buffered until it is complete and its digest matches; only then is it decrypted. The
//! first block may be trimmed at its start and the last one at its end.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::body::{VerifiedBody, block_digest};
use super::siv::SivMessage;
use super::{LegacyDek, LegacyError};
use crate::layout::PlaintextRange;

/// Opener for the stored bytes that [`VerifiedBody::stretch`] names.
pub struct LegacyOpener {
    body: Arc<VerifiedBody>,
    message: SivMessage,
    range: PlaintextRange,
    /// Plaintext position at which the incoming block begins.
    block_first: u64,
    block: Vec<u8>,
}

impl LegacyOpener {
    /// Opens a range of a body that was verified under this data-encryption key.
    pub fn new(
        body: &Arc<VerifiedBody>,
        dek: &LegacyDek,
        range: PlaintextRange,
    ) -> Result<Self, LegacyError> {
        if body.stretch(range).is_none() {
            return Err(LegacyError::RangeBeyondEnd(body.length().0));
        }
        Ok(Self {
            message: SivMessage::new(dek, body.nonce, body.tag),
            block_first: range.first / body.blocks.size * body.blocks.size,
            body: Arc::clone(body),
            range,
            block: Vec::new(),
        })
    }

    /// Returns whether the whole range was released.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.block_first > self.range.last
    }

    /// Consumes stored bytes from the front of `stored`, up to the end of a block, and returns the
    /// plaintext of a block that became complete. Consumes nothing once the range is complete.
    pub fn push(&mut self, stored: &mut &[u8]) -> Result<Option<Vec<u8>>, LegacyError> {
        if self.is_complete() {
            return Ok(None);
        }
        let bytes = self.body.blocks.bytes_from(self.block_first);
        if self.block.capacity() < bytes {
            // Allocate exactly once: growth by doubling could take twice the block that the
            // caller's budget allows for.
            self.block.reserve_exact(bytes - self.block.len());
        }
        let missing = (bytes - self.block.len()).min(stored.len());
        let (now, later) = stored.split_at(missing);
        self.block.extend_from_slice(now);
        *stored = later;
        if self.block.len() < bytes {
            return Ok(None);
        }
        let block = std::mem::take(&mut self.block);
        self.open(block).map(Some)
    }

    fn open(&mut self, mut block: Vec<u8>) -> Result<Vec<u8>, LegacyError> {
        let first = self.block_first;
        let index = usize::try_from(first / self.body.blocks.size).expect("at most 8192");
        // The digest comes first: an unverified block is never decrypted.
        verify_slices_are_equal(&block_digest(&block), &self.body.digests[index])
            .map_err(|_| LegacyError::Changed)?;
        self.message.apply(first, &mut block);
        self.block_first += block.len() as u64;
        let wanted = usize::try_from(self.range.last - first + 1);
        // Cut the end before the start: `wanted` counts from the start of the block.
        block.truncate(wanted.map_or(block.len(), |wanted| wanted.min(block.len())));
        let skipped = self.range.first.saturating_sub(first);
        block.drain(..usize::try_from(skipped).expect("less than a block"));
        Ok(block)
    }
}
