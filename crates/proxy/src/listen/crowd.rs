//! Connections above the limit.
//!
//! They are few, have little time for their one request, and the oldest makes room for a new one,
//! so that however many come, the next health check gets through at once. What is no health check
//! is answered with `SlowDown`, by whoever serves it, who finds its [`Place`] with the request.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::task::AbortHandle;

use super::Limits;

/// How many are held: their memory counts little, and the time in which as many come is long
/// enough for an answer.
pub(crate) const SIZE: usize = 256;

/// Time for the TLS handshake, and for the request.
const WAIT: Duration = Duration::from_secs(5);

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Within the limit.
    Own,
    /// Above it.
    InTheCrowd,
}

impl Place {
    pub(super) fn limits(self, limits: &Limits) -> Limits {
        let mut limits = limits.clone();
        match self {
            Self::Own => {}
            Self::InTheCrowd => {
                limits.idle_timeout = limits.idle_timeout.min(WAIT);
                limits.header_timeout = limits.header_timeout.min(WAIT);
                limits.patience.silence = limits.patience.silence.min(WAIT);
            }
        }
        limits
    }
}

/// The connections above the limit, oldest first.
#[derive(Default)]
pub(super) struct Crowd(VecDeque<AbortHandle>);

impl Crowd {
    /// Takes one more; the oldest is cut off where they are too many.
    pub(super) fn join(&mut self, connection: AbortHandle) {
        self.0.push_back(connection);
        if self.0.len() > SIZE {
            self.0.retain(|connection| !connection.is_finished());
        }
        if self.0.len() > SIZE
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn the_oldest_makes_room_and_those_that_ended_do_not_count() {
        let mut tasks = JoinSet::new();
        let mut crowd = Crowd::default();
        for _ in 0..SIZE {
            crowd.join(tasks.spawn(async {}));
        }
        while tasks.join_next().await.is_some() {}

        let oldest = tasks.spawn(std::future::pending());
        crowd.join(oldest.clone());
        for _ in 1..SIZE {
            crowd.join(tasks.spawn(std::future::pending()));
        }
        tokio::task::yield_now().await;
        assert!(!oldest.is_finished(), "all of them have room");
        crowd.join(tasks.spawn(std::future::pending()));
        assert!(tasks.join_next().await.unwrap().unwrap_err().is_cancelled());
        assert!(oldest.is_finished());
    }
}
