//! The memory budget that all bodies share.
//!
//! Shares are granted in order of need: first to the holder with the least memory, then in order of
//! arrival. Smaller requests may overtake one whose share does not fit; those of its own holder
//! only for a while ([`OVERTAKEN_FOR`]). A holder is a listed client, or the network of an unlisted
//! one.
//!
//! Invariants: a holder never has more than [`MOST_OF_FREE`] times the memory that stays free, and
//! all unauthenticated requests together never more than [`MOST_OF_FREE_UNAUTHENTICATED`] times, so
//! that the next holder finds some. Bodies of which only the beginning has arrived
//! ([`BodyStage::Beginning`]) have at most a part of the memory ([`BEGINNINGS`]), so that those
//! further on can finish. The queue is bounded in length and time, one holder has at most half of its
//! remaining places, and while it is not empty, slow clients have to give up their shares
//! ([`super::pressure`]).

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::buffers::STREAM_BYTES;
use super::pressure::Pressure;
use crate::telemetry::metrics::{self, GaugeGuard, Limit};

/// Time that a request waits for its share before it is throttled.
const BUDGET_WAIT: Duration = Duration::from_secs(10);

/// Time for which a waiting request may be overtaken by others of its own holder.
const OVERTAKEN_FOR: Duration = Duration::from_secs(4);

/// Length of the queue; further requests are throttled at once. Each waiting request holds its
/// connection, and perhaps one to the backend.
const QUEUE: usize = 1024;

/// Unit of the accounts, in bytes.
const UNIT_BYTES: usize = 1024;

/// Most memory of one holder, as a multiple of the memory that stays free: 7/8 for a sole holder.
const MOST_OF_FREE: usize = 7;

/// Most memory of all unauthenticated requests together, as a multiple of the memory that stays
/// free: three quarters.
const MOST_OF_FREE_UNAUTHENTICATED: usize = 3;

/// Divisor of the total for bodies of which only the beginning has arrived.
const BEGINNINGS: usize = 4;

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

struct MemoryLedger {
    free: usize,
    /// Units of bodies of which only the beginning has arrived.
    beginnings: usize,
    unauthenticated: usize,
    holders: HashMap<MemoryHolder, HolderAccount>,
    /// Waiting requests in order of arrival.
    waiting: VecDeque<WaitingClaim>,
    next_ticket: u64,
}

/// Units that one holder has, and the number of its waiting requests.
#[derive(Default)]
struct HolderAccount {
    units: usize,
    waiting: usize,
}

#[derive(Clone, Copy)]
struct MemoryClaim {
    holder: MemoryHolder,
    units: usize,
    stage: BodyStage,
}

