//! Calls to one key at a key service: bounded in number and time, repeated where it helps.
//!
//! A call runs in a task of its own to its end, whoever began it: a client that leaves takes
//! nothing from the others who wait for the same answer, and a service that stays silent is found
//! out even if all clients lose patience first.
//!
//! A service that cannot be reached is asked up to [`TRIES`] times, with full jitter between them,
//! but no more once the time limit of one call is over. One that says it is overloaded is not
//! asked again for the same request: clients repeat it anyway, and each layer that repeats
//! multiplies the load. The [`Breaker`] has the last word before each try.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::breaker::{Breaker, Health, Permit};
use super::jitter;
use super::key_service::ServiceError;
use crate::telemetry::metrics::ServiceKind;
use crate::telemetry::traces::within_current;

/// How often a service is asked that cannot be reached.
const TRIES: u32 = 3;

/// The longest pause before the second try. Four times as long before the third.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Calls at once for one key. An answer may take 64 KiB.
const MOST_CALLS: usize = 64;

/// Calls a service for one of its keys. Calls under way end with it.
pub(super) struct Caller {
    line: Arc<Line>,
    places: Arc<Semaphore>,
    tasks: Mutex<JoinSet<()>>,
}

/// How the service is doing, and how it is called.
pub(super) struct Line {
    key: Arc<str>,
    timeout: Duration,
    breaker: Breaker,
    failing: AtomicBool,
}

/// The answer to a call that runs by itself. Dropping it does not end the call.
pub(super) struct Pending<T>(oneshot::Receiver<Result<T, ServiceError>>);

impl Caller {
    /// `timeout` bounds each try.
    pub(super) fn new(key: Arc<str>, kind: ServiceKind, timeout: Duration) -> Self {
        Self {
            line: Arc::new(Line {
                breaker: Breaker::new(Arc::clone(&key), kind),
                key,
                timeout,
                failing: AtomicBool::new(false),
            }),
            places: Arc::new(Semaphore::new(MOST_CALLS)),
            tasks: Mutex::default(),
        }
    }

    pub(super) fn line(&self) -> &Arc<Line> {
        &self.line
    }

    /// Begins `work` as soon as there is a place for it.
    pub(super) async fn begin<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, ServiceError>> + Send + 'static,
    ) -> Result<Pending<T>, ServiceError> {
        let limit = self.line.timeout;
        let place = Arc::clone(&self.places).acquire_owned();
        match tokio::time::timeout(limit, place).await {
            Ok(Ok(place)) => Ok(self.spawn(place, work)),
            Ok(Err(_)) | Err(_) => Err(ServiceError::Unavailable(format!(
                "{MOST_CALLS} calls are under way, and none ended within {limit:?}"
            ))),
        }
    }

    /// Begins `work` if there is a place for it now. Nobody waits for it.
    pub(super) fn begin_aside(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            let work = async {
                work.await;
                Ok(())
            };
            drop(self.spawn(place, work));
        }
    }

    fn spawn<T: Send + 'static>(
        &self,
        place: OwnedSemaphorePermit,
        work: impl Future<Output = Result<T, ServiceError>> + Send + 'static,
    ) -> Pending<T> {
        let (tell, told) = oneshot::channel();
        let task = within_current(async move {
            // Whoever asked may have gone.
            let _ = tell.send(work.await);
            drop(place);
        });
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
        Pending(told)
    }
}

impl Line {
    /// Asks the service, again where it could not be reached.
    pub(super) async fn call<T, F>(&self, ask: impl Fn() -> F) -> Result<T, ServiceError>
    where
        F: Future<Output = Result<T, ServiceError>>,
    {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        for _ in 1..TRIES {
            let answer = self.try_once(self.breaker.admit()?, &ask).await;
            let is_over = began.elapsed() >= self.timeout;
            match answer {
                Err(ServiceError::Unavailable(_)) if !is_over => {
                    tokio::time::sleep(jitter::full(pause)).await;
                    pause *= 4;
                }
                answer => return answer,
            }
        }
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
        let answer = answer.unwrap_or_else(|_| Err(too_late(self.timeout)));
        let error = answer.as_ref().err();
        permit.report(health(error, began.elapsed() >= self.timeout), error);
        self.note(error);
        answer
    }

    /// Remembers how a request to the service went, and says so in the log when that changes.
    pub(super) fn note(&self, error: Option<&ServiceError>) {
        let failing = match error {
            Some(
                ServiceError::Unavailable(_)
                | ServiceError::Throttled(_)
                | ServiceError::Refused(_),
            ) => true,
            // The service answered; something is wrong with what it was asked for.
            Some(ServiceError::Key(_) | ServiceError::Ciphertext(_)) | None => false,
        };
        let failed_before = self.failing.swap(failing, Ordering::Relaxed);
        let key = &*self.key;
        match error {
            Some(error) if failing && !failed_before => {
                tracing::warn!(key, %error, "a key service fails");
            }
            None if failed_before => tracing::info!(key, "the key service answers again"),
            Some(_) | None => {}
        }
    }
}

fn health(error: Option<&ServiceError>, is_silent: bool) -> Health {
    match error {
        Some(ServiceError::Unavailable(_)) if is_silent => Health::Silent,
        Some(ServiceError::Unavailable(_) | ServiceError::Throttled(_)) => Health::Failed,
        Some(ServiceError::Refused(_) | ServiceError::Key(_) | ServiceError::Ciphertext(_))
        | None => Health::Answered,
    }
}

pub(super) fn too_late(timeout: Duration) -> ServiceError {
    let milliseconds = timeout.as_millis();
    ServiceError::Unavailable(format!("no answer within {milliseconds} ms"))
}

impl<T> Pending<T> {
    /// Whether the call ended before anybody asked for its answer.
    pub(super) fn is_over(&mut self) -> bool {
        !matches!(self.0.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, ServiceError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|told| {
            told.unwrap_or_else(|_| {
                Err(ServiceError::Unavailable("the call was cut off".to_owned()))
            })
        })
    }
}
