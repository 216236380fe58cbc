//! The difference between the backend's clock and ours, learned from refusals of our time.
//!
//! S3 refuses signatures that are more than 15 minutes off, and states its own time. Only such a
//! refusal is believed, and at most a day in either direction: a request signed for another time is
//! valid at that time, for anybody who has kept it. `Date` has whole seconds and is as old as the
//! network delay, so small differences count as none. This clock is used for outgoing signatures
//! and for the age of objects in a sweep. A backend's statement about the time must never widen the
//! window in which a client's signature is accepted.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use s3proxy_protocol::headers;
use s3proxy_protocol::http_date;

/// Smallest difference that counts.
pub(super) const TOLERANCE_SECONDS: u64 = 10;

/// Largest difference that is believed.
const MOST_SECONDS: u64 = 24 * 60 * 60;

/// Number of seconds by which the backend's clock is ahead of ours.
#[derive(Debug, Default)]
pub(super) struct BackendClock(AtomicI64);

/// Effect of a refusal on the known offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClockUpdate {
    Unchanged,
    Adjusted,
}

impl BackendClock {
    /// Returns the backend's time at the local time `local`.
    pub(super) fn now(&self, local: SystemTime) -> SystemTime {
        let offset = self.offset_seconds();
        let distance = Duration::from_secs(offset.unsigned_abs());
        let moved = if offset >= 0 {
            local.checked_add(distance)
        } else {
            local.checked_sub(distance)
        };
        moved.unwrap_or(local)
    }

    /// Returns the number of seconds by which the backend's clock is ahead of ours.
    pub(super) fn offset_seconds(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Adopts the time of a refusal, if it differs by more than `smallest` from the known offset.
    pub(super) fn learn(
        &self,
        date: Option<&HeaderValue>,
        local: SystemTime,
        smallest: u64,
    ) -> ClockUpdate {
        let Some(theirs) = date.and_then(seconds_of) else {
            return ClockUpdate::Unchanged;
        };
        let measured = theirs.saturating_sub(seconds_since_epoch(local));
        if measured.unsigned_abs() > MOST_SECONDS {
            tracing::warn!(
                seconds_ahead = measured,
                "ignoring the backend's clock, which is more than a day off; set the clock of this \
                 machine, or the backend's"
            );
            return ClockUpdate::Unchanged;
        }
        if measured.abs_diff(self.offset_seconds()) <= smallest {
            return ClockUpdate::Unchanged;
        }
        // Within the tolerance the clocks count as equal again.
        let settled = if measured.unsigned_abs() <= TOLERANCE_SECONDS {
            0
        } else {
            measured
        };
        self.0.store(settled, Ordering::Relaxed);
        tracing::warn!(
            seconds_ahead = settled,
            "the backend refused our clock; signing with the backend's time from now on"
        );
        ClockUpdate::Adjusted
    }
}

/// Parses an HTTP date in its one current form (RFC 9110, 5.6.7) to seconds since 1970.
pub(super) fn seconds_of(date: &HeaderValue) -> Option<i64> {
    Some(http_date::parse(headers::value_text(date)?)?.unix_timestamp())
}

/// Converts a time to seconds since 1970; 0 for earlier times.
pub(super) fn seconds_since_epoch(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: HeaderValue = HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn learn(clock: &BackendClock, date: &HeaderValue, local: u64) -> ClockUpdate {
        clock.learn(Some(date), at(local), TOLERANCE_SECONDS)
    }

    #[test]
    fn a_difference_is_learned_and_unlearned() {
        let clock = BackendClock::default();
        for (local, update, offset) in [
            (784_111_777 - 3600, ClockUpdate::Adjusted, 3600),
            (784_111_777 - 3605, ClockUpdate::Unchanged, 3600),
            (784_111_777 + 4, ClockUpdate::Adjusted, 0),
        ] {
            assert_eq!(learn(&clock, &DATE, local), update);
            assert_eq!(clock.offset_seconds(), offset);
        }
        learn(&clock, &DATE, 784_111_777 - 3600);
        assert_eq!(clock.now(at(1000)), at(4600));
    }

    #[test]
    fn small_differences_and_unreadable_dates_change_nothing() {
        let clock = BackendClock::default();
        assert_eq!(
            learn(&clock, &DATE, 784_111_777 - 10),
            ClockUpdate::Unchanged
        );
        let broken = HeaderValue::from_static("yesterday");
        assert_eq!(learn(&clock, &broken, 0), ClockUpdate::Unchanged);
        assert_eq!(
            clock.learn(None, at(0), TOLERANCE_SECONDS),
            ClockUpdate::Unchanged
        );
        assert_eq!(clock.offset_seconds(), 0);
    }

    #[test]
    fn a_backend_behind_moves_time_back() {
        let clock = BackendClock::default();
        learn(&clock, &DATE, 784_111_777 + 900);
        assert_eq!(clock.now(at(10_000)), at(9_100));
    }

    #[test]
    fn more_than_a_day_is_not_believed() {
        const DAY: u64 = 86_400;
        for (local, offset) in [
            (784_111_777 - DAY, 86_400),
            (784_111_777 + DAY, -86_400),
            (784_111_777 - DAY - 1, 0),
            (784_111_777 + DAY + 1, 0),
        ] {
            let clock = BackendClock::default();
            learn(&clock, &DATE, local);
            assert_eq!(clock.offset_seconds(), offset);
        }
        let clock = BackendClock::default();
        let last = HeaderValue::from_static("Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(learn(&clock, &last, 1_800_000_000), ClockUpdate::Unchanged);
        assert_eq!(clock.now(at(1_800_000_000)), at(1_800_000_000));
    }
}
