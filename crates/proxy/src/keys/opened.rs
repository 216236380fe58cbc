//! KEKs that a service opened, remembered for a while.
//!
//! Kept by service and ciphertext, bounded in number and time, and wiped when they leave. Many who
//! want the same one at once make one request. Data keys are not kept: unwrapping one under a KEK
//! at hand takes microseconds.

use std::future::Future;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use s3proxy_envelope::kek::Kek;

use super::service::ServiceError;

/// The service's key by name, and the ciphertext.
type Which = (Arc<str>, Vec<u8>);

/// Opened KEKs.
pub(super) struct OpenedKeks {
    cache: Cache<Which, Arc<Kek>>,
}

impl OpenedKeks {
    /// Remembers up to `keks` for `time` each; zero is not at all.
    pub(super) fn new(keks: NonZeroU32, time: Duration) -> Self {
        let capacity = if time.is_zero() { 0 } else { keks.get() };
        let cache = Cache::builder()
            .max_capacity(u64::from(capacity))
            .time_to_live(time.max(Duration::from_nanos(1)))
            .build();
        Self { cache }
    }

    /// The KEK, remembered or opened by `open`.
    pub(super) async fn get(
        &self,
        key_name: &Arc<str>,
        ciphertext: &[u8],
        open: impl Future<Output = Result<Kek, ServiceError>>,
    ) -> Result<Arc<Kek>, ServiceError> {
        let which = (Arc::clone(key_name), ciphertext.to_vec());
        let open = async { open.await.map(Arc::new) };
        self.cache
            .try_get_with(which, open)
            .await
            .map_err(|error| ServiceError::clone(&error))
    }

    /// Remembers one that was made here.
    pub(super) async fn insert(&self, key_name: &Arc<str>, ciphertext: &[u8], kek: Arc<Kek>) {
        let which = (Arc::clone(key_name), ciphertext.to_vec());
        self.cache.insert(which, kek).await;
    }
}
