//! Limits on requests: how many a second, and how many at once, over all clients and for each.
//!
//! They are looked at when the sender is known, so that a flood of requests that nobody signed takes
//! nothing from clients that sign: such a request is refused anyway, and costs a turn only where
//! nobody waits for one ([`Throttle::turned_away`]). A client's own limits come before those over all, so
//! that what waits for them holds nothing that others need. Who is not listed (anonymous reads,
//! `auth = none`) is known by address, IPv6 by its /64.
//!
//! Requests wait in turn, up to `limits.throttle_wait` for all limits together, and what cannot get
//! its turn in that time is told to slow down at once. Queues are bounded. Places for requests at once
//! go to the client or network that holds least ([`places`]).
//!
//! Absent: health checks, which come before all this; memory, which is [`crate::body::buffers`]'s;
//! and limits over all replicas: each counts for itself.

mod places;
mod rate;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use self::places::{Held, Places, SenderId, Sharing};
use self::rate::Rate;
use crate::config::resolved::{Bound, Limits};
use crate::telemetry::metrics::{self, Limit};

/// Requests that wait for one limit; more are told to slow down. Each holds its connection.
const QUEUE: usize = 1024;

/// Addresses share limits where they fall on the same of so many places, which is what keeps
/// their memory bounded.
const STRANGERS: usize = 1024;

/// Refused requests whose bodies are awaited at the same time, so that their clients see the answer.
const UNREAD_BODIES: NonZeroU32 = NonZeroU32::new(256).expect("more than zero");

/// What a client that is told to slow down waits, where nothing better is known.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Who asks, as far as limits care.
#[derive(Clone, Copy)]
pub(crate) enum Sender<'a> {
    /// A listed client.
    Client(&'a str),
    /// Whoever asks from there, where nobody has to sign.
    Stranger(IpAddr),
    /// Whoever asks from there without the signature that others need.
    Anonymous(IpAddr),
}

/// A request has to slow down.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("told to slow down: the limit {} is reached", .limit.as_str())]
pub(crate) struct Throttled {
    limit: Limit,
    /// When it may be tried again.
    pub(crate) retry_after: Duration,
}

impl Throttled {
    pub(crate) fn new(limit: Limit, retry_after: Duration) -> Self {
        metrics::throttled(limit);
        Self { limit, retry_after }
    }
}

/// Counts as in flight until it is dropped.
#[must_use]
#[derive(Default)]
pub(crate) struct InFlight {
    _client: Option<Held>,
    _all: Option<Held>,
}

/// The body of a refused request may be awaited for as long as this is held.
#[must_use]
pub(crate) struct UnreadBody {
    _place: Held,
}

/// All limits, with the state that they need.
pub(crate) struct Throttle {
    wait: Duration,
    /// For a client that has no limit of its own.
    client_rate: Bound,
    client_places: Bound,
    own_rates: HashMap<String, Bound>,
    all: Gauges,
    /// Those that have asked: no more than are listed.
    clients: Mutex<HashMap<String, Gauges>>,
    strangers: Vec<Gauges>,
    anonymous: Vec<Gauges>,
    unread: Arc<Places>,
    by_address: RandomState,
}

/// The limits of one client, or over all.
#[derive(Clone, Default)]
struct Gauges {
    rate: Option<Arc<Rate>>,
    places: Option<Arc<Places>>,
}

impl Gauges {
    /// With other bounds: what is in flight goes on counting, and a rate that stays the same keeps
    /// its count.
    fn rebuilt(&self, rate: Bound, places: Bound, sharing: Sharing, wait: Duration) -> Self {
        let same = |old: &&Arc<Rate>| old.is(rate, wait);
        Self {
            rate: match rate {
                Bound::Off => None,
                Bound::At(number) => Some(match self.rate.as_ref().filter(same) {
                    Some(old) => Arc::clone(old),
                    None => Arc::new(Rate::new(number, wait)),
                }),
            },
            places: match (places, &self.places) {
                (Bound::Off, _) => None,
                (Bound::At(number), None) => Some(Arc::new(Places::new(number, sharing))),
                (Bound::At(number), Some(old)) => {
                    old.resize(number);
                    Some(Arc::clone(old))
                }
            },
        }
    }

    /// Waits for a turn, and then for a place. Limits are named for the metric.
    async fn admit(
        &self,
        (rate, in_flight): (Limit, Limit),
        sender: SenderId,
        deadline: Instant,
    ) -> Result<Option<Held>, Throttled> {
        if let Some(gauge) = &self.rate {
            let turn = gauge.turn(deadline).await;
            turn.map_err(|again| Throttled::new(rate, again.after))?;
        }
        let Some(gauge) = &self.places else {
            return Ok(None);
        };
        match gauge.place(sender, deadline).await {
            Some(held) => Ok(Some(held)),
            None => Err(Throttled::new(in_flight, RETRY_AFTER)),
        }
    }
}

