//! The KEK of a key service that new objects are wrapped under: bounded in objects and in time.
//!
//! One call makes the next KEK while those who need it wait. A KEK that is in use is replaced
//! ahead of its end, by [`Writing::kept`], so that writes go on through an outage for as long as
//! one KEK serves at least.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use s3proxy_envelope::kek::Kek;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::caller::Caller;
use super::jitter;
use super::key_service::ServiceError;
use super::turn::Turns;
use crate::config::resolved::ServiceCalls;
use crate::telemetry::metrics;

/// The longest pause between two tries to replace a KEK ahead of its end.
const RENEW_AGAIN: Duration = Duration::from_secs(30);

/// The KEK in use.
pub(super) struct Writing {
    calls: ServiceCalls,
    current: Mutex<Option<Current>>,
    turns: Turns<()>,
    changed: Notify,
}

struct Current {
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

/// Whether a KEK is needed for an object, or only has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Object,
    Readiness,
}

impl Writing {
    pub(super) fn new(calls: ServiceCalls) -> Self {
        Self {
            calls,
            current: Mutex::default(),
            turns: Turns::default(),
            changed: Notify::new(),
        }
    }

    /// A new KEK that `work` makes and [installs](Self::install), or the one that others made
    /// meanwhile.
    pub(super) async fn lend<W>(
        &self,
        need: Need,
        caller: &Caller,
        work: impl Fn() -> W,
    ) -> Result<LentKek, ServiceError>
    where
        W: Future<Output = Result<(), ServiceError>> + Send + 'static,
    {
        let mut turn = self.turns.wait().await;
        if let Some(lent) = self.at_hand(need) {
            return Ok(lent);
        }
        if need == Need::Object {
            metrics::key_cache_missed();
        }
        loop {
            turn.take(caller, &work).await?;
            // Those who need no new KEK take from this one without a turn, and may empty it.
            if let Some(lent) = self.lend_current(need) {
                return Ok(lent);
            }
        }
    }

    /// The KEK in use.
    pub(super) fn at_hand(&self, need: Need) -> Option<LentKek> {
        let lent = self.lend_current(need)?;
        if need == Need::Object {
            metrics::key_cache_hit();
        }
        Some(lent)
    }

    fn lend_current(&self, need: Need) -> Option<LentKek> {
        let mut current = self.lock();
        let current = current.as_mut()?;
        let was_due = current.due();
        let lent = current.lend(need, &self.calls);
        if current.due() != was_due {
            self.changed.notify_one();
        }
        lent
    }

    /// Puts a new KEK in the place of the one in use.
    pub(super) fn install(&self, lent: LentKek) {
        let now = Instant::now();
        let time = self.calls.kek_time;
        *self.lock() = Some(Current {
            lent,
            objects_left: self.calls.kek_objects.get(),
            until: now + time,
            // Replicas that began together do not all ask at once.
            renew_at: now + time * 4 / 5 - jitter::full(time / 20),
            is_used: false,
        });
        self.changed.notify_one();
    }

    /// Replaces each KEK ahead of its end, for as long as it is polled. One that nobody uses ends.
    pub(super) async fn kept<W>(&self, caller: &Caller, work: impl Fn() -> W)
    where
        W: Future<Output = Result<(), ServiceError>> + Send + 'static,
    {
        let mut pause = Duration::from_secs(1);
        loop {
            let due = self.lock().as_ref().and_then(Current::due);
            tokio::select! {
                () = self.changed.notified() => continue,
                () = until(due) => {}
            }
            // With a turn, so that whoever needs a KEK meanwhile waits for this one.
            let mut turn = self.turns.wait().await;
            if !self.is_due() {
                // A request made a new KEK while this waited for its turn.
                continue;
            }
            let made = turn.take(caller, &work).await;
            if made.is_ok() {
                pause = Duration::from_secs(1);
            } else {
                self.postpone(jitter::upper_half(pause));
                pause = (pause * 2).min(RENEW_AGAIN);
            }
        }
    }

    fn is_due(&self) -> bool {
        let due = self.lock().as_ref().and_then(Current::due);
        due.is_some_and(|due| due <= Instant::now())
    }

    fn postpone(&self, pause: Duration) {
        if let Some(current) = &mut *self.lock() {
            current.renew_at = Instant::now() + pause;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

impl Current {
    fn lend(&mut self, need: Need, calls: &ServiceCalls) -> Option<LentKek> {
        if self.objects_left == 0 || Instant::now() >= self.until {
            return None;
        }
        match need {
            Need::Object => {
                self.objects_left -= 1;
                self.is_used = true;
                // Of a KEK for few objects nothing is left ahead of its end.
                if self.objects_left == calls.kek_objects.get() / 5 {
                    self.renew_at = self.renew_at.min(Instant::now());
                }
            }
            Need::Readiness => {}
        }
        Some(self.lent.clone())
    }

    fn due(&self) -> Option<Instant> {
        let is_wanted = self.is_used && self.objects_left > 0 && self.renew_at < self.until;
        is_wanted.then_some(self.renew_at)
    }
}
