//! Books of the budget: memory and queue, and the rules by which memory is granted.
//!
//! All methods run under the budget's lock, and none of them waits.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{BodyShare, BodyStage, HolderClass, MemoryHolder};

/// Time for which a waiting request may be overtaken by others of its own holder.
pub(super) const OVERTAKEN_FOR: Duration = Duration::from_secs(4);

/// Length of the queue; further requests are throttled at once. Each waiting request holds its
/// connection, and perhaps one to the backend.
pub(super) const QUEUE: usize = 1024;

/// Most memory of one holder, as a multiple of the memory that stays free: 7/8 for a sole holder.
const MOST_OF_FREE: usize = 7;

/// Most memory of all unauthenticated requests together, as a multiple of the memory that stays
/// free: three quarters.
const MOST_OF_FREE_UNAUTHENTICATED: usize = 3;

/// Divisor of the total for bodies of which only the beginning has arrived.
const BEGINNINGS: usize = 4;

/// Books of the budget, in units.
pub(super) struct MemoryLedger {
    /// Units in the whole budget.
    total: usize,
    pub(super) free: usize,
    /// Units of bodies of which only the beginning has arrived.
    pub(super) beginnings: usize,
    /// Units of all unauthenticated requests together.
    pub(super) unauthenticated: usize,
    pub(super) holders: HashMap<MemoryHolder, HolderAccount>,
    /// Waiting requests in order of arrival.
    pub(super) waiting: VecDeque<WaitingClaim>,
    next_ticket: u64,
}

/// Units that one holder has, and the number of its waiting requests.
#[derive(Default)]
pub(super) struct HolderAccount {
    units: usize,
    waiting: usize,
}

/// A requested or granted share.
#[derive(Clone, Copy)]
pub(super) struct MemoryClaim {
    pub(super) holder: MemoryHolder,
    pub(super) units: usize,
    pub(super) stage: BodyStage,
}

/// A claim in the queue.
pub(super) struct WaitingClaim {
    pub(super) ticket: u64,
    pub(super) claim: MemoryClaim,
    since: Instant,
    pub(super) granted: oneshot::Sender<BodyShare>,
}

impl MemoryLedger {
    pub(super) fn new(total: usize) -> Self {
        Self {
            total,
            free: total,
            beginnings: 0,
            unauthenticated: 0,
            holders: HashMap::new(),
            waiting: VecDeque::new(),
            next_ticket: 0,
        }
    }

    /// Returns whether the invariants hold after this claim is granted.
    pub(super) fn fits(&self, claim: MemoryClaim) -> bool {
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
            BodyStage::Beginning => self.beginnings + claim.units <= self.total / BEGINNINGS,
            BodyStage::UnderWay => true,
        };
        class_fits && stage_fits && has + claim.units <= MOST_OF_FREE * left
    }

    /// Returns whether another request of the same holder has waited so long that this one may not
    /// overtake it.
    pub(super) fn is_behind(&self, claim: MemoryClaim, now: Instant) -> bool {
        self.waiting
            .iter()
            // The queue is in order of arrival, so the long waits are at its front.
            .take_while(|waiting| now.duration_since(waiting.since) >= OVERTAKEN_FOR)
            .any(|waiting| waiting.claim.holder == claim.holder)
    }

    /// Returns the position of the request that is granted its share next.
    pub(super) fn next(&self) -> Option<usize> {
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
            if self.fits(waiting.claim) {
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
    pub(super) fn queue(
        &mut self,
        claim: MemoryClaim,
        granted: oneshot::Sender<BodyShare>,
    ) -> Option<u64> {
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

    /// Removes the claim at this position from the queue.
    pub(super) fn leave(&mut self, index: usize) -> Option<WaitingClaim> {
        let waiting = self.waiting.remove(index)?;
        if let Some(account) = self.holders.get_mut(&waiting.claim.holder) {
            account.waiting -= 1;
        }
        self.forget(waiting.claim.holder);
        Some(waiting)
    }

    /// Books a granted claim.
    pub(super) fn book(&mut self, claim: MemoryClaim) {
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

    /// Cancels the booking of a claim whose memory is free again.
    pub(super) fn give_back(&mut self, claim: MemoryClaim) {
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

/// Returns the most units that a claim can get if nothing else is booked.
pub(super) fn largest_claim(total: usize, stage: BodyStage, class: HolderClass) -> usize {
    match (stage, class) {
        (BodyStage::Beginning, _) => total / BEGINNINGS,
        (BodyStage::UnderWay, HolderClass::Authenticated) => part(total, MOST_OF_FREE),
        (BodyStage::UnderWay, HolderClass::Unauthenticated) => {
            part(total, MOST_OF_FREE_UNAUTHENTICATED)
        }
    }
}

/// Returns the largest claim with which the rule about the free memory just holds.
fn part(total: usize, most_of_free: usize) -> usize {
    total / (most_of_free + 1) * most_of_free
}
