//! Connections above the limit.
//!
//! They are few, have little time for their one request, and the oldest makes room for a new one.
//! So the next health check gets through at once, however many connections arrive. Other requests
//! get `SlowDown` from the service, which finds the connection's [`ConnectionClass`] in the request.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::task::AbortHandle;

use super::ConnectionLimits;

/// Number of these connections: their memory is small, and the time in which as many new ones
/// arrive suffices for a response.
pub(crate) const CAPACITY: usize = 256;

/// Time for the TLS handshake, and for the request.
const WAIT: Duration = Duration::from_secs(5);

/// Whether a connection counts within the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectionClass {
    /// A place within the limit.
    Regular,
    /// A place above the limit.
    Overflow,
}

impl ConnectionClass {
    /// Returns the class of a connection with this slot, or of one without.
    pub(super) fn from_slot<T>(slot: Option<&T>) -> Self {
        match slot {
            Some(_) => Self::Regular,
            None => Self::Overflow,
        }
    }

    pub(super) fn limits(self, limits: &ConnectionLimits) -> ConnectionLimits {
        let mut limits = limits.clone();
        match self {
            Self::Regular => {}
            Self::Overflow => {
                limits.idle_timeout = limits.idle_timeout.min(WAIT);
                limits.header_timeout = limits.header_timeout.min(WAIT);
                limits.patience.silence = limits.patience.silence.min(WAIT);
            }
        }
        limits
    }
}

/// Connections above the limit, oldest first.
#[derive(Default)]
pub(super) struct OverflowConnections(VecDeque<AbortHandle>);

impl OverflowConnections {
    /// Adds a connection; the oldest is aborted if there are too many.
    pub(super) fn join(&mut self, connection: AbortHandle) {
        self.0.push_back(connection);
        // Finished ones are dropped first, so that no live connection is aborted for them.
        if self.0.len() > CAPACITY {
            self.0.retain(|connection| !connection.is_finished());
        }
        if self.0.len() > CAPACITY
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
        let mut overflow = OverflowConnections::default();
        for _ in 0..CAPACITY {
            overflow.join(tasks.spawn(async {}));
        }
        while tasks.join_next().await.is_some() {}

        let oldest = tasks.spawn(std::future::pending());
        overflow.join(oldest.clone());
        for _ in 1..CAPACITY {
            overflow.join(tasks.spawn(std::future::pending()));
        }
        tokio::task::yield_now().await;
        assert!(!oldest.is_finished(), "all of them have room");
        overflow.join(tasks.spawn(std::future::pending()));
        assert!(tasks.join_next().await.unwrap().unwrap_err().is_cancelled());
        assert!(oldest.is_finished());
    }
}
