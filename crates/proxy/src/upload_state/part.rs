//! Storage of one part: sealed, and either a backend part or staged.
//!
//! A part of at least 5 MiB goes to the backend's upload under its own number. A shorter one can
//! only be the last, and the tail has to follow it in the same backend part. It is therefore
//! staged: stored as a separate object until the upload completes. Number 10000 is staged too,
//! since it is the tail's; and, for backends that require equal part sizes, so is a part whose
//! length differs from number 1.
//!
//! The part's checksum goes into its ETag, which the client sends back.
//!
//! If a number is uploaded twice, a replica that knows of a staged part deletes it when a long one
//! takes the number. Otherwise the ETag that the client names on completion distinguishes them
//! (ADR 0006).

use http::{HeaderMap, Method};
use s3proxy_envelope::layout::{PADDED_FROM, PlaintextLength, StoredLength, message_length};
use s3proxy_envelope::message::MessageHead;
use s3proxy_envelope::multipart::{Frame, PartEtag, PartNumber};
use s3proxy_envelope::object::ObjectSealer;
use s3proxy_protocol::checksum::ChecksumAlgorithm;
use s3proxy_protocol::etag::ETag;
use s3proxy_protocol::xml::copy::CopyResult;

use crate::backend::{BackendError, Request, RequestBody};
use crate::body::sealing::Payload;
use crate::config::resolved::PartSizes;
use crate::failure::{Failure, Outcome};
use crate::objects::StoreCall;
use crate::objects::call::{BackendResponse, client_headers, expect_etag, read_bounded};
use crate::objects::new_object::Checksum;
use crate::objects::sealed_stream::send_sealed;
use crate::objects::write::seal_whole;
use crate::upload_state::state::{self, OpenUpload};
use crate::upload_state::{FIRST_NUMBER, TAIL_NUMBER, UploadCall, staged, stored_parts};

/// Longest response to a copy that is read, in bytes.
const MAX_RESULT_BYTES: usize = 64 * 1024;

/// Place where a part is kept until the upload completes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shelf {
    /// A part of the backend's upload.
    Upload,
    /// A separate object under the state prefix.
    Staged,
}

impl Shelf {
    /// Selects the place. `first` is the stored size of number 1 if parts must be equal: nothing
    /// else is known of their size. Until it is known, only number 1 can be a backend part.
    fn select(
        number: PartNumber,
        length: PlaintextLength,
        sizes: PartSizes,
        first: Option<u64>,
    ) -> Self {
        if length < PADDED_FROM || number == TAIL_NUMBER {
            return Self::Staged;
        }
        let fits = match (sizes, first) {
            (PartSizes::Any, _) => true,
            (PartSizes::Equal, None) => number == FIRST_NUMBER,
            (PartSizes::Equal, Some(first)) => first == message_length(length),
        };
        if fits { Self::Upload } else { Self::Staged }
    }
}

/// Selects the place of a part, and remembers the size of number 1.
async fn shelf(
    call: &StoreCall<'_>,
    upload: &OpenUpload,
    number: PartNumber,
    length: PlaintextLength,
) -> Outcome<Shelf> {
    let sizes = call.store.policy.part_sizes;
    let known = match sizes {
        PartSizes::Any => None,
        // Until number 1 is stored its size is unknown, and other parts are staged.
        PartSizes::Equal => match upload.first_size() {
            Some(size) => Some(size),
            None => first_size(call, upload).await?,
        },
    };
    let shelf = Shelf::select(number, length, sizes, known);
    if sizes == PartSizes::Equal && shelf == Shelf::Upload && number == FIRST_NUMBER {
        upload.learnt_first_size(message_length(length));
    }
    Ok(shelf)
}

/// Stored size of number 1, as the backend lists it.
async fn first_size(call: &StoreCall<'_>, upload: &OpenUpload) -> Outcome<Option<u64>> {
    let mut request = upload_request(call, Method::GET, upload);
    request
        .query
        .push(("max-parts".to_owned(), Some("1".to_owned())));
    request.headers = upload.customer_key();
    let page = stored_parts::page(call, request).await?;
    let first = page.parts.iter().find(|part| part.number == FIRST_NUMBER);
    let size = first.map(|part| part.size);
    if let Some(size) = size {
        upload.learnt_first_size(size);
    }
    Ok(size)
}

/// A stored part.
pub(crate) struct StoredPart {
    pub(crate) etag: PartEtag,
    /// Checksum that the client sent, or one of the upload's algorithm.
    pub(crate) checksum: Option<Checksum>,
    /// Headers of the backend's response that are passed to the client.
    pub(crate) headers: HeaderMap,
}

