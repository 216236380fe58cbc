//! The body as the HTTP library polls it, and the watch over its progress.
//!
//! The last frame of a stream is held back until the source has ended cleanly, with the announced
//! length. If the source fails instead, or is too short or too long, the connection is closed
//! inside the body, so that a backend can never take it for complete. A trailer is made only at the
//! clean end.
//!
//! The watch distinguishes silence of the backend from silence of the source: only the former
//! counts against the backend. The maker of the stream bounds the latter.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::error::{BodyStreamError, Phase};
use super::request::{BodyStream, Payload, Slot};
use super::trailer::{Chunks, Form};

/// Error for the HTTP library; the cause itself is kept in `Progress`.
#[derive(Debug, thiserror::Error)]
#[error("the request's body was not complete")]
pub(super) struct Aborted;

pub(super) struct Outgoing {
    source: Source,
    progress: Arc<Progress>,
}

enum Source {
    Finished,
    Held(Bytes),
    Waiting { length: u64, form: Form, slot: Slot },
    Streaming(Stream),
    Chunking(Stream, Box<Chunks>),
}

struct Stream {
    body: BodyStream,
    remaining: u64,
    /// The frame that completes the length, held until the source has ended.
    last: Option<Bytes>,
}

impl Outgoing {
    pub(super) fn new(payload: &Payload, progress: Arc<Progress>) -> Self {
        let source = match payload {
            Payload::Empty => Source::Finished,
            // HTTP never polls an empty body, so it would not reach its end.
            Payload::Held { bytes, .. } if bytes.is_empty() => Source::Finished,
            Payload::Held { bytes, .. } => Source::Held(bytes.clone()),
            Payload::Stream { length, form, slot } => Source::Waiting {
                length: *length,
                form: *form,
                slot: slot.clone(),
            },
        };
        Outgoing { source, progress }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        let this = &mut *self;
        if let Source::Waiting { length, form, slot } = &this.source
            && let Some(begun) = begin(*length, *form, slot)
        {
            this.source = begun;
        }
        let (frame, stage) = match &mut this.source {
            Source::Finished => return Poll::Ready(None),
            Source::Held(bytes) => (Ok(std::mem::take(bytes)), Stage::Complete),
            // Another attempt has taken the stream, so this one must not look complete.
            Source::Waiting { .. } => (Err(Aborted), Stage::Complete),
            Source::Streaming(stream) => {
                // Set before the poll: while it is pending, the backend's time does not run.
                this.progress.reach(Stage::AwaitingSource);
                let step = ready!(stream.poll_step(cx, &this.progress));
                staged(step, &this.progress)
            }
            Source::Chunking(stream, chunks) => {
                this.progress.reach(Stage::AwaitingSource);
                let step = ready!(stream.poll_chunked(chunks, cx, &this.progress));
                staged(step, &this.progress)
            }
        };
        if stage == Stage::Complete {
            this.source = Source::Finished;
        }
        this.progress.reach(stage);
        Poll::Ready(Some(frame.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.source, Source::Finished)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.source {
            Source::Finished => 0,
            Source::Held(bytes) => bytes.len() as u64,
            Source::Waiting { length, form, .. } => form.wire_length(*length),
            Source::Streaming(stream) => {
                stream.remaining + stream.last.as_ref().map_or(0, |last| last.len() as u64)
            }
            Source::Chunking(_, chunks) => chunks.left(),
        })
    }
}

enum Step {
    More(Bytes),
    Last(Bytes),
}

fn staged(
    step: Result<Step, BodyStreamError>,
    progress: &Progress,
) -> (Result<Bytes, Aborted>, Stage) {
    match step {
        Ok(Step::More(bytes)) => (Ok(bytes), Stage::HandedOn),
        Ok(Step::Last(bytes)) => (Ok(bytes), Stage::Complete),
        Err(cause) => {
            progress.fail(cause);
            (Err(Aborted), Stage::Complete)
        }
    }
}

/// Takes the stream out of its slot; `None` if another attempt has taken it.
fn begin(length: u64, form: Form, slot: &Slot) -> Option<Source> {
    let body = slot
        .lock()
        .expect("no holder of this lock can panic")
        .take()?;
    let stream = Stream {
        body,
        remaining: length,
        last: None,
    };
    Some(match form {
        Form::Bare => Source::Streaming(stream),
        Form::Trailed => Source::Chunking(stream, Box::new(Chunks::new(length))),
    })
}

