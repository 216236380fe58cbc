//! A backend that knows only buckets and objects: no sub-resources, parameters or versions.
//!
//! It handles every request as if there were no query: `PUT /b/k?tagging` stores the body, `GET
//! /b/k?acl` returns the object, `DELETE /b?website` deletes the bucket with all its objects.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::harness::{Proxy, RecordedRequest, Reply};

/// Objects of a bucket by key, encoded as in the path.
type Objects = BTreeMap<String, Object>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    etag: String,
}

/// All buckets and objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) buckets: BTreeMap<String, Objects>,
    writes: u64,
}

/// The backend's state, shared with the script that serves it.
#[derive(Clone, Default)]
pub(crate) struct SimpleBackend(Arc<Mutex<Stored>>);

impl SimpleBackend {
    /// Replaces the proxy's embedded store.
    pub(crate) fn behind(proxy: &Proxy) -> Self {
        let backend = Self::default();
        let serving = backend.clone();
        proxy.backend.script(move |request| serving.serve(request));
        backend
    }

    pub(crate) fn serve(&self, request: &RecordedRequest) -> Reply {
        self.0.lock().unwrap().serve(request)
    }

    pub(crate) fn buckets(&self) -> BTreeMap<String, Objects> {
        self.0.lock().unwrap().buckets.clone()
    }

    pub(crate) fn restore(&self, buckets: BTreeMap<String, Objects>) {
        self.0.lock().unwrap().buckets = buckets;
    }
}

impl Stored {
    fn serve(&mut self, request: &RecordedRequest) -> Reply {
        let path = request.path().trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        // The query is ignored throughout.
        match (bucket, key, &request.method) {
            ("", _, &Method::GET) => self.list_buckets(),
            (_, "", &Method::PUT) => {
                self.buckets.entry(bucket.to_owned()).or_default();
                Reply::answer(200, &[], "")
            }
            (_, "", &Method::DELETE) => match self.buckets.remove(bucket) {
                Some(_) => Reply::answer(204, &[], ""),
                None => Reply::error(404, "NoSuchBucket"),
            },
            (_, "", &Method::GET | &Method::HEAD) => self.list_objects(bucket),
            (_, _, &Method::POST | &Method::OPTIONS) | (_, "", _) => {
                Reply::error(405, "MethodNotAllowed")
            }
            _ => self.object(request, bucket, key),
        }
    }

    fn object(&mut self, request: &RecordedRequest, bucket: &str, key: &str) -> Reply {
        let Some(objects) = self.buckets.get_mut(bucket) else {
            return Reply::error(404, "NoSuchBucket");
        };
        match request.method {
            Method::PUT => {
                self.writes += 1;
                let etag = format!("\"{:032x}\"", self.writes);
                let object = Object {
                    headers: metadata(&request.headers),
                    body: request.body.clone(),
                    etag: etag.clone(),
                };
                objects.insert(key.to_owned(), object);
                Reply::answer(200, &[("etag", &etag)], "")
            }
            Method::DELETE => {
                objects.remove(key);
                Reply::answer(204, &[], "")
            }
            _ => match objects.get(key) {
                Some(object) => {
                    let mut headers: Vec<(&str, &str)> = vec![
                        ("etag", &object.etag),
                        ("last-modified", "Mon, 30 Nov 2026 00:00:00 GMT"),
                    ];
                    let stored = object.headers.iter();
                    headers.extend(stored.map(|(name, value)| (name.as_str(), value.as_str())));
                    Reply::answer(200, &headers, object.body.to_vec())
                }
                None => Reply::error(404, "NoSuchKey"),
            },
        }
    }

    fn list_buckets(&self) -> Reply {
        let names = self.buckets.keys();
        let buckets: Vec<String> = names
            .map(|name| format!("<Bucket><Name>{name}</Name></Bucket>"))
            .collect();
        let buckets = buckets.concat();
        document(&format!(
            "<ListAllMyBucketsResult><Buckets>{buckets}</Buckets></ListAllMyBucketsResult>"
        ))
    }

    fn list_objects(&self, bucket: &str) -> Reply {
        let Some(objects) = self.buckets.get(bucket) else {
            return Reply::error(404, "NoSuchBucket");
        };
        let contents: Vec<String> = objects
            .iter()
            .map(|(key, object)| {
                format!(
                    "<Contents><Key>{key}</Key><Size>{}</Size><ETag>{}</ETag></Contents>",
                    object.body.len(),
                    object.etag
                )
            })
            .collect();
        let contents = contents.concat();
        document(&format!(
            "<ListBucketResult><Name>{bucket}</Name><IsTruncated>false</IsTruncated>{contents}\
             </ListBucketResult>"
        ))
    }
}

fn document(text: &str) -> Reply {
    Reply::answer(200, &[("content-type", "application/xml")], text)
}

fn metadata(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-amz-meta-"))
        .map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap().to_owned()))
        .collect()
}
