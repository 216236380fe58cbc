//! Limits on requests: per second and in flight, over all clients and for each.
//!
//! They apply once the sender is known, so that a flood of unsigned requests takes nothing from
//! clients that sign: such a request is refused anyway, and takes a turn only if no other request
//! waits for one ([`Throttle::turned_away`]). A client's own limits come before the shared ones, so
//! that requests that wait for the former hold nothing that others need. Unlisted senders
//! (anonymous reads, `auth = none`) are identified by address, IPv6 by its /64.
//!
//! Requests wait in turn, up to `limits.throttle_wait` for all limits together. A request that
//! cannot get its turn in that time is throttled at once. Queues are bounded. In-flight slots go to
//! the client or network that holds the fewest ([`in_flight_slots`]).
//!
//! Absent: health checks, which come before all this; memory, see [`crate::body::buffers`]; and
//! limits over all replicas: each replica counts for itself.

mod in_flight_slots;
mod rate_limit;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use self::in_flight_slots::{InFlightSlot, InFlightSlots, SenderId, SlotSharing};
use self::rate_limit::RateLimit;
use crate::config::resolved::{Bound, Limits};
use crate::telemetry::metrics::{self, Limit};

/// Length of the queue for one limit; further requests are throttled. Each waiting request holds
/// its connection.
const QUEUE: usize = 1024;

/// Number of entries for the limits of addresses. Addresses with the same hash share an entry,
/// which bounds the memory.
const STRANGERS: usize = 1024;

/// Number of refused requests whose bodies are awaited concurrently, so that their clients see the
/// response.
const UNREAD_BODIES: NonZeroU32 = NonZeroU32::new(256).expect("more than zero");

/// Time after which a throttled client may retry, if nothing better is known.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Sender of a request, as the limits distinguish it.
#[derive(Clone, Copy)]
pub(crate) enum ThrottledSender<'a> {
    /// A listed client.
    Client(&'a str),
    /// Any sender at this address, if requests need no signature.
    Stranger(IpAddr),
    /// Any sender of unsigned requests at this address, if other requests need a signature.
    Anonymous(IpAddr),
}

/// Error of a throttled request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("throttled: the limit {} is reached", .limit.as_str())]
pub(crate) struct Throttled {
    limit: Limit,
    /// Time after which the request may be retried.
    pub(crate) retry_after: Duration,
}

impl Throttled {
    pub(crate) fn new(limit: Limit, retry_after: Duration) -> Self {
        metrics::throttled(limit);
        Self { limit, retry_after }
    }
}

/// Guard: the request counts as in flight until this is dropped.
#[must_use]
#[derive(Default)]
pub(crate) struct InFlight {
    _client: Option<InFlightSlot>,
    _all: Option<InFlightSlot>,
}

/// Guard: the body of a refused request may be awaited until this is dropped.
#[must_use]
pub(crate) struct UnreadBody {
    _slot: InFlightSlot,
}

/// All limits, with their state.
pub(crate) struct Throttle {
    wait: Duration,
    /// Rate limit of a client that has none of its own.
    client_rate: Bound,
    /// Limit on the requests in flight of each client.
    client_slots: Bound,
    own_rates: HashMap<String, Bound>,
    all: SenderLimits,
    /// Limits of the clients that have sent requests: no more than are listed.
    clients: Mutex<HashMap<String, SenderLimits>>,
    strangers: Vec<SenderLimits>,
    anonymous: Vec<SenderLimits>,
    unread: Arc<InFlightSlots>,
    by_address: RandomState,
}

/// Limits of one client, or over all.
#[derive(Clone, Default)]
struct SenderLimits {
    rate: Option<Arc<RateLimit>>,
    slots: Option<Arc<InFlightSlots>>,
}

impl SenderLimits {
    /// Returns the limits with other bounds: requests in flight still count, and an unchanged rate
    /// keeps its count.
    fn rebuilt(&self, rate: Bound, slots: Bound, sharing: SlotSharing, wait: Duration) -> Self {
        let same = |old: &&Arc<RateLimit>| old.is(rate, wait);
        Self {
            rate: match rate {
                Bound::Off => None,
                Bound::At(number) => Some(match self.rate.as_ref().filter(same) {
                    Some(old) => Arc::clone(old),
                    None => Arc::new(RateLimit::new(number, wait)),
                }),
            },
            slots: match (slots, &self.slots) {
                (Bound::Off, _) => None,
                (Bound::At(number), None) => Some(Arc::new(InFlightSlots::new(number, sharing))),
                (Bound::At(number), Some(old)) => {
                    old.resize(number);
                    Some(Arc::clone(old))
                }
            },
        }
    }

    /// Waits for a turn, and then for a slot. The limits are named for the metric.
    async fn admit(
        &self,
        (rate, in_flight): (Limit, Limit),
        sender: SenderId,
        deadline: Instant,
    ) -> Result<Option<InFlightSlot>, Throttled> {
        // The turn first: a slot would be held in vain while its request waits for a turn.
        if let Some(gauge) = &self.rate {
            let turn = gauge.turn(deadline).await;
            turn.map_err(|later| Throttled::new(rate, later.after))?;
        }
        let Some(slots) = &self.slots else {
            return Ok(None);
        };
        match slots.acquire(sender, deadline).await {
            Some(held) => Ok(Some(held)),
            None => Err(Throttled::new(in_flight, RETRY_AFTER)),
        }
    }
}

