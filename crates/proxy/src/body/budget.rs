//! The memory budget that all bodies share.
//!
//! Shares are granted in order of need: first to the holder with the least memory, then in order of
//! arrival. Smaller requests may overtake one whose share does not fit; those of its own holder
//! only for a while (`OVERTAKEN_FOR`). A holder is a listed client, or the network of an unlisted
//! one.
//!
//! Invariants: a holder never has more than `MOST_OF_FREE` times the memory that stays free, and
//! all unauthenticated requests together never more than `MOST_OF_FREE_UNAUTHENTICATED` times, so
//! that the next holder finds some. Bodies of which only the beginning has arrived
//! ([`BodyStage::Beginning`]) have at most a part of the memory (`BEGINNINGS`), so that those
//! further on can finish. The queue is bounded in length and time, one holder has at most half of
//! its remaining places, and while it is not empty, slow clients have to give up their shares
//! ([`super::pressure`]).

mod ledger;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use self::ledger::{MemoryClaim, MemoryLedger, largest_claim};
use super::buffers::STREAM_BYTES;
use super::pressure::Pressure;
use crate::telemetry::metrics::{self, GaugeGuard, Limit};

/// Time that a request waits for its share before it is throttled.
const BUDGET_WAIT: Duration = Duration::from_secs(10);

/// Unit of the accounts, in bytes.
const UNIT_BYTES: usize = 1024;

/// Owner of memory, for fairness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct MemoryHolder {
    id: u64,
    class: HolderClass,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum HolderClass {
    Authenticated,
    Unauthenticated,
}

impl MemoryHolder {
    /// Identifies an authenticated client, by name or any other value that distinguishes holders.
    pub(crate) fn authenticated(name: impl Hash) -> Self {
        Self::new(name, HolderClass::Authenticated)
    }

    /// Identifies the sender of unsigned requests, if other clients sign theirs.
    pub(crate) fn unauthenticated(name: impl Hash) -> Self {
        Self::new(name, HolderClass::Unauthenticated)
    }

    fn new(name: impl Hash, class: HolderClass) -> Self {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        Self {
            id: hasher.finish(),
            class,
        }
    }
}

/// Stage of a body, by the amount that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyStage {
    /// Only the first bytes; more may never come.
    Beginning,
    /// Enough to trust its announced length.
    UnderWay,
}

/// Budget over all bodies in flight.
pub(crate) struct BodyBudget {
    ledger: Mutex<MemoryLedger>,
    total_units: usize,
    pressure: Arc<Pressure>,
}

/// A share of the budget, returned on drop.
#[must_use]
pub(crate) struct BodyShare {
    budget: Arc<BodyBudget>,
    claim: MemoryClaim,
    _counted: GaugeGuard,
}

/// Error of a request that gets no share.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BudgetExhausted {
    #[error("timed out after {} s waiting for body memory", BUDGET_WAIT.as_secs())]
    TooLate,
    #[error("too many requests, of this client or in total, already wait for body memory")]
    TooMany,
}

impl BodyBudget {
    /// Builds a budget of `bytes`; at least one streamed body always fits.
    pub(crate) fn new(bytes: usize) -> Self {
        let total_units = bytes.max(2 * STREAM_BYTES).div_ceil(UNIT_BYTES);
        metrics::body_memory_limit(total_units * UNIT_BYTES);
        Self {
            ledger: Mutex::new(MemoryLedger::new(total_units)),
            total_units,
            pressure: Arc::default(),
        }
    }

    /// Returns the pressure that waiting bodies exert on slow ones.
    pub(crate) fn pressure(&self) -> &Arc<Pressure> {
        &self.pressure
    }

    /// Waits for a share of `bytes`.
    pub(crate) async fn share(
        self: &Arc<Self>,
        holder: MemoryHolder,
        bytes: usize,
    ) -> Result<BodyShare, BudgetExhausted> {
        self.share_for(holder, bytes, BodyStage::UnderWay).await
    }

