//! The tail: the last piece of a completing upload, which makes one readable object of its parts.
//!
//! From 5 MiB up it consists of a staged last part, if there is one, zeros, the seal and the
//! footer. Below 5 MiB the only part was staged, and is rewritten as the message of the whole
//! object. Both are stored under [`TAIL_NUMBER`]. For a backend that requires equal part sizes the
//! tail is cut to the size of the others, and staged parts that are not the last one are first
//! moved into the upload.
//!
//! A staged part is read pinned to the ETag that the client named, and authenticated on its way. If
//! it is gone, another request ended the upload or replaced the part; the next listing will tell.

use std::ops::Range;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use http_body::Frame as BodyFrame;
use http_body_util::{BodyExt, StreamBody};
use s3proxy_envelope::layout::message_length;
use s3proxy_envelope::multipart::{PartNumber, Seal, SealedPart};
use s3proxy_envelope::object::ObjectOpener;
use s3proxy_protocol::etag::ETag;
use s3proxy_protocol::headers::{COPY_SOURCE, COPY_SOURCE_IF_MATCH};
use s3proxy_protocol::percent::encode_path;

use crate::backend::{self, BodyStream, BodyStreamError, RequestBody};
use crate::body::buffers::{PIECE_BYTES, STREAM_BYTES};
use crate::config::resolved::PartSizes;
use crate::failure::Failure;
use crate::objects::call::{expect_success, read_bounded};
use crate::objects::write::seal_held;
use crate::objects::{StoreCall, stored};
use crate::stored_fault::StoredFault;
use crate::upload_state::object_checksum::ObjectChecksums;
use crate::upload_state::part::{Shelf, copy_part, upload_tail};
use crate::upload_state::selection::Selected;
use crate::upload_state::staged_part_check::StagedCheck;
use crate::upload_state::state::{self, OpenUpload};
use crate::upload_state::{CompletionError, TAIL_NUMBER};

/// A stored piece of the tail: its part number and ETag at the backend.
pub(crate) type TailPiece = (PartNumber, ETag);

/// Stores the tail after the parts, in as many pieces as necessary.
pub(crate) async fn store_tail(
    call: &StoreCall<'_>,
    upload: &OpenUpload,
    parts: &[Selected],
    verdict: &ObjectChecksums,
) -> Result<Vec<TailPiece>, CompletionError> {
    let sealed: Vec<SealedPart> = parts.iter().map(|part| verdict.sealed_part(part)).collect();
    let seal = Seal::new(verdict.seal_fields(upload.place.hash), &sealed)
        .map_err(|error| Failure::Stored(error.into()))?;
    let staged = parts.last().filter(|part| part.shelf == Shelf::Staged);
    let tail = Tail {
        staged,
        end: Bytes::from(seal.tail(&upload.dek)),
        check: staged.map(|part| StagedCheck::new(&upload.dek, part.frame, part.tag.mark())),
    };
    let bytes = tail.end.len() + STREAM_BYTES;
    let _share = call.share(bytes).await.map_err(Failure::from)?;
    // The last backend part determines the size of the pieces and the first free number.
    let kept = parts.iter().rfind(|part| part.shelf == Shelf::Upload);
    let most = match call.store.policy.part_sizes {
        PartSizes::Any => None,
        PartSizes::Equal => kept.map(|part| message_length(part.frame.length())),
    };
    let last = kept.map_or(0, |part| part.frame.number().get());
    let cut = pieces(tail.length(), most, last).ok_or(Failure::Unusable(
        "too few part numbers left for the tail of an upload",
    ))?;
    let mut stored = Vec::with_capacity(cut.len());
    for (number, range) in cut {
        let body = tail.piece(call, upload, range).await?;
        let etag = upload_tail(call, upload, number, body).await;
        // The check's fault first: the backend only saw a body that broke off.
        let etag = etag.map_err(|failure| tail.fault().unwrap_or(failure))?;
        stored.push((number, etag));
    }
    Ok(stored)
}

/// Bytes that follow the backend's parts: a staged last part, and the end of the object.
struct Tail<'p> {
    staged: Option<&'p Selected>,
    /// Check of the staged part.
    check: Option<StagedCheck>,
    end: Bytes,
}

