//! Limits on how slowly a client may send or receive a body.
//!
//! Silence ends a body after a time. A body that keeps moving is left alone, however slow, until
//! other requests wait for the memory that it holds: then it is ended if it was slower than the
//! least rate over the last few seconds. Only time spent waiting for the client counts, never time
//! spent waiting for the backend: a body that cannot be passed on is not read, and so is not
//! polled.

use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::idle_timeout::IdleTimeout;
use super::pressure::Pressure;
use crate::telemetry::metrics::{self, Limit};

/// Interval of the checks, and the most that one pause counts for.
const TICK: Duration = Duration::from_secs(1);

/// Time over which the rate of a sending client is measured, unless the timeout is shorter.
const SENDING_WINDOW: Duration = Duration::from_secs(3);

/// Time over which the rate of a receiving client is measured. Longer, since the system's send
/// buffers empty in large steps with no visible progress in between.
const RECEIVING_WINDOW: Duration = Duration::from_secs(20);

/// Limits on the pace of clients.
#[derive(Clone)]
pub(crate) struct PaceLimits {
    /// Longest time without progress.
    pub(crate) silence: Duration,
    /// Least rate in bytes per second, enforced while other requests wait for memory.
    pub(crate) least_rate: Option<NonZeroUsize>,
    pub(crate) pressure: Arc<Pressure>,
}

impl PaceLimits {
    /// Limits without a least rate.
    #[cfg(test)]
    pub(crate) fn with_silence(silence: Duration) -> Self {
        Self {
            silence,
            least_rate: None,
            pressure: Arc::default(),
        }
    }
}

/// Reason to end a body because of its client's pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PaceViolation {
    /// No byte moved for too long.
    Idle,
    /// Too little moved while other requests waited.
    TooSlow,
}

/// Pace of one body, measured against the limits.
pub(crate) struct ClientPace {
    limits: PaceLimits,
    window: Duration,
    idle_timeout: IdleTimeout,
    tick: Option<Pin<Box<Sleep>>>,
    /// Start of the current wait for the client.
    waiting_since: Option<Instant>,
    /// Number of bytes moved in the current window.
    moved_bytes: usize,
    waited: Duration,
    /// Whether the previous window was below the least rate.
    slow: bool,
}

impl ClientPace {
    /// Watches a client that sends a body.
    pub(crate) fn for_sender(limits: PaceLimits) -> Self {
        Self::new(limits, SENDING_WINDOW)
    }

    /// Watches a client that receives a response.
    pub(crate) fn for_receiver(limits: PaceLimits) -> Self {
        Self::new(limits, RECEIVING_WINDOW)
    }

    fn new(limits: PaceLimits, window: Duration) -> Self {
        Self {
            // With a longer window the timeout would always come first.
            window: window.min(limits.silence),
            idle_timeout: IdleTimeout::new(limits.silence),
            limits,
            tick: None,
            waiting_since: None,
            moved_bytes: 0,
            waited: Duration::ZERO,
            slow: false,
        }
    }

    /// Records progress.
    pub(crate) fn moved(&mut self, bytes: usize) {
        self.idle_timeout.restart();
        self.moved_bytes = self.moved_bytes.saturating_add(bytes);
        if let Some(since) = self.waiting_since.take() {
            self.count(since.elapsed());
        }
    }

    /// Must be polled whenever the client is waited for.
    pub(crate) fn poll_violation(&mut self, context: &mut Context<'_>) -> Poll<PaceViolation> {
        // Silence first: it ends a body also without a least rate.
        if self.idle_timeout.poll_elapsed(context).is_ready() {
            return Poll::Ready(PaceViolation::Idle);
        }
        if self.limits.least_rate.is_none() {
            return Poll::Pending;
        }
        if let Some(since) = self.waiting_since.replace(Instant::now()) {
            self.count(since.elapsed());
        }
        if self.slow && self.limits.pressure.takes_one() {
            metrics::throttled(Limit::BodyRate);
            return Poll::Ready(PaceViolation::TooSlow);
        }
        self.wake_at_next_tick(context);
        Poll::Pending
    }

