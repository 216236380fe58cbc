//! Calls to one key at a key service: bounded in number and time, with retries where they help.
//!
//! A call runs in its own task to its end, independent of the request that began it. A client that
//! disconnects takes nothing from other requests that wait for the same result, and a silent
//! service is detected even if all clients lose patience first.
//!
//! An unreachable service is tried up to [`TRIES`] times, with full jitter between the tries, but
//! not again once the time limit of one call is over. An overloaded service is not tried again for
//! the same request: clients retry anyway, and every layer of retries multiplies the load. The
//! [`CircuitBreaker`] has the last word before each try.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::circuit_breaker::{CallOutcome, CircuitBreaker, Permit};
use super::jitter;
use super::key_service::ServiceError;
use crate::telemetry::metrics::ServiceKind;
use crate::telemetry::traces::within_current;

/// Number of tries at an unreachable service.
const TRIES: u32 = 3;

/// Longest pause before the second try; four times as long before the third.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Concurrent calls for one key. A response may take 64 KiB.
const MAX_CALLS: usize = 64;

/// Caller of a service for one of its keys. Calls in flight are aborted when it is dropped.
pub(super) struct Caller {
    retrier: Arc<Retrier>,
    permits: Arc<Semaphore>,
    tasks: Mutex<JoinSet<()>>,
}

/// Calls one key at the service, with retries, and tracks whether the service is failing.
pub(super) struct Retrier {
    key: Arc<str>,
    timeout: Duration,
    breaker: CircuitBreaker,
    failing: AtomicBool,
}

/// Result of a call that runs in its own task. Dropping this does not end the call.
pub(super) struct PendingCall<T>(oneshot::Receiver<Result<T, ServiceError>>);

impl Caller {
    /// Builds a caller; `timeout` bounds each try.
    pub(super) fn new(key: Arc<str>, kind: ServiceKind, timeout: Duration) -> Self {
        Self {
            retrier: Arc::new(Retrier {
                breaker: CircuitBreaker::new(Arc::clone(&key), kind),
                key,
                timeout,
                failing: AtomicBool::new(false),
            }),
            permits: Arc::new(Semaphore::new(MAX_CALLS)),
            tasks: Mutex::default(),
        }
    }

    pub(super) fn retrier(&self) -> &Arc<Retrier> {
        &self.retrier
    }

    /// Begins `work` as soon as one of the permits is free.
    pub(super) async fn begin<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, ServiceError>> + Send + 'static,
    ) -> Result<PendingCall<T>, ServiceError> {
        let limit = self.retrier.timeout;
        let permit = Arc::clone(&self.permits).acquire_owned();
        match tokio::time::timeout(limit, permit).await {
            Ok(Ok(permit)) => Ok(self.spawn(permit, work)),
            Ok(Err(_)) | Err(_) => Err(ServiceError::Unavailable(format!(
                "all {MAX_CALLS} slots for concurrent calls were busy for {limit:?}"
            ))),
        }
    }

    /// Begins `work` in the background if a permit is free now, and drops it otherwise.
    pub(super) fn begin_in_background(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            let work = async {
                work.await;
                Ok(())
            };
            drop(self.spawn(permit, work));
        }
    }

    fn spawn<T: Send + 'static>(
        &self,
        permit: OwnedSemaphorePermit,
        work: impl Future<Output = Result<T, ServiceError>> + Send + 'static,
    ) -> PendingCall<T> {
        let (tell, told) = oneshot::channel();
        let task = within_current(async move {
            // The receiver may be gone: its request was cancelled.
            let _ = tell.send(work.await);
            drop(permit);
        });
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // Finished tasks stay in the set until they are joined; reap them here, so that it does not
        // grow.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
        PendingCall(told)
    }
}

impl Retrier {
    /// Calls the service, with retries while it is unreachable.
    pub(super) async fn call<T, F>(&self, ask: impl Fn() -> F) -> Result<T, ServiceError>
    where
        F: Future<Output = Result<T, ServiceError>>,
    {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        for _ in 1..TRIES {
            let answer = self.try_once(self.breaker.admit()?, &ask).await;
            // A slow failure has used up the request's time: do not add another try to it.
            let is_over = began.elapsed() >= self.timeout;
            match answer {
                Err(ServiceError::Unavailable(_)) if !is_over => {
                    tokio::time::sleep(jitter::full(pause)).await;
                    pause *= 4;
                }
                answer => return answer,
            }
        }
        // The last try has no pause after it.
        self.try_once(self.breaker.admit()?, &ask).await
    }

    async fn try_once<T, F>(
        &self,
        permit: Permit<'_>,
        ask: &impl Fn() -> F,
    ) -> Result<T, ServiceError>
    where
        F: Future<Output = Result<T, ServiceError>>,
    {
        let began = Instant::now();
        let answer = tokio::time::timeout(self.timeout, ask()).await;
        let answer = answer.unwrap_or_else(|_| Err(timeout_error(self.timeout)));
        let error = answer.as_ref().err();
        // Reported even if the task's receiver is gone: the breaker learns from every call.
        permit.report(health(error, began.elapsed() >= self.timeout), error);
        self.note(error);
        answer
    }

    /// Records how a request to the service went, and logs the change if it starts or stops
    /// failing.
    pub(super) fn note(&self, error: Option<&ServiceError>) {
        let failing = match error {
            Some(
                ServiceError::Unavailable(_)
                | ServiceError::Throttled(_)
                | ServiceError::Refused(_),
            ) => true,
            // The service responded; the request's key or ciphertext is at fault.
            Some(ServiceError::Key(_) | ServiceError::Ciphertext(_)) | None => false,
        };
        // Only a change is logged, so that an outage of many requests is one line.
        let failed_before = self.failing.swap(failing, Ordering::Relaxed);
        let key = &*self.key;
        match error {
            Some(error) if failing && !failed_before => {
                tracing::warn!(key, %error, "key service is failing");
            }
            None if failed_before => tracing::info!(key, "key service has recovered"),
            Some(_) | None => {}
        }
    }
}

fn health(error: Option<&ServiceError>, is_silent: bool) -> CallOutcome {
    match error {
        Some(ServiceError::Unavailable(_)) if is_silent => CallOutcome::TimedOut,
        Some(ServiceError::Unavailable(_) | ServiceError::Throttled(_)) => CallOutcome::Failed,
        Some(ServiceError::Refused(_) | ServiceError::Key(_) | ServiceError::Ciphertext(_))
        | None => CallOutcome::Answered,
    }
}

pub(super) fn timeout_error(timeout: Duration) -> ServiceError {
    let milliseconds = timeout.as_millis();
    ServiceError::Unavailable(format!("timed out after {milliseconds} ms"))
}

impl<T> PendingCall<T> {
    /// Returns whether the call ended before its result was awaited.
    pub(super) fn is_over(&mut self) -> bool {
        !matches!(self.0.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }
}

impl<T> Future for PendingCall<T> {
    type Output = Result<T, ServiceError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|told| {
            told.unwrap_or_else(|_| {
                Err(ServiceError::Unavailable("the call was aborted".to_owned()))
            })
        })
    }
}
