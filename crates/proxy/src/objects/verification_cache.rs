//! Cache of verified large legacy bodies: reading a range of one again costs one request.
//!
//! Entries hold digests and no keys. An entry belongs to one state of an object and is used only
//! for responses that show the same ETag, version, length and wrapped data key. Even if a backend
//! lies about these, bytes that differ from the verified ones are not released. An entry is made
//! before the verification begins: readers that arrive meanwhile wait for its result and do not
//! read the whole object themselves.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::{HeaderMap, HeaderValue, header};
use moka::sync::Cache;
use s3proxy_envelope::layout::{PlaintextLength, StoredLength};
use s3proxy_envelope::legacy::{LegacyWrappedDek, VerifiedBody};
use s3proxy_protocol::headers::VERSION_ID;

use crate::objects::delivery::{Delivery, PartStructure, RequestedPortion};
use crate::objects::layout_cache::LayoutKey;

/// Capacity of the cache in bytes, names included: clients choose the length of names.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;

/// Bytes of an entry besides its names and digests.
const ENTRY_BYTES: usize = 400;

/// State of an object that a verification belongs to.
#[derive(PartialEq, Eq)]
pub(crate) struct LegacyState {
    etag: Option<HeaderValue>,
    version: Option<HeaderValue>,
    stored: StoredLength,
    wrapped_dek: LegacyWrappedDek,
}

impl LegacyState {
    pub(crate) fn from_headers(
        headers: &HeaderMap,
        stored: StoredLength,
        wrapped_dek: LegacyWrappedDek,
    ) -> Self {
        Self {
            etag: headers.get(header::ETAG).cloned(),
            version: headers.get(VERSION_ID).cloned(),
            stored,
            wrapped_dek,
        }
    }
}

/// Verification of one state of an object, finished or pending.
pub(crate) struct Verification {
    state: LegacyState,
    length: PlaintextLength,
    body: OnceLock<Arc<VerifiedBody>>,
    /// Held by the reader that verifies.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
}

impl Verification {
    fn new(state: LegacyState, length: PlaintextLength) -> Self {
        Self {
            state,
            length,
            body: OnceLock::new(),
            turn: Arc::default(),
        }
    }

    pub(crate) fn body(&self) -> Option<&Arc<VerifiedBody>> {
        self.body.get()
    }

    /// Stores the first result. A later one would describe the same bytes.
    pub(crate) fn succeeded(&self, body: &Arc<VerifiedBody>) {
        self.body.get_or_init(|| Arc::clone(body));
    }

    fn memory(&self) -> usize {
        ENTRY_BYTES + VerifiedBody::memory_of(self.length)
    }
}

/// Verifications by earlier reads.
pub(crate) struct VerifiedCache {
    entries: Cache<LayoutKey, Arc<Verification>>,
    /// Held during the lookup and insertion of an entry: two readers must not both insert one.
    entering: Mutex<()>,
}

impl VerifiedCache {
    pub(crate) fn new() -> Self {
        let cache = Cache::builder()
            .max_capacity(CACHE_BYTES)
            .weigher(|key: &LayoutKey, entry: &Arc<Verification>| entry_bytes(key, entry));
        Self {
            entries: cache.build(),
            entering: Mutex::default(),
        }
    }

    /// Entry of this state of an object. It replaces an entry of another state.
    pub(crate) fn enter(
        &self,
        key: LayoutKey,
        state: LegacyState,
        length: PlaintextLength,
    ) -> Arc<Verification> {
        // Poison is ignored: the guarded operations leave nothing half done.
        let _entering = self.entering.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.entries.get(&key);
        if let Some(known) = known.filter(|known| known.state == state) {
            return known;
        }
        let entry = Arc::new(Verification::new(state, length));
        self.entries.insert(key, Arc::clone(&entry));
        entry
    }

    /// Range of stored bytes, both ends included, that holds the requested plaintext of the state
    /// that was verified last. `None` if the range is the whole object, empty, or unknown.
    pub(crate) fn stretch(
        &self,
        key: &LayoutKey,
        requested: RequestedPortion,
    ) -> Option<(u64, u64)> {
        let entry = self.entries.get(key)?;
        let body = entry.body()?;
        let length = body.length().0;
        let delivery = Delivery::resolve(requested, length, PartStructure::None).ok()?;
        body.stretch(delivery.range(length)?)
    }
}

fn entry_bytes(key: &LayoutKey, entry: &Verification) -> u32 {
    let bytes = entry.memory() + key.bytes();
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::ObjectName;

    const LENGTH: PlaintextLength = PlaintextLength(72);

    fn key() -> LayoutKey {
        LayoutKey {
            object: ObjectName::parse("bucket", "k").unwrap(),
            version: None,
        }
    }

    fn state(etag: &'static str, version: &'static str, stored: u64, digit: &str) -> LegacyState {
        LegacyState {
            etag: Some(HeaderValue::from_static(etag)),
            version: Some(HeaderValue::from_static(version)),
            stored: StoredLength(stored),
            wrapped_dek: LegacyWrappedDek::from_hex(&digit.repeat(80)).unwrap(),
        }
    }

    #[test]
    fn who_comes_while_it_is_verified_gets_the_same_entry() {
        let cache = VerifiedCache::new();
        let first = cache.enter(key(), state("\"a\"", "1", 100, "0"), LENGTH);
        let second = cache.enter(key(), state("\"a\"", "1", 100, "0"), LENGTH);
        assert!(Arc::ptr_eq(&first, &second));
        assert!(first.body().is_none());
    }

    #[test]
    fn another_state_of_the_object_has_an_entry_of_its_own() {
        let cache = VerifiedCache::new();
        let first = cache.enter(key(), state("\"a\"", "1", 100, "0"), LENGTH);
        for changed in [
            state("\"b\"", "1", 100, "0"),
            state("\"a\"", "2", 100, "0"),
            state("\"a\"", "1", 101, "0"),
            state("\"a\"", "1", 100, "f"),
        ] {
            assert!(!Arc::ptr_eq(&first, &cache.enter(key(), changed, LENGTH)));
        }
    }
}
