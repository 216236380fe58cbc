//! Limit on concurrent requests: each request holds a slot, or waits for one.
//!
//! The next free slot goes to the sender that holds the fewest, and among equals to the earliest
//! request. A full queue stays open to senders with fewer requests in it: the sender with the most
//! loses its latest request ([`SlotLedger::make_room`]). So no sender can keep others out by
//! sending many requests.
//!
//! Of slots that all senders share, one sender never has more than seven eighths
//! ([`LEFT_FOR_OTHERS`]), so long-running requests of one sender do not keep others out either.
//!
//! Invariant: no request waits while there is a free slot that its sender may have.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::QUEUE;

/// Divisor of the shared slots: this part is out of reach for any one sender.
const LEFT_FOR_OTHERS: usize = 8;

/// Senders that share the slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SlotSharing {
    /// Every sender.
    All,
    /// One sender, or those that count as one.
    One,
}

/// Identity of a sender: a client, or the network of an unlisted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SenderId(pub(super) u64);

/// Slots for concurrent requests. Their number can change while some are in use.
pub(super) struct InFlightSlots(Mutex<SlotLedger>);

struct SlotLedger {
    sharing: SlotSharing,
    /// Number of slots.
    slots: usize,
    /// Number of slots in use; above `slots` for a while after the number was lowered.
    held: usize,
    held_by: HashMap<SenderId, usize>,
    /// Waiting requests of each sender in order of arrival; no queue is empty.
    queues: HashMap<SenderId, VecDeque<WaitingRequest>>,
    /// Number of requests in all queues.
    waiting: usize,
    next_ticket: u64,
}

struct WaitingRequest {
    ticket: u64,
    granted: oneshot::Sender<InFlightSlot>,
}

/// A slot, returned on drop.
#[must_use]
pub(super) struct InFlightSlot {
    slots: Arc<InFlightSlots>,
    sender: SenderId,
}

impl InFlightSlots {
    pub(super) fn new(number: NonZeroU32, sharing: SlotSharing) -> Self {
        Self(Mutex::new(SlotLedger {
            sharing,
            slots: size(number),
            held: 0,
            held_by: HashMap::new(),
            queues: HashMap::new(),
            waiting: 0,
            next_ticket: 0,
        }))
    }

    /// Changes the number of slots. Slots in use stay in use.
    pub(super) fn resize(self: &Arc<Self>, number: NonZeroU32) {
        let mut ledger = self.ledger();
        ledger.slots = size(number);
        let refused = self.grant(&mut ledger);
        drop(ledger);
        drop(refused);
    }

    /// Takes a slot without waiting, if there is one for the sender.
    pub(super) fn try_take(self: &Arc<Self>, sender: SenderId) -> Option<InFlightSlot> {
        let mut ledger = self.ledger();
        let free = ledger.has_slot_for(sender);
        free.then(|| self.take(&mut ledger, sender))
    }

    /// Waits for a slot. Returns `None` if the queue is full, or the deadline passes.
    pub(super) async fn acquire(
        self: &Arc<Self>,
        sender: SenderId,
        deadline: Instant,
    ) -> Option<InFlightSlot> {
        let (granted, receiver) = oneshot::channel();
        let ticket = {
            // One lock for check and queueing: a slot freed in between would be granted to nobody.
            let mut ledger = self.ledger();
            if ledger.has_slot_for(sender) {
                return Some(self.take(&mut ledger, sender));
            }
            ledger.queue(sender, granted)?
        };
        let _queued = QueuedRequest {
            slots: self,
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
            slots: Arc::clone(self),
            sender,
        }
    }

    /// Grants free slots to waiting requests. Returns a slot whose request was cancelled: dropping
    /// it takes the lock, so it must happen after the lock is released, and grants the rest.
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
        // A poisoned lock is usable: nothing under the lock can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SlotLedger {
    fn has_slot_for(&self, sender: SenderId) -> bool {
        let most = match self.sharing {
            SlotSharing::All => self.slots - self.slots / LEFT_FOR_OTHERS,
            SlotSharing::One => self.slots,
        };
        self.held < self.slots && self.held_by(sender) < most
    }

    fn held_by(&self, sender: SenderId) -> usize {
        self.held_by.get(&sender).copied().unwrap_or_default()
    }

    /// Returns the sender that is granted a slot next.
    fn next_sender(&self) -> Option<SenderId> {
        let rank = |(sender, queue): &(&SenderId, &VecDeque<WaitingRequest>)| {
            let first = queue.front().map(|first| first.ticket);
            // The fewest slots first; tickets grow with the time of arrival.
            (self.held_by(**sender), first)
        };
        self.queues
            .iter()
            .filter(|(sender, _)| self.has_slot_for(**sender))
            .min_by_key(rank)
            .map(|(sender, _)| *sender)
    }

    /// Adds a request to its sender's queue and returns its ticket. `None` if the queue is full,
    /// and no sender has more requests in it than this one would have.
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

    /// Evicts the latest request of the sender with the most requests in the queue.
    fn make_room(&mut self, sender: SenderId) -> Option<()> {
        let (largest, most) = self.queues.iter().max_by_key(|(_, queue)| queue.len())?;
        let (largest, most) = (*largest, most.len());
        let own = self.queues.get(&sender).map_or(0, VecDeque::len);
        // Dropping the sending half of its channel ends the wait of the evicted request.
        (most > own + 1).then(|| drop(self.leave(largest, VecDeque::pop_back)))
    }

    /// Removes one request of a sender from its queue.
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
        let mut ledger = self.slots.ledger();
        ledger.give_back(self.sender);
        let refused = self.slots.grant(&mut ledger);
        drop(ledger);
        drop(refused);
    }
}

/// A request in the queue; it leaves on drop.
struct QueuedRequest<'p> {
    slots: &'p InFlightSlots,
    sender: SenderId,
    ticket: u64,
}

impl Drop for QueuedRequest<'_> {
    fn drop(&mut self) {
        let mut ledger = self.slots.ledger();
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
