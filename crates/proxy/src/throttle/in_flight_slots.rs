//! Requests at once: each holds a place, or waits for one.
//!
//! The next free place goes to the sender that holds least, and among those to the request that came
//! first. A queue that is full stays open to senders with fewer requests in it: the one that has most
//! loses its latest ([`SlotLedger::make_room`]). So nobody keeps others out by asking often.
//!
//! Of the places for all, one sender never has more than seven eighths ([`LEFT_FOR_OTHERS`]):
//! places that it holds for long keep nobody out either.
//!
//! Invariant: nobody waits while a place is free that it may have.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::QUEUE;

/// Of places for all, one sender may have all but this part.
const LEFT_FOR_OTHERS: usize = 8;

/// Who the places are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SlotSharing {
    /// Every sender.
    All,
    /// One sender, or those that count as one.
    One,
}

/// Who asks for a place: a client, or a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SenderId(pub(super) u64);

/// A number of places that can be changed while some are held.
pub(super) struct InFlightSlots(Mutex<SlotLedger>);

struct SlotLedger {
    sharing: SlotSharing,
    places: usize,
    /// Number of slots in use; above `slots` for a while after the number was lowered.
    held: usize,
    held_by: HashMap<SenderId, usize>,
    /// By sender, in the order of their arrival; none is empty.
    queues: HashMap<SenderId, VecDeque<WaitingRequest>>,
    waiting: usize,
    next_ticket: u64,
}

struct WaitingRequest {
    ticket: u64,
    granted: oneshot::Sender<InFlightSlot>,
}

/// A place, until it is dropped.
#[must_use]
pub(super) struct InFlightSlot {
    places: Arc<InFlightSlots>,
    sender: SenderId,
}

impl InFlightSlots {
    pub(super) fn new(number: NonZeroU32, sharing: SlotSharing) -> Self {
        Self(Mutex::new(SlotLedger {
            sharing,
            places: size(number),
            held: 0,
            held_by: HashMap::new(),
            queues: HashMap::new(),
            waiting: 0,
            next_ticket: 0,
        }))
    }

    /// Changes the number. Who holds a place keeps it.
    pub(super) fn resize(self: &Arc<Self>, number: NonZeroU32) {
        let mut ledger = self.ledger();
        ledger.places = size(number);
        let refused = self.grant(&mut ledger);
        drop(ledger);
        drop(refused);
    }

    /// A place, if one is the sender's at once.
    pub(super) fn place_now(self: &Arc<Self>, sender: SenderId) -> Option<InFlightSlot> {
        let mut ledger = self.ledger();
        let free = ledger.has_place_for(sender);
        free.then(|| self.take(&mut ledger, sender))
    }

    /// A place, as soon as one is the sender's; none where that is behind `deadline`.
    pub(super) async fn place(
        self: &Arc<Self>,
        sender: SenderId,
        deadline: Instant,
    ) -> Option<InFlightSlot> {
        let (granted, receiver) = oneshot::channel();
        let ticket = {
            // One lock for both: a place that becomes free in between would be given to nobody.
            let mut ledger = self.ledger();
            if ledger.has_place_for(sender) {
                return Some(self.take(&mut ledger, sender));
            }
            ledger.queue(sender, granted)?
        };
        let _queued = QueuedRequest {
            places: self,
            sender,
            ticket,
        };
        tokio::time::timeout_at(deadline, receiver).await.ok()?.ok()
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.ledger().waiting
    }

    fn take(self: &Arc<Self>, ledger: &mut SlotLedger, sender: SenderId) -> InFlightSlot {
        ledger.held += 1;
        *ledger.held_by.entry(sender).or_default() += 1;
        InFlightSlot {
            places: Arc::clone(self),
            sender,
        }
    }

