//! One call at a time for those who need the same key, and one result for all who wait.
//!
//! Those who waited for a call that failed fail with it, rather than each trying in turn while the
//! service is away. Whoever leaves meanwhile leaves the call to the next.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Mutex, MutexGuard};

use super::caller::{Caller, Pending};
use super::key_service::ServiceError;

/// Those who need the same key, in the order in which they came.
pub(super) struct Turns<T> {
    /// Calls that failed.
    failures: AtomicU64,
    shared: Mutex<Shared<T>>,
}

struct Shared<T> {
    running: Option<Pending<T>>,
    failed: Option<ServiceError>,
}

/// The turn of one of them. The others wait until it is dropped.
pub(super) struct Turn<'t, T> {
    failures: &'t AtomicU64,
    /// How many had failed when it came.
    failures_before: u64,
    shared: MutexGuard<'t, Shared<T>>,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self {
            failures: AtomicU64::new(0),
            shared: Mutex::new(Shared {
                running: None,
                failed: None,
            }),
        }
    }
}

impl<T> Turns<T> {
    /// Waits for a turn.
    pub(super) async fn wait(&self) -> Turn<'_, T> {
        let failures_before = self.failures.load(Ordering::Relaxed);
        Turn {
            failures: &self.failures,
            failures_before,
            shared: self.shared.lock().await,
        }
    }
}

impl<T: Send + 'static> Turn<'_, T> {
    /// The result of the call under way, or of a new one; that of the last one, if it failed while
    /// this turn was waited for.
    pub(super) async fn take<W>(
        &mut self,
        caller: &Caller,
        work: impl FnOnce() -> W,
    ) -> Result<T, ServiceError>
    where
        W: Future<Output = Result<T, ServiceError>> + Send + 'static,
    {
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
        // Its starter left, and its answer is of the past.
        if running.as_mut().is_some_and(Pending::is_over) {
            *running = None;
        }
        let running = match running {
            Some(running) => running,
            None => running.insert(caller.begin(work()).await?),
        };
        let result = running.await;
        self.shared.running = None;
        result
    }
}