/// A part that is about to be stored.
pub(crate) struct NewPart<'a> {
    pub(crate) upload: &'a OpenUpload,
    pub(crate) number: PartNumber,
    /// Headers for the backend's UploadPart: the SSE-C key and the requester-pays header.
    pub(crate) headers: HeaderMap,
}

/// Seals and stores a part whose plaintext is in memory.
pub(crate) async fn upload_part_held(
    uploads: &UploadCall<'_>,
    part: NewPart<'_>,
    plaintext: Vec<u8>,
    checksum: Option<Checksum>,
) -> Outcome<StoredPart> {
    let (call, upload, number) = (&uploads.call, part.upload, part.number);
    let length = PlaintextLength(plaintext.len() as u64);
    let frame = frame(number, length);
    let start = |buffer| ObjectSealer::part(&upload.dek, frame, buffer);
    let (head, sealed) = seal_whole(start, StoredLength(message_length(length)), &plaintext);
    drop(plaintext);
    let shelf = shelf(call, upload, number, length).await?;
    let request = part_request(call, part, shelf, RequestBody::Held(sealed));
    wait_for_last_attempt(uploads, upload, number).await;
    let backed = call.expect_etag(request).await?;
    settle(uploads, upload, number, shelf).await;
    stored(uploads, upload, number, &backed, &head, checksum)
}

/// Seals and stores a part while its plaintext arrives, from a client or from a stored object, and
/// computes its checksum for the upload.
pub(crate) async fn upload_part_sealed<P>(
    uploads: &UploadCall<'_>,
    part: NewPart<'_>,
    length: PlaintextLength,
    source: P,
) -> Outcome<StoredPart>
where
    P: Payload<Fault: Into<Failure> + Send> + Send + Unpin + 'static,
{
    let measured = part.upload.checksum.map(|checksum| checksum.algorithm);
    upload_part_measured(uploads, part, length, source, measured).await
}

/// Seals and stores a part while its plaintext arrives. A checksum is computed only if `measured`
/// names an algorithm: `source` may have its own.
pub(crate) async fn upload_part_measured<P>(
    uploads: &UploadCall<'_>,
    part: NewPart<'_>,
    length: PlaintextLength,
    source: P,
    measured: Option<ChecksumAlgorithm>,
) -> Outcome<StoredPart>
where
    P: Payload<Fault: Into<Failure> + Send> + Send + Unpin + 'static,
{
    let (call, upload, number) = (&uploads.call, part.upload, part.number);
    let shelf = shelf(call, upload, number, length).await?;
    let sealer = ObjectSealer::part(&upload.dek, frame(number, length), call.store.pool.take());
    let head = *sealer.head();
    let put = |body| part_request(call, part, shelf, body);
    wait_for_last_attempt(uploads, upload, number).await;
    let (backed, checksum) = send_sealed(call, source, sealer, measured, put).await?;
    settle(uploads, upload, number, shelf).await;
    stored(uploads, upload, number, &backed, &head, checksum)
}

fn frame(number: PartNumber, length: PlaintextLength) -> Frame {
    Frame::new(number, length).expect("far below the longest that a frame can say")
}

fn part_request(
    call: &StoreCall<'_>,
    part: NewPart<'_>,
    shelf: Shelf,
    body: RequestBody,
) -> Request {
    let NewPart {
        upload,
        number,
        headers,
    } = part;
    let mut request = match shelf {
        Shelf::Upload => {
            let mut request = upload_request(call, Method::PUT, upload);
            let text = Some(number.get().to_string());
            request.query.insert(0, ("partNumber".to_owned(), text));
            request.headers = headers;
            request
        }
        Shelf::Staged => {
            let place = &upload.place;
            let key = place.hash.part_key(&place.prefix, number);
            let mut request = state::request(call, place, Method::PUT, &key);
            request.headers = upload.encryption();
            request
        }
    };
    request.body = body;
    request
}

/// Makes a request for the backend's upload.
pub(crate) fn upload_request(call: &StoreCall<'_>, method: Method, upload: &OpenUpload) -> Request {
    let mut request = call.request(method, upload.object.current());
    request.query = vec![("uploadId".to_owned(), Some(upload.id.clone()))];
    request
}

/// Stores a piece of the tail, which is not a client's part.
pub(crate) async fn upload_tail(
    call: &StoreCall<'_>,
    upload: &OpenUpload,
    number: PartNumber,
    body: RequestBody,
) -> Outcome<ETag> {
    let part = NewPart {
        upload,
        number,
        // The client's headers belong to its Complete, not to this part.
        headers: upload.customer_key(),
    };
    let request = part_request(call, part, Shelf::Upload, body);
    let sent = call.store.backend.send(request).await;
    let response = sent.map_err(|error| match error {
        // The failed body is a staged part, not the client's request.
        BackendError::RequestBody(_) => Failure::Unusable("a truncated staged part"),
        other => other.into(),
    })?;
    backend_etag(&expect_etag(call.receive(response)).await?)
}

