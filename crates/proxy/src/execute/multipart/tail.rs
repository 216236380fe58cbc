//! The last piece of an upload that completes: what makes one readable object of its parts.
//!
//! From 5 MiB up it is the tail: a staged last part, where there is one, zeros, the seal and the
//! footer. Below, the one part there is was staged, and is stored anew as the whole object's message.
//! Either goes under [`TAIL_NUMBER`].
//!
//! A staged part is read pinned to the ETag that the client named. That it is not there any more
//! means that another request ended the upload or replaced the part; the lists will say which.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{HeaderValue, Method, StatusCode, header};
use http_body::Frame as BodyFrame;
use http_body_util::{BodyExt, StreamBody};
use s3proxy_envelope::layout::{PADDED_FROM, message_length};
use s3proxy_envelope::multipart::{Seal, SealedPart};
use s3proxy_envelope::object::ObjectOpener;

use super::TAIL_NUMBER;
use super::complete::Stop;
use super::part::{Shelf, upload_tail};
use super::selection::Selected;
use super::state::{self, OpenUpload};
use super::verdict::Verdict;
use crate::backend::{self, BodyStream, RequestBody};
use crate::body::buffers::{PIECE_BYTES, STREAM_BYTES};
use crate::execute::put_object::seal_held;
use crate::execute::{Job, answer, stored};
use crate::respond::Failure;

/// Stores the tail behind the parts, and gives its ETag.
pub(super) async fn store_tail(
    job: &Job<'_>,
    upload: &OpenUpload,
    parts: &[Selected],
    verdict: &Verdict,
) -> Result<String, Stop> {
    let sealed: Vec<SealedPart> = parts.iter().map(|part| verdict.sealed_part(part)).collect();
    let seal = Seal::new(verdict.seal_fields(upload.place.hash), &sealed)
        .map_err(|error| Failure::Stored(error.to_string()))?;
    let tail = Bytes::from(seal.tail(&upload.dek));
    let _share = job
        .parts
        .budget
        .share(tail.len() + STREAM_BYTES)
        .await
        .map_err(Failure::from)?;
    let body = match parts.last().filter(|part| part.shelf == Shelf::Staged) {
        None => RequestBody::Held(tail),
        Some(last) => {
            let length = message_length(last.frame.length()) + tail.len() as u64;
            let staged = read_staged(job, upload, last).await?;
            let body = StreamBody::new(
                staged
                    .into_data_stream()
                    .map_err(Into::into)
                    .chain(stream::once(async { Ok(tail) }))
                    .map_ok(BodyFrame::data),
            );
            RequestBody::Stream {
                length,
                body: BodyStream::new(body),
            }
        }
    };
    Ok(upload_tail(job, upload, TAIL_NUMBER, body).await?)
}

/// Stores the whole of an object below 5 MiB, and gives its ETag as a part.
pub(super) async fn store_small(
    job: &Job<'_>,
    upload: &OpenUpload,
    part: &Selected,
) -> Result<String, Stop> {
    let (frame, plaintext_length) = (part.frame, part.frame.length());
    debug_assert!(plaintext_length < PADDED_FROM, "longer objects have a seal");
    let total = usize::try_from(message_length(plaintext_length)).expect("little more than 5 MiB");
    // The stored part, its plaintext, and the message made of it.
    let bytes = 3 * total + PIECE_BYTES;
    let _share = job.parts.budget.share(bytes).await.map_err(Failure::from)?;
    let body = read_staged(job, upload, part).await?;
    let message = answer::read_bounded(body, total).await?;
    let mut opener = ObjectOpener::part(&upload.dek, frame, part.tag.mark());
    let mut plaintext = Vec::with_capacity(total + PIECE_BYTES);
    let opened = opener
        .push(&message, &mut plaintext)
        .and_then(|_| opener.finish());
    opened.map_err(|error| Failure::Stored(format!("a staged part: {error}")))?;
    drop(message);
    let (_, sealed) = seal_held(&upload.dek, &plaintext);
    Ok(upload_tail(job, upload, TAIL_NUMBER, RequestBody::Held(sealed)).await?)
}

/// The stored bytes of a staged part, exactly as many as the lists said.
async fn read_staged(
    job: &Job<'_>,
    upload: &OpenUpload,
    part: &Selected,
) -> Result<backend::Body, Stop> {
    let place = &upload.place;
    let key = place.hash.part_key(&place.prefix, part.frame.number());
    let mut request = state::request(job, place, Method::GET, &key);
    request.headers = upload.customer_key();
    let pin = HeaderValue::try_from(format!("\"{}\"", part.etag))
        .map_err(|_| Failure::Unusable("an ETag that is no header value"))?;
    request.headers.insert(header::IF_MATCH, pin);
    let response = job
        .parts
        .backend
        .send(request)
        .await
        .map_err(Failure::from)?;
    let moved_on = matches!(
        response.status(),
        StatusCode::NOT_FOUND | StatusCode::PRECONDITION_FAILED
    );
    match answer::expect_success(job, response).await {
        Ok(backed) => {
            let expected = message_length(part.frame.length());
            if stored::content_length(&backed.headers) == Some(expected) {
                Ok(backed.body)
            } else {
                Err(Stop::Again(Failure::Unusable(
                    "a staged part of another length than was listed",
                )))
            }
        }
        Err(failure) if moved_on => Err(Stop::Again(failure)),
        Err(failure) => Err(Stop::Failed(failure)),
    }
}
