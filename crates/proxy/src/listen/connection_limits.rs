//! Places of connections, and their eviction.
//!
//! While there is room, every connection keeps its place. When places run short, a connection is
//! evicted for a new one: unauthenticated ones first, then idle ones; among them first those of the
//! network or client with the most, then the oldest. A connection that serves a request is left
//! alone. The same order applies if the heads and forms of requests that are not yet authenticated
//! exceed their memory.
//!
//! Networks are compared roughly, by powers of two. So a single client at an address with many
//! connections is as safe as its neighbours, and a newcomer from elsewhere is safer.
//!
//! Absent: requests above the limit, see [`super::overflow_connections`]; memory for bodies, see
//! [`crate::body::budget`].

mod eviction;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::connection_activity::{Activity, EvictionClass};
use crate::body::budget::MemoryHolder;
use crate::telemetry::metrics::{self, Eviction};

/// Memory for heads and forms of unknown senders, per place, in bytes. Few connections read a head
/// at the same time, and most heads are short.
const HEAD_BYTES_PER_SLOT: usize = 3 * 1024;

/// Multiple of that memory from which the network that uses most of it is refused further reads.
const TOO_MUCH_FOR_HEAVIEST: usize = 2;

/// Multiple of that memory from which everybody is refused further reads.
const TOO_MUCH_FOR_ALL: usize = 3;

/// Least total of that memory, in bytes.
const MIN_HEAD_BYTES: usize = 512 * 1024;

/// Time in which a new connection can authenticate before it may be evicted, unless its network has
/// many.
const GRACE: Duration = Duration::from_secs(1);

/// Time after a response during which a connection counts as busy, since its client may be sending
/// the next request.
const IDLE_FOR: Duration = Duration::from_secs(1);

/// Divisor of the places for the number of unauthenticated connections that are evicted at once, so
/// that a flood does not cost a search per connection.
const BATCH: usize = 64;

/// Divisor of the places: from this share on, a network has many unauthenticated connections.
const MANY: usize = 16;

/// Divisor of the places for the share that one client must leave while others wait.
const LEFT_FOR_OTHERS: usize = 8;

/// How long places count as short after a connection found none.
const SHORTAGE: Duration = Duration::from_secs(5);

/// All places.
pub(crate) struct ConnectionSlots {
    limit: usize,
    table: Mutex<SlotTable>,
    /// Number of connections that have a place.
    taken: AtomicUsize,
    /// Memory of heads and forms, in bytes.
    head_bytes: AtomicUsize,
    /// Part of it whose connections were ended, and which is not freed yet.
    ending_bytes: AtomicUsize,
    /// Network that used most of it when it last ran short.
    heaviest: Mutex<Option<IpAddr>>,
    started: Instant,
    /// When a connection last found no place, in milliseconds from the start; 0 if never.
    short_at: AtomicU64,
}

#[derive(Default)]
struct SlotTable {
    slots: HashMap<u64, SlotEntry>,
    next: u64,
    /// Number of slots of each client.
    clients: HashMap<MemoryHolder, usize>,
}

struct SlotEntry {
    activity: Activity,
    /// Task of the connection; `None` until it is served.
    task: Option<AbortHandle>,
    client: Option<MemoryHolder>,
}

/// A place, until it is dropped.
#[must_use]
pub(super) struct ConnectionSlot {
    slots: Arc<ConnectionSlots>,
    id: u64,
    activity: Activity,
}

/// The connection on which a request arrived.
#[derive(Clone)]
pub(crate) struct ConnectionHandle {
    slots: Arc<ConnectionSlots>,
    id: u64,
    activity: Activity,
}

/// Error: heads and forms of unknown senders take too much memory.
#[derive(Debug)]
pub(super) struct HeadMemoryExhausted;

/// Error: one client has all the places that it may have while others wait.
#[derive(Debug)]
pub(crate) struct TooManyConnections;

