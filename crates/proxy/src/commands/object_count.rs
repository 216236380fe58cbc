//! Counting of all objects ahead of the work, if the work takes a while.
//!
//! The list that objects are taken from is read only a page ahead, so a progress bar would have no
//! end until the last thousand objects. A second reading of the lists counts the objects, up to a
//! bound: one request per thousand objects.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use super::listing::Listing;
use super::progress::Total;

/// Delay before counting starts; shorter work is not counted ahead.
const PATIENCE: Duration = Duration::from_secs(2);

/// Largest number of objects that is counted: a thousand requests.
pub(super) const MOST: u64 = 1_000_000;

/// The count so far; the counting task writes it, and the progress reads it.
#[derive(Debug, Default)]
pub(super) struct ObjectCounter {
    objects: AtomicU64,
    is_complete: AtomicBool,
}

impl ObjectCounter {
    /// Counts one more object. Returns false once enough were counted.
    pub(super) fn add(&self) -> bool {
        self.objects.fetch_add(1, Ordering::Relaxed) + 1 < MOST
    }

    fn total(&self) -> Total {
        let objects = self.objects.load(Ordering::Relaxed);
        match (objects, self.is_complete.load(Ordering::Relaxed)) {
            (objects, true) => Total::Exactly(objects),
            (0, false) => Total::Unknown,
            (objects, false) => Total::AtLeast(objects),
        }
    }
}

/// Count over all targets; the counting ends when this is dropped.
pub(super) struct ObjectCount {
    counter: Arc<ObjectCounter>,
    _counting: JoinSet<()>,
}

impl ObjectCount {
    /// Starts counting after a delay.
    pub(super) fn begin(listings: Vec<Listing>) -> Self {
        let counter = Arc::new(ObjectCounter::default());
        let mut counting = JoinSet::new();
        counting.spawn(count(listings, Arc::clone(&counter)));
        Self {
            counter,
            _counting: counting,
        }
    }

    /// Returns the count so far.
    pub(super) fn total(&self) -> Total {
        self.counter.total()
    }
}

async fn count(listings: Vec<Listing>, counter: Arc<ObjectCounter>) {
    tokio::time::sleep(PATIENCE).await;
    for listing in listings {
        // The walk itself reports why a list breaks off.
        if listing.count(&counter).await.is_err() {
            return;
        }
    }
    // A count that hit the bound stays a lower bound.
    if counter.objects.load(Ordering::Relaxed) < MOST {
        counter.is_complete.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_a_total_only_when_it_is_complete() {
        let counter = ObjectCounter::default();
        assert_eq!(counter.total(), Total::Unknown);
        assert!(counter.add() && counter.add());
        assert_eq!(counter.total(), Total::AtLeast(2));
        counter.is_complete.store(true, Ordering::Relaxed);
        assert_eq!(counter.total(), Total::Exactly(2));
    }

    #[test]
    fn counting_ends_at_the_bound() {
        let counter = ObjectCounter::default();
        counter.objects.store(MOST - 1, Ordering::Relaxed);
        assert!(!counter.add());
        assert_eq!(counter.total(), Total::AtLeast(MOST));
    }
}
