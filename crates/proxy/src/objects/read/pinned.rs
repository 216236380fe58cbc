//! Requests for exactly the object that an earlier response described.
//!
//! They are pinned by the object's version if it has one, otherwise by `If-Match`. A version named
//! `null` can be overwritten, so it takes both. Responses are compared too: not every backend
//! supports `If-Match` on reads.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::BodyExt;
use s3proxy_protocol::headers::{self, VERSION_ID};
use s3proxy_protocol::range::ContentRange;

use crate::backend::{self, Request};
use crate::failure::{Failure, Outcome};
use crate::objects::call::{BackendResponse, failure_of};
use crate::objects::delivery::header_value;
use crate::objects::read::{Found, Source};
use crate::objects::{StoreCall, stored};

/// A GET of the object that was found, or of a range of its stored bytes, both ends included.
pub(crate) fn pinned_request(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    found: &Found,
    stretch: Option<(u64, u64)>,
) -> Request {
    let mut request = source.request(call, Method::GET);
    pin(&mut request, &found.headers);
    if let Some((first, last)) = stretch {
        let range = header_value(&format!("bytes={first}-{last}"));
        request.headers.insert(header::RANGE, range);
    }
    request
}

/// Takes the conditions of a read out.
pub(crate) fn remove_conditions(headers: &mut HeaderMap) {
    for name in [
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
    ] {
        headers.remove(name);
    }
}

fn pin(request: &mut Request, seen: &HeaderMap) {
    let headers = &mut request.headers;
    remove_conditions(headers);
    let version = headers::text(seen, VERSION_ID);
    if version.is_none_or(|version| version == "null")
        && let Some(etag) = seen.get(header::ETAG)
    {
        headers.insert(header::IF_MATCH, etag.clone());
    }
    if let Some(version) = version {
        let query = &mut request.query;
        query.retain(|(name, _)| name != "versionId");
        query.push(("versionId".to_owned(), Some(version.to_owned())));
    }
}

/// Sends a pinned request, and accepts the response only if it is about the same object.
pub(crate) async fn send_pinned(
    call: &StoreCall<'_>,
    found: &Found,
    request: Request,
) -> Outcome<BackendResponse> {
    let backed = call.send(request).await?;
    match backed.status {
        // Overwritten or deleted: the caller starts again, and reports the state it finds then.
        StatusCode::PRECONDITION_FAILED | StatusCode::NOT_FOUND => return Err(Failure::Replaced),
        status if !status.is_success() => return Err(failure_of(backed).await),
        _ => {}
    }
    let same = [header::ETAG, VERSION_ID]
        .iter()
        .all(|name| backed.headers.get(name) == found.headers.get(name));
    if same {
        Ok(backed)
    } else {
        Err(Failure::Replaced)
    }
}

/// Stored bytes of an object that are arriving.
pub(crate) struct Arrived {
    /// Offset of the next byte.
    pub(crate) first: u64,
    /// Offset after the last byte.
    pub(crate) end: u64,
    /// Bytes that were received and not used yet.
    pub(crate) begun: Bytes,
    pub(crate) body: backend::Body,
}

impl Arrived {
    /// Reads which bytes a response to GET contains. A 200 contains all, whether requested or not.
    pub(crate) fn from_response(headers: &HeaderMap, body: backend::Body) -> Outcome<Self> {
        let (first, end) = match stored::content_range(headers) {
            Some(ContentRange::Satisfied { range, .. }) => (range.first, range.last + 1),
            Some(ContentRange::Unsatisfied { .. }) => {
                return Err(Failure::Unusable("a success with an unsatisfied range"));
            }
            None => (0, stored::stored_length(headers)?.0),
        };
        Ok(Self {
            first,
            end,
            begun: Bytes::new(),
            body,
        })
    }

    /// Whether this range of stored bytes, both ends included, is among those that arrive.
    pub(crate) fn covers(&self, (first, last): (u64, u64)) -> bool {
        self.first <= first && last < self.end
    }

    /// Takes the next `length` bytes.
    pub(crate) async fn take(&mut self, length: usize) -> Outcome<Bytes> {
        let mut taken = BytesMut::with_capacity(length);
        while taken.len() < length {
            if self.begun.is_empty() {
                self.begun = self.next_piece().await?;
            }
            let missing = (length - taken.len()).min(self.begun.len());
            taken.extend_from_slice(&self.begun.split_to(missing));
        }
        self.first += length as u64;
        Ok(taken.freeze())
    }

    /// Discards the bytes before an offset.
    async fn skip_to(&mut self, position: u64) -> Outcome<()> {
        while self.first < position {
            if self.begun.is_empty() {
                self.begun = self.next_piece().await?;
            }
            let missing = usize::try_from(position - self.first).unwrap_or(usize::MAX);
            let passed = missing.min(self.begun.len());
            let _ = self.begun.split_to(passed);
            self.first += passed as u64;
        }
        Ok(())
    }

    /// Takes the next bytes, as many as arrived together.
    pub(crate) async fn piece(&mut self) -> Outcome<Bytes> {
        let piece = match std::mem::take(&mut self.begun) {
            begun if begun.is_empty() => self.next_piece().await?,
            begun => begun,
        };
        self.first += piece.len() as u64;
        Ok(piece)
    }

    async fn next_piece(&mut self) -> Outcome<Bytes> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame?.into_data() {
                return Ok(data);
            }
        }
        Err(Failure::Unusable("a body that ends before its length"))
    }
}

/// Reads a short range of stored bytes of the object that was found, both ends included.
pub(crate) async fn read_stretch(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    found: &Found,
    (first, last): (u64, u64),
) -> Outcome<Bytes> {
    let mut arrived = ask_for(call, source, found, (first, last)).await?;
    arrived.skip_to(first).await?;
    let length = usize::try_from(last - first + 1);
    arrived
        .take(length.map_err(|_| Failure::Unusable("more bytes than fit in memory"))?)
        .await
}

/// Requests a range of stored bytes of the object that was found, both ends included.
pub(crate) async fn ask_for(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    found: &Found,
    stretch: (u64, u64),
) -> Outcome<Arrived> {
    let whole = stretch == (0, found.stored.0.saturating_sub(1));
    let stretch_asked = (!whole).then_some(stretch);
    let request = pinned_request(call, source, found, stretch_asked);
    let backed = send_pinned(call, found, request).await?;
    if stored::stored_length(&backed.headers)? != found.stored {
        return Err(Failure::Replaced);
    }
    let arrived = Arrived::from_response(&backed.headers, backed.body)?;
    if arrived.covers(stretch) {
        Ok(arrived)
    } else {
        Err(Failure::Unusable("bytes of another range than requested"))
    }
}