impl Tail<'_> {
    fn staged_length(&self) -> u64 {
        let staged = self.staged.map(|part| part.frame.length());
        staged.map_or(0, message_length)
    }

    /// Fault that the check found in the staged part.
    fn fault(&self) -> Option<Failure> {
        let fault = self.check.as_ref()?.fault()?;
        Some(fault.into())
    }

    fn length(&self) -> u64 {
        self.staged_length() + self.end.len() as u64
    }

    /// Body of a range of the tail.
    async fn piece(
        &self,
        call: &StoreCall<'_>,
        upload: &OpenUpload,
        range: Range<u64>,
    ) -> Result<RequestBody, CompletionError> {
        let staged_length = self.staged_length();
        let in_end = |position: u64| {
            let position = position.saturating_sub(staged_length);
            usize::try_from(position).expect("at most 1.6 MB")
        };
        let end = self.end.slice(in_end(range.start)..in_end(range.end));
        let Some(staged) = self.staged.filter(|_| range.start < staged_length) else {
            return Ok(RequestBody::Held(end));
        };
        let wanted = range.start..range.end.min(staged_length);
        let check = self.check.clone();
        let body = StreamBody::new(
            read_staged(call, upload, staged, wanted)
                .await?
                .into_data_stream()
                .map_err(BodyStreamError::from)
                .and_then(move |data| {
                    let taken = check.as_ref().map_or(Ok(()), |check| check.take(&data));
                    std::future::ready(taken.map(|()| data).map_err(BodyStreamError::from))
                })
                .chain(stream::once(async { Ok(end) }))
                .map_ok(BodyFrame::data),
        );
        Ok(RequestBody::Stream {
            length: range.end - range.start,
            body: BodyStream::new(body),
        })
    }
}

/// Cuts `length` bytes into pieces of at most `most` bytes, the last one under [`TAIL_NUMBER`].
/// `None` if there are not enough numbers above `last`.
fn pieces(length: u64, most: Option<u64>, last: u16) -> Option<Vec<(PartNumber, Range<u64>)>> {
    let most = most.unwrap_or(length).max(1);
    let count = length.div_ceil(most).max(1);
    let first = u64::from(TAIL_NUMBER.get() + 1).checked_sub(count)?;
    if first <= u64::from(last) {
        return None;
    }
    (0..count)
        .map(|index| {
            let number = PartNumber::new(u16::try_from(first + index).ok()?)?;
            Some((number, index * most..length.min((index + 1) * most)))
        })
        .collect()
}

/// Lets the backend copy a staged part, which is not the last one, into the upload.
pub(crate) async fn move_into_upload(
    call: &StoreCall<'_>,
    upload: &OpenUpload,
    part: &mut Selected,
) -> Result<(), CompletionError> {
    let place = &upload.place;
    let number = part.frame.number();
    let key = place.hash.part_key(&place.prefix, number);
    let source = format!("/{}/{}", place.bucket, encode_path(&key));
    let mut headers = upload.customer_key();
    for (name, value) in &upload.customer_key() {
        // The source has the same SSE-C key as the target, under other header names.
        let source_name = name.as_str().replacen("x-amz-", "x-amz-copy-source-", 1);
        if let Ok(name) = HeaderName::try_from(source_name) {
            headers.insert(name, value.clone());
        }
    }
    let unusable = || Failure::Unusable("an ETag or a bucket name that is no header value");
    let source = HeaderValue::try_from(source).map_err(|_| unusable())?;
    let pin = part.etag.header_value().ok_or_else(unusable)?;
    headers.insert(COPY_SOURCE, source);
    headers.insert(COPY_SOURCE_IF_MATCH, pin);
    part.etag = copy_part(call, upload, number, headers).await?;
    part.shelf = Shelf::Upload;
    Ok(())
}

