//! State of a connection: idle, reading a head, or serving a request.
//!
//! A drain closes connections that have been idle for a while, and no others. A client that
//! received the end of a response a moment ago may already be sending its next request, and if it
//! then finds its connection closed, it cannot know whether the request was carried out. A request
//! is being served until the last byte of its response was handed to the HTTP library.
//!
//! When slots or memory run short, [`super::connection_limits`] inspects the state of each
//! connection; everything else happens in the connection's own task.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::connection_limits::{ConnectionSlots, HeadMemoryExhausted};
use crate::throttle::network;

/// Number of bytes that are read at once before the sender is known: less than the HTTP library's
/// initial buffer, which therefore does not grow.
const FIRST_READ_BYTES: u64 = 8 * 1024 - 1;

/// Number of bytes that are read at once if there are many connections.
const SMALL_READ_BYTES: u64 = 16 * 1024 - 1;

/// State of one connection, shared by everything that serves it.
#[derive(Clone)]
pub(super) struct Activity(Arc<Mutex<ActivityState>>);

struct ActivityState {
    opened: Instant,
    network: IpAddr,
    /// Whether a client was authenticated on it, or a trusted load balancer holds it.
    known: bool,
    /// Number of bytes of the head that is being read, and of the form after it.
    held: usize,
    /// Number of those bytes that are charged to the memory of all heads.
    charged: usize,
    /// Number of those bytes that count as being freed, since the connection was ended.
    ending: usize,
    /// Where the bytes are charged; `None` for connections above the limit, which have no place.
    slots: Option<Arc<ConnectionSlots>>,
    /// Number of heads read so far.
    heads: u64,
    phase: ConnectionPhase,
    /// Whether bytes of a response wait for the client to read them.
    unsent: bool,
    /// Whether the connection ends after the current response.
    closing: bool,
}

enum ConnectionPhase {
    Idle {
        since: Instant,
    },
    ReadingHead,
    /// The head is complete, and its sender is not known yet.
    HeadComplete,
    /// The request is refused, and the rest of its body is read and dropped.
    Refused,
    Serving,
}

/// Number of bytes of a head that are free of charge, as part of an idle connection: most heads are
/// shorter.
const FREE_HEAD_BYTES: usize = 4096;

/// Number of copies of a form's bytes: in the HTTP library's buffer, in the parser's, and in the
/// field.
const COPIES_OF_FORMS: usize = 3;

/// What a connection may have to give up if others need more.
#[derive(Clone, Copy)]
pub(super) enum EvictionClass {
    /// No client was ever authenticated on it, and nothing is being served.
    Unauthenticated {
        network: IpAddr,
        opened: Instant,
        charged: usize,
    },
    /// A known client's connection between two requests.
    Idle { since: Instant },
    /// Serving a request, or reading a known client's head.
    Busy { opened: Instant, charged: usize },
}

/// Guard: a request is being served until this is dropped.
#[must_use]
pub(super) struct ServingGuard(Activity);

#[cfg(test)]
impl Default for Activity {
    fn default() -> Self {
        Self::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST))
    }
}

impl Activity {
    /// Creates the state of a connection from this address.
    pub(super) fn new(address: IpAddr) -> Self {
        Self(Arc::new(Mutex::new(ActivityState {
            opened: Instant::now(),
            network: network(address),
            known: false,
            held: 0,
            charged: 0,
            ending: 0,
            slots: None,
            heads: 0,
            phase: ConnectionPhase::Idle {
                since: Instant::now(),
            },
            unsent: false,
            closing: false,
        })))
    }
}

impl Activity {
    /// Notes that the connection has a place.
    pub(super) fn set_slots(&self, slots: &Arc<ConnectionSlots>) {
        self.state().slots = Some(Arc::clone(slots));
    }

    /// Notes that a trusted load balancer holds the connection and has not named its client yet.
    pub(super) fn is_trusted(&self) {
        self.state().known = true;
    }

    /// Notes that the connection belongs to the client at this address.
    pub(super) fn is_from(&self, address: IpAddr) {
        let mut state = self.state();
        state.network = network(address);
        state.known = false;
    }

    /// Notes that the head is complete.
    pub(super) fn begin(&self) -> ServingGuard {
        let mut state = self.state();
        state.heads += 1;
        state.phase = ConnectionPhase::HeadComplete;
        ServingGuard(self.clone())
    }

    /// Notes that the request was admitted. Returns whether it is the first of a known client.
    pub(super) fn admitted(&self, known: bool) -> bool {
        self.discharge();
        let mut state = self.state();
        state.phase = ConnectionPhase::Serving;
        let first = known && !state.known;
        state.known |= known;
        first
    }

    /// Notes that the request was refused.
    pub(super) fn refused(&self) {
        self.discharge();
        self.state().phase = ConnectionPhase::Refused;
    }

    /// Notes that the connection will not be kept for another request.
    pub(super) fn closes(&self) {
        self.state().closing = true;
    }

    pub(super) fn is_closing(&self) -> bool {
        self.state().closing
    }

    /// Returns how many bytes may be read at once: few while the sender is unknown, so that the
    /// HTTP library's buffer stays small.
    pub(super) fn read_limit(&self) -> u64 {
        let state = self.state();
        match (&state.phase, &state.slots) {
            (ConnectionPhase::Serving, Some(slots)) if !slots.is_crowded() => u64::MAX,
            (ConnectionPhase::Serving, _) => SMALL_READ_BYTES,
            (
                ConnectionPhase::Idle { .. }
                | ConnectionPhase::ReadingHead
                | ConnectionPhase::HeadComplete
                | ConnectionPhase::Refused,
                _,
            ) => FIRST_READ_BYTES,
        }
    }

