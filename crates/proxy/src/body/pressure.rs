//! Whether other requests wait for resources that slow clients hold: memory for bodies, or a
//! connection.
//!
//! A slow client does no harm while there is enough for all. While others wait, clients slower than
//! `listen.min_body_rate` are ended, one per waiting share and no more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::buffers::STREAM_BYTES;

/// Sums of the bytes that are waited for and that were given up.
#[derive(Default)]
pub(crate) struct Pressure(Mutex<Sums>);

#[derive(Default)]
struct Sums {
    wanted_bytes: usize,
    given_up_bytes: usize,
}

/// A request for bytes that waits until this is dropped.
#[must_use]
pub(crate) struct Wanted {
    pressure: Arc<Pressure>,
    bytes: usize,
}

impl Pressure {
    pub(crate) fn want(self: &Arc<Self>, bytes: usize) -> Wanted {
        self.sums().wanted_bytes += bytes;
        Wanted {
            pressure: Arc::clone(self),
            bytes,
        }
    }

    /// Returns whether a slow body must end. A caller that gets `true` has to end its body.
    pub(super) fn takes_one(&self) -> bool {
        let mut sums = self.sums();
        let takes = sums.wanted_bytes > sums.given_up_bytes;
        if takes {
            // Counted at once, so that one waiting request does not end every slow body.
            sums.given_up_bytes += STREAM_BYTES;
        }
        takes
    }

    fn sums(&self) -> MutexGuard<'_, Sums> {
        // A poisoned lock is usable: nothing under the lock can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        let mut sums = self.pressure.sums();
        sums.wanted_bytes -= self.bytes;
        // With no request waiting both sums restart at 0, so that no surplus accumulates.
        sums.given_up_bytes = match sums.wanted_bytes {
            0 => 0,
            _ => sums.given_up_bytes.saturating_sub(self.bytes),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_bodies_end_as_others_wait_for_and_none_without_need() {
        let pressure = Arc::new(Pressure::default());
        assert!(!pressure.takes_one());
        let large = pressure.want(2 * STREAM_BYTES);
        assert!(pressure.takes_one());
        assert!(pressure.takes_one());
        assert!(!pressure.takes_one());
        let small = pressure.want(1);
        assert!(pressure.takes_one());
        drop(large);
        assert!(!pressure.takes_one(), "what was given up is enough for it");
        drop(small);
        assert!(!pressure.takes_one());
        let _again = pressure.want(1);
        assert!(pressure.takes_one());
    }
}
