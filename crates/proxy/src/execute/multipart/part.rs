//! A part on its way to where it is kept: sealed, and either the backend's part or staged.
//!
//! A part of at least 5 MiB goes to the backend's upload under its own number. A shorter one can only
//! be the last, and the tail has to follow it inside the same backend part, so it is staged: stored as
//! an object of its own until the upload completes. So is number 10000, the tail's.
//!
//! What is known of the checksum goes into the part's ETag, which the client hands back.
//!
//! The same number twice: a replica that knows of a staged part deletes it when a long one takes the
//! number. Otherwise the ETag that the client names when it completes tells the two apart
//! (ADR 0006).

use std::sync::Arc;

use http::{HeaderMap, Method, header};
use http_body_util::BodyExt;
use s3proxy_envelope::layout::{PADDED_FROM, PlaintextLength, StoredLength, message_length};
use s3proxy_envelope::message::MessageHead;
use s3proxy_envelope::multipart::{Frame, PartEtag, PartNumber};
use s3proxy_envelope::object::ObjectSealer;
use s3proxy_protocol::header_rules;
use s3proxy_protocol::operation::Operation;

use super::state::{self, OpenUpload};
use super::{TAIL_NUMBER, staged};
use crate::backend::{BackendError, BodyStream, Request, RequestBody};
use crate::body::buffers::STREAM_BYTES;
use crate::body::inbound::Inbound;
use crate::body::sealing::SealingBody;
use crate::execute::answer::{self, Backed};
use crate::execute::new_object::Checksum;
use crate::execute::put_object::{expect_result, seal_whole};
use crate::execute::{Job, Outcome};
use crate::respond::Failure;

/// Where a part is kept until the upload completes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shelf {
    /// The backend's upload.
    Upload,
    /// Beside it.
    Staged,
}

impl Shelf {
    pub(super) fn of(number: PartNumber, length: PlaintextLength) -> Self {
        if length < PADDED_FROM || number == TAIL_NUMBER {
            Self::Staged
        } else {
            Self::Upload
        }
    }
}

/// A part that was stored.
pub(crate) struct StoredPart {
    pub(crate) etag: PartEtag,
    /// The one that was sent, or one of the upload's algorithm.
    pub(crate) checksum: Option<Checksum>,
    /// The backend's, of its answer.
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
    let shelf = Shelf::of(number, length);
    let request = request(job, upload, number, shelf, RequestBody::Held(sealed));
    let backed = expect_result(job, job.parts.backend.send(request).await?).await?;
    settle(job, upload, number, shelf).await;
    stored(&backed, &head, checksum)
}

/// Seals and stores a part as its plaintext comes.
pub(crate) async fn upload_part_sealed(
    job: &Job<'_>,
    upload: &OpenUpload,
    number: PartNumber,
    length: PlaintextLength,
    source: Inbound,
) -> Outcome<StoredPart> {
    let share = job.parts.budget.share(STREAM_BYTES).await?;
    let sealer = ObjectSealer::part(&upload.dek, frame(number, length), job.parts.pool.take());
    let head = *sealer.head();
    let total = sealer.stored_length().0;
    let mut sealing = SealingBody::new(source, sealer, Arc::clone(&job.parts.pool), share);
    if let Some(checksum) = upload.checksum {
        sealing.measure(checksum.algorithm);
    }
    let (fault, checksum) = (sealing.fault(), sealing.checksum());
    let begun = sealing.prefetch().await;
    let body = BodyStream::new(sealing.map_err(Into::into));
    let shelf = Shelf::of(number, length);
    let body = RequestBody::Stream {
        length: total,
        body,
    };
    let request = request(job, upload, number, shelf, body);
    let sent = match begun {
        Ok(()) => job.parts.backend.send(request).await,
        Err(error) => Err(BackendError::RequestBody(error.into())),
    };
    // What the client did wrong explains whatever the backend then made of it.
    if let Some(fault) = fault.get() {
        return Err(Failure::Inbound(fault.clone()));
    }
    let backed = expect_result(job, sent?).await?;
    settle(job, upload, number, shelf).await;
    stored(&backed, &head, checksum.get().cloned())
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

/// A request about the backend's upload.
pub(super) fn upload_request(job: &Job<'_>, method: Method, upload: &OpenUpload) -> Request {
    let mut request = answer::request_for(job, method);
    request.query = vec![("uploadId".to_owned(), Some(upload.id.clone()))];
    request
}

/// Stores a piece of the tail, which belongs to no client.
pub(super) async fn upload_tail(
    job: &Job<'_>,
    upload: &OpenUpload,
    number: PartNumber,
    body: RequestBody,
) -> Outcome<String> {
    let mut request = request(job, upload, number, Shelf::Upload, body);
    request.headers = upload.customer_key();
    let sent = job.parts.backend.send(request).await;
    let response = sent.map_err(|error| match error {
        // Not the client's body, but a staged part of its upload.
        BackendError::RequestBody(_) => Failure::Unusable("a staged part broke off"),
        other => other.into(),
    })?;
    backend_etag(&expect_result(job, response).await?)
}

/// Notes what now lies under the number.
async fn settle(job: &Job<'_>, upload: &OpenUpload, number: PartNumber, shelf: Shelf) {
    match shelf {
        Shelf::Staged => upload.saw_staged(number),
        Shelf::Upload => {
            if upload.take_staged(number).is_some()
                && let Err(failure) = staged::delete_staged(job, &upload.place, number).await
            {
                // The ETag that the client names when it completes tells the two apart.
                tracing::debug!(reason = %failure, "a replaced staged part stays until the end");
            }
        }
    }
}

fn stored(backed: &Backed, head: &MessageHead, checksum: Option<Checksum>) -> Outcome<StoredPart> {
    let raw = checksum.as_ref().map(|(_, value)| value.as_bytes());
    Ok(StoredPart {
        etag: PartEtag::marked(&backend_etag(backed)?, head, raw),
        checksum,
        headers: answer::client_headers(&backed.headers),
    })
}

/// The backend's ETag without its quotes.
fn backend_etag(backed: &Backed) -> Outcome<String> {
    backed
        .headers
        .get(header::ETAG)
        .and_then(|value| value.to_str().ok())
        .map(|text| text.trim().trim_matches('"').to_owned())
        .filter(|text| !text.is_empty())
        .ok_or(Failure::Unusable("a part without an ETag"))
}
