//! Stored objects that a backend serves under other names.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, Method};

use super::KEY;
use crate::harness::{ClientRequest, Proxy, RecordedRequest, Reply};

/// An object as stored on the backend.
#[derive(Clone)]
pub(super) struct Stolen {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Stolen {
    pub(super) async fn from(proxy: &Proxy, target: &str) -> Self {
        let answer = proxy.send_to_store(ClientRequest::get(target)).await;
        let answer = answer.expect(200);
        Self {
            headers: answer.headers,
            body: answer.body,
        }
    }

    /// The same object with another key name in its envelope.
    pub(super) fn renamed(&self, from: &str, to: &str) -> Self {
        let envelope = self.headers["x-amz-meta-isec"].to_str().unwrap();
        let mut bytes = URL_SAFE_NO_PAD
            .decode(envelope.strip_prefix("s3p1.").unwrap())
            .unwrap();
        let at = bytes
            .windows(from.len())
            .position(|name| name == from.as_bytes())
            .unwrap();
        // All key names have the same length, so the CBOR around the name stays valid.
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
        let mut renamed = self.clone();
        let envelope = format!("s3p1.{}", URL_SAFE_NO_PAD.encode(bytes));
        renamed
            .headers
            .insert("x-amz-meta-isec", envelope.parse().unwrap());
        renamed
    }

    /// Responds as S3 would if the requested object were this one.
    pub(super) fn reply(&self, request: &RecordedRequest) -> Reply {
        let mut response = http::Response::builder().status(200);
        *response.headers_mut().unwrap() = self.headers.clone();
        let headers = response.headers_mut().unwrap();
        // The reply may be a slice of the body, with another length.
        headers.remove("content-length");
        name_version(request, headers);
        let total = self.body.len();
        let mut range = 0..total;
        if let Some((first, last)) = request
            .header("range")
            .strip_prefix("bytes=")
            .and_then(|range| range.split_once('-'))
        {
            let last = last
                .parse()
                .map_or(total, |last: usize| total.min(last + 1));
            range = match first.parse::<usize>() {
                Ok(first) => first..last,
                Err(_) => total.saturating_sub(last - 1)..total,
            };
            let stretch = format!("bytes {}-{}/{total}", range.start, range.end - 1);
            headers.insert("content-range", stretch.parse().unwrap());
            response = response.status(206);
        }
        let response = response.body(self.body.slice(range).to_vec()).unwrap();
        Reply::Answer(response)
    }

    /// Writes the object into the backend's own store.
    pub(super) async fn store(self, proxy: &Proxy, bucket: &str) {
        let envelope = self.headers["x-amz-meta-isec"].to_str().unwrap();
        let put = ClientRequest::put(format!("/{bucket}/{KEY}"), self.body.clone())
            .header("x-amz-meta-isec", envelope);
        proxy.send_to_store(put).await.expect(200);
    }

    /// Has the backend serve this object for every read in `bucket`.
    pub(super) fn pass_off(self, proxy: &Proxy, bucket: &str) {
        let target = format!("/{bucket}/{KEY}");
        proxy.backend.script(move |request| {
            let reads = [Method::GET, Method::HEAD].contains(&request.method);
            if reads && request.path() == target && !request.has_parameter("uploadId") {
                self.reply(request)
            } else {
                Reply::Store
            }
        });
    }
}

/// Names the requested version, as a backend with versions does.
pub(super) fn name_version(request: &RecordedRequest, headers: &mut HeaderMap) {
    if let Some((_, version)) = request.query().split_once("versionId=") {
        headers.insert("x-amz-version-id", version.parse().unwrap());
    }
}
