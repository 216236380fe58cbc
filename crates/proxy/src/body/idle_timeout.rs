//! A timeout on silence: it restarts with every byte that moves.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A timeout that restarts with every byte, and costs nothing while bytes flow.
pub(crate) struct IdleTimeout {
    timeout: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    moved: bool,
}

impl IdleTimeout {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            sleep: None,
            moved: false,
        }
    }

    /// Records progress, which restarts the timeout.
    pub(crate) fn restart(&mut self) {
        self.moved = true;
    }

    /// Ready once nothing moved for the timeout.
    pub(crate) fn poll_elapsed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let deadline = Instant::now() + self.timeout;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        // The timer is reset here and not for each byte: only a poll needs the right deadline.
        if std::mem::take(&mut self.moved) {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(context)
    }
}
