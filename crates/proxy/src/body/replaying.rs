//! The content of a stored object, read to be sealed again: what a copy that moves data writes.
//!
//! Exactly the announced bytes come out, then the end; a source that ends early or goes on is an
//! error, so that nothing is completed before its end was seen. The source itself must have
//! authenticated what it yields, where there is something to authenticate.
//!
//! Absent: where the content comes from, and any buffer: pieces pass as they come.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body;
use s3proxy_protocol::checksum::{ChecksumAlgorithm, ChecksumValue, Checksummer};

use super::opening::OpeningError;
use super::sealing::Payload;

/// Why the content could not be had whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    /// The source failed.
    #[error(transparent)]
    Source(#[from] OpeningError),
    /// The source is another length than it was said to be.
    #[error("the source of the copy is not as long as announced")]
    Length,
}

/// The checksum of everything that passed, once it has.
#[derive(Clone, Default)]
pub(crate) struct Passed(Arc<Mutex<Option<ChecksumValue>>>);

impl Passed {
    /// The checksum, when one was asked for and the content has come to its end.
    pub(crate) fn checksum(&self) -> Option<ChecksumValue> {
        let value = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        value.clone()
    }
}

/// The content of a stored object as the payload of a new one.
pub(crate) struct Replay<B> {
    source: B,
    /// Bytes still to come.
    remaining: u64,
    checksummer: Option<Checksummer>,
    passed: Passed,
}

impl<B> Replay<B> {
    /// `length` is the content's in bytes. A checksum over it is computed where `algorithm` says.
    pub(crate) fn new(source: B, length: u64, algorithm: Option<ChecksumAlgorithm>) -> Self {
        Self {
            source,
            remaining: length,
            checksummer: algorithm.map(Checksummer::new),
            passed: Passed::default(),
        }
    }

    /// Where the checksum will be found.
    pub(crate) fn passed(&self) -> Passed {
        self.passed.clone()
    }

    fn took(&mut self, data: &Bytes) -> Result<(), ReplayError> {
        let left = self.remaining.checked_sub(data.len() as u64);
        self.remaining = left.ok_or(ReplayError::Length)?;
        if let Some(checksummer) = &mut self.checksummer {
            checksummer.update(data);
        }
        Ok(())
    }

    fn ended(&mut self) -> Result<(), ReplayError> {
        if self.remaining > 0 {
            return Err(ReplayError::Length);
        }
        if let Some(checksummer) = self.checksummer.take() {
            let value = checksummer.finish();
            *self.passed.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        }
        Ok(())
    }
}

impl<B: Body<Data = Bytes, Error = OpeningError> + Unpin> Payload for Replay<B> {
    type Fault = ReplayError;

    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, ReplayError>> {
        loop {
            match ready!(Pin::new(&mut self.source).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => {
                        self.took(&data)?;
                        return Poll::Ready(Ok(Some(data)));
                    }
                    // Trailers carry no content.
                    Err(_) => {}
                },
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
                None => {
                    self.ended()?;
                    return Poll::Ready(Ok(None));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    type Pieces = [&'static [u8]];

    fn replay(pieces: &'static Pieces, length: u64) -> impl Payload<Fault = ReplayError> {
        let frames = pieces
            .iter()
            .map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::from_static(piece))));
        let body = StreamBody::new(stream::iter(frames));
        let body = body.map_err(|never| match never {});
        Replay::new(body, length, Some(ChecksumAlgorithm::Crc32))
    }

    async fn read(mut payload: impl Payload<Fault = ReplayError>) -> Result<Vec<u8>, ReplayError> {
        let mut content = Vec::new();
        while let Some(piece) = std::future::poll_fn(|context| payload.poll_piece(context)).await? {
            content.extend_from_slice(&piece);
        }
        Ok(content)
    }

    #[tokio::test]
    async fn content_of_the_announced_length_passes_whole() {
        for (pieces, length) in [
            (&[b"" as &[u8]] as &Pieces, 0),
            (&[], 0),
            (&[b"ab", b"", b"c"], 3),
        ] {
            let content = read(replay(pieces, length)).await.unwrap();
            assert_eq!(content, pieces.concat());
        }
    }

    #[tokio::test]
    async fn content_of_another_length_never_ends_well() {
        for (pieces, length) in [
            (&[b"abc" as &[u8]] as &Pieces, 4),
            (&[b"abc"], 2),
            (&[b"ab", b"c"], 2),
            (&[], 1),
        ] {
            let read = read(replay(pieces, length)).await;
            assert!(matches!(read, Err(ReplayError::Length)), "{length}");
        }
    }

    #[tokio::test]
    async fn the_checksum_is_known_at_the_end_and_not_before() {
        let body = http_body_util::Full::new(Bytes::from_static(b"123456789"));
        let body = body.map_err(|never| match never {});
        let mut replay = Replay::new(body, 9, Some(ChecksumAlgorithm::Crc32));
        let passed = replay.passed();
        let next = std::future::poll_fn(|context| replay.poll_piece(context)).await;
        assert_eq!(next.unwrap().unwrap().len(), 9);
        assert!(passed.checksum().is_none());
        let end = std::future::poll_fn(|context| replay.poll_piece(context)).await;
        assert!(end.unwrap().is_none());
        assert_eq!(passed.checksum().unwrap().to_base64(), "y/Q5Jg==");
    }
}
