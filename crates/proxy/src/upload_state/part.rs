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

use http::{HeaderMap, Method, header};
use s3proxy_envelope::layout::{PADDED_FROM, PlaintextLength, StoredLength, message_length};
use s3proxy_envelope::message::MessageHead;
use s3proxy_envelope::multipart::{Frame, PartEtag, PartNumber};
use s3proxy_envelope::object::ObjectSealer;
use s3proxy_protocol::checksum::ChecksumAlgorithm;
use s3proxy_protocol::header_rules;
use s3proxy_protocol::operation::Operation;
use s3proxy_protocol::xml::copy::CopyResult;

use super::state::{self, OpenUpload};
use super::{FIRST_NUMBER, TAIL_NUMBER, present, staged};
use crate::backend::{BackendError, Request, RequestBody};
use crate::body::sealing::Payload;
use crate::config::resolved::PartSizes;
use crate::execute::answer::{self, Backed};
use crate::execute::new_object::Checksum;
use crate::execute::put_object::{expect_result, seal_whole};
use crate::execute::sealed_stream::send_sealed;
use crate::execute::{Job, Outcome};
use crate::respond::Failure;

/// Longest response to a copy that is read, in bytes.
const MAX_RESULT_BYTES: usize = 64 * 1024;

/// Place where a part is kept until the upload completes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shelf {
    /// A part of the backend's upload.
    Upload,
    /// A separate object under the state prefix.
    Staged,
}

