//! The content of a stored object, read to be sealed again by a copy.
//!
//! Exactly the announced bytes come out, then the end. A source that ends early or continues is an
//! error, so that nothing is completed before its end was seen. The source itself must have
//! authenticated its bytes, if they are authenticated at all.
//!
//! Absent: the origin of the content, and any buffer: pieces pass through.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body;
use s3proxy_protocol::payload::VerifiedPayload;

use super::inbound::Inflow;
use super::opening::OpeningError;
use super::sealing::Payload;

/// Failure to read the content completely.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    /// The source failed.
    #[error(transparent)]
    Source(#[from] OpeningError),
    /// The source has another length than announced.
    #[error("the length of the copy's source differs from its announced length")]
    Length,
}

/// Content of a stored object as the payload of a new one.
pub(crate) struct Replay<B> {
    source: B,
    /// Number of bytes still to come.
    remaining: u64,
}

impl<B> Replay<B> {
    /// Wraps a source; `length` is the length of its content in bytes.
    pub(crate) fn new(source: B, length: u64) -> Self {
        Self {
            source,
            remaining: length,
        }
    }

    fn took(&mut self, data: &Bytes) -> Result<(), ReplayError> {
        let left = self.remaining.checked_sub(data.len() as u64);
        self.remaining = left.ok_or(ReplayError::Length)?;
        Ok(())
    }

    fn ended(&self) -> Result<Inflow, ReplayError> {
        if self.remaining > 0 {
            return Err(ReplayError::Length);
        }
        Ok(Inflow::End(VerifiedPayload { checksum: None }))
    }
}

impl<B: Body<Data = Bytes, Error = OpeningError> + Unpin> Replay<B> {
    /// Reads the whole content, which the caller knows to be small, into `buffer`.
    pub(crate) async fn read_to_end(&mut self, buffer: &mut Vec<u8>) -> Result<(), ReplayError> {
        loop {
            match std::future::poll_fn(|context| self.poll_payload(context)).await? {
                Inflow::Payload(bytes) => buffer.extend_from_slice(&bytes),
                Inflow::End(_) => return Ok(()),
            }
        }
    }
}

impl<B: Body<Data = Bytes, Error = OpeningError> + Unpin> Payload for Replay<B> {
    type Fault = ReplayError;

    fn poll_payload(&mut self, context: &mut Context<'_>) -> Poll<Result<Inflow, ReplayError>> {
        loop {
            match ready!(Pin::new(&mut self.source).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => {
                        self.took(&data)?;
                        return Poll::Ready(Ok(Inflow::Payload(data)));
                    }
                    // Trailers carry no content.
                    Err(_) => {}
                },
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
                None => return Poll::Ready(self.ended()),
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

    async fn read(pieces: &'static Pieces, length: u64) -> Result<Vec<u8>, ReplayError> {
        let frames = pieces
            .iter()
            .map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::from_static(piece))));
        let body = StreamBody::new(stream::iter(frames));
        let mut content = Vec::new();
        let mut replay = Replay::new(body.map_err(|never| match never {}), length);
        replay.read_to_end(&mut content).await.map(|()| content)
    }

    #[tokio::test]
    async fn content_of_the_announced_length_passes_whole() {
        for (pieces, length) in [
            (&[b"" as &[u8]] as &Pieces, 0),
            (&[], 0),
            (&[b"ab", b"", b"c"], 3),
        ] {
            assert_eq!(read(pieces, length).await.unwrap(), pieces.concat());
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
            let read = read(pieces, length).await;
            assert!(matches!(read, Err(ReplayError::Length)), "{length}");
        }
    }
}