impl Throttle {
    /// Builds the limits. `own_rates` are the rates of clients that have their own, by name.
    pub(crate) fn new(limits: &Limits, own_rates: HashMap<String, Bound>) -> Self {
        let nothing = Self {
            wait: limits.throttle_wait,
            client_rate: Bound::Off,
            client_slots: Bound::Off,
            own_rates: HashMap::new(),
            all: SenderLimits::default(),
            clients: Mutex::default(),
            strangers: Vec::new(),
            anonymous: Vec::new(),
            unread: Arc::new(InFlightSlots::new(UNREAD_BODIES, SlotSharing::All)),
            by_address: RandomState::new(),
        };
        nothing.rebuilt(limits, own_rates)
    }

    /// Returns the limits with other settings, for a reload. Requests in flight count in both.
    pub(crate) fn rebuilt(&self, limits: &Limits, own_rates: HashMap<String, Bound>) -> Self {
        let wait = limits.throttle_wait;
        let (rate, slots) = (
            limits.client_requests_per_second,
            limits.client_requests_in_flight,
        );
        let clients = self.known().clone().into_iter().map(|(name, old)| {
            let rate = own_rates.get(&name).copied().unwrap_or(rate);
            let new = old.rebuilt(rate, slots, SlotSharing::One, wait);
            (name, new)
        });
        // Without limits per sender the entries would only take memory.
        let by_address = |old: &[SenderLimits], rate| match (rate, slots) {
            (Bound::Off, Bound::Off) => Vec::new(),
            (Bound::At(_), _) | (_, Bound::At(_)) => (0..STRANGERS)
                .map(|index| old.get(index).cloned().unwrap_or_default())
                .map(|old| old.rebuilt(rate, slots, SlotSharing::One, wait))
                .collect(),
        };
        let strangers = by_address(&self.strangers, rate);
        let anonymous = by_address(&self.anonymous, limits.anonymous_requests_per_second);
        Self {
            wait,
            client_rate: rate,
            client_slots: slots,
            clients: Mutex::new(clients.collect()),
            own_rates,
            all: self.all.rebuilt(
                limits.requests_per_second,
                limits.requests_in_flight,
                SlotSharing::All,
                wait,
            ),
            strangers,
            anonymous,
            unread: Arc::clone(&self.unread),
            by_address: self.by_address.clone(),
        }
    }

    /// Returns once it is the request's turn.
    pub(crate) async fn admit(&self, sender: ThrottledSender<'_>) -> Result<InFlight, Throttled> {
        // One deadline for all limits: the waits add up to `throttle_wait` at most.
        let deadline = Instant::now() + self.wait;
        let (own, id) = (self.gauges_of(sender), self.id_of(sender));
        let client = own.admit((Limit::ClientRate, Limit::ClientInFlight), id, deadline);
        let client = client.await?;
        let all = self.all.admit((Limit::Rate, Limit::InFlight), id, deadline);
        Ok(InFlight {
            _client: client,
            _all: all.await?,
        })
    }

    /// Counts a request that is refused because of its sender. It never waits, and takes no turn
    /// that another request waits for.
    pub(crate) fn turned_away(&self) -> Result<(), Throttled> {
        let Some(rate) = &self.all.rate else {
            return Ok(());
        };
        rate.left_over()
            .map_err(|later| Throttled::new(Limit::Rate, later.after))
    }

    /// Takes a turn of the address's limit for unsigned requests. It never waits.
    pub(crate) fn anonymous_turn(&self, from: IpAddr) -> bool {
        let gauges = self.gauges_of(ThrottledSender::Anonymous(from));
        gauges.rate.is_none_or(|rate| rate.left_over().is_ok())
    }

    /// Returns a slot for awaiting the body of a refused request, if one is free.
    pub(crate) fn unread_body(&self, from: IpAddr) -> Option<UnreadBody> {
        let slot = self
            .unread
            .try_take(self.id_of(ThrottledSender::Stranger(from)));
        slot.map(|slot| UnreadBody { _slot: slot })
    }

    fn gauges_of(&self, sender: ThrottledSender<'_>) -> SenderLimits {
        match sender {
            ThrottledSender::Client(name) => {
                let mut known = self.known();
                if let Some(gauges) = known.get(name) {
                    return gauges.clone();
                }
                let rate = self.own_rates.get(name).copied();
                let rate = rate.unwrap_or(self.client_rate);
                let new = SenderLimits::default();
                let new = new.rebuilt(rate, self.client_slots, SlotSharing::One, self.wait);
                known.insert(name.to_owned(), new.clone());
                new
            }
            ThrottledSender::Stranger(address) => self.gauges_at(&self.strangers, address),
            ThrottledSender::Anonymous(address) => self.gauges_at(&self.anonymous, address),
        }
    }

    fn id_of(&self, sender: ThrottledSender<'_>) -> SenderId {
        SenderId(match sender {
            ThrottledSender::Client(name) => self.by_address.hash_one(name),
            ThrottledSender::Stranger(address) | ThrottledSender::Anonymous(address) => {
                self.by_address.hash_one(network(address))
            }
        })
    }

    fn gauges_at(&self, gauges: &[SenderLimits], address: IpAddr) -> SenderLimits {
        // A keyed hash: an attacker cannot choose an address that shares a victim's entry.
        let hash = self.by_address.hash_one(network(address));
        let count = gauges.len().max(1) as u64;
        let index = usize::try_from(hash % count).expect("less than a length");
        gauges.get(index).cloned().unwrap_or_default()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, SenderLimits>> {
        // A poisoned lock is usable: insertions are complete or were not made.
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the network of one customer: a single IPv4 address, or the upper 64 bits of IPv6.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let prefix = u128::from(address) >> 64 << 64;
            IpAddr::V6(prefix.into())
        }
    }
}

#[cfg(test)]
mod tests;
