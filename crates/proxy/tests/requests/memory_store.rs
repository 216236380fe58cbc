//! An S3 server in memory for features that the embedded store lacks: copies with conditions and
//! new metadata, lists of uploads, and the faults of real servers in both.
//!
//! Signatures are not checked. There are no versions.

mod uploads;
mod wire;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http::{HeaderValue, Method, Response};
use s3proxy_protocol::percent::{self, Plus};
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};

use self::wire::*;
use crate::harness::{Proxy, RecordedRequest, Reply, encoded};

/// What a server gets wrong.
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
#[derive(Clone, Copy, Default)]
pub(crate) struct Faults {
    /// `ListMultipartUploads` without a prefix returns nothing, as on some servers after a restart.
    pub(crate) hides_uploads: bool,
    /// `If-Match` on the target of a copy is ignored.
    pub(crate) ignores_target: bool,
    /// A copy onto itself succeeds but leaves the metadata unchanged.
    pub(crate) keeps_metadata: bool,
    /// Parts of an upload must be equally long, and the last no longer, as at Cloudflare R2.
    pub(crate) wants_equal_parts: bool,
    /// `ListParts` shows a replaced part too, behind its successor, as SeaweedFS may.
    pub(crate) lists_replaced_parts: bool,
    /// The condition of a PUT is compared with the ETag as text, as by Ceph's gateway (16), whose
    /// request ids this server has then.
    pub(crate) compares_quotes: bool,
}

#[derive(Default)]
pub(crate) struct MemoryStore(Mutex<State>);

#[derive(Default)]
struct State {
    faults: Faults,
    objects: BTreeMap<(String, String), Object>,
    uploads: BTreeMap<String, Upload>,
    serial: u64,
}

#[derive(Clone)]
struct Object {
    headers: Vec<(String, String)>,
    body: Bytes,
    etag: String,
    modified: OffsetDateTime,
}

struct Upload {
    bucket: String,
    key: String,
    headers: Vec<(String, String)>,
    /// Every attempt at a number, the last one at the end.
    parts: BTreeMap<u16, Vec<Part>>,
}

struct Part {
    etag: String,
    body: Bytes,
    modified: OffsetDateTime,
}

impl MemoryStore {
    pub(crate) fn new(faults: Faults) -> Arc<Self> {
        let store = Self::default();
        store.state().faults = faults;
        Arc::new(store)
    }

