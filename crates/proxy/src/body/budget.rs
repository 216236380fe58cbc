//! The memory that all bodies share.
//!
//! Shares are given in the order of need: first to the holder that has least, then to the request
//! that came first. A request whose share does not fit is passed by smaller ones; it lets those of
//! its own holder pass for a while only ([`OVERTAKEN_FOR`]). A holder is a listed client, or the
//! network of an unlisted one.
//!
//! Invariants: a holder never has more than [`MOST_OF_FREE`] times the memory that stays free, and
//! all unauthenticated requests together never more than [`MOST_OF_FREE_UNAUTHENTICATED`] times, so
//! that the next holder finds some. Bodies that have shown their beginning only ([`Stage::Beginning`])
//! have at most a part of the memory ([`BEGINNINGS`]), so that those further on can end.
//! The queue is bounded in length and time, one holder has at most half of what is left of it, and
//! while somebody waits in it, slow clients have to give up their shares ([`super::pressure`]).

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::buffers::STREAM_BYTES;
use super::pressure::Pressure;
use crate::telemetry::metrics::{self, Counted, Limit};

/// How long a request waits for its share before it is told to slow down.
const BUDGET_WAIT: Duration = Duration::from_secs(10);

/// How long a request lets others of its own holder pass.
const OVERTAKEN_FOR: Duration = Duration::from_secs(4);

/// Requests that wait for their share; more are told to slow down at once. Each holds its connection,
/// and perhaps one to the backend.
const QUEUE: usize = 1024;

/// Bytes are counted in units of this size.
const UNIT_BYTES: usize = 1024;

/// One holder has at most so many times the memory that stays free: 7/8 where it is the only one.
const MOST_OF_FREE: usize = 7;

/// The same for all unauthenticated requests together: three quarters.
const MOST_OF_FREE_UNAUTHENTICATED: usize = 3;

/// The part of the memory that bodies may have of which the beginning only has arrived.
const BEGINNINGS: usize = 4;

/// Who has memory, as far as fairness cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Holder {
    id: u64,
    class: Class,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Class {
    Authenticated,
    Unauthenticated,
}

impl Holder {
    /// A client that is known by name, or whatever else tells holders apart.
    pub(crate) fn authenticated(name: impl Hash) -> Self {
        Self::new(name, Class::Authenticated)
    }

    /// A sender of unsigned requests where others sign.
    pub(crate) fn unauthenticated(name: impl Hash) -> Self {
        Self::new(name, Class::Unauthenticated)
    }

    fn new(name: impl Hash, class: Class) -> Self {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        Self {
            id: hasher.finish(),
            class,
        }
    }
}

/// How much of a body has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its first bytes; nobody knows whether there will be more.
    Beginning,
    /// Enough to take it at its word.
    Underway,
}

/// One budget over all bodies in flight.
pub(crate) struct BodyBudget {
    ledger: Mutex<Ledger>,
    total_units: usize,
    pressure: Arc<Pressure>,
}

struct Ledger {
    free: usize,
    /// Of bodies that have only begun.
    beginnings: usize,
    unauthenticated: usize,
    holders: HashMap<Holder, Account>,
    /// In the order of their arrival.
    waiting: VecDeque<Waiting>,
    next_ticket: u64,
}

/// What one holder has, and wants.
#[derive(Default)]
struct Account {
    units: usize,
    waiting: usize,
}

#[derive(Clone, Copy)]
struct Claim {
    holder: Holder,
    units: usize,
    stage: Stage,
}

struct Waiting {
    ticket: u64,
    claim: Claim,
    since: Instant,
    granted: oneshot::Sender<BodyShare>,
}

/// A share of the budget, given back when dropped.
#[must_use]
pub(crate) struct BodyShare {
    budget: Arc<BodyBudget>,
    claim: Claim,
    _counted: Counted,
}

/// There is no share.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BudgetExhausted {
    #[error("no memory for another body became free within {} s", BUDGET_WAIT.as_secs())]
    TooLate,
    #[error("too many requests of one client, or of all, wait for memory for their bodies already")]
    TooMany,
}

