//! The difference between the backend's clock and ours, learnt from `Date`.
//!
//! S3 refuses signatures that are more than 15 minutes off. `Date` has whole seconds and is as
//! old as the way back, so small differences are taken for none. This clock serves outgoing
//! signatures only: what a backend says about time must never widen the window in which a
//! client's signature is accepted.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use time::PrimitiveDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

const TOLERANCE_SECONDS: i64 = 10;

const IMF_FIXDATE: &[BorrowedFormatItem<'static>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

/// Seconds the backend's clock is ahead of ours.
#[derive(Debug, Default)]
pub(super) struct BackendClock(AtomicI64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Learnt {
    Nothing,
    Changed,
}

impl BackendClock {
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

    pub(super) fn offset_seconds(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn learn(&self, date: Option<&HeaderValue>, local: SystemTime) -> Learnt {
        let Some(theirs) = date.and_then(seconds_of) else {
            return Learnt::Nothing;
        };
        let measured = theirs.saturating_sub(seconds_since_epoch(local));
        if (measured - self.offset_seconds()).abs() <= TOLERANCE_SECONDS {
            return Learnt::Nothing;
        }
        let settled = if measured.abs() <= TOLERANCE_SECONDS {
            0
        } else {
            measured
        };
        self.0.store(settled, Ordering::Relaxed);
        Learnt::Changed
    }
}

/// Seconds since 1970 of an HTTP date in its one current form (RFC 9110, 5.6.7).
pub(super) fn seconds_of(date: &HeaderValue) -> Option<i64> {
    let parsed = PrimitiveDateTime::parse(date.to_str().ok()?, IMF_FIXDATE).ok()?;
    Some(parsed.assume_utc().unix_timestamp())
}

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

    #[test]
    fn a_difference_is_learnt_and_unlearnt() {
        let clock = BackendClock::default();
        assert_eq!(
            clock.learn(Some(&DATE), at(784_111_777 - 3600)),
            Learnt::Changed
        );
        assert_eq!(clock.offset_seconds(), 3600);
        assert_eq!(clock.now(at(1000)), at(4600));
        assert_eq!(
            clock.learn(Some(&DATE), at(784_111_777 - 3605)),
            Learnt::Nothing
        );
        assert_eq!(clock.offset_seconds(), 3600);
        assert_eq!(
            clock.learn(Some(&DATE), at(784_111_777 + 4)),
            Learnt::Changed
        );
        assert_eq!(clock.offset_seconds(), 0);
    }

    #[test]
    fn small_differences_and_unreadable_dates_change_nothing() {
        let clock = BackendClock::default();
        assert_eq!(
            clock.learn(Some(&DATE), at(784_111_777 - 10)),
            Learnt::Nothing
        );
        let broken = HeaderValue::from_static("yesterday");
        assert_eq!(clock.learn(Some(&broken), at(0)), Learnt::Nothing);
        assert_eq!(clock.learn(None, at(0)), Learnt::Nothing);
        assert_eq!(clock.offset_seconds(), 0);
    }

    #[test]
    fn a_backend_behind_moves_time_back() {
        let clock = BackendClock::default();
        clock.learn(Some(&DATE), at(784_111_777 + 900));
        assert_eq!(clock.now(at(10_000)), at(9_100));
    }
}
