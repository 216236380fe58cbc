//! Requests that panic: one request fails, the connection and the process go on.
//!
//! A panic is a defect of the proxy. It unwinds what its own request holds and nothing else, so the
//! client gets a 500, or a broken connection where the status line has gone out. The hook of
//! `telemetry` writes the error line and counts it.
//!
//! A process in which nothing works any more fails its liveness probe and is restarted: after
//! [`ENOUGH`] panics within [`WINDOW`] with no request served to its end since the first of them. One
//! that is served starts the count anew, so that a client that has found a request that panics cannot
//! have the proxy restarted under everybody else; that is what the alert is for. The window is longer
//! than a liveness probe takes to act.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;

/// Panics in a row after which a restart may help.
const ENOUGH: usize = 10;

/// How long a panic counts.
const WINDOW: Duration = Duration::from_mins(5);

/// A request panicked.
#[derive(Debug, thiserror::Error)]
#[error("a panic, which is a defect of the proxy; the log names its place")]
pub(crate) struct Panicked;

/// The panics since a request was served.
#[derive(Debug, Default)]
pub(crate) struct PanicWatch {
    /// Saves the lock where there was no panic.
    any: AtomicBool,
    /// At most [`ENOUGH`], the latest last.
    recent: Mutex<VecDeque<Instant>>,
}

impl PanicWatch {
    /// Awaits `work`, and notes a panic in it.
    pub(crate) async fn guard<T>(&self, work: impl Future<Output = T>) -> Result<T, Panicked> {
        let outcome = AssertUnwindSafe(work).catch_unwind().await;
        outcome.map_err(|_| self.note())
    }

    /// Does `work`, and notes a panic in it.
    pub(crate) fn guard_poll<T>(&self, work: impl FnOnce() -> T) -> Result<T, Panicked> {
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(work));
        outcome.map_err(|_| self.note())
    }

    /// A request was served to its end.
    pub(crate) fn served(&self) {
        if self.any.swap(false, Ordering::AcqRel) {
            self.recent().clear();
        }
    }

    /// Whether nothing but a restart can help.
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
        // Nothing that can panic runs under the lock.
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