impl Throttle {
    /// `own_rates` are those of clients that do not have the common one, by name.
    pub(crate) fn new(limits: &Limits, own_rates: HashMap<String, Bound>) -> Self {
        let nothing = Self {
            wait: limits.throttle_wait,
            client_rate: Bound::Off,
            client_places: Bound::Off,
            own_rates: HashMap::new(),
            all: Gauges::default(),
            clients: Mutex::default(),
            strangers: Vec::new(),
            anonymous: Vec::new(),
            unread: Arc::new(Places::new(UNREAD_BODIES, Sharing::All)),
            by_address: RandomState::new(),
        };
        nothing.rebuilt(limits, own_rates)
    }

    /// With other settings, for a reload. Requests in flight go on counting in both.
    pub(crate) fn rebuilt(&self, limits: &Limits, own_rates: HashMap<String, Bound>) -> Self {
        let wait = limits.throttle_wait;
        let (rate, places) = (
            limits.client_requests_per_second,
            limits.client_requests_in_flight,
        );
        let clients = self.known().clone().into_iter().map(|(name, old)| {
            let rate = own_rates.get(&name).copied().unwrap_or(rate);
            let new = old.rebuilt(rate, places, Sharing::One, wait);
            (name, new)
        });
        let by_address = |old: &[Gauges], rate| match (rate, places) {
            (Bound::Off, Bound::Off) => Vec::new(),
            (Bound::At(_), _) | (_, Bound::At(_)) => (0..STRANGERS)
                .map(|index| old.get(index).cloned().unwrap_or_default())
                .map(|old| old.rebuilt(rate, places, Sharing::One, wait))
                .collect(),
        };
        let strangers = by_address(&self.strangers, rate);
        let anonymous = by_address(&self.anonymous, limits.anonymous_requests_per_second);
        Self {
            wait,
            client_rate: rate,
            client_places: places,
            clients: Mutex::new(clients.collect()),
            own_rates,
            all: self.all.rebuilt(
                limits.requests_per_second,
                limits.requests_in_flight,
                Sharing::All,
                wait,
            ),
            strangers,
            anonymous,
            unread: Arc::clone(&self.unread),
            by_address: self.by_address.clone(),
        }
    }

    /// Returns when it is the request's turn.
    pub(crate) async fn admit(&self, sender: Sender<'_>) -> Result<InFlight, Throttled> {
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

    /// Counts a request that is refused because of who sent it. It never waits, and takes no turn
    /// for which another waits.
    pub(crate) fn turned_away(&self) -> Result<(), Throttled> {
        let Some(rate) = &self.all.rate else {
            return Ok(());
        };
        rate.left_over()
            .map_err(|again| Throttled::new(Limit::Rate, again.after))
    }

    /// Takes a turn of the address's limit for unsigned requests. It never waits.
    pub(crate) fn anonymous_turn(&self, from: IpAddr) -> bool {
        let gauges = self.gauges_of(Sender::Anonymous(from));
        gauges.rate.is_none_or(|rate| rate.left_over().is_ok())
    }

    /// A place for awaiting the body of a request that was refused, if there is one.
    pub(crate) fn unread_body(&self, from: IpAddr) -> Option<UnreadBody> {
        let place = self.unread.place_now(self.id_of(Sender::Stranger(from)));
        place.map(|place| UnreadBody { _place: place })
    }

    fn gauges_of(&self, sender: Sender<'_>) -> Gauges {
        match sender {
            Sender::Client(name) => {
                let mut known = self.known();
                if let Some(gauges) = known.get(name) {
                    return gauges.clone();
                }
                let rate = self.own_rates.get(name).copied();
                let rate = rate.unwrap_or(self.client_rate);
                let new = Gauges::default();
                let new = new.rebuilt(rate, self.client_places, Sharing::One, self.wait);
                known.insert(name.to_owned(), new.clone());
                new
            }
            Sender::Stranger(address) => self.gauges_at(&self.strangers, address),
            Sender::Anonymous(address) => self.gauges_at(&self.anonymous, address),
        }
    }

    fn id_of(&self, sender: Sender<'_>) -> SenderId {
        SenderId(match sender {
            Sender::Client(name) => self.by_address.hash_one(name),
            Sender::Stranger(address) | Sender::Anonymous(address) => {
                self.by_address.hash_one(network(address))
            }
        })
    }

    fn gauges_at(&self, gauges: &[Gauges], address: IpAddr) -> Gauges {
        let place = self.by_address.hash_one(network(address));
        let count = gauges.len().max(1) as u64;
        let index = usize::try_from(place % count).expect("less than a length");
        gauges.get(index).cloned().unwrap_or_default()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Gauges>> {
        // Insertions are whole, so that a panic elsewhere leaves the map as it was.
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one customer of a network has: a single IPv4 address, or 64 bits of IPv6.
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
