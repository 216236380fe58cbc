//! Cache of multipart layouts, which saves the next read a request.
//!
//! Cached data was verified: a seal that opened, and heads whose commitment was right. Heads are
//! verified again by the reader that opens a part with them. An entry belongs to one state of an
//! object and is used only for responses that show the same ETag, version, length and wrapped data
//! key. The wrapped key ensures that a seal never serves a body of another key, regardless of the
//! backend's other headers.
//!
//! Data keys are not cached: every reader unwraps the envelope of its own response.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderValue, header};
use moka::sync::Cache;
use s3proxy_envelope::dek::WrappedDek;
use s3proxy_envelope::header::Envelope;
use s3proxy_envelope::layout::{ChunkSpan, StoredLength, plaintext_length};
use s3proxy_envelope::message::{HEAD_BYTES, MessageHead};
use s3proxy_envelope::multipart::Seal;
use s3proxy_protocol::headers::VERSION_ID;

use crate::objects::ObjectName;
use crate::objects::delivery::{Delivery, PartStructure, RequestedPortion};

/// Capacity of the cache in bytes, names included: clients choose the length of names.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// Bytes of an entry besides its names, seal and heads.
const ENTRY_BYTES: usize = 400;

/// Bytes of a cached head, with its place in the map.
const REMEMBERED_HEAD_BYTES: usize = HEAD_BYTES + 24;

/// Cache key: bucket, object key, and the version named in the request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LayoutKey {
    pub(crate) object: ObjectName,
    /// Version id that the request named.
    pub(crate) version: Option<String>,
}

impl LayoutKey {
    /// Memory of the names, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let version = self.version.as_ref().map_or(0, String::len);
        self.object.bucket.as_str().len() + self.object.key.as_str().len() + version
    }
}

/// State of an object that a layout belongs to.
#[derive(PartialEq, Eq)]
pub(crate) struct ObjectState {
    etag: Option<HeaderValue>,
    version: Option<HeaderValue>,
    stored: StoredLength,
    wrapped_dek: WrappedDek,
}

impl ObjectState {
    pub(crate) fn from_headers(
        headers: &HeaderMap,
        stored: StoredLength,
        envelope: &Envelope,
    ) -> Self {
        Self {
            etag: headers.get(header::ETAG).cloned(),
            version: headers.get(VERSION_ID).cloned(),
            stored,
            wrapped_dek: envelope.wrapped_dek,
        }
    }
}

/// Layout of the body of one state of an object.
pub(crate) struct KnownLayout {
    state: ObjectState,
    /// Absent if the body is one message, whose head is not in the envelope.
    seal: Option<Seal>,
    /// Known heads by their offset in the body.
    heads: Mutex<BTreeMap<u64, MessageHead>>,
}

impl KnownLayout {
    pub(crate) fn new(state: ObjectState, seal: Option<Seal>) -> Self {
        Self {
            state,
            seal,
            heads: Mutex::default(),
        }
    }

    pub(crate) fn is_of(&self, state: &ObjectState) -> bool {
        self.state == *state
    }

    pub(crate) fn seal(&self) -> Option<&Seal> {
        self.seal.as_ref()
    }

    /// Range of stored bytes, both ends included, that holds the requested plaintext. `None` if the
    /// range is the whole object, empty, or not satisfiable.
    pub(crate) fn stretch(&self, requested: RequestedPortion) -> Option<(u64, u64)> {
        let length = plaintext_length(self.state.stored)?;
        let parts = self
            .seal
            .as_ref()
            .map_or(PartStructure::One, PartStructure::Listed);
        let delivery = Delivery::resolve(requested, length.0, parts).ok()?;
        let range = delivery.range(length.0)?;
        if let Some(seal) = &self.seal {
            let span = seal.span(range)?;
            return Some((span.stored_first(), span.stored_last()));
        }
        let span = ChunkSpan::of(range, length);
        Some((span.stored_first(), span.stored_last()))
    }

    pub(crate) fn head(&self, position: u64) -> Option<MessageHead> {
        self.heads().get(&position).copied()
    }

    /// Adds a head. Returns whether it was new.
    pub(crate) fn learn_head(&self, position: u64, head: MessageHead) -> bool {
        self.heads().insert(position, head).is_none()
    }

    fn heads(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, MessageHead>> {
        // Poison is ignored: an insertion is complete or did not happen, even if a thread panicked.
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Memory of the entry with all heads that may be added: the cache weighs an entry only once.
    fn memory(&self) -> usize {
        let parts = self.seal.as_ref().map_or(1, |seal| seal.frames().len());
        let seal = self.seal.as_ref().map_or(0, Seal::memory);
        ENTRY_BYTES + seal + parts * REMEMBERED_HEAD_BYTES
    }
}

/// Layouts that earlier reads verified.
pub(crate) struct LayoutCache(Cache<LayoutKey, Arc<KnownLayout>>);

impl LayoutCache {
    pub(crate) fn new() -> Self {
        let cache = Cache::builder()
            .max_capacity(CACHE_BYTES)
            .weigher(|key: &LayoutKey, layout: &Arc<KnownLayout>| entry_bytes(key, layout));
        Self(cache.build())
    }

    /// Layout that the object had when it was last read.
    pub(crate) fn recall(&self, key: &LayoutKey) -> Option<Arc<KnownLayout>> {
        self.0.get(key)
    }

    pub(crate) fn remember(&self, key: LayoutKey, layout: Arc<KnownLayout>) {
        self.0.insert(key, layout);
    }
}

fn entry_bytes(key: &LayoutKey, layout: &KnownLayout) -> u32 {
    let bytes = layout.memory() + key.bytes();
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use s3proxy_envelope::dek::{Binding, Dek};
    use s3proxy_envelope::header::{Flags, Layout};
    use s3proxy_envelope::kek::Kek;
    use s3proxy_envelope::names::{BucketStr, KeyStr};

    use super::*;

    fn wrapped() -> WrappedDek {
        let binding = Binding::new(
            Layout::Multipart,
            Flags::KEY_BOUND,
            BucketStr("b"),
            KeyStr("k"),
        );
        Dek::generate().wrap(&Kek::generate(), &binding)
    }

    fn state(
        etag: &'static str,
        version: &'static str,
        stored: u64,
        wrapped_dek: WrappedDek,
    ) -> ObjectState {
        ObjectState {
            etag: Some(HeaderValue::from_static(etag)),
            version: Some(HeaderValue::from_static(version)),
            stored: StoredLength(stored),
            wrapped_dek,
        }
    }

    #[test]
    fn a_layout_serves_one_state_of_an_object_only() {
        let (dek, other) = (wrapped(), wrapped());
        let known = KnownLayout::new(state("\"a\"", "1", 100, dek), None);
        assert!(known.is_of(&state("\"a\"", "1", 100, dek)));
        for changed in [
            state("\"b\"", "1", 100, dek),
            state("\"a\"", "2", 100, dek),
            state("\"a\"", "1", 101, dek),
            state("\"a\"", "1", 100, other),
        ] {
            assert!(!known.is_of(&changed));
        }
    }

    #[test]
    fn a_head_is_news_once() {
        let known = KnownLayout::new(state("\"a\"", "1", 100, wrapped()), None);
        let head = MessageHead::from_slice(&[7; HEAD_BYTES]).unwrap();
        assert_eq!(known.head(0), None);
        assert!(known.learn_head(0, head));
        assert!(!known.learn_head(0, head));
        assert_eq!(known.head(0), Some(head));
    }
}
