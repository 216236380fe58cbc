//! A payload, sealed on its way to the backend.
//!
//! It comes from a client ([`super::inbound`]) or from a stored object ([`super::replaying`]). The
//! stored form can complete only after the [`Payload`] has verified itself completely: the last
//! chunk is sealed at that moment and no earlier. The backend knows the stored length, so a body
//! that fails earlier is truncated there and never becomes an object.
//!
//! The request to the backend is sent only once the first piece is ready
//! ([`SealingBody::prefetch`]): some servers take a body that breaks off before its first byte for
//! an empty one, and store it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use s3proxy_envelope::object::{ObjectSealer, SealedTail};
use s3proxy_protocol::checksum::{ChecksumAlgorithm, ChecksumValue, Checksummer};

use super::budget::BodyShare;
use super::buffers::BufferPool;
use super::inbound::Inflow;

/// A source of plaintext to be sealed.
pub(crate) trait Payload {
    /// Failure to read the payload completely.
    type Fault;

    /// Ready once the first bytes have arrived, for which no memory has to be counted yet.
    fn poll_beginning(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Fault>> {
        Poll::Ready(Ok(()))
    }

    /// Returns the next piece, or the end once everything has arrived and matches the promises.
    fn poll_payload(&mut self, context: &mut Context<'_>) -> Poll<Result<Inflow, Self::Fault>>;
}

/// Slot for the payload's checksum, filled at its end: the one that was sent, or the one that was
/// computed.
pub(crate) type PayloadChecksum = Arc<OnceLock<(ChecksumAlgorithm, ChecksumValue)>>;

/// Slot for the reason of a failed upload, for the response to the client.
pub(crate) struct UploadFault<F>(Arc<Mutex<Option<F>>>);

impl<F> UploadFault<F> {
    /// Takes the reason, if there is one.
    pub(crate) fn take(&self) -> Option<F> {
        self.lock().take()
    }

    /// Sets the reason; a body has at most one.
    fn set(&self, fault: F) {
        *self.lock() = Some(fault);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<F>> {
        // A poisoned lock is usable: an `Option` has no half-written state.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F> Clone for UploadFault<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Stored form of a payload.
pub(crate) struct SealingBody<P: Payload> {
    source: P,
    /// Received payload that is not sealed yet.
    payload: Bytes,
    state: SealingState,
    /// Number of stored bytes not yet released, `first` included.
    remaining: u64,
    /// First piece, sealed before the request to the backend was sent.
    first: Option<Bytes>,
    pool: Arc<BufferPool>,
    fault: UploadFault<P::Fault>,
    measuring: Option<(ChecksumAlgorithm, Checksummer)>,
    checksum: PayloadChecksum,
    _share: BodyShare,
}

enum SealingState {
    Sealing(Box<ObjectSealer>),
    Tail(SealedTail),
    Done,
    Failed,
}

impl<P: Payload> SealingBody<P> {
    pub(crate) fn new(
        source: P,
        sealer: ObjectSealer,
        pool: Arc<BufferPool>,
        share: BodyShare,
    ) -> Self {
        Self {
            source,
            payload: Bytes::new(),
            remaining: sealer.stored_length().0,
            state: SealingState::Sealing(Box::new(sealer)),
            first: None,
            pool,
            fault: UploadFault(Arc::default()),
            measuring: None,
            checksum: PayloadChecksum::default(),
            _share: share,
        }
    }

    /// Computes a checksum on the way, for payloads that come without one.
    pub(crate) fn measure(&mut self, algorithm: ChecksumAlgorithm) {
        self.measuring = Some((algorithm, Checksummer::new(algorithm)));
    }

    /// Returns the slot that is filled at the payload's end, if it has a checksum.
    pub(crate) fn checksum(&self) -> PayloadChecksum {
        Arc::clone(&self.checksum)
    }

    /// Returns the slot for the reason if the payload fails.
    pub(crate) fn fault(&self) -> UploadFault<P::Fault> {
        self.fault.clone()
    }

    /// Seals the first piece, so that a body that fails at once never reaches the backend.
    pub(crate) async fn prefetch(&mut self) -> Result<(), SealingError> {
        self.first = std::future::poll_fn(|context| self.poll_piece(context)).await?;
        Ok(())
    }

    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, SealingError>> {
        loop {
            match &mut self.state {
                SealingState::Sealing(sealer) => {
                    if let Some(piece) = sealer.take(|| self.pool.take()) {
                        return Poll::Ready(Ok(Some(self.pool.freeze(piece))));
                    }
                    if !self.payload.is_empty() {
                        let Ok(consumed) = sealer.push(&self.payload) else {
                            self.state = SealingState::Failed;
                            continue;
                        };
                        self.payload.advance(consumed);
                        continue;
                    }
                }
                SealingState::Tail(tail) => {
                    let piece = tail.take(|| self.pool.take());
                    if piece.is_none() {
                        self.state = SealingState::Done;
                    }
                    return Poll::Ready(Ok(piece.map(|piece| self.pool.freeze(piece))));
                }
                SealingState::Done => return Poll::Ready(Ok(None)),
                SealingState::Failed => return Poll::Ready(Err(SealingError)),
            }
            match ready!(self.source.poll_payload(context)) {
                Ok(Inflow::Payload(payload)) => {
                    if let Some((_, checksummer)) = &mut self.measuring {
                        checksummer.update(&payload);
                    }
                    self.payload = payload;
                }
                Ok(Inflow::End(verified)) => {
                    let measured = self.measuring.take();
                    let measured = measured.map(|(name, checksummer)| (name, checksummer.finish()));
                    if let Some(checksum) = verified.checksum.or(measured) {
                        // Cannot be set already: the end comes once.
                        let _ = self.checksum.set(checksum);
                    }
                    self.begin_tail()?;
                }
                Err(fault) => {
                    self.state = SealingState::Failed;
                    self.fault.set(fault);
                    return Poll::Ready(Err(SealingError));
                }
            }
        }
    }

    fn begin_tail(&mut self) -> Result<(), SealingError> {
        // Failed until the tail is there: a body that claims to be done would look whole.
        if let SealingState::Sealing(sealer) =
            std::mem::replace(&mut self.state, SealingState::Failed)
        {
            self.state = SealingState::Tail(sealer.finish().map_err(|_| SealingError)?);
        }
        Ok(())
    }
}

/// Error of an abandoned upload; [`UploadFault`] has the reason.
#[derive(Debug, thiserror::Error)]
#[error("the upload was aborted before it was complete")]
pub(crate) struct SealingError;

impl<P: Payload + Unpin> Body for SealingBody<P> {
    type Data = Bytes;
    type Error = SealingError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SealingError>>> {
        let this = self.get_mut();
        let piece = match this.first.take() {
            Some(first) => Ok(Some(first)),
            None => ready!(this.poll_piece(context)),
        };
        if let Ok(Some(piece)) = &piece {
            this.remaining = this.remaining.saturating_sub(piece.len() as u64);
        }
        Poll::Ready(piece.transpose().map(|piece| piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, SealingState::Done) && self.first.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::BodyExt;
    use s3proxy_envelope::dek::Dek;
    use s3proxy_envelope::layout::PlaintextLength;
    use s3proxy_protocol::payload::VerifiedPayload;

    use super::*;
    use crate::body::budget::{BodyBudget, MemoryHolder};

    /// Claims to have ended well after these bytes.
    struct Source(Option<&'static [u8]>);

    impl Payload for Source {
        type Fault = Infallible;

        fn poll_payload(&mut self, _: &mut Context<'_>) -> Poll<Result<Inflow, Infallible>> {
            let next = self.0.take().map(Bytes::from_static);
            let end = Inflow::End(VerifiedPayload { checksum: None });
            Poll::Ready(Ok(next.map_or(end, Inflow::Payload)))
        }
    }

    async fn sealing(content: &'static [u8], promised: u64) -> SealingBody<Source> {
        let pool = Arc::new(BufferPool::default());
        let length = PlaintextLength(promised);
        let sealer = ObjectSealer::new(&Dek::generate(), length, pool.take());
        let budget = Arc::new(BodyBudget::new(4 * 1024 * 1024));
        let share = budget
            .share(MemoryHolder::authenticated("alice"), 1024)
            .await;
        SealingBody::new(Source(Some(content)), sealer, pool, share.unwrap())
    }

    #[tokio::test]
    async fn a_payload_of_the_promised_length_is_sealed_whole() {
        let body = sealing(b"abc", 3).await;
        let stored = body.remaining;
        let bytes = body.collect().await.unwrap().to_bytes();
        assert_eq!(bytes.len() as u64, stored);
    }

    #[tokio::test]
    async fn a_payload_of_another_length_never_ends_well() {
        for promised in [2, 4] {
            let mut body = sealing(b"abc", promised).await;
            let error = loop {
                if let Err(error) = body.frame().await.expect("an error comes before the end") {
                    break error;
                }
            };
            assert!(!body.is_end_stream(), "{promised}: {error}");
            assert!(body.frame().await.is_some_and(|frame| frame.is_err()));
        }
    }
}
