//! An S3 server in memory for features that the embedded store lacks: copies with conditions and
//! new metadata, lists of uploads, and the faults of real servers in both.
//!
//! Signatures are not checked. There are no versions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http::{Method, Response};
use s3proxy_protocol::percent::{self, Plus};
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};

use crate::harness::{Proxy, RecordedRequest, Reply};

/// Faults of a server.
#[derive(Clone, Copy, Default)]
pub(crate) struct Faults {
    /// `ListMultipartUploads` without a prefix returns nothing, as on some servers after a restart.
    pub(crate) hides_uploads: bool,
    /// `If-Match` on the target of a copy is ignored.
    pub(crate) ignores_target: bool,
    /// A copy onto itself succeeds but leaves the metadata unchanged.
    pub(crate) keeps_metadata: bool,
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
    parts: BTreeMap<u16, (String, Bytes)>,
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

    /// Ends an upload without the proxy.
    pub(crate) fn end_upload(&self, id: &str) {
        self.state().uploads.remove(id).unwrap();
    }

    /// The response to a request.
    pub(crate) fn reply(&self, request: &RecordedRequest) -> Reply {
        Reply::Answer(self.state().answer(request))
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
            (&Method::GET, "", _) => self.list(bucket, &parameter("prefix").unwrap_or_default()),
            (_, "", _) => answer(200, &[], b""),
            (&Method::GET, _, _) if request.has_parameter("tagging") => {
                document(200, "<Tagging><TagSet></TagSet></Tagging>")
            }
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
        let named = object.headers.iter();
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

    fn list(&self, bucket: &str, prefix: &str) -> Answer {
        let listed = self.objects.iter();
        let listed = listed.filter(|((of, key), _)| of == bucket && key.starts_with(prefix));
        let entries = listed
            .map(|((_, key), object)| {
                format!(
                    "<Contents><Key>{key}</Key><LastModified>{}</LastModified><ETag>{}</ETag>\
                     <Size>{}</Size></Contents>",
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
                "<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
            ),
        )
    }

    fn list_uploads(&self, bucket: &str, prefix: Option<&str>) -> Answer {
        let hides_all = self.faults.hides_uploads && prefix.is_none();
        let shown = self.uploads.iter().filter(|(_, upload)| {
            let begins = upload.key.starts_with(prefix.unwrap_or_default());
            upload.bucket == bucket && begins && !hides_all
        });
        let entries = shown
            .map(|(id, upload)| {
                format!(
                    "<Upload><Key>{}</Key><UploadId>{id}</UploadId></Upload>",
                    upload.key
                )
            })
            .collect::<Vec<_>>()
            .concat();
        document(
            200,
            &format!(
                "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>{entries}\
                 </ListMultipartUploadsResult>"
            ),
        )
    }

    fn create(&mut self, request: &RecordedRequest, bucket: &str, key: &str) -> Answer {
        let id = format!("upload-{}", self.uploads.len() + 1);
        let upload = Upload {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            headers: kept(request),
            parts: BTreeMap::new(),
        };
        self.uploads.insert(id.clone(), upload);
        document(
            200,
            &format!(
                "<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{key}</Key>\
                 <UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
            ),
        )
    }

    fn upload_part(&mut self, request: &RecordedRequest, id: &str) -> Answer {
        let etag = self.next_etag("");
        let Some(upload) = self.uploads.get_mut(id) else {
            return error(404, "NoSuchUpload");
        };
        let number = parameter(request, "partNumber").unwrap().parse().unwrap();
        let quoted = quoted(&etag);
        upload.parts.insert(number, (etag, request.body.clone()));
        answer(200, &[("etag", &quoted)], b"")
    }

    fn list_parts(&self, id: &str) -> Answer {
        let Some(upload) = self.uploads.get(id) else {
            return error(404, "NoSuchUpload");
        };
        let parts = upload.parts.iter();
        let parts = parts
            .map(|(number, (etag, body))| {
                format!(
                    "<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag><Size>{}</Size></Part>",
                    quoted(etag),
                    body.len()
                )
            })
            .collect::<Vec<_>>()
            .concat();
        document(
            200,
            &format!("<ListPartsResult><IsTruncated>false</IsTruncated>{parts}</ListPartsResult>"),
        )
    }

    fn complete(&mut self, request: &RecordedRequest, id: &str) -> Answer {
        let etag = self.next_etag("-1");
        let Some(upload) = self.uploads.get(id) else {
            return error(404, "NoSuchUpload");
        };
        let text = String::from_utf8(request.body.to_vec())
            .unwrap()
            .replace("&quot;", "\"");
        let mut body = Vec::new();
        for part in text.split("<Part>").skip(1) {
            let number: u16 = element(part, "PartNumber").parse().unwrap();
            match upload.parts.get(&number) {
                Some((etag, bytes)) if element(part, "ETag").trim_matches('"') == etag => {
                    body.extend_from_slice(bytes);
                }
                _ => return error(400, "InvalidPart"),
            }
        }
        let upload = self.uploads.remove(id).unwrap();
        let mut object = self.object(upload.headers, body.into());
        object.etag.clone_from(&etag);
        let place = (upload.bucket, upload.key);
        let text = format!(
            "<CompleteMultipartUploadResult><Bucket>{}</Bucket><Key>{}</Key><ETag>{}</ETag>\
             </CompleteMultipartUploadResult>",
            place.0,
            place.1,
            quoted(&etag)
        );
        self.objects.insert(place, object);
        document(200, &text)
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
            copy.headers = kept(request);
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

/// The headers that are stored with an object.
fn kept(request: &RecordedRequest) -> Vec<(String, String)> {
    let named = request.headers.iter();
    let named = named.filter(|(name, _)| {
        name.as_str().starts_with("x-amz-meta-") || name.as_str() == "content-type"
    });
    named
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect()
}

fn parameter(request: &RecordedRequest, name: &str) -> Option<String> {
    let pairs = request.query().split('&');
    let mut pairs = pairs.filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(known, _)| *known == name)?;
    Some(decode(value))
}

fn decode(text: &str) -> String {
    percent::decode(text, Plus::Literal).unwrap()
}

fn element<'t>(text: &'t str, name: &str) -> &'t str {
    let start = text.find(&format!("<{name}>")).unwrap() + name.len() + 2;
    &text[start..start + text[start..].find("</").unwrap()]
}

fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.to_vec()).unwrap()
}

fn document(status: u16, text: &str) -> Answer {
    let headers = [("content-type", "application/xml")];
    answer(status, &headers, text.as_bytes())
}

fn error(status: u16, code: &str) -> Answer {
    document(
        status,
        &format!("<Error><Code>{code}</Code><Message>m</Message></Error>"),
    )
}
