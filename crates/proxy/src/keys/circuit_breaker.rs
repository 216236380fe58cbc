//! Circuit breaker for one key at a key service.
//!
//! While closed, it admits every call. After [`OPENS_AT`] failures in a row, where a timeout counts
//! [`TIMEOUT_WEIGHT`] times, it opens: calls fail at once and burden neither the service nor the
//! requests. After a pause it admits one call, the probe. A successful probe closes it; a failed one
//! opens it again for longer, up to [`LONGEST_PAUSE`].
//!
//! Only an unreachable, overloaded or silent service counts as failing. A refused login, a disabled
//! key or a foreign ciphertext is a quick response about one request, and ends a row of failures.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::jitter;
use super::key_service::ServiceError;
use crate::telemetry::metrics::{self, GaugeGuard, ServiceKind};

/// Number of consecutive failures that open the breaker.
pub(super) const OPENS_AT: u32 = 5;

/// Weight of a timeout: it holds up requests for the whole time limit.
const TIMEOUT_WEIGHT: u32 = 2;

/// Longest first pause. The pause doubles after each failed probe.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Longest pause, and so the longest time until a recovered service is noticed.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Circuit breaker: decides whether a key service is called.
pub(super) struct CircuitBreaker {
    key: Arc<str>,
    kind: ServiceKind,
    state: Mutex<BreakerState>,
}

enum BreakerState {
    Closed {
        /// Weighted number of consecutive failures.
        failures: u32,
    },
    Open(Outage),
}

struct Outage {
    since: Instant,
    /// When the next call may pass; `None` while a probe is in flight.
    probe_at: Option<Instant>,
    pause: Duration,
    last: ServiceError,
    _counted: GaugeGuard,
}

/// Outcome of a call, as far as the service's health is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallOutcome {
    Answered,
    Failed,
    /// The call timed out.
    TimedOut,
}

/// Permission for one call. Dropped without a report, it counts as failed.
#[must_use]
pub(super) struct Permit<'a> {
    breaker: &'a CircuitBreaker,
    is_reported: bool,
}

impl CircuitBreaker {
    pub(super) fn new(key: Arc<str>, kind: ServiceKind) -> Self {
        Self {
            key,
            kind,
            state: Mutex::new(BreakerState::Closed { failures: 0 }),
        }
    }

    /// Admits a call, or returns why none is made.
    pub(super) fn admit(&self) -> Result<Permit<'_>, ServiceError> {
        let mut state = self.lock();
        if let BreakerState::Open(outage) = &mut *state {
            match outage.probe_at {
                // Taking the time makes this call the only probe; `report` or the permit's drop
                // sets it again.
                Some(at) if at <= Instant::now() => outage.probe_at = None,
                Some(_) | None => {
                    metrics::key_service_call_withheld(self.kind);
                    return Err(outage.withheld());
                }
            }
        }
        Ok(Permit {
            breaker: self,
            is_reported: false,
        })
    }

    fn record(&self, outcome: CallOutcome, error: Option<&ServiceError>) {
        let weight = match outcome {
            CallOutcome::Answered => 0,
            CallOutcome::Failed => 1,
            CallOutcome::TimedOut => TIMEOUT_WEIGHT,
        };
        let mut state = self.lock();
        match &mut *state {
            BreakerState::Closed { failures } if weight == 0 => *failures = 0,
            BreakerState::Closed { failures } => {
                *failures += weight;
                if *failures >= OPENS_AT {
                    *state = BreakerState::Open(self.open(error));
                }
            }
            BreakerState::Open(outage) if weight == 0 => {
                let seconds = outage.since.elapsed().as_secs();
                tracing::info!(
                    key = &*self.key,
                    seconds,
                    "key service has recovered: the circuit breaker is closed"
                );
                *state = BreakerState::Closed { failures: 0 };
            }
            // Not the probe, but a call from before the breaker opened: its failure is no news.
            BreakerState::Open(outage) if outage.probe_at.is_some() => {}
            BreakerState::Open(outage) => outage.prolong(error),
        }
    }

    fn open(&self, error: Option<&ServiceError>) -> Outage {
        let last = error.cloned().unwrap_or_else(unfinished);
        let pause = jitter::upper_half(FIRST_PAUSE);
        tracing::warn!(
            key = &*self.key, error = %last, pause_ms = pause.as_millis(),
            "key service keeps failing: the circuit breaker is open, and requests that need the \
             service fail at once"
        );
        let now = Instant::now();
        Outage {
            since: now,
            // The pause is jittered only here: `pause` itself must double without the jitter.
            probe_at: Some(now + pause),
            pause: FIRST_PAUSE,
            last,
            _counted: metrics::breaker_opened(self.kind),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BreakerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outage {
    fn prolong(&mut self, error: Option<&ServiceError>) {
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.probe_at = Some(Instant::now() + jitter::upper_half(self.pause));
        self.last = error.cloned().unwrap_or_else(unfinished);
    }

    fn withheld(&self) -> ServiceError {
        let seconds = self.since.elapsed().as_secs();
        // Without the prefix of the inner error, which the outer one repeats.
        let last = match &self.last {
            ServiceError::Unavailable(text) | ServiceError::Throttled(text) => text.clone(),
            other => other.to_string(),
        };
        ServiceError::Unavailable(format!(
            "not called, because it has been failing for {seconds} s; last error: {last}"
        ))
    }
}

impl Permit<'_> {
    /// Records how the call ended.
    pub(super) fn report(mut self, outcome: CallOutcome, error: Option<&ServiceError>) {
        self.is_reported = true;
        self.breaker.record(outcome, error);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.is_reported {
            // A cancelled probe must not leave the breaker waiting for a report that never comes.
            self.breaker.record(CallOutcome::Failed, None);
        }
    }
}

fn unfinished() -> ServiceError {
    ServiceError::Unavailable("the call was cancelled".to_owned())
}

#[cfg(test)]
mod tests;