    /// Charges memory of a head or form.
    pub(super) fn charge(&self, bytes: usize) -> Result<(), HeadMemoryExhausted> {
        let (slots, more, from) = {
            let mut state = self.state();
            state.held = state.held.saturating_add(bytes);
            let charged = state.held.saturating_sub(FREE_HEAD_BYTES);
            let more = charged - state.charged;
            let Some(slots) = state.slots.clone().filter(|_| more > 0) else {
                return Ok(());
            };
            state.charged = charged;
            (slots, more, state.network)
        };
        // Without the lock: this connection may be the one that is evicted.
        slots.charge(more, from)
    }

    /// Notes that the connection's task was told to end.
    pub(super) fn ends(&self) {
        let mut state = self.state();
        let more = state.charged - state.ending;
        state.ending = state.charged;
        if let Some(slots) = &state.slots {
            slots.expect(more);
        }
    }

    /// Returns the memory of the head: its sender is known, or the head is gone.
    pub(super) fn discharge(&self) {
        let mut state = self.state();
        state.held = 0;
        let charged = std::mem::take(&mut state.charged);
        let ending = std::mem::take(&mut state.ending);
        if let Some(slots) = state.slots.as_ref().filter(|_| charged > 0) {
            slots.discharge(charged, ending);
        }
    }

    pub(super) fn eviction_class(&self) -> EvictionClass {
        let state = self.state();
        let ActivityState {
            opened,
            network,
            charged,
            ..
        } = *state;
        match (&state.phase, state.known) {
            // First: an idle connection whose last response is still being sent is busy, too.
            (ConnectionPhase::Idle { since }, true) if !state.unsent => {
                EvictionClass::Idle { since: *since }
            }
            (ConnectionPhase::Serving, _)
            | (
                ConnectionPhase::ReadingHead
                | ConnectionPhase::HeadComplete
                | ConnectionPhase::Refused
                | ConnectionPhase::Idle { .. },
                true,
            ) => EvictionClass::Busy { opened, charged },
            (
                ConnectionPhase::Idle { .. }
                | ConnectionPhase::ReadingHead
                | ConnectionPhase::HeadComplete
                | ConnectionPhase::Refused,
                false,
            ) => EvictionClass::Unauthenticated {
                network,
                opened,
                charged,
            },
        }
    }

    /// Returns the number of the awaited head, if one is awaited.
    pub(super) fn head(&self) -> Option<u64> {
        let state = self.state();
        match state.phase {
            ConnectionPhase::Idle { .. } | ConnectionPhase::ReadingHead => Some(state.heads),
            ConnectionPhase::HeadComplete | ConnectionPhase::Refused | ConnectionPhase::Serving => {
                None
            }
        }
    }

    /// Records received bytes. Fails if there is no memory for them.
    pub(super) fn read(&self, bytes: usize) -> Result<(), HeadMemoryExhausted> {
        let copies = {
            let mut state = self.state();
            match state.phase {
                ConnectionPhase::Idle { .. } => {
                    state.phase = ConnectionPhase::ReadingHead;
                    1
                }
                ConnectionPhase::ReadingHead => 1,
                ConnectionPhase::HeadComplete => COPIES_OF_FORMS,
                ConnectionPhase::Refused | ConnectionPhase::Serving => return Ok(()),
            }
        };
        self.charge(copies * bytes)
    }

    /// Records that the client took bytes, or did not.
    pub(super) fn wrote(&self, outcome: WriteOutcome) {
        let mut state = self.state();
        let nothing_new = match outcome {
            // The HTTP library flushes whenever it is polled, so a flush alone is no activity.
            WriteOutcome::Bytes(0) => !state.unsent,
            WriteOutcome::Bytes(_) | WriteOutcome::Blocked => false,
        };
        state.unsent = matches!(outcome, WriteOutcome::Blocked);
        match &mut state.phase {
            ConnectionPhase::Idle { since } if !nothing_new => *since = Instant::now(),
            ConnectionPhase::Idle { .. }
            | ConnectionPhase::ReadingHead
            | ConnectionPhase::HeadComplete
            | ConnectionPhase::Refused
            | ConnectionPhase::Serving => {}
        }
    }

    fn idle_since(&self) -> Option<Instant> {
        let state = self.state();
        match state.phase {
            ConnectionPhase::Idle { since } if !state.unsent => Some(since),
            ConnectionPhase::Idle { .. }
            | ConnectionPhase::ReadingHead
            | ConnectionPhase::HeadComplete
            | ConnectionPhase::Refused
            | ConnectionPhase::Serving => None,
        }
    }

    /// Returns once the server is closing and nothing has happened here for `time`. Must be polled
    /// in the task that serves the connection, whenever that makes progress.
    pub(super) async fn idle_while_closing(
        self,
        mut closing: watch::Receiver<bool>,
        time: Duration,
    ) {
        if closing.changed().await.is_err() {
            // The sender is gone: the server was dropped, and this task will be, too.
            return std::future::pending().await;
        }
        loop {
            let since = std::future::poll_fn(|_| match self.idle_since() {
                Some(since) => Poll::Ready(since),
                None => Poll::Pending,
            });
            let since = since.await;
            tokio::time::sleep_until(since + time).await;
            // Something happened during the sleep: wait again from then.
            if self.idle_since() == Some(since) {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, ActivityState> {
        // A poisoned lock is usable: no code under the lock can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Result of an attempt to write.
#[derive(Clone, Copy)]
pub(super) enum WriteOutcome {
    /// This many bytes were written.
    Bytes(usize),
    /// The client has to read other bytes first.
    Blocked,
}

impl Drop for ServingGuard {
    fn drop(&mut self) {
        self.0.discharge();
        self.0.state().phase = ConnectionPhase::Idle {
            since: Instant::now(),
        };
    }
}

#[cfg(test)]
mod tests;
