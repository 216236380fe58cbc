//! Large bodies of the older formats that were verified, remembered so that reading a range of them
//! again costs one request.
//!
//! What is remembered holds digests and no key. An entry belongs to one state of an object and is
//! used only for answers that show the same ETag, version, length and wrapped data key; whatever a
//! backend says of these, bytes that are not the verified ones are not released. An entry is made
//! before the verification begins, so that readers who come meanwhile wait for its result instead
//! of reading all of the object each for themselves.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::{HeaderMap, HeaderValue, header};
use moka::sync::Cache;
use s3proxy_envelope::layout::{PlaintextLength, StoredLength};
use s3proxy_envelope::legacy::{LegacyWrappedDek, VerifiedBody};

use super::delivery::{Asked, Delivery, Parts};
use super::layouts::LayoutKey;

/// Memory for what is remembered, in bytes, names included: clients choose how long those are.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;

/// What an entry takes besides its names and digests.
const ENTRY_BYTES: usize = 400;

/// The state of an object that a verification belongs to.
#[derive(PartialEq, Eq)]
pub(super) struct LegacyState {
    etag: Option<HeaderValue>,
    version: Option<HeaderValue>,
    stored: StoredLength,
    wrapped_dek: LegacyWrappedDek,
}

impl LegacyState {
    pub(super) fn of(
        headers: &HeaderMap,
        stored: StoredLength,
        wrapped_dek: LegacyWrappedDek,
    ) -> Self {
        Self {
            etag: headers.get(header::ETAG).cloned(),
            version: headers.get("x-amz-version-id").cloned(),
            stored,
            wrapped_dek,
        }
    }
}

/// One state of an object, verified or about to be.
pub(crate) struct Verification {
    state: LegacyState,
    length: PlaintextLength,
    body: OnceLock<Arc<VerifiedBody>>,
    /// Held by the one who verifies.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
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

    pub(super) fn body(&self) -> Option<&Arc<VerifiedBody>> {
        self.body.get()
    }

    /// Keeps the first result; any other would be of the same bytes.
    pub(super) fn succeeded(&self, body: &Arc<VerifiedBody>) {
        self.body.get_or_init(|| Arc::clone(body));
    }

    fn memory(&self) -> usize {
        ENTRY_BYTES + VerifiedBody::memory_of(self.length)
    }
}

/// What earlier reads have verified.
pub(crate) struct VerifiedCache {
    entries: Cache<LayoutKey, Arc<Verification>>,
    /// Held while an entry is looked for and made.
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

    /// The entry of this state of an object; a new one in place of another state's.
    pub(super) fn enter(
        &self,
        key: LayoutKey,
        state: LegacyState,
        length: PlaintextLength,
    ) -> Arc<Verification> {
        // A panic elsewhere leaves nothing half done here.
        let _entering = self.entering.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.entries.get(&key);
        if let Some(known) = known.filter(|known| known.state == state) {
            return known;
        }
        let entry = Arc::new(Verification::new(state, length));
        self.entries.insert(key, Arc::clone(&entry));
        entry
    }

    /// The stored bytes, both ends included, that hold what is asked for, if the object is still
    /// what was verified last; none where it is all, or nothing, or not known.
    pub(super) fn stretch(&self, key: &LayoutKey, asked: Asked) -> Option<(u64, u64)> {
        let entry = self.entries.get(key)?;
        let body = entry.body()?;
        let length = body.length().0;
        let delivery = Delivery::of(asked, length, Parts::None).ok()?;
        body.stretch(delivery.range(length)?)
    }
}

fn entry_bytes(key: &LayoutKey, entry: &Verification) -> u32 {
    let version = key.version.as_ref().map_or(0, String::len);
    let bytes = entry.memory() + key.bucket.len() + key.object_key.len() + version;
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: PlaintextLength = PlaintextLength(72);

    fn key() -> LayoutKey {
        LayoutKey {
            bucket: "b".to_owned(),
            object_key: "k".to_owned(),
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