/// Lets the backend copy an object of the proxy into the upload; `headers` name the source.
pub(crate) async fn copy_part(
    call: &StoreCall<'_>,
    upload: &OpenUpload,
    number: PartNumber,
    headers: HeaderMap,
) -> Outcome<ETag> {
    let part = NewPart {
        upload,
        number,
        headers,
    };
    let request = part_request(call, part, Shelf::Upload, RequestBody::Empty);
    let backed = call.expect_success(request).await?;
    let text = read_bounded(backed.body, MAX_RESULT_BYTES).await?;
    let result = CopyResult::parse(text.trim_ascii());
    result
        .map(|result| result.etag)
        .map_err(|_| Failure::Unusable("a malformed CopyPartResult"))
}

/// Records where the part of this number is now, and deletes a staged one that it replaced.
async fn settle(uploads: &UploadCall<'_>, upload: &OpenUpload, number: PartNumber, shelf: Shelf) {
    match shelf {
        Shelf::Staged => {
            upload.saw_staged(number);
            uploads.caches.open.reweigh(upload);
        }
        Shelf::Upload => {
            // Only a part known to be staged costs a request. Others are left to the ETag.
            if upload.take_staged(number).is_some()
                && let Err(failure) =
                    staged::delete_staged(&uploads.call, &upload.place, number).await
            {
                // Harmless: the ETag that the client names on completion distinguishes the two.
                tracing::debug!(reason = %failure, "failed to delete a replaced staged part; it remains until the upload ends");
            }
        }
    }
}

/// Lets a list tell this attempt from the last one. AWS lists no part that was replaced.
async fn wait_for_last_attempt(uploads: &UploadCall<'_>, upload: &OpenUpload, number: PartNumber) {
    if uploads.call.is_aws() {
        return;
    }
    let wait = uploads.caches.attempts.wait(upload.place.hash, number);
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
}

fn stored(
    uploads: &UploadCall<'_>,
    upload: &OpenUpload,
    number: PartNumber,
    backed: &BackendResponse,
    head: &MessageHead,
    checksum: Option<Checksum>,
) -> Outcome<StoredPart> {
    let etag = backend_etag(backed)?;
    uploads
        .caches
        .attempts
        .stored(upload.place.hash, number, &etag);
    let raw = checksum.as_ref().map(|(_, value)| value.as_bytes());
    let part = StoredPart {
        etag: PartEtag::marked(etag.as_str(), head, raw),
        checksum,
        headers: client_headers(&backed.headers),
    };
    uploads.caches.open.part_checksums.remember(upload, &part);
    Ok(part)
}

/// ETag of the backend's response.
fn backend_etag(backed: &BackendResponse) -> Outcome<ETag> {
    ETag::from_headers(&backed.headers)
        .filter(|etag| !etag.as_str().is_empty())
        .ok_or(Failure::Unusable("a part without an ETag"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: u64 = PADDED_FROM.0;

    fn shelf(number: u16, length: u64, sizes: PartSizes, first: Option<u64>) -> Shelf {
        let number = PartNumber::new(number).unwrap();
        let first = first.map(|length| message_length(PlaintextLength(length)));
        Shelf::select(number, PlaintextLength(length), sizes, first)
    }

    #[test]
    fn what_only_the_last_place_can_hold_is_staged() {
        for (number, length, expected) in [
            (1, LEAST, Shelf::Upload),
            (9999, LEAST + 1, Shelf::Upload),
            (1, LEAST - 1, Shelf::Staged),
            (2, 0, Shelf::Staged),
            (10_000, LEAST, Shelf::Staged),
        ] {
            let found = shelf(number, length, PartSizes::Any, None);
            assert_eq!(found, expected, "{number} {length}");
        }
    }

    #[test]
    fn where_parts_must_be_equal_those_unlike_number_1_are_staged() {
        for (number, length, first, expected) in [
            (1, LEAST, None, Shelf::Upload),
            (2, LEAST, None, Shelf::Staged),
            (2, LEAST, Some(LEAST), Shelf::Upload),
            (3, LEAST + 1, Some(LEAST), Shelf::Staged),
            (1, LEAST + 1, Some(LEAST), Shelf::Staged),
            (1, LEAST, Some(LEAST), Shelf::Upload),
            (10_000, LEAST, Some(LEAST), Shelf::Staged),
        ] {
            let found = shelf(number, length, PartSizes::Equal, first);
            assert_eq!(found, expected, "{number} {length}");
        }
    }
}