    /// Becomes the backend of a proxy.
    pub(crate) fn behind(self: &Arc<Self>, proxy: &Proxy) {
        let store = Arc::clone(self);
        proxy.backend.script(move |request| store.reply(request));
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Keys that begin with a prefix, in order.
    pub(crate) fn keys(&self, bucket: &str, prefix: &str) -> Vec<String> {
        let state = self.state();
        let keys = state.objects.keys();
        let keys = keys.filter(|(of, key)| of == bucket && key.starts_with(prefix));
        keys.map(|(_, key)| key.clone()).collect()
    }

    /// A header of a stored object, such as its envelope.
    pub(crate) fn header(&self, bucket: &str, key: &str, name: &str) -> Option<String> {
        let state = self.state();
        let object = state.objects.get(&(bucket.to_owned(), key.to_owned()))?;
        let found = object.headers.iter().find(|(known, _)| known == name)?;
        Some(found.1.clone())
    }

    /// The stored bytes of an object.
    pub(crate) fn body(&self, bucket: &str, key: &str) -> Option<Bytes> {
        let state = self.state();
        let object = state.objects.get(&(bucket.to_owned(), key.to_owned()))?;
        Some(object.body.clone())
    }

    /// Stores an object without the proxy.
    pub(crate) fn plant(&self, bucket: &str, key: &str, body: impl Into<Bytes>) {
        let mut state = self.state();
        let object = state.object(Vec::new(), body.into());
        state
            .objects
            .insert((bucket.to_owned(), key.to_owned()), object);
    }

    /// Makes all objects a day and an hour old.
    pub(crate) fn age(&self) {
        let old = OffsetDateTime::now_utc() - time::Duration::hours(25);
        for object in self.state().objects.values_mut() {
            object.modified = old;
        }
    }

    /// Uploads that are open.
    pub(crate) fn open_uploads(&self) -> usize {
        self.state().uploads.len()
    }

    /// Ends an upload around the proxy.
    pub(crate) fn end_upload(&self, id: &str) {
        self.state().uploads.remove(id).unwrap();
    }

    /// The response to a request.
    pub(crate) fn reply(&self, request: &RecordedRequest) -> Reply {
        let mut state = self.state();
        let mut answer = state.answer(request);
        if state.faults.compares_quotes {
            let id = "tx000000000000000000001-00674b0c11-1033-default";
            let headers = answer.headers_mut();
            headers.insert("x-amz-request-id", HeaderValue::from_static(id));
        }
        Reply::Answer(answer)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

type Answer = Response<Vec<u8>>;

impl State {
    fn object(&mut self, headers: Vec<(String, String)>, body: Bytes) -> Object {
        Object {
            headers,
            body,
            etag: self.next_etag(""),
            modified: OffsetDateTime::now_utc(),
        }
    }

    fn next_etag(&mut self, suffix: &str) -> String {
        self.serial += 1;
        format!("{:032x}{suffix}", self.serial)
    }

    fn answer(&mut self, request: &RecordedRequest) -> Answer {
        let path = decode(request.path());
        let (bucket, key) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
        let parameter = |name| parameter(request, name);
        match (&request.method, key, parameter("uploadId")) {
            (&Method::GET, "", _) if request.has_parameter("versions") => {
                error(501, "NotImplemented")
            }
            (&Method::GET, "", _) if request.has_parameter("versioning") => {
                document(200, "<VersioningConfiguration/>")
            }
            (&Method::GET, "", _) if request.has_parameter("uploads") => {
                self.list_uploads(bucket, parameter("prefix").as_deref())
            }
            (&Method::GET, "", _) if bucket.is_empty() => document(
                200,
                "<ListAllMyBucketsResult><Buckets></Buckets></ListAllMyBucketsResult>",
            ),
            (&Method::GET, "", _) => {
                let is_encoded = request.has_parameter("encoding-type");
                self.list(bucket, &parameter("prefix").unwrap_or_default(), is_encoded)
            }
            (&Method::DELETE, "", _) => self.delete_bucket(bucket),
            (_, "", _) => answer(200, &[], b""),
            (&Method::GET, _, _) if request.has_parameter("tagging") => self.tagging(bucket, key),
            (&Method::GET, _, _) if request.has_parameter("acl") => error(501, "NotImplemented"),
            (&Method::GET, _, Some(id)) => self.list_parts(&id),
            (&Method::PUT, _, Some(id)) => self.upload_part(request, &id),
            (&Method::POST, _, Some(id)) => self.complete(request, &id),
            (&Method::DELETE, _, Some(id)) => match self.uploads.remove(&id) {
                Some(_) => answer(204, &[], b""),
                None => error(404, "NoSuchUpload"),
            },
            (&Method::POST, ..) => self.create(request, bucket, key),
            (&Method::PUT, ..) if request.headers.contains_key("x-amz-copy-source") => {
                self.copy(request, bucket, key)
            }
            (&Method::PUT, ..) if !self.may_replace(request, bucket, key) => {
                error(412, "PreconditionFailed")
            }
            (&Method::PUT, ..) => {
                let object = self.object(kept(request), request.body.clone());
                let etag = quoted(&object.etag);
                self.objects
                    .insert((bucket.to_owned(), key.to_owned()), object);
                answer(200, &[("etag", &etag)], b"")
            }
            (&Method::DELETE, ..) => {
                self.objects.remove(&(bucket.to_owned(), key.to_owned()));
                answer(204, &[], b"")
            }
            _ => self.read(request, bucket, key),
        }
    }

    /// Whether the condition of a PUT holds.
    fn may_replace(&self, request: &RecordedRequest, bucket: &str, key: &str) -> bool {
        let condition = request.header("if-match");
        let object = self.objects.get(&(bucket.to_owned(), key.to_owned()));
        let stands = object.map(|object| object.etag.as_str());
        let named = if self.faults.compares_quotes {
            condition
        } else {
            condition.trim_matches('"')
        };
        condition.is_empty() || stands == Some(named)
    }

    fn read(&self, request: &RecordedRequest, bucket: &str, key: &str) -> Answer {
        let Some(object) = self.objects.get(&(bucket.to_owned(), key.to_owned())) else {
            return error(404, "NoSuchKey");
        };
        let condition = request.header("if-match");
        if !condition.is_empty() && condition != quoted(&object.etag) {
            return error(412, "PreconditionFailed");
        }
        let etag = quoted(&object.etag);
        let modified = object.modified.format(&Rfc2822).unwrap();
        let modified = modified.replace("+0000", "GMT");
        let mut headers = vec![("etag", etag.as_str()), ("last-modified", &modified)];
        let since = |name| {
            let date = OffsetDateTime::parse(request.header(name), &Rfc2822).ok()?;
            Some(object.modified.unix_timestamp() > date.unix_timestamp())
        };
        let is_known = match request.header("if-none-match") {
            "" => since("if-modified-since") == Some(false),
            known => known == "*" || known.split(", ").any(|tag| tag == etag),
        };
        if since("if-unmodified-since") == Some(true) {
            return answer(
                412,
                &headers,
                b"<Error><Code>PreconditionFailed</Code></Error>",
            );
        }
        if is_known {
            return answer(304, &headers, b"");
        }
        let named = object.headers.iter().filter(|(name, _)| name != TAGGING);
        headers.extend(named.map(|(name, value)| (name.as_str(), value.as_str())));
        let length = object.body.len();
        let Some(range) = request.header("range").strip_prefix("bytes=") else {
            return answer(200, &headers, &object.body);
        };
        let (first, last) = match range.split_once('-').unwrap() {
            ("", count) => (length.saturating_sub(count.parse().unwrap()), length - 1),
            (first, "") => (first.parse().unwrap(), length - 1),
            (first, last) => (
                first.parse().unwrap(),
                last.parse::<usize>().unwrap().min(length.saturating_sub(1)),
            ),
        };
        if first >= length {
            return error(416, "InvalidRange");
        }
        let range = format!("bytes {first}-{last}/{length}");
        headers.push(("content-range", &range));
        answer(206, &headers, &object.body[first..=last])
    }

    /// Deletes a bucket as S3 does: open uploads go with it.
    fn delete_bucket(&mut self, bucket: &str) -> Answer {
        if self.objects.keys().any(|(of, _)| of == bucket) {
            return error(409, "BucketNotEmpty");
        }
        self.uploads.retain(|_, upload| upload.bucket != bucket);
        answer(204, &[], b"")
    }

    fn tagging(&self, bucket: &str, key: &str) -> Answer {
        let Some(object) = self.objects.get(&(bucket.to_owned(), key.to_owned())) else {
            return error(404, "NoSuchKey");
        };
        let tagging = object.headers.iter().find(|(name, _)| name == TAGGING);
        let pairs = tagging.map_or("", |(_, value)| value).split('&');
        let tags = pairs.filter_map(|pair| pair.split_once('=')).map(|pair| {
            let text = |text| escaped(&percent::decode(text, Plus::Space).unwrap());
            let (key, value) = (text(pair.0), text(pair.1));
            format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>")
        });
        let tags: String = tags.collect();
        document(200, &format!("<Tagging><TagSet>{tags}</TagSet></Tagging>"))
    }

    fn list(&self, bucket: &str, prefix: &str, is_encoded: bool) -> Answer {
        let (encoding, written): (_, fn(&str) -> String) = if is_encoded {
            ("<EncodingType>url</EncodingType>", encoded)
        } else {
            ("", escaped)
        };
        let listed = self.objects.iter();
        let listed = listed.filter(|((of, key), _)| of == bucket && key.starts_with(prefix));
        let entries = listed
            .map(|((_, key), object)| {
                format!(
                    "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>{}</ETag>\
                     <Size>{}</Size></Contents>",
                    written(key),
                    object.modified.format(&Rfc3339).unwrap(),
                    quoted(&object.etag),
                    object.body.len()
                )
            })
            .collect::<Vec<_>>()
            .concat();
        document(
            200,
            &format!(
                "<ListBucketResult><IsTruncated>false</IsTruncated>{encoding}{entries}\
                 </ListBucketResult>"
            ),
        )
    }

    fn copy(&mut self, request: &RecordedRequest, bucket: &str, key: &str) -> Answer {
        let source = decode(request.header("x-amz-copy-source"));
        let source = source.trim_start_matches('/').split_once('/').unwrap();
        let Some(source) = self
            .objects
            .get(&(source.0.to_owned(), source.1.to_owned()))
        else {
            return error(404, "NoSuchKey");
        };
        let mut copy = source.clone();
        let pin = request.header("x-amz-copy-source-if-match");
        if !pin.is_empty() && pin != quoted(&copy.etag) {
            return error(412, "PreconditionFailed");
        }
        let place = (bucket.to_owned(), key.to_owned());
        let target = request.header("if-match");
        let stands = self.objects.get(&place).map(|object| quoted(&object.etag));
        let holds = target.is_empty() || self.faults.ignores_target;
        if !holds && stands.as_deref() != Some(target) {
            return error(412, "PreconditionFailed");
        }
        if request.header("x-amz-metadata-directive") == "REPLACE" && !self.faults.keeps_metadata {
            let tags = std::mem::take(&mut copy.headers);
            copy.headers = kept(request);
            if request.header("x-amz-tagging-directive") != "REPLACE" {
                let tags = tags.into_iter().filter(|(name, _)| name == TAGGING);
                copy.headers.extend(tags);
            }
        }
        copy.modified = OffsetDateTime::now_utc();
        let text = format!(
            "<CopyObjectResult><ETag>{}</ETag></CopyObjectResult>",
            quoted(&copy.etag)
        );
        self.objects.insert(place, copy);
        document(200, &text)
    }
}
