//! Circuit breaker for one key at a key service.
//!
//! While closed, it admits every call. After [`OPENS_AT`] failures in a row, where a timeout counts
//! [`SILENCE`] times, it opens: calls fail at once and burden neither the service nor the requests.
//! After a pause it admits one call, the probe. A successful probe closes it; a failed one opens it
//! again for longer, up to [`LONGEST_PAUSE`].
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
const SILENCE: u32 = 2;

/// Longest first pause. The pause doubles after each failed probe.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Longest pause, and so the longest time until a recovered service is noticed.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Circuit breaker: decides whether a key service is called.
pub(super) struct Breaker {
    key: Arc<str>,
    kind: ServiceKind,
    state: Mutex<State>,
}

enum State {
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
pub(super) enum Health {
    Answered,
    Failed,
    /// The call timed out.
    Silent,
}

/// Permission for one call. Dropped without a report, it counts as failed.
#[must_use]
pub(super) struct Permit<'a> {
    breaker: &'a Breaker,
    is_reported: bool,
}

impl Breaker {
    pub(super) fn new(key: Arc<str>, kind: ServiceKind) -> Self {
        Self {
            key,
            kind,
            state: Mutex::new(State::Closed { failures: 0 }),
        }
    }

    /// Admits a call, or returns why none is made.
    pub(super) fn admit(&self) -> Result<Permit<'_>, ServiceError> {
        let mut state = self.lock();
        if let State::Open(outage) = &mut *state {
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

    fn record(&self, health: Health, error: Option<&ServiceError>) {
        let weight = match health {
            Health::Answered => 0,
            Health::Failed => 1,
            Health::Silent => SILENCE,
        };
        let mut state = self.lock();
        match &mut *state {
            State::Closed { failures } if weight == 0 => *failures = 0,
            State::Closed { failures } => {
                *failures += weight;
                if *failures >= OPENS_AT {
                    *state = State::Open(self.open(error));
                }
            }
            State::Open(outage) if weight == 0 => {
                let seconds = outage.since.elapsed().as_secs();
                tracing::info!(
                    key = &*self.key,
                    seconds,
                    "a key service answers again: the breaker is closed"
                );
                *state = State::Closed { failures: 0 };
            }
            // Not the probe, but a call from before the breaker opened: its failure is no news.
            State::Open(outage) if outage.probe_at.is_some() => {}
            State::Open(outage) => outage.prolong(error),
        }
    }

    fn open(&self, error: Option<&ServiceError>) -> Outage {
        let last = error.cloned().unwrap_or_else(unfinished);
        let pause = jitter::upper_half(FIRST_PAUSE);
        tracing::warn!(
            key = &*self.key, error = %last, pause_ms = pause.as_millis(),
            "a key service failed again and again: the breaker is open, and requests that need \
             the service fail at once"
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

    fn lock(&self) -> MutexGuard<'_, State> {
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
            "not asked, since it has failed for {seconds} s; last: {last}"
        ))
    }
}

impl Permit<'_> {
    /// Records how the call ended.
    pub(super) fn report(mut self, health: Health, error: Option<&ServiceError>) {
        self.is_reported = true;
        self.breaker.record(health, error);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.is_reported {
            // A cancelled probe must not leave the breaker waiting for a report that never comes.
            self.breaker.record(Health::Failed, None);
        }
    }
}

fn unfinished() -> ServiceError {
    ServiceError::Unavailable("the call was not finished".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Breaker {
        Breaker::new("test:key".into(), ServiceKind::Vault)
    }

    fn fail(breaker: &Breaker, health: Health) {
        let error = ServiceError::Unavailable("away".to_owned());
        let permit = breaker.admit().expect("it lets calls pass");
        permit.report(health, Some(&error));
    }

    fn succeed(breaker: &Breaker) {
        let permit = breaker.admit().expect("it lets calls pass");
        permit.report(Health::Answered, None);
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row_only() {
        let breaker = breaker();
        for _ in 0..3 {
            for _ in 1..OPENS_AT {
                fail(&breaker, Health::Failed);
            }
            succeed(&breaker);
        }
        for _ in 0..OPENS_AT {
            fail(&breaker, Health::Failed);
        }
        let withheld = breaker.admit().err().expect("it is open");
        assert!(withheld.to_string().contains("last: away"), "{withheld}");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_opens_it_sooner() {
        let breaker = breaker();
        for _ in 0..3 {
            fail(&breaker, Health::Silent);
        }
        assert!(breaker.admit().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_at_a_time_passes_and_pauses_grow_to_their_bound() {
        let breaker = breaker();
        for _ in 0..OPENS_AT {
            fail(&breaker, Health::Failed);
        }
        // The upper half of each pause is random.
        for longest in [1000, 2000, 4000, 8000, 8000, 8000] {
            tokio::time::advance(Duration::from_millis(longest / 2 - 1)).await;
            assert!(breaker.admit().is_err(), "{longest} ms");
            tokio::time::advance(Duration::from_millis(longest / 2 + 2)).await;
            let probe = breaker.admit().expect("the pause is over");
            assert!(breaker.admit().is_err(), "one at a time");
            let error = ServiceError::Unavailable("away".to_owned());
            probe.report(Health::Failed, Some(&error));
        }
        tokio::time::advance(LONGEST_PAUSE).await;
        succeed(&breaker);
        fail(&breaker, Health::Failed);
        assert!(breaker.admit().is_ok(), "a success begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_nobody_finishes_does_not_keep_it_open_for_ever() {
        let breaker = breaker();
        for _ in 0..OPENS_AT {
            fail(&breaker, Health::Failed);
        }
        tokio::time::advance(FIRST_PAUSE).await;
        drop(breaker.admit().expect("the pause is over"));
        assert!(breaker.admit().is_err());
        tokio::time::advance(LONGEST_PAUSE).await;
        succeed(&breaker);
    }

    #[test]
    fn the_metric_counts_open_breakers_and_withheld_calls() {
        let text = metrics::tests::counted(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let (open, gone) = (breaker(), breaker());
                for breaker in [&open, &gone] {
                    for _ in 0..OPENS_AT {
                        fail(breaker, Health::Failed);
                    }
                }
                assert!(open.admit().is_err());
                drop(gone);
                // Leaked on purpose, as a breaker lives as long as a running program.
                std::mem::forget(open);
            });
        });
        let has = |line: &str| text.lines().any(|found| found == line);
        assert!(
            has("s3proxy_key_service_breakers_open{service=\"vault\"} 1"),
            "{text}"
        );
        assert!(
            has("s3proxy_key_service_calls_withheld_total{service=\"vault\"} 1"),
            "{text}"
        );
    }
}