impl BodyBudget {
    /// A budget of `bytes`; at least one streamed body always fits.
    pub(crate) fn new(bytes: usize) -> Self {
        let total_units = bytes.max(2 * STREAM_BYTES).div_ceil(UNIT_BYTES);
        metrics::body_memory_limit(total_units * UNIT_BYTES);
        Self {
            ledger: Mutex::new(Ledger {
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

    /// Whether bodies wait for memory.
    pub(crate) fn pressure(&self) -> &Arc<Pressure> {
        &self.pressure
    }

    /// Waits for a share of `bytes`.
    pub(crate) async fn share(
        self: &Arc<Self>,
        holder: Holder,
        bytes: usize,
    ) -> Result<BodyShare, BudgetExhausted> {
        self.share_for(holder, bytes, Stage::Underway).await
    }

    /// Waits for a share of `bytes` for a body of which so much has arrived.
    pub(crate) async fn share_for(
        self: &Arc<Self>,
        holder: Holder,
        bytes: usize,
        stage: Stage,
    ) -> Result<BodyShare, BudgetExhausted> {
        let most = match (stage, holder.class) {
            (Stage::Beginning, _) => self.total_units / BEGINNINGS,
            (Stage::Underway, Class::Authenticated) => part(self.total_units, MOST_OF_FREE),
            (Stage::Underway, Class::Unauthenticated) => {
                part(self.total_units, MOST_OF_FREE_UNAUTHENTICATED)
            }
        };
        let claim = Claim {
            holder,
            units: bytes.div_ceil(UNIT_BYTES).clamp(1, most),
            stage,
        };
        self.claim(claim)
            .await
            .inspect_err(|_| metrics::throttled(Limit::Memory))
    }

    async fn claim(self: &Arc<Self>, claim: Claim) -> Result<BodyShare, BudgetExhausted> {
        let (granted, receiver) = oneshot::channel();
        let ticket = {
            // One lock for both: what becomes free in between would be given to nobody.
            let mut ledger = self.ledger();
            if let Some(share) = self.at_once(&mut ledger, claim) {
                return Ok(share);
            }
            ledger.queue(claim, granted)
        };
        let _place = Queued {
            budget: self,
            ticket: ticket.ok_or(BudgetExhausted::TooMany)?,
        };
        let _wanted = self.pressure.want(claim.units * UNIT_BYTES);
        match tokio::time::timeout(BUDGET_WAIT, receiver).await {
            Ok(Ok(share)) => Ok(share),
            Ok(Err(_)) | Err(_) => Err(BudgetExhausted::TooLate),
        }
    }

    /// A share that nobody has to wait for.
    fn at_once(self: &Arc<Self>, ledger: &mut Ledger, claim: Claim) -> Option<BodyShare> {
        let fits = ledger.fits(claim, self.total_units) && !ledger.is_behind(claim, Instant::now());
        fits.then(|| self.take(ledger, claim))
    }

    fn take(self: &Arc<Self>, ledger: &mut Ledger, claim: Claim) -> BodyShare {
        ledger.book(claim);
        BodyShare {
            budget: Arc::clone(self),
            claim,
            _counted: metrics::body_memory(claim.units * UNIT_BYTES),
        }
    }

    /// Gives what is free to those who wait. Shares that nobody takes any more are returned: they
    /// must not be dropped under the lock.
    fn grant(self: &Arc<Self>, ledger: &mut Ledger) -> Vec<BodyShare> {
        let mut refused = Vec::new();
        while let Some(index) = ledger.next(self.total_units) {
            let Some(waiting) = ledger.leave(index) else {
                break;
            };
            let share = self.take(ledger, waiting.claim);
            if let Err(share) = waiting.granted.send(share) {
                refused.push(share);
                break;
            }
        }
        refused
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // Nothing that can panic runs under the lock.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The most that one claim can be: with it, the rule over the rest just holds.
fn part(total_units: usize, most_of_free: usize) -> usize {
    total_units / (most_of_free + 1) * most_of_free
}

impl Ledger {
    fn fits(&self, claim: Claim, total_units: usize) -> bool {
        let Some(left) = self.free.checked_sub(claim.units) else {
            return false;
        };
        let has = self.holders.get(&claim.holder).map_or(0, |has| has.units);
        let class_fits = match claim.holder.class {
            Class::Authenticated => true,
            Class::Unauthenticated => {
                self.unauthenticated + claim.units <= MOST_OF_FREE_UNAUTHENTICATED * left
            }
        };
        let stage_fits = match claim.stage {
            Stage::Beginning => self.beginnings + claim.units <= total_units / BEGINNINGS,
            Stage::Underway => true,
        };
        class_fits && stage_fits && has + claim.units <= MOST_OF_FREE * left
    }

    /// Whether another request of the same holder has waited for so long that this one may not pass.
    fn is_behind(&self, claim: Claim, now: Instant) -> bool {
        self.waiting
            .iter()
            .take_while(|waiting| now.duration_since(waiting.since) >= OVERTAKEN_FOR)
            .any(|waiting| waiting.claim.holder == claim.holder)
    }

    /// The position of the one that is given its share next.
    fn next(&self, total_units: usize) -> Option<usize> {
        if self.free == 0 {
            return None;
        }
        let now = Instant::now();
        let mut blocked = Vec::new();
        let mut best: Option<(usize, usize)> = None;
        for (index, waiting) in self.waiting.iter().enumerate() {
            let holder = waiting.claim.holder;
            if blocked.contains(&holder) {
                continue;
            }
            if self.fits(waiting.claim, total_units) {
                let has = self.holders.get(&holder).map_or(0, |has| has.units);
                if best.is_none_or(|(least, _)| has < least) {
                    best = Some((has, index));
                }
            } else if now.duration_since(waiting.since) >= OVERTAKEN_FOR {
                blocked.push(holder);
            }
        }
        best.map(|(_, index)| index)
    }

    /// A place in the queue, unless it or the holder's part of it is full.
    fn queue(&mut self, claim: Claim, granted: oneshot::Sender<BodyShare>) -> Option<u64> {
        let left = QUEUE.saturating_sub(self.waiting.len());
        let account = self.holders.entry(claim.holder).or_default();
        if account.waiting >= left {
            self.forget(claim.holder);
            return None;
        }
        account.waiting += 1;
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting.push_back(Waiting {
            ticket,
            claim,
            since: Instant::now(),
            granted,
        });
        Some(ticket)
    }

    fn leave(&mut self, index: usize) -> Option<Waiting> {
        let waiting = self.waiting.remove(index)?;
        if let Some(account) = self.holders.get_mut(&waiting.claim.holder) {
            account.waiting -= 1;
        }
        self.forget(waiting.claim.holder);
        Some(waiting)
    }

    fn book(&mut self, claim: Claim) {
        self.free -= claim.units;
        self.holders.entry(claim.holder).or_default().units += claim.units;
        match claim.holder.class {
            Class::Authenticated => {}
            Class::Unauthenticated => self.unauthenticated += claim.units,
        }
        match claim.stage {
            Stage::Beginning => self.beginnings += claim.units,
            Stage::Underway => {}
        }
    }

    fn give_back(&mut self, claim: Claim) {
        self.free += claim.units;
        if let Some(account) = self.holders.get_mut(&claim.holder) {
            account.units -= claim.units;
        }
        match claim.holder.class {
            Class::Authenticated => {}
            Class::Unauthenticated => self.unauthenticated -= claim.units,
        }
        match claim.stage {
            Stage::Beginning => self.beginnings -= claim.units,
            Stage::Underway => {}
        }
        self.forget(claim.holder);
    }

    /// Holders that have and want nothing take no memory.
    fn forget(&mut self, holder: Holder) {
        let account = self.holders.get(&holder);
        if account.is_some_and(|account| account.units == 0 && account.waiting == 0) {
            self.holders.remove(&holder);
        }
    }
}

impl BodyShare {
    /// Bytes that it is for.
    pub(crate) fn bytes(&self) -> usize {
        self.claim.units * UNIT_BYTES
    }

    /// More of the body has arrived.
    pub(crate) fn is_underway(&mut self) {
        let mut ledger = self.budget.ledger();
        ledger.give_back(self.claim);
        self.claim.stage = Stage::Underway;
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

/// Waits for its share until it is dropped.
struct Queued<'b> {
    budget: &'b Arc<BodyBudget>,
    ticket: u64,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let mut ledger = self.budget.ledger();
        let found = ledger
            .waiting
            .iter()
            .position(|waiting| waiting.ticket == self.ticket);
        let left = found.and_then(|index| ledger.leave(index));
        // Others of its holder may have been behind it.
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
