//! Resumption of a broken GET at the position where it broke.
//!
//! Possible for a whole object or one range of it, of known length, with a strong `ETag`. The
//! continuation requests only the missing bytes, pinned by `If-Match` (and the version of the first
//! request). It is joined only if status, `ETag`, range, total and length prove that it is exactly
//! the missing part of the same object. Otherwise the body stays broken: the reader then gets the
//! first error, never other bytes.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};
use http::{Method, StatusCode, response};
use hyper::body::Incoming;
use s3proxy_protocol::headers;

use super::attempt::AttemptResponse;
use super::client::BackendClient;
use super::request::{PreparedPayload, PreparedRequest};
use crate::telemetry::metrics::{self, RetryReason};

/// Number of resumptions after which a transfer is given up.
const RESUMPTIONS: u32 = 8;

/// Body of a continuation; `None` if it cannot be joined.
pub(super) type Continuation = BoxFuture<'static, Option<Incoming>>;

/// State for resuming a response at the position where it breaks.
pub(super) struct Resumption {
    client: Arc<BackendClient>,
    request: PreparedRequest,
    etag: HeaderValue,
    /// Offsets in the object: of the next byte, and of the last one.
    next: u64,
    last: u64,
    total: u64,
    /// Number of resumptions left.
    left: u32,
}

impl Resumption {
    /// Returns the state for resuming this response; `None` if it cannot be resumed.
    pub(super) fn new(
        client: &Arc<BackendClient>,
        request: PreparedRequest,
        head: &response::Parts,
    ) -> Option<Self> {
        // Without retries a broken read stays broken, too.
        if !is_plain_get(&request) || client.settings.retry.attempts < 2 {
            return None;
        }
        let etag = head.headers.get(ETAG)?.clone();
        // A weak ETag does not promise equal bytes.
        if etag.as_bytes().starts_with(b"W/") {
            return None;
        }
        let length = content_length(&head.headers).filter(|length| *length > 0)?;
        let (next, last, total) = match head.status {
            StatusCode::OK => (0, length - 1, length),
            StatusCode::PARTIAL_CONTENT => content_range(&head.headers)?,
            _ => return None,
        };
        // The announced length must be exactly that of the range.
        if last.checked_sub(next)?.checked_add(1)? != length {
            return None;
        }
        Some(Resumption {
            client: client.clone(),
            request,
            etag,
            next,
            last,
            total,
            left: RESUMPTIONS,
        })
    }

    /// Returns the number of missing bytes.
    pub(super) fn remaining(&self) -> u64 {
        self.last + 1 - self.next
    }

    /// Records received bytes. More than announced cannot arrive: HTTP's framing was checked
    /// against the range.
    pub(super) fn received(&mut self, bytes: usize) {
        self.next += (bytes as u64).min(self.remaining());
    }

    /// Returns the request for the missing bytes, unless there are none or too many resumptions
    /// were tried.
    pub(super) fn continuation(&mut self) -> Option<Continuation> {
        if self.remaining() == 0 {
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        let request = self.request_for_rest();
        let client = self.client.clone();
        let (etag, next, last, total) = (self.etag.clone(), self.next, self.last, self.total);
        tracing::debug!(offset = next, "resuming a broken transfer from the backend");
        metrics::backend_retried(RetryReason::Resumed);
        Some(Box::pin(async move {
            let response = client.exchange(&request).await.ok()?;
            let headers = &response.head.headers;
            let joins = response.head.status == StatusCode::PARTIAL_CONTENT
                && headers.get(ETAG) == Some(&etag)
                && content_range(headers) == Some((next, last, total))
                && content_length(headers) == Some(last + 1 - next);
            if joins { whole_body(response) } else { None }
        }))
    }

    fn request_for_rest(&self) -> PreparedRequest {
        let mut request = self.request.clone();
        // The first request has met the client's conditions; the pinned ETag replaces them.
        for name in [
            IF_NONE_MATCH,
            IF_MODIFIED_SINCE,
            IF_UNMODIFIED_SINCE,
            IF_RANGE,
        ] {
            request.headers.remove(name);
        }
        let range = format!("bytes={}-{}", self.next, self.last);
        let range = HeaderValue::from_str(&range).expect("digits are visible ASCII");
        request.headers.insert(RANGE, range);
        request.headers.insert(IF_MATCH, self.etag.clone());
        // The range is relative to the object, not to the part.
        request.query.retain(|(name, _)| name != "partNumber");
        request
    }
}

fn whole_body(response: AttemptResponse) -> Option<Incoming> {
    // A peeked start means that this is an error's body.
    response
        .body
        .rest
        .filter(|_| response.body.start.is_empty())
}

/// Returns whether this is a read of an object's content, not of its properties.
fn is_plain_get(request: &PreparedRequest) -> bool {
    let is_content = |name: &str| {
        matches!(name, "versionId" | "partNumber" | "x-id") || name.starts_with("response-")
    };
    request.method == Method::GET
        && request.key.is_some()
        && matches!(request.payload, PreparedPayload::Empty)
        && request.query.iter().all(|(name, _)| is_content(name))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers::parsed(headers, CONTENT_LENGTH)
}

/// Parses first, last and total of a `Content-Range` that contains all three.
fn content_range(headers: &HeaderMap) -> Option<(u64, u64, u64)> {
    let text = headers::text(headers, CONTENT_RANGE)?;
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, total) = (first.parse().ok()?, last.parse().ok()?, total.parse().ok()?);
    // `last < total` also keeps the position after the last byte in range.
    (last < total).then_some((first, last, total))
}
