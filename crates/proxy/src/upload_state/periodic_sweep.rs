//! The periodic sweep of a serving proxy.
//!
//! It visits the buckets that received uploads since the start: a credential may see many others
//! that do not concern the proxy. Leftovers in a bucket without uploads since then are removed by
//! the command only.
//!
//! Replicas sweep independently, at random times, the first one within one interval: even a proxy
//! that is restarted every day sweeps.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use s3proxy_protocol::name::BucketName;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::backend::Service;
use crate::config::resolved::SweepInterval;
use crate::failure::{Failure, Outcome};
use crate::objects::Store;
use crate::upload_state::sweep::{DEFAULT_AGE, Found, Mode, Nameless, Sweep, UploadBucket};

/// Most bucket names that are kept; clients choose them.
const MAX_BUCKETS: usize = 10_000;

/// Buckets that received uploads since the start.
#[derive(Default)]
pub(crate) struct SeenBuckets(Mutex<BTreeMap<String, UploadBucket>>);

impl SeenBuckets {
    /// Notes the bucket of a request that succeeded at the backend.
    pub(crate) fn note(&self, bucket: &BucketName, service: Option<&Service>) {
        let bucket = bucket.as_str();
        // Poison is ignored: an insertion is complete or did not happen, even if a thread panicked.
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < MAX_BUCKETS && !seen.contains_key(bucket) {
            let noted = UploadBucket {
                name: bucket.to_owned(),
                service: service.cloned(),
            };
            seen.insert(bucket.to_owned(), noted);
        }
    }

    fn forget(&self, bucket: &str) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.remove(bucket);
    }

    fn all(&self) -> Vec<UploadBucket> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.values().cloned().collect()
    }
}

/// Sweeps forever, unless disabled, under the current settings. A new interval applies immediately.
pub(crate) async fn sweep_periodically(
    mut current: watch::Receiver<Arc<Store>>,
    seen: Arc<SeenBuckets>,
) {
    let mut schedule = Schedule::new(&current.borrow_and_update());
    loop {
        let changed = match schedule.next {
            None => current.changed().await,
            Some(next) => tokio::select! {
                changed = current.changed() => changed,
                () = tokio::time::sleep_until(next) => {
                    let store = Arc::clone(&current.borrow());
                    sweep_once(&store, &seen).await;
                    schedule = schedule.after_a_sweep();
                    continue;
                }
            },
        };
        if changed.is_err() {
            return;
        }
        // A reload that keeps the interval must not postpone the sweep.
        let store = current.borrow_and_update();
        if store.policy.sweep_interval != schedule.interval {
            schedule = Schedule::new(&store);
        }
    }
}

/// Time of the next sweep.
struct Schedule {
    interval: SweepInterval,
    next: Option<Instant>,
}

impl Schedule {
    fn new(store: &Store) -> Self {
        Self::within(store.policy.sweep_interval, chance)
    }

    fn after_a_sweep(&self) -> Self {
        // Random, so that replicas that were started together do not sweep together.
        Self::within(self.interval, || 0.75 + 0.5 * chance())
    }

    fn within(interval: SweepInterval, share: impl FnOnce() -> f64) -> Self {
        let next = match interval {
            SweepInterval::Never => None,
            SweepInterval::Every(interval) => Some(Instant::now() + interval.mul_f64(share())),
        };
        Self { interval, next }
    }
}

async fn sweep_once(store: &Store, seen: &SeenBuckets) {
    let sweep = Sweep {
        backend: &store.backend,
        policy: &store.policy,
        older_than: DEFAULT_AGE,
        mode: Mode::Remove,
        nameless: Nameless::Stay,
    };
    let buckets = seen.all();
    if buckets.is_empty() {
        return;
    }
    let tell = |bucket: &str, found| {
        if matches!(&found, Err(failure) if is_no_bucket(failure)) {
            seen.forget(bucket);
        } else {
            log(bucket, found);
        }
    };
    sweep.buckets(buckets, tell).await;
}

fn log(bucket: &str, found: Outcome<Found>) {
    match found {
        Ok(found) => {
            for left in &found.not_removed {
                tracing::warn!(bucket, reason = %left.failure, "failed to remove a leftover of a multipart upload");
            }
            tracing::info!(
                bucket,
                in_progress = found.in_progress,
                nameless = (found.nameless > 0).then_some(found.nameless),
                removed = found.objects.len(),
                "swept the state of uploads"
            );
        }
        Err(failure) => {
            tracing::warn!(bucket, reason = %failure, "failed to sweep the state of uploads");
        }
    }
}

/// Whether the bucket was deleted after it received uploads.
fn is_no_bucket(failure: &Failure) -> bool {
    failure.is_backend_code("NoSuchBucket")
}

/// A random number from 0 to 1.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's generator works");
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}