    /// Adds a time of waiting for the client. Capped at a tick: a longer gap means that the body
    /// was not polled.
    fn count(&mut self, waited: Duration) {
        self.waited += waited.min(TICK);
        if self.waited >= self.window {
            let least = self.limits.least_rate.map_or(0, NonZeroUsize::get);
            let milliseconds = self.waited.as_millis();
            // In integers, without rounding: bytes per millisecond against the least rate.
            self.slow = (self.moved_bytes as u128) * 1000 < (least as u128) * milliseconds;
            self.moved_bytes = 0;
            self.waited = Duration::ZERO;
        }
    }

    fn wake_at_next_tick(&mut self, context: &mut Context<'_>) {
        let tick = self
            .tick
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(TICK)));
        // Polled until pending, so that the waker is registered with the new deadline.
        while tick.as_mut().poll(context).is_ready() {
            tick.as_mut().reset(Instant::now() + TICK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten ticks.
    const SILENCE: Duration = Duration::from_secs(10);

    fn limits(pressure: &Arc<Pressure>) -> PaceLimits {
        PaceLimits {
            silence: SILENCE,
            least_rate: NonZeroUsize::new(1000),
            pressure: Arc::clone(pressure),
        }
    }

    fn pace(pressure: &Arc<Pressure>) -> ClientPace {
        ClientPace::for_receiver(limits(pressure))
    }

    /// Simulates a client that moves `bytes` every 100 ms, for as long as it is tolerated.
    async fn tolerate(
        pace: &mut ClientPace,
        bytes: usize,
        time: Duration,
    ) -> Option<PaceViolation> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let next = tokio::time::sleep(Duration::from_millis(100));
            tokio::select! {
                why = std::future::poll_fn(|context| pace.poll_violation(context)) => {
                    return Some(why);
                }
                () = next => pace.moved(bytes),
            }
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_is_ended_when_others_wait_and_not_before() {
        let pressure = Arc::new(Pressure::default());
        let mut slow = pace(&pressure);
        assert_eq!(tolerate(&mut slow, 1, 10 * SILENCE).await, None);
        let _wanted = pressure.want(1);
        let why = tolerate(&mut slow, 1, 2 * TICK).await;
        assert_eq!(why, Some(PaceViolation::TooSlow));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_at_the_least_rate_stays_however_many_wait() {
        let pressure = Arc::new(Pressure::default());
        let _wanted = pressure.want(usize::MAX / 2);
        let mut steady = pace(&pressure);
        // 110 bytes every 100 ms, a little more than the least rate.
        assert_eq!(tolerate(&mut steady, 110, 10 * SILENCE).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_body_has_a_window_to_show_its_rate() {
        let pressure = Arc::new(Pressure::default());
        let _wanted = pressure.want(1);
        let mut new = pace(&pressure);
        assert_eq!(tolerate(&mut new, 1, 9 * TICK).await, None);
        let why = tolerate(&mut new, 1, 3 * TICK).await;
        assert_eq!(why, Some(PaceViolation::TooSlow));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_sender_is_ended_within_seconds() {
        let pressure = Arc::new(Pressure::default());
        let _wanted = pressure.want(1);
        let mut sender = ClientPace::for_sender(limits(&pressure));
        let why = tolerate(&mut sender, 1, 5 * TICK).await;
        assert_eq!(why, Some(PaceViolation::TooSlow));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_body_whether_or_not_others_wait() {
        let mut silent = pace(&Arc::default());
        let started = Instant::now();
        let why = std::future::poll_fn(|context| silent.poll_violation(context)).await;
        assert_eq!(why, PaceViolation::Idle);
        assert!(started.elapsed() < SILENCE + TICK);
    }

    #[tokio::test(start_paused = true)]
    async fn time_spent_by_the_backend_does_not_count_against_the_client() {
        let pressure = Arc::new(Pressure::default());
        let _wanted = pressure.want(1);
        let mut pace = pace(&pressure);
        for _ in 0..5 {
            // The client is waited for, its bytes arrive, and then the body is not polled for long.
            let asked = tokio::time::timeout(
                Duration::from_millis(1),
                std::future::poll_fn(|context| pace.poll_violation(context)),
            );
            assert!(asked.await.is_err());
            tokio::time::sleep(9 * TICK).await;
            pace.moved(1);
        }
    }
}
