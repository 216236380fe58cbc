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
//! Absent: requests above the limit, see [`super::crowd`]; memory for bodies, see
//! [`crate::body::budget`].

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::activity::{Activity, Standing};
use crate::body::budget::MemoryHolder;
use crate::telemetry::metrics::{self, Eviction};
use crate::throttle::network;

/// Memory for heads and forms of unknown senders, per place, in bytes. Few connections read a head
/// at the same time, and most heads are short.
const HEAD_BYTES_PER_SEAT: usize = 3 * 1024;

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
pub(crate) struct Seats {
    limit: usize,
    table: Mutex<Table>,
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
struct Table {
    seats: HashMap<u64, Entry>,
    next: u64,
    /// Number of seats of each client.
    clients: HashMap<MemoryHolder, usize>,
}

struct Entry {
    activity: Activity,
    /// Task of the connection; `None` until it is served.
    task: Option<AbortHandle>,
    client: Option<MemoryHolder>,
}

/// A place, until it is dropped.
#[must_use]
pub(super) struct Seat {
    seats: Arc<Seats>,
    id: u64,
    activity: Activity,
}

/// The connection on which a request arrived.
#[derive(Clone)]
pub(crate) struct Visit {
    seats: Arc<Seats>,
    id: u64,
    activity: Activity,
}

/// Error: heads and forms of unknown senders take too much memory.
#[derive(Debug)]
pub(super) struct TooMuchInHeads;

/// Error: one client has all the places that it may have while others wait.
#[derive(Debug)]
pub(crate) struct TooManyConnections;

impl Seats {
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
    pub(super) fn take(self: &Arc<Self>, address: IpAddr, activity: &Activity) -> Option<Seat> {
        let mut table = self.table();
        if table.seats.len() >= self.limit {
            self.note_shortage();
            self.make_room(&mut table, address);
        }
        if table.seats.len() >= self.limit {
            return None;
        }
        let id = table.next;
        table.next += 1;
        let entry = Entry {
            activity: activity.clone(),
            task: None,
            client: None,
        };
        table.seats.insert(id, entry);
        self.taken.store(table.seats.len(), Ordering::Relaxed);
        Some(Seat {
            seats: Arc::clone(self),
            id,
            activity: activity.clone(),
        })
    }

    /// Returns whether so many places are taken that each connection must use small buffers.
    pub(super) fn are_many(&self) -> bool {
        self.taken.load(Ordering::Relaxed) > self.limit / 4
    }

    /// Charges memory of a head or form from this address. If there is too much of it, some
    /// connections are ended. Fails if this one has to end at once: the memory of the others is
    /// freed only when their tasks run next, and much could be read until then.
    pub(super) fn charge(&self, bytes: usize, from: IpAddr) -> Result<(), TooMuchInHeads> {
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
            return Err(TooMuchInHeads);
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
        (self.limit * HEAD_BYTES_PER_SEAT).max(MIN_HEAD_BYTES)
    }

    /// Evicts connections whose places others need more, if there are any.
    fn make_room(&self, table: &mut Table, newcomer: IpAddr) {
        let now = Instant::now();
        let newcomer = network(newcomer);
        let many = (self.limit / MANY).max(1);
        let networks = table.count_unauthenticated(|_| 1);
        let mut strangers = Vec::new();
        let mut idle = Vec::new();
        for (id, entry) in &table.seats {
            match entry.activity.standing() {
                Standing::Unauthenticated {
                    network, opened, ..
                } => {
                    let count = networks.get(&network).copied().unwrap_or(1);
                    let at_once = count > 4 * many || (network == newcomer && count > many);
                    if at_once || now.duration_since(opened) >= GRACE {
                        strangers.push((Reverse(count.ilog2()), opened, *id));
                    }
                }
                Standing::Idle { since } if now.duration_since(since) >= IDLE_FOR => {
                    let count = entry.client.and_then(|client| table.clients.get(&client));
                    let count = count.copied().unwrap_or(1).max(1);
                    idle.push((Reverse(count.ilog2()), since, *id));
                }
                Standing::Idle { .. } | Standing::Busy { .. } => {}
            }
        }
        // Unauthenticated connections go in batches, since they may be a flood; idle ones go one by
        // one.
        let (mut chosen, most) = if strangers.is_empty() {
            (idle, 1)
        } else {
            (strangers, (self.limit / BATCH).max(1))
        };
        chosen.sort_unstable();
        for (_, _, id) in chosen.into_iter().take(most) {
            self.evict(table, id, Eviction::Places);
        }
    }

