//! Writes an object of a tenant in each layout.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method};

use super::stolen::Stolen;
use super::{KEY, client};
use crate::harness::{ClientRequest, Credential, Proxy, RecordedRequest, Reply};

const FIVE_MIB: usize = 5 << 20;

/// The way in which an object is written, which decides its layout.
#[derive(Clone, Copy, Debug)]
pub(super) enum Written {
    /// Layout 1.
    Whole,
    /// Layout 2: parts, seal and footer.
    InParts,
    /// Layout 2 below 5 MiB: one message.
    InOnePart,
}

pub(super) const LAYOUTS: [Written; 3] = [Written::Whole, Written::InParts, Written::InOnePart];

pub(super) fn plaintext(written: Written) -> Bytes {
    let line: &[u8] = b"account,balance of Alice\n";
    let length = match written {
        Written::Whole => 28_000,
        Written::InParts => FIVE_MIB + 1000,
        Written::InOnePart => 70_000,
    };
    line.iter().copied().cycle().take(length).collect()
}

/// Writes an object through the proxy; returns the object as stored on the backend.
pub(super) async fn write(proxy: &Proxy, name: &str, bucket: &str, written: Written) -> Stolen {
    let (owner, target, body) = (client(name), format!("/{bucket}/{KEY}"), plaintext(written));
    let parts = match written {
        Written::Whole => {
            let put = ClientRequest::put(&target, body).header("x-amz-meta-colour", "blue");
            proxy.send_as(&owner, put).await.expect(200);
            return Stolen::from(proxy, &target).await;
        }
        Written::InParts => vec![body.slice(..FIVE_MIB), body.slice(FIVE_MIB..)],
        Written::InOnePart => vec![body],
    };
    let upload = Upload::take_over(proxy);
    let id = begin_upload(proxy, &owner, &target).await;
    let mut list = String::new();
    for (number, part) in (1..).zip(parts) {
        let target = format!("{target}?partNumber={number}&uploadId={id}");
        let stored = proxy
            .send_as(&owner, ClientRequest::put(target, part))
            .await;
        let etag = stored.expect(200).header("etag").to_owned();
        write!(
            list,
            "<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        )
        .unwrap();
    }
    let complete = complete(&target, &id, &list);
    proxy.send_as(&owner, complete).await.expect(200);
    proxy.backend.honest();
    let upload = upload.lock().unwrap();
    Stolen {
        headers: upload.headers.clone(),
        body: upload.parts.values().flatten().copied().collect(),
    }
}

/// An upload kept by the script, because the embedded store lists parts without ETags.
#[derive(Default)]
struct Upload {
    headers: HeaderMap,
    parts: BTreeMap<u16, Bytes>,
    /// ETags of staged parts, by the number at the end of their keys.
    staged: BTreeMap<String, String>,
}

/// Handles requests of the upload, and adds ETags to the embedded store's listings.
fn reply_with_upload(upload: &Arc<Mutex<Upload>>, request: &RecordedRequest) -> Reply {
    let kept = Arc::clone(upload);
    if let Some((_, number)) = request.path().split_once("/part-")
        && request.method == Method::PUT
    {
        let number = number.to_owned();
        return Reply::altered(move |response| {
            let etag = response.headers()["etag"].to_str().unwrap().to_owned();
            kept.lock().unwrap().staged.insert(number, etag);
        });
    }
    if request.has_parameter("list-type") {
        return Reply::altered(move |response| {
            let mut list = String::from_utf8(response.body().clone()).unwrap();
            for (number, etag) in &kept.lock().unwrap().staged {
                let key = format!("/part-{number}</Key>");
                list = list.replace(&key, &format!("{key}<ETag>{etag}</ETag>"));
            }
            response.headers_mut().remove("content-length");
            *response.body_mut() = list.into_bytes();
        });
    }
    upload.lock().unwrap().reply(request)
}

impl Upload {
    fn take_over(proxy: &Proxy) -> Arc<Mutex<Self>> {
        let upload = Arc::<Mutex<Self>>::default();
        let kept = Arc::clone(&upload);
        proxy
            .backend
            .script(move |request| reply_with_upload(&kept, request));
        upload
    }

    fn reply(&mut self, request: &RecordedRequest) -> Reply {
        let of_upload = request.has_parameter("uploads") || request.has_parameter("uploadId");
        if !of_upload || request.path().contains("/.s3proxy/") {
            return Reply::Store;
        }
        let number = request
            .query()
            .split('&')
            .find_map(|pair| pair.strip_prefix("partNumber="));
        let document = match (&request.method, number) {
            (&Method::PUT, Some(number)) => {
                self.parts
                    .insert(number.parse().unwrap(), request.body.clone());
                return Reply::answer(200, &[("etag", &format!("\"e{number}\""))], "");
            }
            (&Method::POST, _) if request.has_parameter("uploads") => {
                let envelope = request.headers["x-amz-meta-isec"].clone();
                self.headers.insert("x-amz-meta-isec", envelope);
                self.headers.insert("etag", "\"whole\"".parse().unwrap());
                "<InitiateMultipartUploadResult><UploadId>u</UploadId>\
                 </InitiateMultipartUploadResult>"
                    .to_owned()
            }
            (&Method::POST, _) => "<CompleteMultipartUploadResult><ETag>\"whole\"</ETag>\
                                   </CompleteMultipartUploadResult>"
                .to_owned(),
            _ => self.listed(),
        };
        Reply::answer(200, &[("content-type", "application/xml")], document)
    }

    fn listed(&self) -> String {
        let mut parts = String::new();
        for (number, body) in &self.parts {
            write!(
                parts,
                "<Part><PartNumber>{number}</PartNumber><ETag>\"e{number}\"</ETag>\
                 <Size>{}</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified></Part>",
                body.len()
            )
            .unwrap();
        }
        format!("<ListPartsResult><IsTruncated>false</IsTruncated>{parts}</ListPartsResult>")
    }
}

pub(super) fn complete(target: &str, id: &str, list: &str) -> ClientRequest {
    let document = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
    ClientRequest::post(format!("{target}?uploadId={id}"), document)
}

pub(super) async fn begin_upload(proxy: &Proxy, owner: &Credential, target: &str) -> String {
    let create = ClientRequest::new(Method::POST, format!("{target}?uploads"));
    let created = proxy.send_as(owner, create).await.expect(200);
    created.element("UploadId")
}
