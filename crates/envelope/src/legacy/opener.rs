//! The second reading: blocks whose digest was recorded, opened one by one.
//!
//! A block is held until it is whole and its digest is right; only then is it decrypted. The first
//! may be trimmed in front and the last one behind.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::body::{VerifiedBody, block_digest};
use super::siv::SivMessage;
use super::{LegacyDek, LegacyError};
use crate::layout::PlaintextRange;

/// Opens the stored bytes that [`VerifiedBody::stretch`] names.
pub struct LegacyOpener {
    body: Arc<VerifiedBody>,
    message: SivMessage,
    range: PlaintextRange,
    /// Where the block that is coming in begins.
    block_first: u64,
    block: Vec<u8>,
}

impl LegacyOpener {
    /// For a range of a body that was verified under this data key.
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

    /// Whether all of the range was handed out.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.block_first > self.range.last
    }

    /// Takes stored bytes from the front of `stored`, up to the end of a block, and hands out the
    /// plaintext of a block that became whole. Takes nothing more when all was handed out.
    pub fn push(&mut self, stored: &mut &[u8]) -> Result<Option<Vec<u8>>, LegacyError> {
        if self.is_complete() {
            return Ok(None);
        }
        let bytes = self.body.blocks.bytes_from(self.block_first);
        if self.block.capacity() < bytes {
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
        verify_slices_are_equal(&block_digest(&block), &self.body.digests[index])
            .map_err(|_| LegacyError::Changed)?;
        self.message.apply(first, &mut block);
        self.block_first += block.len() as u64;
        let wanted = usize::try_from(self.range.last - first + 1);
        block.truncate(wanted.map_or(block.len(), |wanted| wanted.min(block.len())));
        let skipped = self.range.first.saturating_sub(first);
        block.drain(..usize::try_from(skipped).expect("less than a block"));
        Ok(block)
    }
}