    /// Ends connections until the memory of heads and forms is well within its limit.
    fn relieve(&self) {
        // Nobody waits for the lock: its holder relieves the memory, or the next one to charge.
        let Ok(mut table) = self.table.try_lock() else {
            return;
        };
        // Somewhat below the limit, so that the next byte does not start another search.
        let enough = self.most_head_bytes() / 8 * 7;
        let networks = table.count_unauthenticated(|charged| charged);
        let heaviest = networks.iter().max_by_key(|(_, bytes)| **bytes);
        *self.heaviest() = heaviest.map(|(network, _)| *network);
        let mut holding = Vec::new();
        for (id, entry) in &table.seats {
            match entry.activity.standing() {
                Standing::Unauthenticated {
                    network,
                    opened,
                    charged: 1..,
                } => {
                    let bytes = networks.get(&network).copied().unwrap_or(1).max(1);
                    holding.push((false, Reverse(bytes.ilog2()), opened, *id));
                }
                Standing::Busy {
                    opened,
                    charged: 1..,
                } => holding.push((true, Reverse(0), opened, *id)),
                Standing::Unauthenticated { .. }
                | Standing::Idle { .. }
                | Standing::Busy { .. } => {}
            }
        }
        holding.sort_unstable();
        for (_, _, _, id) in holding {
            if self.staying_head_bytes() <= enough {
                break;
            }
            self.evict(&mut table, id, Eviction::HeadMemory);
        }
    }

    fn evict(&self, table: &mut Table, id: u64, reason: Eviction) {
        // A connection without a task was just accepted; it cannot be aborted yet.
        let can_be_ended = |entry: &Entry| entry.task.is_some();
        if !table.seats.get(&id).is_some_and(can_be_ended) {
            return;
        }
        if let Some(entry) = self.remove(table, id) {
            entry.activity.ends();
            if let Some(task) = entry.task {
                metrics::evicted(reason);
                task.abort();
            }
        }
    }

    fn remove(&self, table: &mut Table, id: u64) -> Option<Entry> {
        let entry = table.seats.remove(&id)?;
        table.leave(entry.client);
        self.taken.store(table.seats.len(), Ordering::Relaxed);
        Some(entry)
    }

    fn note_shortage(&self) {
        let now = self.milliseconds();
        self.short_at.store(now, Ordering::Relaxed);
    }

    fn are_short(&self) -> bool {
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

    fn table(&self) -> MutexGuard<'_, Table> {
        // A poisoned lock is usable: nothing under the lock can panic.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Sums over the unauthenticated connections of each network.
    fn count_unauthenticated(&self, of: impl Fn(usize) -> usize) -> HashMap<IpAddr, usize> {
        let mut networks = HashMap::new();
        for entry in self.seats.values() {
            if let Standing::Unauthenticated {
                network, charged, ..
            } = entry.activity.standing()
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

impl Seat {
    /// Notes the task that serves the connection.
    pub(super) fn served_by(seats: &Seats, id: u64, task: AbortHandle) {
        if let Some(entry) = seats.table().seats.get_mut(&id) {
            entry.task = Some(task);
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn visit(&self) -> Visit {
        Visit {
            seats: Arc::clone(&self.seats),
            id: self.id,
            activity: self.activity.clone(),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.remove(&mut self.seats.table(), self.id);
        self.activity.discharge();
    }
}

impl Visit {
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
        if !first && !self.seats.are_short() {
            return Ok(());
        }
        let mut table = self.seats.table();
        let known = table.seats.get_mut(&self.id);
        let before = known.and_then(|entry| entry.client.replace(client));
        if before != Some(client) {
            table.leave(before);
            if table.seats.contains_key(&self.id) {
                *table.clients.entry(client).or_default() += 1;
            }
        }
        let count = table.clients.get(&client).copied().unwrap_or(0);
        let most = self.seats.limit - self.seats.limit / LEFT_FOR_OTHERS;
        if count > most && self.seats.are_short() {
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
