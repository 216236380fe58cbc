//! Limit on requests per second: each waits for its turn, first come, first served.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

use super::{QUEUE, RETRY_AFTER};
use crate::config::resolved::Bound;

/// Rate limit whose burst is the number of requests of one second.
pub(super) struct RateLimit {
    per_second: NonZeroU32,
    wait: Duration,
    limiter: DefaultDirectRateLimiter,
    clock: DefaultClock,
    /// Locked by the request whose turn is next; waiters queue fairly.
    next: Mutex<()>,
    /// Room in that queue: as many requests as get their turn within the wait.
    queue: Semaphore,
    queue_length: usize,
}

/// Error of a request that cannot get its turn in time.
#[derive(Debug)]
pub(super) struct RetryLater {
    /// Time after which a retry may succeed.
    pub(super) after: Duration,
}

impl RateLimit {
    pub(super) fn new(per_second: NonZeroU32, wait: Duration) -> Self {
        let served = u128::from(per_second.get()) * wait.as_millis() / 1000;
        let queue_length = usize::try_from(served).map_or(QUEUE, |served| served.min(QUEUE));
        let clock = DefaultClock::default();
        Self {
            per_second,
            wait,
            limiter: RateLimiter::direct_with_clock(Quota::per_second(per_second), clock.clone()),
            clock,
            next: Mutex::new(()),
            queue: Semaphore::new(queue_length),
            queue_length,
        }
    }

    /// Returns whether the limit has these settings.
    pub(super) fn is(&self, rate: Bound, wait: Duration) -> bool {
        rate == Bound::At(self.per_second) && wait == self.wait
    }

    /// Takes a turn without waiting, unless other requests wait for one.
    pub(super) fn left_over(&self) -> Result<(), RetryLater> {
        let free = self.next.try_lock();
        match free.map(|_next| self.limiter.check()) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(self.retry_later()),
        }
    }

    /// Waits for the caller's turn; fails at once if the queue is full.
    pub(super) async fn turn(&self, deadline: Instant) -> Result<(), RetryLater> {
        if self.left_over().is_ok() {
            return Ok(());
        }
        let _place = self.queue.try_acquire().map_err(|_| self.retry_later())?;
        let turn = tokio::time::timeout_at(deadline, async {
            let _next = self.next.lock().await;
            while let Err(early) = self.limiter.check() {
                tokio::time::sleep(early.wait_time_from(self.clock.now())).await;
            }
        });
        turn.await.map_err(|_| self.retry_later())
    }

    /// Returns the time until all requests that wait now have had their turn.
    fn retry_later(&self) -> RetryLater {
        let waiting = self.queue_length - self.queue.available_permits();
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        let after = Duration::from_secs(u64::from(waiting.div_ceil(self.per_second.get())));
        RetryLater {
            after: after.max(RETRY_AFTER),
        }
    }
}
