//! One call at a time for requests that need the same key, with one result for all that wait.
//!
//! Requests that waited for a call that failed fail with it, instead of calling an unavailable
//! service one after the other. A cancelled request leaves its call to the next.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Mutex, MutexGuard};

use super::key_service::ServiceError;
use super::service_caller::{Caller, PendingCall};

/// Queue of the requests that need the same key, in order of arrival.
pub(super) struct SingleFlight<T> {
    /// Number of failed calls.
    failures: AtomicU64,
    shared: Mutex<FlightState<T>>,
}

struct FlightState<T> {
    running: Option<PendingCall<T>>,
    failed: Option<ServiceError>,
}

/// Exclusive right of one request to start the call. Other requests wait until it is dropped.
pub(super) struct FlightGuard<'t, T> {
    failures: &'t AtomicU64,
    /// Number of failed calls when the request arrived.
    failures_before: u64,
    shared: MutexGuard<'t, FlightState<T>>,
}

impl<T> Default for SingleFlight<T> {
    fn default() -> Self {
        Self {
            failures: AtomicU64::new(0),
            shared: Mutex::new(FlightState {
                running: None,
                failed: None,
            }),
        }
    }
}

impl<T> SingleFlight<T> {
    /// Waits for a turn.
    pub(super) async fn enter(&self) -> FlightGuard<'_, T> {
        // Read before the lock: failures while this request waits must count.
        let failures_before = self.failures.load(Ordering::Relaxed);
        FlightGuard {
            failures: &self.failures,
            failures_before,
            shared: self.shared.lock().await,
        }
    }
}

impl<T: Send + 'static> FlightGuard<'_, T> {
    /// Returns the result of the call in flight, or of a new one; or the last error, if a call
    /// failed while this request waited.
    pub(super) async fn run<W>(
        &mut self,
        caller: &Caller,
        work: impl FnOnce() -> W,
    ) -> Result<T, ServiceError>
    where
        W: Future<Output = Result<T, ServiceError>> + Send + 'static,
    {
        // A failure from before the wait does not count: the service may have recovered.
        let has_failed = self.failures.load(Ordering::Relaxed) > self.failures_before;
        match &self.shared.failed {
            Some(error) if has_failed => return Err(error.clone()),
            Some(_) | None => {}
        }
        let result = self.call(caller, work).await;
        self.shared.failed = result.as_ref().err().cloned();
        if result.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    async fn call<W>(
        &mut self,
        caller: &Caller,
        work: impl FnOnce() -> W,
    ) -> Result<T, ServiceError>
    where
        W: Future<Output = Result<T, ServiceError>> + Send + 'static,
    {
        let running = &mut self.shared.running;
        // The request that began the call was cancelled, and the call has ended: its result is
        // outdated.
        if running.as_mut().is_some_and(PendingCall::is_over) {
            *running = None;
        }
        let running = match running {
            Some(running) => running,
            None => running.insert(caller.begin(work()).await?),
        };
        // If this future is dropped here, `running` stays, and the next request awaits the same
        // call.
        let result = running.await;
        self.shared.running = None;
        result
    }
}
