//! The KEK of a key service under which new objects are wrapped: bounded in objects and in time.
//!
//! One call makes the next KEK while the requests that need it wait. A KEK in use is replaced
//! before it expires, by [`ActiveKek::keep_renewed`], so that writes survive an outage for at least
//! the remaining time of one KEK.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use s3proxy_envelope::kek::Kek;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::jitter;
use super::key_service::ServiceError;
use super::service_caller::Caller;
use super::single_flight::SingleFlight;
use crate::config::resolved::ServiceCalls;
use crate::telemetry::metrics;

/// Longest pause between two tries to replace a KEK before it expires.
const MAX_RENEWAL_PAUSE: Duration = Duration::from_secs(30);

/// The KEK in use.
pub(super) struct ActiveKek {
    calls: ServiceCalls,
    current: Mutex<Option<CurrentKek>>,
    flight: SingleFlight<()>,
    changed: Notify,
}

struct CurrentKek {
    lent: LentKek,
    objects_left: u32,
    until: Instant,
    /// When to replace it, once an object was wrapped under it.
    renew_at: Instant,
    is_used: bool,
}

/// A KEK for one object.
#[derive(Clone)]
pub(super) struct LentKek {
    pub(super) kek: Arc<Kek>,
    pub(super) ciphertext: Arc<[u8]>,
}

/// Reason for a request for a KEK: to wrap an object, or only to know that there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KekPurpose {
    Object,
    Readiness,
}

impl ActiveKek {
    pub(super) fn new(calls: ServiceCalls) -> Self {
        Self {
            calls,
            current: Mutex::default(),
            flight: SingleFlight::default(),
            changed: Notify::new(),
        }
    }

    /// Returns a new KEK that `work` makes and [installs](Self::install), or the one that another
    /// request installed meanwhile.
    pub(super) async fn lend<W>(
        &self,
        purpose: KekPurpose,
        caller: &Caller,
        work: impl Fn() -> W,
    ) -> Result<LentKek, ServiceError>
    where
        W: Future<Output = Result<(), ServiceError>> + Send + 'static,
    {
        let mut guard = self.flight.enter().await;
        if let Some(lent) = self.lend_current(purpose) {
            return Ok(lent);
        }
        if purpose == KekPurpose::Object {
            metrics::key_cache_missed();
        }
        loop {
            guard.run(caller, &work).await?;
            // Requests that find a KEK take it without a turn, and may use up this one first.
            if let Some(lent) = self.try_lend(purpose) {
                return Ok(lent);
            }
        }
    }

    /// Returns the KEK in use.
    pub(super) fn lend_current(&self, purpose: KekPurpose) -> Option<LentKek> {
        let lent = self.try_lend(purpose)?;
        if purpose == KekPurpose::Object {
            metrics::key_cache_hit();
        }
        Some(lent)
    }

    fn try_lend(&self, purpose: KekPurpose) -> Option<LentKek> {
        let mut current = self.lock();
        let current = current.as_mut()?;
        let was_due = current.due();
        let lent = current.lend(purpose, &self.calls);
        // Wake the renewal task only if its deadline moved, not for each object.
        if current.due() != was_due {
            self.changed.notify_one();
        }
        lent
    }

    /// Replaces the KEK in use.
    pub(super) fn install(&self, lent: LentKek) {
        let now = Instant::now();
        let time = self.calls.kek_time;
        *self.lock() = Some(CurrentKek {
            lent,
            objects_left: self.calls.kek_objects.get(),
            until: now + time,
            // Jittered, so that replicas that started together do not call at once.
            renew_at: now + time * 4 / 5 - jitter::full(time / 20),
            is_used: false,
        });
        self.changed.notify_one();
    }

    /// Replaces each KEK before it expires, for as long as the future is polled. An unused KEK just
    /// expires.
    pub(super) async fn keep_renewed<W>(&self, caller: &Caller, work: impl Fn() -> W)
    where
        W: Future<Output = Result<(), ServiceError>> + Send + 'static,
    {
        let mut pause = Duration::from_secs(1);
        loop {
            let due = self.lock().as_ref().and_then(CurrentKek::due);
            tokio::select! {
                // The deadline moved, or the KEK was replaced: compute it again.
                () = self.changed.notified() => continue,
                () = until(due) => {}
            }
            // With a turn, so that whoever needs a KEK meanwhile waits for this one.
            let mut guard = self.flight.enter().await;
            if !self.is_due() {
                // A request made a new KEK while this waited for its turn.
                continue;
            }
            let made = guard.run(caller, &work).await;
            if made.is_ok() {
                pause = Duration::from_secs(1);
            } else {
                self.postpone(jitter::upper_half(pause));
                pause = (pause * 2).min(MAX_RENEWAL_PAUSE);
            }
        }
    }

    fn is_due(&self) -> bool {
        let due = self.lock().as_ref().and_then(CurrentKek::due);
        due.is_some_and(|due| due <= Instant::now())
    }

    fn postpone(&self, pause: Duration) {
        if let Some(current) = &mut *self.lock() {
            current.renew_at = Instant::now() + pause;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<CurrentKek>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

impl CurrentKek {
    fn lend(&mut self, purpose: KekPurpose, calls: &ServiceCalls) -> Option<LentKek> {
        if self.objects_left == 0 || Instant::now() >= self.until {
            return None;
        }
        match purpose {
            KekPurpose::Object => {
                self.objects_left -= 1;
                self.is_used = true;
                // The last fifth of the objects is the reserve during which the next KEK is made.
                // Exactly at this count, so that the deadline moves once and not with each object.
                if self.objects_left == calls.kek_objects.get() / 5 {
                    self.renew_at = self.renew_at.min(Instant::now());
                }
            }
            KekPurpose::Readiness => {}
        }
        Some(self.lent.clone())
    }

    fn due(&self) -> Option<Instant> {
        let is_wanted = self.is_used && self.objects_left > 0 && self.renew_at < self.until;
        is_wanted.then_some(self.renew_at)
    }
}