    /// Waits for a share of `bytes` for a body at this stage.
    pub(crate) async fn share_for(
        self: &Arc<Self>,
        holder: MemoryHolder,
        bytes: usize,
        stage: BodyStage,
    ) -> Result<BodyShare, BudgetExhausted> {
        let claim = MemoryClaim {
            holder,
            // Never above the limit that a lone claim can meet, or it would wait in vain.
            units: bytes
                .div_ceil(UNIT_BYTES)
                .clamp(1, largest_claim(self.total_units, stage, holder.class)),
            stage,
        };
        self.claim(claim)
            .await
            .inspect_err(|_| metrics::throttled(Limit::Memory))
    }

    async fn claim(self: &Arc<Self>, claim: MemoryClaim) -> Result<BodyShare, BudgetExhausted> {
        let (granted, receiver) = oneshot::channel();
        let ticket = {
            // One lock for both steps: memory freed in between would be granted to nobody.
            let mut ledger = self.ledger();
            if let Some(share) = self.at_once(&mut ledger, claim) {
                return Ok(share);
            }
            ledger.queue(claim, granted)
        };
        let _place = QueuedClaim {
            budget: self,
            ticket: ticket.ok_or(BudgetExhausted::TooMany)?,
        };
        // Only while it waits: slow clients are ended for its sake.
        let _wanted = self.pressure.want(claim.units * UNIT_BYTES);
        match tokio::time::timeout(BUDGET_WAIT, receiver).await {
            Ok(Ok(share)) => Ok(share),
            Ok(Err(_)) | Err(_) => Err(BudgetExhausted::TooLate),
        }
    }

    /// Grants a share that needs no wait.
    fn at_once(
        self: &Arc<Self>,
        ledger: &mut MemoryLedger,
        claim: MemoryClaim,
    ) -> Option<BodyShare> {
        let fits = ledger.fits(claim) && !ledger.is_behind(claim, Instant::now());
        fits.then(|| self.take(ledger, claim))
    }

    fn take(self: &Arc<Self>, ledger: &mut MemoryLedger, claim: MemoryClaim) -> BodyShare {
        ledger.book(claim);
        BodyShare {
            budget: Arc::clone(self),
            claim,
            _counted: metrics::body_memory(claim.units * UNIT_BYTES),
        }
    }

    /// Grants free memory to waiting requests. Returns shares whose requests were cancelled:
    /// dropping one takes the lock, so it must happen after the lock is released.
    fn grant(self: &Arc<Self>, ledger: &mut MemoryLedger) -> Vec<BodyShare> {
        let mut refused = Vec::new();
        while let Some(index) = ledger.next() {
            let Some(waiting) = ledger.leave(index) else {
                break;
            };
            let share = self.take(ledger, waiting.claim);
            if let Err(share) = waiting.granted.send(share) {
                // Stop here: dropping the refused share calls `grant` again for the rest.
                refused.push(share);
                break;
            }
        }
        refused
    }

    fn ledger(&self) -> MutexGuard<'_, MemoryLedger> {
        // A poisoned lock is usable: nothing under the lock can panic.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BodyShare {
    /// Returns the size of the share in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.claim.units * UNIT_BYTES
    }

    /// Marks the body as under way, once more of it has arrived.
    pub(crate) fn mark_under_way(&mut self) {
        let mut ledger = self.budget.ledger();
        // Under one lock, so that nobody takes the memory in between.
        ledger.give_back(self.claim);
        self.claim.stage = BodyStage::UnderWay;
        ledger.book(self.claim);
    }
}

impl Drop for BodyShare {
    fn drop(&mut self) {
        let mut ledger = self.budget.ledger();
        ledger.give_back(self.claim);
        let refused = self.budget.grant(&mut ledger);
        drop(ledger);
        drop(refused);
    }
}

/// A place in the queue, left on drop.
struct QueuedClaim<'b> {
    budget: &'b Arc<BodyBudget>,
    ticket: u64,
}

impl Drop for QueuedClaim<'_> {
    fn drop(&mut self) {
        let mut ledger = self.budget.ledger();
        let found = ledger
            .waiting
            .iter()
            .position(|waiting| waiting.ticket == self.ticket);
        let left = found.and_then(|index| ledger.leave(index));
        // Other requests of its holder may have been waiting for this one.
        let refused = match left {
            Some(_) => self.budget.grant(&mut ledger),
            None => Vec::new(),
        };
        drop(ledger);
        drop(refused);
    }
}

#[cfg(test)]
mod tests;
