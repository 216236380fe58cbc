//! A body of the older formats, on its way to the client.
//!
//! A short one was opened whole and is held. A longer one was verified whole and is read again
//! block by block; each block is released only if it is unchanged since. A change ends the body
//! with an error, which aborts the connection.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use s3proxy_envelope::legacy::{LegacyError, LegacyOpener};

use super::budget::BodyShare;
use super::opening::{OpeningError, StoredBytes, pass_over_rest, skip_front};
use crate::backend;

/// Plaintext of an object of the older formats, or of a range of it.
pub(crate) struct LegacyBody {
    /// Plaintext that is already opened.
    ready: Option<Bytes>,
    blocks: Option<LegacyBlocks>,
    /// Number of plaintext bytes not yet released, `ready` not included.
    remaining: u64,
    _share: BodyShare,
}

/// Stored bytes that are opened as they arrive.
struct LegacyBlocks {
    source: backend::Body,
    /// Received bytes that are not opened yet.
    stored: Bytes,
    skip: u64,
    opener: LegacyOpener,
}

impl LegacyBody {
    /// Wraps plaintext that is complete in memory.
    pub(crate) fn held(plaintext: Bytes, share: BodyShare) -> Self {
        Self {
            ready: Some(plaintext).filter(|plaintext| !plaintext.is_empty()),
            blocks: None,
            remaining: 0,
            _share: share,
        }
    }

    /// Wraps stored bytes; `length` is the length of the plaintext to deliver. The share covers two
    /// blocks: an incoming one, and one on its way out.
    pub(crate) fn streamed(
        stored: StoredBytes,
        opener: LegacyOpener,
        length: u64,
        share: BodyShare,
    ) -> Self {
        let mut skip = stored.skip;
        let begun = skip_front(&mut skip, stored.begun);
        Self {
            ready: None,
            blocks: Some(LegacyBlocks {
                source: stored.body,
                stored: begun,
                skip,
                opener,
            }),
            remaining: length,
            _share: share,
        }
    }

    /// Opens the first block, so that a wrong one becomes a clean error instead of an aborted
    /// response.
    pub(crate) async fn prefetch(&mut self) -> Result<(), OpeningError> {
        self.ready = std::future::poll_fn(|context| self.poll_block(context)).await?;
        Ok(())
    }

    fn poll_block(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, OpeningError>> {
        let Some(blocks) = &mut self.blocks else {
            return Poll::Ready(Ok(None));
        };
        let block = ready!(blocks.poll_block(context))?;
        match &block {
            Some(block) => self.remaining -= block.len() as u64,
            // The source must not be polled again after its end.
            None => self.blocks = None,
        }
        Poll::Ready(Ok(block))
    }
}

impl LegacyBlocks {
    fn poll_block(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, OpeningError>> {
        while !self.opener.is_complete() {
            if self.stored.is_empty() {
                let Some(frame) = ready!(Pin::new(&mut self.source).poll_frame(context)) else {
                    return Poll::Ready(Err(LegacyError::OtherLength.into()));
                };
                if let Ok(data) = frame?.into_data() {
                    self.stored = skip_front(&mut self.skip, data);
                }
                continue;
            }
            let mut rest = &self.stored[..];
            let block = self.opener.push(&mut rest)?;
            let left = rest.len();
            self.stored.advance(self.stored.len() - left);
            if let Some(block) = block {
                return Poll::Ready(Ok(Some(Bytes::from(block))));
            }
        }
        ready!(pass_over_rest(&mut self.source, context));
        Poll::Ready(Ok(None))
    }
}

impl Body for LegacyBody {
    type Data = Bytes;
    type Error = OpeningError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OpeningError>>> {
        let this = self.get_mut();
        if let Some(ready) = this.ready.take() {
            return Poll::Ready(Some(Ok(Frame::data(ready))));
        }
        let block = ready!(this.poll_block(context));
        Poll::Ready(block.transpose().map(|block| block.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        let ready = self.ready.as_ref().map_or(0, Bytes::len) as u64;
        SizeHint::with_exact(self.remaining + ready)
    }
}