impl ConnectionSlots {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            table: Mutex::default(),
            taken: AtomicUsize::new(0),
            head_bytes: AtomicUsize::new(0),
            ending_bytes: AtomicUsize::new(0),
            heaviest: Mutex::default(),
            started: Instant::now(),
            short_at: AtomicU64::new(0),
        }
    }

    /// Takes a place for a connection from `address`, if one is free or another connection can be
    /// evicted.
    pub(super) fn take(
        self: &Arc<Self>,
        address: IpAddr,
        activity: &Activity,
    ) -> Option<ConnectionSlot> {
        let mut table = self.table();
        if table.slots.len() >= self.limit {
            self.note_shortage();
            self.make_room(&mut table, address);
        }
        if table.slots.len() >= self.limit {
            return None;
        }
        let id = table.next;
        table.next += 1;
        let entry = SlotEntry {
            activity: activity.clone(),
            task: None,
            client: None,
        };
        table.slots.insert(id, entry);
        self.taken.store(table.slots.len(), Ordering::Relaxed);
        Some(ConnectionSlot {
            slots: Arc::clone(self),
            id,
            activity: activity.clone(),
        })
    }

    /// Returns whether so many places are taken that each connection must use small buffers.
    pub(super) fn is_crowded(&self) -> bool {
        self.taken.load(Ordering::Relaxed) > self.limit / 4
    }

    /// Charges memory of a head or form from this address. If there is too much of it, some
    /// connections are ended. Fails if this one has to end at once: the memory of the others is
    /// freed only when their tasks run next, and much could be read until then.
    pub(super) fn charge(&self, bytes: usize, from: IpAddr) -> Result<(), HeadMemoryExhausted> {
        self.head_bytes.fetch_add(bytes, Ordering::Relaxed);
        let most = self.most_head_bytes();
        if self.staying_head_bytes() > most {
            self.relieve();
        }
        let held = self.head_bytes.load(Ordering::Relaxed);
        let is_heaviest = || *self.heaviest() == Some(from);
        let too_much = held > TOO_MUCH_FOR_ALL * most
            || (held > TOO_MUCH_FOR_HEAVIEST * most && is_heaviest());
        if too_much {
            metrics::evicted(Eviction::HeadMemory);
            return Err(HeadMemoryExhausted);
        }
        Ok(())
    }

    /// Discharges memory, and the part of it whose connection was ended for it.
    pub(super) fn discharge(&self, bytes: usize, ending: usize) {
        self.head_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.ending_bytes.fetch_sub(ending, Ordering::Relaxed);
    }

    /// Notes that a connection was ended: its memory counts until its task has freed it.
    pub(super) fn expect(&self, ending: usize) {
        self.ending_bytes.fetch_add(ending, Ordering::Relaxed);
    }

    fn staying_head_bytes(&self) -> usize {
        let ending = self.ending_bytes.load(Ordering::Relaxed);
        let held = self.head_bytes.load(Ordering::Relaxed);
        held.saturating_sub(ending)
    }

    fn most_head_bytes(&self) -> usize {
        (self.limit * HEAD_BYTES_PER_SLOT).max(MIN_HEAD_BYTES)
    }

    fn remove(&self, table: &mut SlotTable, id: u64) -> Option<SlotEntry> {
        let entry = table.slots.remove(&id)?;
        table.leave(entry.client);
        self.taken.store(table.slots.len(), Ordering::Relaxed);
        Some(entry)
    }

    fn note_shortage(&self) {
        let now = self.milliseconds();
        self.short_at.store(now, Ordering::Relaxed);
    }

    fn is_short(&self) -> bool {
        let short_at = self.short_at.load(Ordering::Relaxed);
        let since = self.milliseconds().saturating_sub(short_at);
        short_at > 0 && u128::from(since) < SHORTAGE.as_millis()
    }

    fn milliseconds(&self) -> u64 {
        let passed = self.started.elapsed().as_millis();
        u64::try_from(passed).unwrap_or(u64::MAX).max(1)
    }

    fn heaviest(&self) -> MutexGuard<'_, Option<IpAddr>> {
        self.heaviest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self) -> MutexGuard<'_, SlotTable> {
        // A poisoned lock is usable: nothing under the lock can panic.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SlotTable {
    /// Sums over the unauthenticated connections of each network.
    fn count_unauthenticated(&self, of: impl Fn(usize) -> usize) -> HashMap<IpAddr, usize> {
        let mut networks = HashMap::new();
        for entry in self.slots.values() {
            if let EvictionClass::Unauthenticated {
                network, charged, ..
            } = entry.activity.eviction_class()
            {
                *networks.entry(network).or_default() += of(charged);
            }
        }
        networks
    }

    fn leave(&mut self, client: Option<MemoryHolder>) {
        let Some(client) = client else { return };
        if let Some(count) = self.clients.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                self.clients.remove(&client);
            }
        }
    }
}

impl ConnectionSlot {
    /// Notes the task that serves the connection.
    pub(super) fn served_by(slots: &ConnectionSlots, id: u64, task: AbortHandle) {
        if let Some(entry) = slots.table().slots.get_mut(&id) {
            entry.task = Some(task);
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn handle(&self) -> ConnectionHandle {
        ConnectionHandle {
            slots: Arc::clone(&self.slots),
            id: self.id,
            activity: self.activity.clone(),
        }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.slots.remove(&mut self.slots.table(), self.id);
        self.activity.discharge();
    }
}

impl ConnectionHandle {
    /// Charges the head of a form, which is kept until its fields are complete.
    pub(crate) fn keeps(&self, bytes: usize) {
        // If that is too much, the next read fails.
        let _ = self.activity.charge(bytes);
    }

    /// Notes that the request was admitted. `client` is `None` unless a client was authenticated.
    pub(crate) fn admitted(&self, client: Option<MemoryHolder>) -> Result<(), TooManyConnections> {
        let first = self.activity.admitted(client.is_some());
        let Some(client) = client else { return Ok(()) };
        // The usual case takes no lock on the table.
        if !first && !self.slots.is_short() {
            return Ok(());
        }
        let mut table = self.slots.table();
        let known = table.slots.get_mut(&self.id);
        let before = known.and_then(|entry| entry.client.replace(client));
        if before != Some(client) {
            table.leave(before);
            if table.slots.contains_key(&self.id) {
                *table.clients.entry(client).or_default() += 1;
            }
        }
        let count = table.clients.get(&client).copied().unwrap_or(0);
        let most = self.slots.limit - self.slots.limit / LEFT_FOR_OTHERS;
        if count > most && self.slots.is_short() {
            self.activity.closes();
            return Err(TooManyConnections);
        }
        Ok(())
    }

    /// Notes that the request was refused; only its connection is left.
    pub(crate) fn refused(&self) {
        self.activity.refused();
    }
}

#[cfg(test)]
mod tests;