impl Shelf {
    /// Selects the place. `first` is the stored size of number 1 if parts must be equal: nothing
    /// else is known of their size. Until it is known, only number 1 can be a backend part.
    fn of(
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
    job: &Job<'_>,
    upload: &OpenUpload,
    number: PartNumber,
    length: PlaintextLength,
) -> Outcome<Shelf> {
    let sizes = job.parts.policy.part_sizes;
    let known = match sizes {
        PartSizes::Any => None,
        // Until number 1 is stored its size is unknown, and other parts are staged.
        PartSizes::Equal => match upload.first_size() {
            Some(size) => Some(size),
            None => first_size(job, upload).await?,
        },
    };
    let shelf = Shelf::of(number, length, sizes, known);
    if sizes == PartSizes::Equal && shelf == Shelf::Upload && number == FIRST_NUMBER {
        upload.learnt_first_size(message_length(length));
    }
    Ok(shelf)
}

/// Stored size of number 1, as the backend lists it.
async fn first_size(job: &Job<'_>, upload: &OpenUpload) -> Outcome<Option<u64>> {
    let mut request = upload_request(job, Method::GET, upload);
    request
        .query
        .push(("max-parts".to_owned(), Some("1".to_owned())));
    request.headers = upload.customer_key();
    let page = present::page(job, request).await?;
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

/// Seals and stores a part whose plaintext is in memory.
pub(crate) async fn upload_part_held(
    job: &Job<'_>,
    upload: &OpenUpload,
    number: PartNumber,
    plaintext: Vec<u8>,
    checksum: Option<Checksum>,
) -> Outcome<StoredPart> {
    let length = PlaintextLength(plaintext.len() as u64);
    let frame = frame(number, length);
    let start = |buffer| ObjectSealer::part(&upload.dek, frame, buffer);
    let (head, sealed) = seal_whole(start, StoredLength(message_length(length)), &plaintext);
    drop(plaintext);
    let shelf = shelf(job, upload, number, length).await?;
    let request = request(job, upload, number, shelf, RequestBody::Held(sealed));
    wait_for_last_attempt(job, upload, number).await;
    let backed = expect_result(job, job.parts.backend.send(request).await?).await?;
    settle(job, upload, number, shelf).await;
    stored(job, upload, number, &backed, &head, checksum)
}

/// Seals and stores a part while its plaintext arrives, from a client or from a stored object, and
/// computes its checksum for the upload.
pub(crate) async fn upload_part_sealed<P>(
    job: &Job<'_>,
    upload: &OpenUpload,
    number: PartNumber,
    length: PlaintextLength,
    source: P,
) -> Outcome<StoredPart>
where
    P: Payload<Fault: Into<Failure> + Send> + Send + Unpin + 'static,
{
    let measured = upload.checksum.map(|checksum| checksum.algorithm);
    upload_part_measured(job, upload, number, length, source, measured).await
}

/// Seals and stores a part while its plaintext arrives. A checksum is computed only if `measured`
/// names an algorithm: `source` may have its own.
pub(super) async fn upload_part_measured<P>(
    job: &Job<'_>,
    upload: &OpenUpload,
    number: PartNumber,
    length: PlaintextLength,
    source: P,
    measured: Option<ChecksumAlgorithm>,
) -> Outcome<StoredPart>
where
    P: Payload<Fault: Into<Failure> + Send> + Send + Unpin + 'static,
{
    let shelf = shelf(job, upload, number, length).await?;
    let sealer = ObjectSealer::part(&upload.dek, frame(number, length), job.parts.pool.take());
    let head = *sealer.head();
    let put = |body| request(job, upload, number, shelf, body);
    wait_for_last_attempt(job, upload, number).await;
    let (backed, checksum) = send_sealed(job, source, sealer, measured, put).await?;
    settle(job, upload, number, shelf).await;
    stored(job, upload, number, &backed, &head, checksum)
}

fn frame(number: PartNumber, length: PlaintextLength) -> Frame {
    Frame::new(number, length).expect("far below the longest that a frame can say")
}

fn request(
    job: &Job<'_>,
    upload: &OpenUpload,
    number: PartNumber,
    shelf: Shelf,
    body: RequestBody,
) -> Request {
    let mut request = match shelf {
        Shelf::Upload => {
            let mut request = upload_request(job, Method::PUT, upload);
            let text = Some(number.get().to_string());
            request.query.insert(0, ("partNumber".to_owned(), text));
            let client = &job.request.headers;
            request.headers = header_rules::backend_request_headers(Operation::UploadPart, client);
            request
        }
        Shelf::Staged => {
            let place = &upload.place;
            let key = place.hash.part_key(&place.prefix, number);
            let mut request = state::request(job, place, Method::PUT, &key);
            request.headers = upload.encryption();
            request
        }
    };
    request.body = body;
    request
}

/// Makes a request for the backend's upload.
pub(super) fn upload_request(job: &Job<'_>, method: Method, upload: &OpenUpload) -> Request {
    let mut request = answer::request_for(job, method);
    request.query = vec![("uploadId".to_owned(), Some(upload.id.clone()))];
    request
}

/// Stores a piece of the tail, which is not a client's part.
pub(super) async fn upload_tail(
    job: &Job<'_>,
    upload: &OpenUpload,
    number: PartNumber,
    body: RequestBody,
) -> Outcome<String> {
    let mut request = request(job, upload, number, Shelf::Upload, body);
    // The client's headers belong to its Complete, not to this part.
    request.headers = upload.customer_key();
    let sent = job.parts.backend.send(request).await;
    let response = sent.map_err(|error| match error {
        // The failed body is a staged part, not the client's request.
        BackendError::RequestBody(_) => Failure::Unusable("a staged part broke off"),
        other => other.into(),
    })?;
    backend_etag(&expect_result(job, response).await?)
}

/// Lets the backend copy an object of the proxy into the upload; `headers` name the source.
pub(super) async fn copy_part(
    job: &Job<'_>,
    upload: &OpenUpload,
    number: PartNumber,
    headers: HeaderMap,
) -> Outcome<String> {
    let mut request = request(job, upload, number, Shelf::Upload, RequestBody::Empty);
    request.headers = headers;
    let backed = answer::expect_success(job, job.parts.backend.send(request).await?).await?;
    let text = answer::read_bounded(backed.body, MAX_RESULT_BYTES).await?;
    let result = CopyResult::parse(text.trim_ascii());
    result
        .map(|result| result.etag)
        .map_err(|_| Failure::Unusable("a CopyPartResult that is not S3's"))
}

/// Records where the part of this number is now, and deletes a staged one that it replaced.
async fn settle(job: &Job<'_>, upload: &OpenUpload, number: PartNumber, shelf: Shelf) {
    match shelf {
        Shelf::Staged => {
            upload.saw_staged(number);
            job.parts.uploads.reweigh(upload);
        }
        Shelf::Upload => {
            // Only a part known to be staged costs a request. Others are left to the ETag.
            if upload.take_staged(number).is_some()
                && let Err(failure) = staged::delete_staged(job, &upload.place, number).await
            {
                // Harmless: the ETag that the client names on completion distinguishes the two.
                tracing::debug!(reason = %failure, "a replaced staged part stays until the end");
            }
        }
    }
}

/// Lets a list tell this attempt from the last one. AWS lists no part that was replaced.
async fn wait_for_last_attempt(job: &Job<'_>, upload: &OpenUpload, number: PartNumber) {
    if job.parts.backend.is_aws(answer::service_of(job).as_ref()) {
        return;
    }
    let wait = job.parts.attempts.wait(upload.place.hash, number);
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
}

fn stored(
    job: &Job<'_>,
    upload: &OpenUpload,
    number: PartNumber,
    backed: &Backed,
    head: &MessageHead,
    checksum: Option<Checksum>,
) -> Outcome<StoredPart> {
    let etag = backend_etag(backed)?;
    job.parts.attempts.stored(upload.place.hash, number, &etag);
    let raw = checksum.as_ref().map(|(_, value)| value.as_bytes());
    let part = StoredPart {
        etag: PartEtag::marked(&etag, head, raw),
        checksum,
        headers: answer::client_headers(&backed.headers),
    };
    job.parts.uploads.part_checksums.remember(upload, &part);
    Ok(part)
}

/// ETag of the backend's response, without quotes.
fn backend_etag(backed: &Backed) -> Outcome<String> {
    backed
        .headers
        .get(header::ETAG)
        .and_then(|value| value.to_str().ok())
        .map(|text| text.trim().trim_matches('"').to_owned())
        .filter(|text| !text.is_empty())
        .ok_or(Failure::Unusable("a part without an ETag"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: u64 = PADDED_FROM.0;

    fn shelf(number: u16, length: u64, sizes: PartSizes, first: Option<u64>) -> Shelf {
        let number = PartNumber::new(number).unwrap();
        let first = first.map(|length| message_length(PlaintextLength(length)));
        Shelf::of(number, PlaintextLength(length), sizes, first)
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
