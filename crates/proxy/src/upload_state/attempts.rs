//! The latest attempt at each part that this replica stored.
//!
//! SeaweedFS lists a replaced part beside its successor, in no order, with times in whole seconds, so
//! its list does not show which of two attempts within one second is the current one. Two measures
//! help:
//! - this replica remembers its latest attempt;
//! - an attempt at the same number waits until a second has passed since the previous one, so that
//!   the list is unambiguous for every other replica, and for this one after a restart.
//!
//! If two replicas store a number within one second of each other, the order stays unknown.

use std::time::{Duration, Instant};

use moka::sync::Cache;
use s3proxy_envelope::multipart::{PartNumber, UploadHash};
use s3proxy_protocol::etag::ETag;

/// Capacity of the cache in parts, of all uploads: about 10 MiB.
const MOST_PARTS: u64 = 32 * 1024;

/// Idle time after which an attempt is evicted. By then a list orders attempts by their times.
const IDLE: Duration = Duration::from_hours(1);

/// Precision of times in a list of parts.
const LIST_PRECISION: Duration = Duration::from_secs(1);

/// The attempt that was stored last under a part number.
#[derive(Clone)]
struct Attempt {
    /// ETag as the backend returned it.
    etag: ETag,
    stored: Instant,
}

/// Latest attempts of this replica, by upload and part number.
pub(crate) struct Attempts(Cache<(UploadHash, PartNumber), Attempt>);

impl Attempts {
    pub(crate) fn new() -> Self {
        let cache = Cache::builder().max_capacity(MOST_PARTS).time_to_idle(IDLE);
        Self(cache.build())
    }

    /// Records a stored attempt.
    pub(crate) fn stored(&self, upload: UploadHash, number: PartNumber, etag: &ETag) {
        let attempt = Attempt {
            etag: etag.clone(),
            stored: Instant::now(),
        };
        self.0.insert((upload, number), attempt);
    }

    /// Whether a part is the one that this replica stored last under the number.
    pub(crate) fn is_last(&self, upload: UploadHash, number: PartNumber, etag: &ETag) -> bool {
        let last = self.0.get(&(upload, number));
        last.is_some_and(|last| last.etag == *etag)
    }

    /// How long the next attempt has to wait before a list shows it as the later one.
    pub(crate) fn wait(&self, upload: UploadHash, number: PartNumber) -> Duration {
        let last = self.0.get(&(upload, number));
        last.map_or(Duration::ZERO, |last| {
            LIST_PRECISION.saturating_sub(last.stored.elapsed())
        })
    }
}

#[cfg(test)]
mod tests {
    use s3proxy_envelope::names::{BucketStr, KeyStr, UploadIdStr};

    use super::*;

    fn etag(text: &str) -> ETag {
        ETag::parse(text)
    }

    fn upload(id: &str) -> UploadHash {
        UploadHash::new(BucketStr("bucket"), KeyStr("key"), UploadIdStr(id))
    }

    #[test]
    fn the_last_attempt_is_the_one_that_was_stored_last_under_its_number() {
        let attempts = Attempts::new();
        let (one, two) = (PartNumber::MIN, PartNumber::new(2).unwrap());
        attempts.stored(upload("a"), one, &etag("first"));
        attempts.stored(upload("a"), one, &etag("second"));
        attempts.stored(upload("a"), two, &etag("first"));
        attempts.stored(upload("b"), one, &etag("first"));
        for (text, is_last) in [("first", false), ("second", true), ("other", false)] {
            assert_eq!(
                attempts.is_last(upload("a"), one, &etag(text)),
                is_last,
                "{text}"
            );
        }
        assert!(attempts.is_last(upload("a"), two, &etag("first")));
        assert!(!attempts.is_last(upload("c"), one, &etag("second")));
    }

    #[test]
    fn an_attempt_waits_for_the_last_one_under_its_number_alone() {
        let attempts = Attempts::new();
        attempts.stored(upload("a"), PartNumber::MIN, &etag("first"));
        let wait = attempts.wait(upload("a"), PartNumber::MIN);
        assert!(!wait.is_zero() && wait <= LIST_PRECISION, "{wait:?}");
        for (id, number) in [("a", PartNumber::MAX), ("b", PartNumber::MIN)] {
            assert_eq!(attempts.wait(upload(id), number), Duration::ZERO, "{id}");
        }
    }
}