impl Stream {
    fn poll_chunked(
        &mut self,
        chunks: &mut Chunks,
        cx: &mut Context<'_>,
        progress: &Progress,
    ) -> Poll<Result<Step, BodyStreamError>> {
        loop {
            if let Some(bytes) = chunks.next() {
                return Poll::Ready(Ok(match chunks.left() {
                    0 => Step::Last(bytes),
                    _ => Step::More(bytes),
                }));
            }
            match ready!(self.poll_step(cx, progress)) {
                Ok(Step::More(bytes)) => chunks.push(bytes),
                Ok(Step::Last(bytes)) => {
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
        progress: &Progress,
    ) -> Poll<Result<Step, BodyStreamError>> {
        loop {
            if progress.is_abandoned() {
                return Poll::Ready(Err("the backend has refused it already".into()));
            }
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => {
                    return Poll::Ready(match self.last.take() {
                        Some(last) => Ok(Step::Last(last)),
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
                    return Poll::Ready(Ok(Step::More(data)));
                }
                // More than the announced length, or more after the frame that completed it.
                Some(_) | None => {
                    return Poll::Ready(Err("it is longer than its announced length".into()));
                }
            }
        }
    }
}

/// Progress of one attempt's body.
pub(super) struct Progress {
    state: Mutex<State>,
}

struct State {
    stage: Stage,
    since: Instant,
    ending: Ending,
}

/// End of the body, unless it is simply complete.
enum Ending {
    Open,
    Failed(BodyStreamError),
    Abandoned,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Not polled yet: connecting, or there is no body.
    Unsent,
    AwaitingSource,
    HandedOn,
    Complete,
}

/// Time limit of each stage.
pub(super) struct Limits {
    pub(super) connect: Duration,
    pub(super) body: Duration,
    pub(super) response: Duration,
}

/// Verdict of the watch at a point in time.
pub(super) enum Watch {
    LookAgain(Instant),
    Overdue(Phase, Duration),
}

impl Progress {
    pub(super) fn start() -> Arc<Self> {
        Arc::new(Progress {
            state: Mutex::new(State {
                stage: Stage::Unsent,
                since: Instant::now(),
                ending: Ending::Open,
            }),
        })
    }

    pub(super) fn watch(&self, limits: &Limits, now: Instant) -> Watch {
        let state = self.lock();
        let (phase, limit) = match state.stage {
            // Connecting has its own timeout; this limit also covers a request without a body.
            Stage::Unsent => (Phase::AwaitingAnswer, limits.connect + limits.response),
            Stage::AwaitingSource => return Watch::LookAgain(now + limits.body),
            Stage::HandedOn => (Phase::SendingBody, limits.body),
            Stage::Complete => (Phase::AwaitingAnswer, limits.response),
        };
        let due = state.since + limit;
        if due <= now {
            Watch::Overdue(phase, limit)
        } else {
            // The next stage may be due before this one.
            Watch::LookAgain(due.min(now + limits.body.min(limits.response)))
        }
    }

    /// Takes the error with which the source broke off, if it did.
    pub(super) fn take_failure(&self) -> Option<BodyStreamError> {
        match std::mem::replace(&mut self.lock().ending, Ending::Open) {
            Ending::Failed(cause) => Some(cause),
            Ending::Open | Ending::Abandoned => None,
        }
    }

    /// Returns whether a stream was begun and is not at its end.
    pub(super) fn is_under_way(&self) -> bool {
        match self.lock().stage {
            Stage::AwaitingSource | Stage::HandedOn => true,
            Stage::Unsent | Stage::Complete => false,
        }
    }

    /// Ends the body, and with it the connection, at the next opportunity.
    pub(super) fn abandon(&self) {
        self.lock().ending = Ending::Abandoned;
    }

    fn is_abandoned(&self) -> bool {
        matches!(self.lock().ending, Ending::Abandoned)
    }

    fn reach(&self, stage: Stage) {
        let mut now = self.lock();
        now.stage = stage;
        now.since = Instant::now();
    }

    fn fail(&self, cause: BodyStreamError) {
        let mut state = self.lock();
        // After `abandon` an error of the body is only its consequence.
        if let Ending::Open = state.ending {
            state.ending = Ending::Failed(cause);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock can panic")
    }
}
