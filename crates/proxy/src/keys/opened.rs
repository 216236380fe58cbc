//! KEKs that a service opened, remembered for a while.
//!
//! Kept by service and ciphertext, bounded in number and time, and wiped when they leave. Many who
//! want the same one at once make one request, and fail together if it fails, rather than each
//! trying in turn while the service is away. Data keys are not kept: unwrapping one under a KEK at
//! hand takes microseconds.

use std::future::Future;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::sync::Cache;
use s3proxy_envelope::kek::Kek;
use tokio::sync::Mutex;

use super::key_service::ServiceError;
use crate::telemetry::metrics;

/// The service's key by name, and the ciphertext.
type Which = (Arc<str>, Box<[u8]>);

/// Opened KEKs.
pub(super) struct OpenedKeks {
    opened: Cache<Which, Arc<Kek>>,
    /// Requests under way: short-lived, and as bounded as the KEKs.
    opening: Cache<Which, Arc<Mutex<Option<Failed>>>>,
}

/// The last failure, and when it became known.
type Failed = (Instant, ServiceError);

/// How long those who come for the same KEK find each other.
const TOGETHER: Duration = Duration::from_mins(1);

impl OpenedKeks {
    /// Remembers up to `keks` for `time` each; zero is not at all.
    pub(super) fn new(keks: NonZeroU32, time: Duration) -> Self {
        let capacity = if time.is_zero() { 0 } else { keks.get() };
        let opened = Cache::builder()
            .max_capacity(u64::from(capacity))
            .time_to_live(time.max(Duration::from_nanos(1)))
            .build();
        let opening = Cache::builder()
            .max_capacity(u64::from(keks.get()))
            .time_to_idle(TOGETHER)
            .build();
        Self { opened, opening }
    }

    /// The KEK, remembered or opened by `open`.
    pub(super) async fn get(
        &self,
        key_name: &Arc<str>,
        ciphertext: &[u8],
        open: impl Future<Output = Result<Kek, ServiceError>>,
    ) -> Result<Arc<Kek>, ServiceError> {
        let which = (Arc::clone(key_name), ciphertext.into());
        if let Some(kek) = self.opened.get(&which) {
            metrics::key_cache_hit();
            return Ok(kek);
        }
        let asked = Instant::now();
        let turn = self.opening.get_with(which.clone(), Arc::default);
        let mut failed = turn.lock().await;
        if let Some(kek) = self.opened.get(&which) {
            metrics::key_cache_hit();
            return Ok(kek);
        }
        metrics::key_cache_missed();
        match &*failed {
            Some((when, error)) if *when >= asked => return Err(error.clone()),
            Some(_) | None => {}
        }
        match open.await {
            Ok(kek) => {
                let kek = Arc::new(kek);
                self.opened.insert(which, Arc::clone(&kek));
                *failed = None;
                Ok(kek)
            }
            Err(error) => {
                *failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Remembers one that was made here.
    pub(super) fn insert(&self, key_name: &Arc<str>, ciphertext: &[u8], kek: Arc<Kek>) {
        self.opened
            .insert((Arc::clone(key_name), ciphertext.into()), kek);
    }
}
