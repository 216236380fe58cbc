//! The body of a response: frames as they arrive, with a timeout on silence.
//!
//! A broken GET is resumed transparently if possible (`resume`). If not, the body ends with an
//! error; it never ends cleanly before its announced length.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use super::error::{BackendError, Phase};
use super::resume::{Continuation, Resumption};
use crate::net::with_causes;

/// Bytes of the backend. Polling after the end, or after an error, returns `None`.
pub(crate) struct Body {
    start: Option<Bytes>,
    flow: Flow,
    silence: SilenceTimer,
    resumption: Option<Box<Resumption>>,
    endpoint: String,
}

type Polled = Poll<Option<Result<Frame<Bytes>, BackendError>>>;

enum Flow {
    Ended,
    Live(Incoming),
    /// The error that broke the flow, and the request for the rest.
    Resuming(BackendError, Continuation),
}

impl Body {
    pub(super) fn new(
        start: Bytes,
        rest: Option<Incoming>,
        limit: Duration,
        resumption: Option<Resumption>,
        endpoint: String,
    ) -> Self {
        Body {
            start: Some(start).filter(|start| !start.is_empty()),
            flow: rest.map_or(Flow::Ended, Flow::Live),
            silence: SilenceTimer {
                limit,
                timer: None,
                state: TimerState::Stopped,
            },
            resumption: resumption.map(Box::new),
            endpoint,
        }
    }

    /// Begins a continuation, or returns the error if there can be none.
    fn broken(&mut self, error: BackendError) -> Option<BackendError> {
        self.silence.state = TimerState::Stopped;
        let continuation = self
            .resumption
            .as_mut()
            .and_then(|resumption| resumption.continuation());
        if let Some(continuation) = continuation {
            self.flow = Flow::Resuming(error, continuation);
            return None;
        }
        self.flow = Flow::Ended;
        Some(error)
    }

    /// Polls the live body. Returns `None` if it broke and is being resumed.
    fn poll_live(&mut self, cx: &mut Context<'_>) -> Option<Polled> {
        let Flow::Live(incoming) = &mut self.flow else {
            return Some(Poll::Ready(None));
        };
        let error = match Pin::new(incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.silence.state = TimerState::Stopped;
                if let (Some(resumption), Some(data)) = (&mut self.resumption, frame.data_ref()) {
                    // A continuation begins after these bytes.
                    resumption.received(data.len());
                }
                return Some(Poll::Ready(Some(Ok(frame))));
            }
            Poll::Ready(None) => {
                self.flow = Flow::Ended;
                return Some(Poll::Ready(None));
            }
            Poll::Ready(Some(Err(error))) => BackendError::Broken {
                endpoint: self.endpoint.clone(),
                reason: with_causes(&error),
            },
            Poll::Pending => match self.silence.poll_expired(cx) {
                Poll::Pending => return Some(Poll::Pending),
                Poll::Ready(()) => BackendError::Timeout {
                    endpoint: self.endpoint.clone(),
                    phase: Phase::ReceivingBody,
                    limit: self.silence.limit,
                },
            },
        };
        self.broken(error)
            .map(|error| Poll::Ready(Some(Err(error))))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BackendError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let this = &mut *self;
        if let Some(start) = this.start.take() {
            return Poll::Ready(Some(Ok(Frame::data(start))));
        }
        loop {
            match &mut this.flow {
                Flow::Ended => return Poll::Ready(None),
                Flow::Live(_) => {
                    if let Some(poll) = this.poll_live(cx) {
                        return poll;
                    }
                }
                Flow::Resuming(_, continuation) => {
                    let joined = ready!(continuation.as_mut().poll(cx));
                    let flow = joined.map_or(Flow::Ended, Flow::Live);
                    // A failed continuation reports the original error, not its own.
                    match (std::mem::replace(&mut this.flow, flow), &this.flow) {
                        (Flow::Resuming(error, _), Flow::Ended) => {
                            return Poll::Ready(Some(Err(error)));
                        }
                        (Flow::Resuming(..) | Flow::Live(_) | Flow::Ended, _) => {}
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.start.is_none()
            && match &self.flow {
                Flow::Ended => true,
                Flow::Live(incoming) => incoming.is_end_stream(),
                Flow::Resuming(..) => false,
            }
    }

    fn size_hint(&self) -> SizeHint {
        let start = self.start.as_ref().map_or(0, |start| start.len() as u64);
        match (&self.flow, &self.resumption) {
            (Flow::Ended, _) => SizeHint::with_exact(start),
            (Flow::Live(_) | Flow::Resuming(..), Some(resumption)) => {
                SizeHint::with_exact(resumption.remaining())
            }
            (Flow::Live(incoming), None) => match incoming.size_hint().exact() {
                Some(rest) => SizeHint::with_exact(start + rest),
                None => SizeHint::default(),
            },
            (Flow::Resuming(..), None) => SizeHint::default(),
        }
    }
}

/// Timer over the wait for the next frame.
struct SilenceTimer {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    state: TimerState,
}

#[derive(PartialEq, Eq)]
enum TimerState {
    Stopped,
    Running,
}

impl SilenceTimer {
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep(self.limit)));
        // Restarted only when a wait begins: time in which nobody polls does not count.
        if self.state == TimerState::Stopped {
            timer.as_mut().reset(Instant::now() + self.limit);
            self.state = TimerState::Running;
        }
        timer.as_mut().poll(cx)
    }
}
