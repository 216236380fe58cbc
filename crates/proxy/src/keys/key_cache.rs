//! Cache of keys that a service opened.
//!
//! Entries are kept by service and ciphertext, bounded in number and time, and wiped when they are
//! evicted. Concurrent requests for the same key share one call. A key in use is opened again
//! before it expires, without delaying the requests that use it. Data keys are not cached:
//! unwrapping one under a cached KEK takes microseconds.
//!
//! A ciphertext that the service does not know is cached, too, for [`REFUSED_FOR`]. Without that,
//! each read of a planted envelope would be a call that costs money.

use std::future::Future;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::sync::Cache;
use tokio::time::Instant;

use super::jitter;
use super::key_service::ServiceError;
use super::service_caller::Caller;
use super::single_flight::SingleFlight;
use crate::telemetry::metrics;

/// Cache key: the name of the service's key, and the ciphertext.
type CacheKey = (Arc<str>, Box<[u8]>);

/// Cache of opened keys: KEKs, or those of an older proxy.
pub(super) struct KeyCache<K> {
    time: Duration,
    opened: Cache<CacheKey, CachedKey<K>>,
    refused: Cache<CacheKey, (Instant, ServiceError)>,
    /// Calls in flight: short-lived, and as bounded as the keys.
    opening: Cache<CacheKey, Arc<SingleFlight<Arc<K>>>>,
}

struct CachedKey<K> {
    key: Arc<K>,
    until: Instant,
    /// When the next user of the key has it opened again.
    refresh_at: Arc<Mutex<Instant>>,
}

impl<K> Clone for CachedKey<K> {
    fn clone(&self) -> Self {
        Self {
            key: Arc::clone(&self.key),
            until: self.until,
            refresh_at: Arc::clone(&self.refresh_at),
        }
    }
}

/// How long an idle entry of `opening` stays, so that concurrent requests for a key find each
/// other.
const IDLE_CALL_TIME: Duration = Duration::from_mins(1);

/// How long a refusal is cached. Short, since a key that was replaced at its service by mistake may
/// come back.
const REFUSED_FOR: Duration = Duration::from_secs(30);

const MAX_REFUSED: u64 = 1024;

/// Pause between two tries to open a key again before it expires.
const REFRESH_PAUSE: Duration = Duration::from_secs(15);

impl<K: Send + Sync + 'static> KeyCache<K> {
    /// Builds a cache for up to `keys` keys, for `time` each; zero disables it.
    pub(super) fn new(keys: NonZeroU32, time: Duration) -> Self {
        let capacity = if time.is_zero() { 0 } else { keys.get() };
        let opened = Cache::builder()
            // Kept above zero for the cache; with a capacity of 0 the time does not matter.
            .max_capacity(u64::from(capacity))
            .time_to_live(time.max(Duration::from_nanos(1)))
            .build();
        let refused = Cache::builder()
            .max_capacity(MAX_REFUSED)
            .time_to_live(REFUSED_FOR)
            .build();
        let opening = Cache::builder()
            .max_capacity(u64::from(keys.get()))
            .time_to_idle(IDLE_CALL_TIME)
            .build();
        Self {
            time,
            opened,
            refused,
            opening,
        }
    }

    /// Returns the key from the cache, or has `work` open it.
    pub(super) async fn get<W>(
        self: &Arc<Self>,
        key_name: &Arc<str>,
        ciphertext: &[u8],
        caller: &Caller,
        work: impl Fn() -> W,
    ) -> Result<Arc<K>, ServiceError>
    where
        W: Future<Output = Result<K, ServiceError>> + Send + 'static,
    {
        let entry = (Arc::clone(key_name), ciphertext.into());
        if let Some(found) = self.lookup(&entry) {
            metrics::key_cache_hit();
            self.refresh(&entry, &found, caller, &work);
            return Ok(found.key);
        }
        // Made atomically, so that concurrent requests for one key get the same queue.
        let flight = self.opening.get_with(entry.clone(), Arc::default);
        let mut guard = flight.enter().await;
        // Looked up again: the request that had the turn before may have opened the key.
        if let Some(found) = self.lookup(&entry) {
            metrics::key_cache_hit();
            return Ok(found.key);
        }
        // After the turn, so that one refusal serves all requests that waited.
        match self.refused.get(&entry) {
            Some((until, error)) if Instant::now() < until => return Err(error),
            Some(_) | None => {}
        }
        metrics::key_cache_missed();
        let kept = |opening: W| Arc::clone(self).keep(entry.clone(), opening);
        guard.run(caller, || kept(work())).await
    }

    /// Adds a key that was made here.
    pub(super) fn insert(&self, key_name: &Arc<str>, ciphertext: &[u8], key: Arc<K>) {
        self.store((Arc::clone(key_name), ciphertext.into()), key);
    }

    /// Opens a key and caches the result, even if nobody waits for it any more.
    async fn keep(
        self: Arc<Self>,
        entry: CacheKey,
        opening: impl Future<Output = Result<K, ServiceError>>,
    ) -> Result<Arc<K>, ServiceError> {
        match opening.await {
            Ok(key) => {
                let key = Arc::new(key);
                self.store(entry, Arc::clone(&key));
                Ok(key)
            }
            Err(error) => {
                // Only a refused ciphertext is cached: any other failure may be transient.
                if let ServiceError::Ciphertext(_) = &error {
                    let until = Instant::now() + REFUSED_FOR;
                    self.refused.insert(entry, (until, error.clone()));
                }
                Err(error)
            }
        }
    }

    fn lookup(&self, entry: &CacheKey) -> Option<CachedKey<K>> {
        let found = self.opened.get(entry)?;
        // The cache may evict late: the exact end is checked here.
        (Instant::now() < found.until).then_some(found)
    }

    fn store(&self, entry: CacheKey, key: Arc<K>) {
        let now = Instant::now();
        // At 75 to 80 % of the time, jittered, so that replicas do not refresh together.
        let refresh_at = now + self.time * 4 / 5 - jitter::full(self.time / 20);
        let remembered = CachedKey {
            key,
            until: now + self.time,
            refresh_at: Arc::new(Mutex::new(refresh_at)),
        };
        self.opened.insert(entry, remembered);
    }

    /// Opens a key again that is about to expire. Its remaining time bounds the number of tries.
    fn refresh<W>(
        self: &Arc<Self>,
        entry: &CacheKey,
        found: &CachedKey<K>,
        caller: &Caller,
        work: impl FnOnce() -> W,
    ) where
        W: Future<Output = Result<K, ServiceError>> + Send + 'static,
    {
        let now = Instant::now();
        let mut refresh_at = found
            .refresh_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if now < *refresh_at {
            return;
        }
        // Set before the call begins, so that concurrent users of the key do not begin another.
        *refresh_at = now + REFRESH_PAUSE;
        drop(refresh_at);
        let kept = Arc::clone(self).keep(entry.clone(), work());
        // A failure shows in the metrics, and to requests once the key has expired.
        caller.begin_in_background(async { drop(kept.await) });
    }
}
