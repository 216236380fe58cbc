//! The stub's objects: in memory, the last upload wins.
//!
//! An object's bytes are either held, or taken from the pattern on request: then any size costs
//! nothing. Keys `plain/<bytes>` are objects of the second kind that exist without an upload.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES,
};
use http::{HeaderMap, HeaderValue};

use super::PLAIN;
use crate::content::{Pattern, Segments};

/// Headers that come back unchanged, besides all of `x-amz-meta-*`.
const STORED: [http::HeaderName; 5] = [
    CACHE_CONTROL,
    CONTENT_DISPOSITION,
    CONTENT_LANGUAGE,
    CONTENT_TYPE,
    EXPIRES,
];

pub(super) enum Content {
    Held(Bytes),
    /// This many bytes of the pattern.
    Made(u64),
}

impl Content {
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Held(bytes) => bytes.len() as u64,
            Self::Made(length) => *length,
        }
    }
}

pub(super) struct Object {
    pub(super) content: Content,
    pub(super) headers: HeaderMap,
    pub(super) etag: HeaderValue,
}

impl Object {
    /// Keeps those of the upload's `headers` that S3 returns.
    pub(super) fn new(content: Content, headers: &HeaderMap, etag: HeaderValue) -> Self {
        let mut kept: HeaderMap = headers
            .iter()
            .filter(|(name, _)| STORED.contains(name) || name.as_str().starts_with("x-amz-meta-"))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        // S3 removes `aws-chunked`, which describes the upload and not the object.
        let coding = headers.get(CONTENT_ENCODING);
        if let Some(coding) = coding.filter(|coding| *coding != "aws-chunked") {
            kept.insert(CONTENT_ENCODING, coding.clone());
        }
        Self {
            content,
            headers: kept,
            etag,
        }
    }

    /// The object named by `plain/<bytes>`.
    fn plain(key: &str) -> Option<Self> {
        let length = key.strip_prefix(PLAIN)?.parse().ok()?;
        let content = Content::Made(length);
        Some(Self::new(content, &HeaderMap::new(), etag(length)))
    }
}

pub(super) struct Store {
    objects: RwLock<BTreeMap<String, Arc<Object>>>,
    uploads: AtomicU64,
    pattern: Pattern,
}

const UNPOISONED: &str = "no code panics while it holds the lock";

impl Store {
    pub(super) fn new() -> Self {
        Self {
            objects: RwLock::default(),
            uploads: AtomicU64::default(),
            pattern: Pattern::new(),
        }
    }

    pub(super) fn next_etag(&self) -> HeaderValue {
        etag(self.uploads.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn keep(&self, name: String, object: Object) {
        let mut objects = self.objects.write().expect(UNPOISONED);
        objects.insert(name, Arc::new(object));
    }

    /// `name` is the bucket's name, a slash, and the key.
    pub(super) fn object(&self, name: &str) -> Option<Arc<Object>> {
        let objects = self.objects.read().expect(UNPOISONED);
        let stored = objects.get(name).cloned();
        stored.or_else(|| Object::plain(name.split_once('/')?.1).map(Arc::new))
    }

    pub(super) fn remove(&self, name: &str) {
        let mut objects = self.objects.write().expect(UNPOISONED);
        objects.remove(name);
    }

    /// All stored objects whose name begins with `start`, in order.
    pub(super) fn beginning_with(&self, start: &str) -> Vec<(String, Arc<Object>)> {
        let objects = self.objects.read().expect(UNPOISONED);
        objects
            .range(start.to_owned()..)
            .take_while(|(name, _)| name.starts_with(start))
            .map(|(name, object)| (name.clone(), Arc::clone(object)))
            .collect()
    }

    /// A part of an object, as a body.
    pub(super) fn body(&self, object: &Object, range: Range<u64>) -> Segments {
        match &object.content {
            Content::Held(bytes) => {
                let position = |at| usize::try_from(at).expect("inside of what memory holds");
                Segments::new([bytes.slice(position(range.start)..position(range.end))])
            }
            Content::Made(_) => {
                let length = range.end - range.start;
                Segments::new(self.pattern.slices(range.start, length))
            }
        }
    }
}

fn etag(number: u64) -> HeaderValue {
    let etag = format!("\"{number:032x}\"");
    HeaderValue::try_from(etag).expect("hex digits in quotes are a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(store: &Store, headers: &HeaderMap) -> Object {
        let content = Content::Held(Bytes::from_static(b"x"));
        Object::new(content, headers, store.next_etag())
    }

    #[test]
    fn metadata_comes_back_and_the_framing_of_the_upload_does_not() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", "text/plain"),
            ("x-amz-meta-isec", "s3p1.AAAA"),
            ("content-encoding", "aws-chunked"),
            ("x-amz-date", "20260101T000000Z"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let store = Store::new();
        store.keep("b/k".to_owned(), held(&store, &headers));
        let object = store.object("b/k").expect("kept");
        assert_eq!(object.headers.len(), 2);
        assert_eq!(object.headers["x-amz-meta-isec"], "s3p1.AAAA");
        assert_eq!(object.etag.len(), 34);
        store.remove("b/k");
        assert!(store.object("b/k").is_none());
    }

    #[test]
    fn every_upload_has_an_etag_of_its_own() {
        let store = Store::new();
        assert_ne!(store.next_etag(), store.next_etag());
    }

    #[test]
    fn a_plain_object_is_there_at_any_size_without_having_been_stored() {
        let store = Store::new();
        let object = store.object("b/plain/5368709120").expect("made up");
        assert_eq!(object.content.length(), 5 << 30);
        assert!(store.object("b/plain/large").is_none());
        assert!(store.object("b/other/5").is_none());
    }

    #[test]
    fn objects_are_listed_by_how_their_names_begin() {
        let store = Store::new();
        for name in ["b/p/2", "b/p/1", "b/q", "c/p/1", "b/p"] {
            store.keep(name.to_owned(), held(&store, &HeaderMap::new()));
        }
        let names = store
            .beginning_with("b/p/")
            .into_iter()
            .map(|(name, _)| name);
        assert_eq!(names.collect::<Vec<_>>(), ["b/p/1", "b/p/2"]);
    }
}
