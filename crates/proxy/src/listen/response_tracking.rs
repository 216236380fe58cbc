//! The body of a response while it is sent.
//!
//! Its request counts as being served until the body is dropped. A panic in the body breaks the
//! connection off, as an error does: the status line was sent already, and a short body must not
//! end cleanly.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};

use super::connection_activity::ServingGuard;
use crate::panics::PanicWatch;

/// A body that records how it ended.
pub(super) struct TrackedBody<B: Body> {
    /// `None` after a panic: the state of the body is unknown.
    body: Option<B>,
    left: Remaining,
    panics: Arc<PanicWatch>,
    _serving: ServingGuard,
}

/// What has to be sent before the response counts as a served request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remaining {
    /// Never counts: the response is an error, or broke off.
    Never,
    /// Counts after this many further bytes.
    Bytes(u64),
    /// Counts at the end of a body of unknown length.
    All,
    Nothing,
}

impl<B: Body> TrackedBody<B> {
    pub(super) fn new(
        body: B,
        serving: ServingGuard,
        panics: Arc<PanicWatch>,
        counts: bool,
    ) -> Self {
        let left = match body.size_hint().exact() {
            _ if !counts => Remaining::Never,
            Some(0) => Remaining::Nothing,
            Some(bytes) => Remaining::Bytes(bytes),
            None => Remaining::All,
        };
        Self {
            body: Some(body),
            left,
            panics,
            _serving: serving,
        }
    }

    /// Returns what is left after one more frame of the body.
    fn after<E>(&self, frame: Option<&Result<Frame<B::Data>, E>>) -> Remaining {
        let bytes = match frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, bytes::Buf::remaining),
            Some(Err(_)) => return Remaining::Never,
            None if self.left == Remaining::All => return Remaining::Nothing,
            None => 0,
        };
        match self.left {
            Remaining::Bytes(left) => match left.saturating_sub(bytes as u64) {
                0 => Remaining::Nothing,
                left => Remaining::Bytes(left),
            },
            left => left,
        }
    }
}

impl<B> Body for TrackedBody<B>
where
    B: Body + Unpin,
    B::Error: StdError + Send + Sync + 'static,
{
    type Data = B::Data;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, Self::Error>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        let polled = this
            .panics
            .guard_poll(|| Pin::new(body).poll_frame(context));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(frame)) => {
                this.left = this.after(frame.as_ref());
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Err(panicked) => {
                this.body = None;
                this.left = Remaining::Never;
                Poll::Ready(Some(Err(panicked.into())))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_some_and(Body::is_end_stream)
    }
}

impl<B: Body> Drop for TrackedBody<B> {
    fn drop(&mut self) {
        if self.left == Remaining::Nothing {
            self.panics.served();
        }
    }
}
