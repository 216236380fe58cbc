//! The kept objects of the stub: whole, in memory, the last upload wins.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES,
};
use http::{HeaderMap, HeaderValue};

/// Headers that come back as they were sent, besides all of `x-amz-meta-*`.
const STORED: [http::HeaderName; 5] = [
    CACHE_CONTROL,
    CONTENT_DISPOSITION,
    CONTENT_LANGUAGE,
    CONTENT_TYPE,
    EXPIRES,
];

pub(super) struct Object {
    pub(super) bytes: Bytes,
    pub(super) headers: HeaderMap,
    pub(super) etag: HeaderValue,
}

impl Object {
    /// Keeps of the upload's `headers` those that S3 gives back.
    pub(super) fn new(bytes: Bytes, headers: &HeaderMap, etag: HeaderValue) -> Self {
        let mut kept: HeaderMap = headers
            .iter()
            .filter(|(name, _)| STORED.contains(name) || name.as_str().starts_with("x-amz-meta-"))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let coding = headers.get(CONTENT_ENCODING);
        if let Some(coding) = coding.filter(|coding| *coding != "aws-chunked") {
            kept.insert(CONTENT_ENCODING, coding.clone());
        }
        Self {
            bytes,
            headers: kept,
            etag,
        }
    }
}

#[derive(Default)]
pub(super) struct Store {
    objects: RwLock<HashMap<String, Arc<Object>>>,
    uploads: AtomicU64,
}

const UNPOISONED: &str = "no code panics while it holds the lock";

impl Store {
    pub(super) fn next_etag(&self) -> HeaderValue {
        let number = self.uploads.fetch_add(1, Ordering::Relaxed);
        let etag = format!("\"{number:032x}\"");
        HeaderValue::try_from(etag).expect("hex digits in quotes are a header value")
    }

    pub(super) fn keep(&self, name: String, object: Object) {
        let mut objects = self.objects.write().expect(UNPOISONED);
        objects.insert(name, Arc::new(object));
    }

    pub(super) fn object(&self, name: &str) -> Option<Arc<Object>> {
        let objects = self.objects.read().expect(UNPOISONED);
        objects.get(name).cloned()
    }

    pub(super) fn remove(&self, name: &str) {
        let mut objects = self.objects.write().expect(UNPOISONED);
        objects.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let store = Store::default();
        let object = Object::new(Bytes::from_static(b"x"), &headers, store.next_etag());
        store.keep("b/k".to_owned(), object);
        let object = store.object("b/k").expect("kept");
        assert_eq!(object.headers.len(), 2);
        assert_eq!(object.headers["x-amz-meta-isec"], "s3p1.AAAA");
        assert_eq!(object.etag.len(), 34);
        store.remove("b/k");
        assert!(store.object("b/k").is_none());
    }

    #[test]
    fn every_upload_has_an_etag_of_its_own() {
        let store = Store::default();
        assert_ne!(store.next_etag(), store.next_etag());
    }
}
