//! A stored body, opened on its way to the client.
//!
//! Only authenticated plaintext is released. The last piece is held back until everything that
//! belongs to the read was checked, padding included, so that a client never gets the whole of an
//! object whose stored form is incomplete. A failure ends the body with an error, which aborts the
//! connection: the announced length was not delivered.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use s3proxy_envelope::legacy::LegacyError;
use s3proxy_envelope::message::OpenError;
use s3proxy_envelope::object::ObjectOpener;

use super::budget::BodyShare;
use super::buffers::BufferPool;
use crate::backend;
use crate::stored_fault::StoredFault;

/// Most bytes that are received only to keep a connection reusable: the tail of a multipart body of
/// 8 GiB, or the excess of a guessed range.
const PASSED_OVER_BYTES: u64 = 256 * 1024;

/// Failure to deliver a stored body.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpeningError {
    /// The stored data differs from the sealed data.
    #[error("stored data: {0}")]
    Stored(#[from] OpenError),
    /// The stored data differs from the data that an older proxy wrote.
    #[error("stored data: {0}")]
    Legacy(#[from] LegacyError),
    /// The backend failed to deliver it.
    #[error("backend: {0}")]
    Backend(#[from] backend::BackendError),
}

impl OpeningError {
    /// Returns the fault of the stored data, if it has one.
    pub(crate) fn fault(&self) -> Option<StoredFault> {
        match self {
            Self::Stored(error) => Some((*error).into()),
            Self::Legacy(error) => Some((*error).into()),
            Self::Backend(_) => None,
        }
    }
}

/// Stored bytes on their way from the backend.
pub(crate) struct StoredBytes {
    /// Number of bytes to skip first, if the backend sends more than was requested.
    pub(crate) skip: u64,
    /// Bytes that were received already.
    pub(crate) begun: Bytes,
    /// Rest of the body.
    pub(crate) body: backend::Body,
}

/// Plaintext of a stored object, or of a range of it.
pub(crate) struct OpeningBody {
    source: backend::Body,
    /// Received stored bytes that are not opened yet.
    stored: Bytes,
    skip: u64,
    opener: Option<ObjectOpener>,
    /// Number of plaintext bytes not yet released, `out` included.
    remaining: u64,
    /// Buffer whose first `filled` bytes are authenticated; the rest is scratch.
    out: Vec<u8>,
    filled: usize,
    /// First piece, opened before the status line was sent.
    first: Option<Bytes>,
    pool: Arc<BufferPool>,
    _share: BodyShare,
}

impl OpeningBody {
    /// Wraps stored bytes; `length` is the length of the plaintext to deliver, in bytes.
    pub(crate) fn new(
        stored: StoredBytes,
        opener: ObjectOpener,
        length: u64,
        pool: Arc<BufferPool>,
        share: BodyShare,
    ) -> Self {
        let StoredBytes {
            mut skip,
            begun,
            body,
        } = stored;
        Self {
            source: body,
            stored: skip_front(&mut skip, begun),
            skip,
            opener: Some(opener),
            remaining: length,
            out: pool.take_full(),
            filled: 0,
            first: None,
            pool,
            _share: share,
        }
    }

    /// Opens the first piece, so that a wrong beginning, and any fault in a small object, becomes a
    /// clean error instead of an aborted response.
    pub(crate) async fn prefetch(&mut self) -> Result<(), OpeningError> {
        self.first =
            std::future::poll_fn(|context| self.poll_piece(context, Eagerness::Full)).await?;
        Ok(())
    }

    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
        eagerness: Eagerness,
    ) -> Poll<Result<Option<Bytes>, OpeningError>> {
        while let Some(opener) = &mut self.opener {
            if opener.is_complete() {
                ready!(pass_over_rest(&mut self.source, context));
                let opener = self.opener.take().expect("an opener is there");
                opener.finish()?;
                break;
            }
            if !self.stored.is_empty() {
                let progress = opener.push_into(&self.stored, &mut self.out[self.filled..])?;
                self.stored.advance(progress.consumed);
                self.filled += progress.written;
                // No progress means that the next chunk does not fit into `out`: release it.
                if progress.consumed == 0 {
                    return Poll::Ready(Ok(Some(self.hand_out())));
                }
                continue;
            }
            match Pin::new(&mut self.source).poll_frame(context) {
                Poll::Ready(Some(frame)) => {
                    if let Ok(data) = frame?.into_data() {
                        self.stored = skip_front(&mut self.skip, data);
                    }
                }
                Poll::Ready(None) => {
                    let opener = self.opener.take().expect("an opener is there");
                    opener.finish()?;
                }
                Poll::Pending => {
                    // The last piece is held back even if the backend pauses: the padding is not
                    // checked yet.
                    let last = self.filled as u64 >= self.remaining;
                    if self.filled == 0 || last || eagerness == Eagerness::Full {
                        return Poll::Pending;
                    }
                    return Poll::Ready(Ok(Some(self.hand_out())));
                }
            }
        }
        let piece = (self.filled > 0).then(|| self.hand_out());
        Poll::Ready(Ok(piece))
    }

    fn hand_out(&mut self) -> Bytes {
        let filled = std::mem::take(&mut self.filled);
        self.remaining -= filled as u64;
        // After the last piece no other buffer is needed.
        let next = if self.remaining > 0 {
            self.pool.take_full()
        } else {
            Vec::new()
        };
        let piece = std::mem::replace(&mut self.out, next);
        self.pool.freeze(piece).split_to(filled)
    }
}

/// Whether to wait for a full piece while the backend pauses.
#[derive(PartialEq, Eq, Clone, Copy)]
enum Eagerness {
    Full,
    AsItComes,
}

/// Receives surplus bytes, if they are few, so that the connection can be reused.
pub(super) fn pass_over_rest(source: &mut backend::Body, context: &mut Context<'_>) -> Poll<()> {
    loop {
        let rest = source.size_hint().exact();
        // Without a known length the surplus could be endless.
        if rest.is_none_or(|rest| rest > PASSED_OVER_BYTES) {
            return Poll::Ready(());
        }
        match ready!(Pin::new(&mut *source).poll_frame(context)) {
            Some(Ok(_)) => {}
            // The requested bytes are complete, so an error in the surplus does not matter.
            Some(Err(_)) | None => return Poll::Ready(()),
        }
    }
}

/// Drops bytes at the front of `data` that are still to be skipped.
pub(super) fn skip_front(skip: &mut u64, mut data: Bytes) -> Bytes {
    let passed = usize::try_from(*skip).map_or(data.len(), |skip| skip.min(data.len()));
    data.advance(passed);
    *skip -= passed as u64;
    data
}

impl Body for OpeningBody {
    type Data = Bytes;
    type Error = OpeningError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OpeningError>>> {
        let this = self.get_mut();
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let piece = ready!(this.poll_piece(context, Eagerness::AsItComes));
        Poll::Ready(piece.transpose().map(|piece| piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        let first = self.first.as_ref().map_or(0, Bytes::len) as u64;
        SizeHint::with_exact(self.remaining + first)
    }
}
