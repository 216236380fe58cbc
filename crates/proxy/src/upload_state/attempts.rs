//! The last attempt at each part that this replica stored.
//!
//! SeaweedFS lists a replaced part beside its successor, in no order, with times in whole seconds.
//! So nothing in its list says which of two attempts within one second is the part. Two things do:
//! - this replica remembers the attempt that it stored last;
//! - an attempt that follows another one at the same number waits until a second has passed since,
//!   so that the list says so to every other replica, and to this one after a restart.
//!
//! Two replicas that store a number within one second of each other leave the question open.

use std::time::{Duration, Instant};

use moka::sync::Cache;
use s3proxy_envelope::multipart::{PartNumber, UploadHash};
use s3proxy_protocol::etag::ETag;

/// Parts that are remembered at most, of all uploads: some 10 MiB.
const MOST_PARTS: u64 = 32 * 1024;

/// Longer than the list of an upload that goes on takes to tell attempts apart by their times.
const IDLE: Duration = Duration::from_hours(1);

/// The precision of a list's times.
const LIST_PRECISION: Duration = Duration::from_secs(1);

/// What was stored under a number.
#[derive(Clone)]
struct Attempt {
    /// ETag of the backend's response.
    etag: ETag,
    stored: Instant,
}

/// The attempts that this replica stored last.
pub(crate) struct Attempts(Cache<(UploadHash, PartNumber), Attempt>);

impl Attempts {
    pub(crate) fn new() -> Self {
        let cache = Cache::builder().max_capacity(MOST_PARTS).time_to_idle(IDLE);
        Self(cache.build())
    }

    /// Remembers what was stored.
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
