//! A response whose document is not ready yet: white space keeps the connection alive until then.
//!
//! Status and headers were sent already; XML allows white space after its declaration. So the
//! client sees that the connection is alive, and finds the result in the document, as in S3.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// Interval between two spaces: well below the idle timeouts of load balancers and clients.
pub(crate) const SPACE_EVERY: Duration = Duration::from_secs(5);

/// Body that starts with a fixed beginning and ends with a document.
pub(crate) struct KeepAliveBody {
    beginning: Option<Bytes>,
    /// `None` once the document was sent.
    document: Option<Pin<Box<dyn Future<Output = Bytes> + Send>>>,
    spaces: Interval,
}

impl KeepAliveBody {
    /// Wraps the future of a document, which is dropped with the body if the client disconnects.
    pub(crate) fn new(
        beginning: Bytes,
        document: impl Future<Output = Bytes> + Send + 'static,
    ) -> Self {
        let mut spaces = interval_at(Instant::now() + SPACE_EVERY, SPACE_EVERY);
        // After a long pause one space is enough: do not catch up with a burst of them.
        spaces.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            beginning: Some(beginning),
            document: Some(Box::pin(document)),
            spaces,
        }
    }

    /// Returns the next piece; `None` after the last.
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

    /// Returns whether the document was sent.
    pub(crate) fn is_done(&self) -> bool {
        self.beginning.is_none() && self.document.is_none()
    }
}