    /// Gives free places to those who wait. One that nobody takes any more is returned: it must not be
    /// dropped under the lock, and goes to the next one when it is.
    fn grant(self: &Arc<Self>, ledger: &mut SlotLedger) -> Option<InFlightSlot> {
        while let Some(sender) = ledger.next_sender() {
            let waiting = ledger.leave(sender, VecDeque::pop_front)?;
            let held = self.take(ledger, sender);
            if let Err(held) = waiting.granted.send(held) {
                return Some(held);
            }
        }
        None
    }

    fn ledger(&self) -> MutexGuard<'_, SlotLedger> {
        // Nothing that can panic runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SlotLedger {
    fn has_place_for(&self, sender: SenderId) -> bool {
        let most = match self.sharing {
            SlotSharing::All => self.places - self.places / LEFT_FOR_OTHERS,
            SlotSharing::One => self.places,
        };
        self.held < self.places && self.held_by(sender) < most
    }

    fn held_by(&self, sender: SenderId) -> usize {
        self.held_by.get(&sender).copied().unwrap_or_default()
    }

    /// The sender that is given a place next, if one is free that somebody may have.
    fn next_sender(&self) -> Option<SenderId> {
        let rank = |(sender, queue): &(&SenderId, &VecDeque<WaitingRequest>)| {
            let first = queue.front().map(|first| first.ticket);
            (self.held_by(**sender), first)
        };
        self.queues
            .iter()
            .filter(|(sender, _)| self.has_place_for(**sender))
            .min_by_key(rank)
            .map(|(sender, _)| *sender)
    }

    /// A ticket for the queue; none where it is full and no sender has more in it than this one would.
    fn queue(&mut self, sender: SenderId, granted: oneshot::Sender<InFlightSlot>) -> Option<u64> {
        if self.waiting >= QUEUE {
            self.make_room(sender)?;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting += 1;
        let queue = self.queues.entry(sender).or_default();
        queue.push_back(WaitingRequest { ticket, granted });
        Some(ticket)
    }

    /// Turns away the latest request of the sender that has most in the queue.
    fn make_room(&mut self, sender: SenderId) -> Option<()> {
        let (crowd, most) = self.queues.iter().max_by_key(|(_, queue)| queue.len())?;
        let (crowd, most) = (*crowd, most.len());
        let own = self.queues.get(&sender).map_or(0, VecDeque::len);
        // Without a granter its receiver ends.
        (most > own + 1).then(|| drop(self.leave(crowd, VecDeque::pop_back)))
    }

    /// Takes one request of a sender out of the queue.
    fn leave(
        &mut self,
        sender: SenderId,
        take: impl FnOnce(&mut VecDeque<WaitingRequest>) -> Option<WaitingRequest>,
    ) -> Option<WaitingRequest> {
        let queue = self.queues.get_mut(&sender)?;
        let taken = take(queue);
        if queue.is_empty() {
            self.queues.remove(&sender);
        }
        self.waiting -= usize::from(taken.is_some());
        taken
    }

    fn give_back(&mut self, sender: SenderId) {
        self.held -= 1;
        if let Some(held) = self.held_by.get_mut(&sender) {
            *held -= 1;
            if *held == 0 {
                self.held_by.remove(&sender);
            }
        }
    }
}

impl Drop for InFlightSlot {
    fn drop(&mut self) {
        let mut ledger = self.places.ledger();
        ledger.give_back(self.sender);
        let refused = self.places.grant(&mut ledger);
        drop(ledger);
        drop(refused);
    }
}

/// Waits for its place until it is dropped.
struct QueuedRequest<'p> {
    places: &'p InFlightSlots,
    sender: SenderId,
    ticket: u64,
}

impl Drop for QueuedRequest<'_> {
    fn drop(&mut self) {
        let mut ledger = self.places.ledger();
        let left = ledger.leave(self.sender, |queue| {
            let own = |waiting: &WaitingRequest| waiting.ticket == self.ticket;
            queue.remove(queue.iter().position(own)?)
        });
        drop(ledger);
        drop(left);
    }
}

fn size(number: NonZeroU32) -> usize {
    usize::try_from(number.get()).expect("32 bits fit an address")
}
