//! An answer that is still being made: white space until its document is there.
//!
//! Status and headers have gone out; XML allows white space behind its declaration. So the client
//! sees that the connection is alive, and finds the result in the document, as S3 has it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// Between two spaces: well below what load balancers and clients allow for silence.
pub(crate) const SPACE_EVERY: Duration = Duration::from_secs(5);

/// Starts with its beginning, ends with its document.
pub(crate) struct PatientBody {
    beginning: Option<Bytes>,
    /// `None` once the document has gone out.
    document: Option<Pin<Box<dyn Future<Output = Bytes> + Send>>>,
    spaces: Interval,
}

impl PatientBody {
    /// `document` is not polled on when the client leaves.
    pub(crate) fn new(
        beginning: Bytes,
        document: impl Future<Output = Bytes> + Send + 'static,
    ) -> Self {
        let mut spaces = interval_at(Instant::now() + SPACE_EVERY, SPACE_EVERY);
        spaces.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            beginning: Some(beginning),
            document: Some(Box::pin(document)),
            spaces,
        }
    }

    /// The next piece; `None` behind the last.
    pub(crate) fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(beginning) = self.beginning.take() {
            return Poll::Ready(Some(beginning));
        }
        let Some(document) = &mut self.document else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(bytes) = document.as_mut().poll(context) {
            self.document = None;
            return Poll::Ready(Some(bytes));
        }
        self.spaces
            .poll_tick(context)
            .map(|_| Some(Bytes::from_static(b" ")))
    }

    pub(crate) fn is_done(&self) -> bool {
        self.beginning.is_none() && self.document.is_none()
    }
}