struct WaitingClaim {
    ticket: u64,
    claim: MemoryClaim,
    since: Instant,
    granted: oneshot::Sender<BodyShare>,
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
            ledger: Mutex::new(MemoryLedger {
                free: total_units,
                beginnings: 0,
                unauthenticated: 0,
                holders: HashMap::new(),
                waiting: VecDeque::new(),
                next_ticket: 0,
            }),
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
        let most = match (stage, holder.class) {
            (BodyStage::Beginning, _) => self.total_units / BEGINNINGS,
            (BodyStage::UnderWay, HolderClass::Authenticated) => {
                part(self.total_units, MOST_OF_FREE)
            }
            (BodyStage::UnderWay, HolderClass::Unauthenticated) => {
                part(self.total_units, MOST_OF_FREE_UNAUTHENTICATED)
            }
        };
        let claim = MemoryClaim {
            holder,
            // Never above the limit that a lone claim can meet, or it would wait in vain.
            units: bytes.div_ceil(UNIT_BYTES).clamp(1, most),
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
        let fits = ledger.fits(claim, self.total_units) && !ledger.is_behind(claim, Instant::now());
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
        while let Some(index) = ledger.next(self.total_units) {
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

/// Returns the largest possible claim: with it, the rule about the free memory just holds.
fn part(total_units: usize, most_of_free: usize) -> usize {
    total_units / (most_of_free + 1) * most_of_free
}

impl MemoryLedger {
    fn fits(&self, claim: MemoryClaim, total_units: usize) -> bool {
        let Some(left) = self.free.checked_sub(claim.units) else {
            return false;
        };
        let has = self.holders.get(&claim.holder).map_or(0, |has| has.units);
        let class_fits = match claim.holder.class {
            HolderClass::Authenticated => true,
            HolderClass::Unauthenticated => {
                self.unauthenticated + claim.units <= MOST_OF_FREE_UNAUTHENTICATED * left
            }
        };
        let stage_fits = match claim.stage {
            BodyStage::Beginning => self.beginnings + claim.units <= total_units / BEGINNINGS,
            BodyStage::UnderWay => true,
        };
        class_fits && stage_fits && has + claim.units <= MOST_OF_FREE * left
    }

    /// Returns whether another request of the same holder has waited so long that this one may not
    /// overtake it.
    fn is_behind(&self, claim: MemoryClaim, now: Instant) -> bool {
        self.waiting
            .iter()
            // The queue is in order of arrival, so the long waits are at its front.
            .take_while(|waiting| now.duration_since(waiting.since) >= OVERTAKEN_FOR)
            .any(|waiting| waiting.claim.holder == claim.holder)
    }

    /// Returns the position of the request that is granted its share next.
    fn next(&self, total_units: usize) -> Option<usize> {
        if self.free == 0 {
            return None;
        }
        let now = Instant::now();
        let mut blocked = Vec::new();
        let mut best: Option<(usize, usize)> = None;
        // The queue is bounded, so a linear scan is cheap enough.
        for (index, waiting) in self.waiting.iter().enumerate() {
            let holder = waiting.claim.holder;
            if blocked.contains(&holder) {
                continue;
            }
            if self.fits(waiting.claim, total_units) {
                let has = self.holders.get(&holder).map_or(0, |has| has.units);
                // Strictly less: among equals the earliest request wins.
                if best.is_none_or(|(least, _)| has < least) {
                    best = Some((has, index));
                }
            } else if now.duration_since(waiting.since) >= OVERTAKEN_FOR {
                // From here on no later request of this holder may overtake it.
                blocked.push(holder);
            }
        }
        best.map(|(_, index)| index)
    }

    /// Adds a claim to the queue, unless the queue or the holder's part of it is full.
    fn queue(&mut self, claim: MemoryClaim, granted: oneshot::Sender<BodyShare>) -> Option<u64> {
        let left = QUEUE.saturating_sub(self.waiting.len());
        let account = self.holders.entry(claim.holder).or_default();
        // The entry may have been made just above: remove it again.
        if account.waiting >= left {
            self.forget(claim.holder);
            return None;
        }
        account.waiting += 1;
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting.push_back(WaitingClaim {
            ticket,
            claim,
            since: Instant::now(),
            granted,
        });
        Some(ticket)
    }

    fn leave(&mut self, index: usize) -> Option<WaitingClaim> {
        let waiting = self.waiting.remove(index)?;
        if let Some(account) = self.holders.get_mut(&waiting.claim.holder) {
            account.waiting -= 1;
        }
        self.forget(waiting.claim.holder);
        Some(waiting)
    }

    fn book(&mut self, claim: MemoryClaim) {
        self.free -= claim.units;
        self.holders.entry(claim.holder).or_default().units += claim.units;
        match claim.holder.class {
            HolderClass::Authenticated => {}
            HolderClass::Unauthenticated => self.unauthenticated += claim.units,
        }
        match claim.stage {
            BodyStage::Beginning => self.beginnings += claim.units,
            BodyStage::UnderWay => {}
        }
    }

    fn give_back(&mut self, claim: MemoryClaim) {
        self.free += claim.units;
        if let Some(account) = self.holders.get_mut(&claim.holder) {
            account.units -= claim.units;
        }
        match claim.holder.class {
            HolderClass::Authenticated => {}
            HolderClass::Unauthenticated => self.unauthenticated -= claim.units,
        }
        match claim.stage {
            BodyStage::Beginning => self.beginnings -= claim.units,
            BodyStage::UnderWay => {}
        }
        self.forget(claim.holder);
    }

    /// Removes the account of a holder that has nothing and waits for nothing.
    fn forget(&mut self, holder: MemoryHolder) {
        let account = self.holders.get(&holder);
        if account.is_some_and(|account| account.units == 0 && account.waiting == 0) {
            self.holders.remove(&holder);
        }
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
