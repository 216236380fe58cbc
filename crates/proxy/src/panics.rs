//! Requests that panic: one request fails, the connection and the process continue.
//!
//! A panic is a defect of the proxy. It unwinds only its own request, so the client gets a 500, or
//! a broken connection if the status line was sent already. The hook of `telemetry` writes the
//! error line and counts it.
//!
//! A process in which nothing works any more fails its liveness probe and is restarted: after
//! [`ENOUGH`] panics within [`WINDOW`] without a completely served request since the first of them.
//! A served request resets the count, so that a client that has found a request that panics cannot
//! have the proxy restarted for everybody else; the alert covers that case. The window is longer
//! than a liveness probe takes to act.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;

/// Number of consecutive panics after which a restart may help.
const ENOUGH: usize = 10;

/// Time for which a panic counts.
const WINDOW: Duration = Duration::from_mins(5);

/// Error of a request that panicked.
#[derive(Debug, thiserror::Error)]
#[error("internal error: panic; the log has its location")]
pub(crate) struct Panicked;

/// Panics since a request was last served.
#[derive(Debug, Default)]
pub(crate) struct PanicWatch {
    /// Whether there was a panic; saves taking the lock otherwise.
    any: AtomicBool,
    /// Times of at most [`ENOUGH`] panics, the latest last.
    recent: Mutex<VecDeque<Instant>>,
}

impl PanicWatch {
    /// Awaits `work`, and notes a panic in it.
    pub(crate) async fn guard<T>(&self, work: impl Future<Output = T>) -> Result<T, Panicked> {
        let outcome = AssertUnwindSafe(work).catch_unwind().await;
        outcome.map_err(|_| self.note())
    }

    /// Runs `work`, and notes a panic in it.
    pub(crate) fn guard_poll<T>(&self, work: impl FnOnce() -> T) -> Result<T, Panicked> {
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(work));
        outcome.map_err(|_| self.note())
    }

    /// Notes that a request was served completely.
    pub(crate) fn served(&self) {
        if self.any.swap(false, Ordering::AcqRel) {
            self.recent().clear();
        }
    }

    /// Returns whether only a restart can help.
    pub(crate) fn is_failing(&self) -> bool {
        let recent = self.recent();
        recent.len() >= ENOUGH && recent.front().is_some_and(|at| at.elapsed() < WINDOW)
    }

    fn note(&self) -> Panicked {
        let mut recent = self.recent();
        if recent.len() == ENOUGH {
            recent.pop_front();
        }
        recent.push_back(Instant::now());
        self.any.store(true, Ordering::Release);
        Panicked
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, VecDeque<Instant>> {
        // A poisoned lock is usable: nothing under the lock can panic.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn panic_once(watch: &PanicWatch) {
        let outcome = watch.guard(async { panic!("a test's own") }).await;
        let outcome: Result<(), Panicked> = outcome;
        assert!(outcome.is_err());
    }

    #[tokio::test]
    async fn work_that_does_not_panic_is_left_alone() {
        let watch = PanicWatch::default();
        assert_eq!(watch.guard(async { 7 }).await.unwrap(), 7);
        assert_eq!(watch.guard_poll(|| 7).unwrap(), 7);
        assert!(!watch.is_failing());
    }

    #[tokio::test]
    async fn panics_in_a_row_fail_the_process_and_a_served_request_clears_them() {
        let watch = PanicWatch::default();
        for _ in 1..ENOUGH {
            panic_once(&watch).await;
            assert!(!watch.is_failing());
        }
        let polled: Result<(), Panicked> = watch.guard_poll(|| panic!("a test's own"));
        assert!(polled.is_err());
        assert!(watch.is_failing());
        panic_once(&watch).await;
        assert!(watch.is_failing());
        watch.served();
        assert!(!watch.is_failing());
        panic_once(&watch).await;
        assert!(!watch.is_failing());
    }
}
