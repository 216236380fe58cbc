//! The body of a request as the HTTP library polls it.
//!
//! The last frame of a stream is held back until the source has ended cleanly, with the announced
//! length. If the source fails instead, or is too short or too long, the connection is closed
//! inside the body, so that a backend can never take it for complete. A trailer is made only at the
//! clean end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::error::BodyStreamError;
use super::request::{BodyStream, PreparedPayload, StreamSlot};
use super::send_progress::{SendProgress, SendStage};
use super::trailer::{Chunks, StreamFraming};

/// Error for the HTTP library; the cause itself is kept in `SendProgress`.
#[derive(Debug, thiserror::Error)]
#[error("the request body is incomplete")]
pub(super) struct BodyAborted;

/// Body of one attempt, which reports its progress.
pub(super) struct OutgoingBody {
    source: BodySource,
    progress: Arc<SendProgress>,
}

/// Source of the bytes.
enum BodySource {
    Finished,
    Held(Bytes),
    /// A stream that this attempt has not taken from its slot yet.
    Waiting {
        length: u64,
        framing: StreamFraming,
        slot: StreamSlot,
    },
    Streaming(SizedStream),
    Chunking(SizedStream, Box<Chunks>),
}

/// A stream that must have exactly its announced length.
struct SizedStream {
    body: BodyStream,
    /// Number of announced bytes that the source has not delivered yet.
    remaining: u64,
    /// The frame that completes the length, held until the source has ended.
    last: Option<Bytes>,
}

impl OutgoingBody {
    pub(super) fn new(payload: &PreparedPayload, progress: Arc<SendProgress>) -> Self {
        let source = match payload {
            PreparedPayload::Empty => BodySource::Finished,
            // HTTP never polls an empty body, so it would not reach its end.
            PreparedPayload::Held { bytes, .. } if bytes.is_empty() => BodySource::Finished,
            PreparedPayload::Held { bytes, .. } => BodySource::Held(bytes.clone()),
            PreparedPayload::Stream {
                length,
                framing,
                slot,
            } => BodySource::Waiting {
                length: *length,
                framing: *framing,
                slot: slot.clone(),
            },
        };
        OutgoingBody { source, progress }
    }
}

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = BodyAborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyAborted>>> {
        let this = &mut *self;
        if let BodySource::Waiting {
            length,
            framing,
            slot,
        } = &this.source
            && let Some(begun) = begin(*length, *framing, slot)
        {
            this.source = begun;
        }
        let (frame, stage) = match &mut this.source {
            BodySource::Finished => return Poll::Ready(None),
            BodySource::Held(bytes) => (Ok(std::mem::take(bytes)), SendStage::Complete),
            // Another attempt has taken the stream, so this one must not look complete.
            BodySource::Waiting { .. } => (Err(BodyAborted), SendStage::Complete),
            BodySource::Streaming(stream) => {
                // Set before the poll: while it is pending, the backend's time does not run.
                this.progress.reach(SendStage::AwaitingSource);
                let step = ready!(stream.poll_step(cx, &this.progress));
                staged(step, &this.progress)
            }
            BodySource::Chunking(stream, chunks) => {
                this.progress.reach(SendStage::AwaitingSource);
                let step = ready!(stream.poll_chunked(chunks, cx, &this.progress));
                staged(step, &this.progress)
            }
        };
        if stage == SendStage::Complete {
            this.source = BodySource::Finished;
        }
        this.progress.reach(stage);
        Poll::Ready(Some(frame.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.source, BodySource::Finished)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.source {
            BodySource::Finished => 0,
            BodySource::Held(bytes) => bytes.len() as u64,
            BodySource::Waiting {
                length, framing, ..
            } => framing.wire_length(*length),
            BodySource::Streaming(stream) => {
                stream.remaining + stream.last.as_ref().map_or(0, |last| last.len() as u64)
            }
            BodySource::Chunking(_, chunks) => chunks.left(),
        })
    }
}

/// Next bytes of a stream.
enum StreamStep {
    More(Bytes),
    /// The last bytes; the source has ended cleanly.
    Last(Bytes),
}

fn staged(
    step: Result<StreamStep, BodyStreamError>,
    progress: &SendProgress,
) -> (Result<Bytes, BodyAborted>, SendStage) {
    match step {
        Ok(StreamStep::More(bytes)) => (Ok(bytes), SendStage::HandedOn),
        Ok(StreamStep::Last(bytes)) => (Ok(bytes), SendStage::Complete),
        Err(cause) => {
            progress.fail(cause);
            (Err(BodyAborted), SendStage::Complete)
        }
    }
}

/// Takes the stream out of its slot; `None` if another attempt has taken it.
fn begin(length: u64, framing: StreamFraming, slot: &StreamSlot) -> Option<BodySource> {
    let body = slot
        .lock()
        .expect("no holder of this lock can panic")
        .take()?;
    let stream = SizedStream {
        body,
        remaining: length,
        last: None,
    };
    Some(match framing {
        StreamFraming::Bare => BodySource::Streaming(stream),
        StreamFraming::Trailer => BodySource::Chunking(stream, Box::new(Chunks::new(length))),
    })
}

impl SizedStream {
    fn poll_chunked(
        &mut self,
        chunks: &mut Chunks,
        cx: &mut Context<'_>,
        progress: &SendProgress,
    ) -> Poll<Result<StreamStep, BodyStreamError>> {
        loop {
            if let Some(bytes) = chunks.next() {
                return Poll::Ready(Ok(match chunks.left() {
                    0 => StreamStep::Last(bytes),
                    _ => StreamStep::More(bytes),
                }));
            }
            match ready!(self.poll_step(cx, progress)) {
                Ok(StreamStep::More(bytes)) => chunks.push(bytes),
                Ok(StreamStep::Last(bytes)) => {
                    chunks.push(bytes);
                    chunks.finish();
                }
                Err(cause) => return Poll::Ready(Err(cause)),
            }
        }
    }

    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        progress: &SendProgress,
    ) -> Poll<Result<StreamStep, BodyStreamError>> {
        loop {
            if progress.is_abandoned() {
                return Poll::Ready(Err("the backend already refused the request".into()));
            }
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => {
                    return Poll::Ready(match self.last.take() {
                        Some(last) => Ok(StreamStep::Last(last)),
                        None => Err(format!("it ended {} bytes early", self.remaining).into()),
                    });
                }
                Some(Err(error)) => return Poll::Ready(Err(error)),
                Some(Ok(frame)) => frame,
            };
            let data = match frame.into_data() {
                Ok(data) if !data.is_empty() => data,
                Ok(_) | Err(_) => continue,
            };
            match self.remaining.checked_sub(data.len() as u64) {
                // The length is reached: hold this frame until the source ends.
                Some(0) if self.remaining > 0 => {
                    self.remaining = 0;
                    self.last = Some(data);
                }
                Some(remaining) if self.last.is_none() => {
                    self.remaining = remaining;
                    return Poll::Ready(Ok(StreamStep::More(data)));
                }
                // More than the announced length, or more after the frame that completed it.
                Some(_) | None => {
                    return Poll::Ready(Err("it is longer than its announced length".into()));
                }
            }
        }
    }
}