/// Plaintext of a staged part below 5 MiB, authenticated. The caller has reserved the memory.
pub(crate) async fn open_staged(
    call: &StoreCall<'_>,
    upload: &OpenUpload,
    part: &Selected,
) -> Result<Vec<u8>, CompletionError> {
    let frame = part.frame;
    let stored = message_length(frame.length());
    let total = usize::try_from(stored).expect("little more than 5 MiB");
    let body = read_staged(call, upload, part, 0..stored).await?;
    let message = read_bounded(body, total).await?;
    let mut machine = ObjectOpener::part(&upload.dek, frame, part.tag.mark());
    let mut plaintext = Vec::with_capacity(total + PIECE_BYTES);
    let opened = machine
        .push(&message, &mut plaintext)
        .and_then(|_| machine.finish());
    opened.map_err(|error| Failure::from(StoredFault::from(error).within("a staged part")))?;
    Ok(plaintext)
}

/// Stores an object below 5 MiB: the only part's plaintext, sealed as one message.
pub(crate) async fn store_small(
    call: &StoreCall<'_>,
    upload: &OpenUpload,
    part: &Selected,
) -> Result<Vec<TailPiece>, CompletionError> {
    let stored = message_length(part.frame.length());
    let total = usize::try_from(stored).expect("little more than 5 MiB");
    // The stored part, its plaintext, and the new message.
    let bytes = 3 * total + PIECE_BYTES;
    let _share = call.share(bytes).await.map_err(Failure::from)?;
    let plaintext = open_staged(call, upload, part).await?;
    let (_, sealed) = seal_held(&upload.dek, &plaintext);
    let etag = upload_tail(call, upload, TAIL_NUMBER, RequestBody::Held(sealed)).await?;
    Ok(vec![(TAIL_NUMBER, etag)])
}

/// Stored bytes of a staged part, exactly as many as requested.
async fn read_staged(
    call: &StoreCall<'_>,
    upload: &OpenUpload,
    part: &Selected,
    wanted: Range<u64>,
) -> Result<backend::Body, CompletionError> {
    let place = &upload.place;
    let key = place.hash.part_key(&place.prefix, part.frame.number());
    let mut request = state::request(call, place, Method::GET, &key);
    request.headers = upload.customer_key();
    let pin = part.etag.header_value();
    let pin = pin.ok_or(Failure::Unusable("an ETag that is no header value"))?;
    request.headers.insert(header::IF_MATCH, pin);
    if wanted != (0..message_length(part.frame.length())) {
        let range = format!("bytes={}-{}", wanted.start, wanted.end - 1);
        let range = HeaderValue::try_from(range).expect("digits are a header value");
        request.headers.insert(header::RANGE, range);
    }
    let backed = call.send(request).await?;
    // 412 means that the part was replaced: the pin is the ETag that was listed.
    let moved_on = matches!(
        backed.status,
        StatusCode::NOT_FOUND | StatusCode::PRECONDITION_FAILED
    );
    match expect_success(backed).await {
        Ok(backed) => {
            // Any other length would shift the rest of the tail, and the object would not open.
            if stored::content_length(&backed.headers) == Some(wanted.end - wanted.start) {
                Ok(backed.body)
            } else {
                Err(CompletionError::Changed(Failure::Unusable(
                    "a staged part whose length differs from the listed one",
                )))
            }
        }
        Err(failure) if moved_on => Err(CompletionError::Changed(failure)),
        Err(failure) => Err(CompletionError::Failed(failure)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(length: u64, most: Option<u64>, last: u16) -> Option<Vec<(u16, Range<u64>)>> {
        let cut = pieces(length, most, last)?;
        Some(
            cut.into_iter()
                .map(|(number, range)| (number.get(), range))
                .collect(),
        )
    }

    #[test]
    fn a_tail_is_one_piece_under_the_last_number_unless_it_must_be_cut() {
        assert_eq!(cut(700, None, 9999), Some(vec![(10_000, 0..700)]));
        assert_eq!(cut(700, Some(700), 9999), Some(vec![(10_000, 0..700)]));
    }

    #[test]
    fn a_tail_that_must_be_cut_ends_under_the_last_number() {
        assert_eq!(
            cut(25, Some(10), 9997),
            Some(vec![(9998, 0..10), (9999, 10..20), (10_000, 20..25)])
        );
        assert_eq!(cut(25, Some(10), 9998), None);
    }
}
