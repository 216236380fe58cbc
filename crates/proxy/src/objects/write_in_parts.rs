//! A copy of a plain object that is too large for one PutObject: read and sealed in parts, as in a
//! multipart upload (FORMAT, "Limits").
//!
//! The upload exists at the backend alone: no client knows its id, so it has no proxy state.
//! Nothing is visible before completion, which carries the client's conditions; any earlier failure
//! aborts the upload. If the proxy dies meanwhile, the backend keeps an upload that can be listed
//! and aborted, and that lifecycle rules remove.
//!
//! A requested CRC is combined from those of the parts; other checksums are left out.

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use http_body_util::BodyExt;
use s3proxy_envelope::dek::Dek;
use s3proxy_envelope::header::Layout;
use s3proxy_envelope::layout::{
    CHUNK_BYTES, MAX_PART, PADDED_FROM, PlaintextLength, PlaintextRange,
};
use s3proxy_envelope::multipart::{Frame, Mark, PartNumber, Seal, SealFields, SealedPart};
use s3proxy_envelope::object::ObjectSealer;
use s3proxy_protocol::checksum::{ChecksumAlgorithm, ChecksumType, ChecksumValue, combine_crc};
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::etag::ETag;
use s3proxy_protocol::xml::complete::{CompleteResult, complete_request};
use s3proxy_protocol::xml::initiate;

use crate::backend::{BodyStream, Request, RequestBody};
use crate::body::replaying::Replay;
use crate::config::resolved::PartSizes;
use crate::failure::{Failure, Outcome};
use crate::objects::call::read_bounded;
use crate::objects::copy::sealed::COPY_TIMEOUT;
use crate::objects::copy_directives::Directive;
use crate::objects::new_object::{self, Checksum, NewObject, insert_envelope};
use crate::objects::read::{self, Found, Source};
use crate::objects::sealed_stream::send_sealed;
use crate::objects::tags::Tags;
use crate::objects::write::{Copied, Destination, FULL_OBJECT, written_headers};
use crate::objects::{ObjectRef, StoreCall, document_times, embedded_error};

/// Plaintext bytes of a part, unless the copy would then need too many parts.
const PART_BYTES: u64 = 64 * 1024 * 1024;

/// Most parts of an upload, not counting the tail (S3 User Guide, "Multipart upload limits").
const MOST_PARTS: u64 = 9_999;

/// Longest response document that the proxy reads, in bytes.
const MAX_RESULT_BYTES: usize = 64 * 1024;

/// An upload in progress at the backend.
pub(crate) struct BackendUpload<'a> {
    object: ObjectRef<'a>,
    id: String,
    /// Headers of each request of the upload: the target's SSE-C key and the requester-pays header.
    headers: HeaderMap,
}

/// A stored part.
struct StoredPiece {
    frame: Frame,
    mark: Mark,
    etag: ETag,
    checksum: Option<Checksum>,
}

/// Copies the content of `found` into a sealed object, under the headers of a PutObject.
pub(crate) async fn copy(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    found: &Found,
    destination: Destination<'_>,
    wanted: Option<ChecksumAlgorithm>,
) -> Outcome<Copied> {
    if call.store.policy.part_sizes == PartSizes::Equal {
        return Err(Failure::Refused(S3Error::new(
            ErrorCode::NotImplemented,
            "With policy.part_sizes = equal a plain object of more than 5 GiB cannot be copied at \
             once; copy it in parts.",
        )));
    }
    check_length(found.length)?;
    let Destination {
        object: target,
        headers: mut outgoing,
        part_headers,
    } = destination;
    let measured = wanted.filter(|algorithm| ChecksumType::FullObject.is_valid_for(*algorithm));
    let conditions = take_conditions(&mut outgoing);
    let private = new_object::private_map(call.store, &mut outgoing, None);
    let object = NewObject::new(call, Layout::Multipart, target, &private).await?;
    // Metadata is fixed when the upload is created, before the parts are known: the seal, with
    // their lengths, follows in the tail.
    insert_envelope(call.store, &mut outgoing, &object.envelope(None))?;
    let tags = Tags::select(Directive::Replace, &outgoing, &found.headers);
    let upload = create(call, target, outgoing, part_headers).await?;
    // One future for all steps: a failure in any of them aborts the upload.
    let made = async {
        let parts = store_parts(call, source, found, &upload, &object.dek, measured).await?;
        complete(call, &upload, &object.dek, &parts, conditions).await
    };
    let (headers, etag, checksum) = match made.await {
        Ok(made) => made,
        Err(failure) => {
            abort(call, &upload).await;
            return Err(failure);
        }
    };
    tags.settle(call, target, source, found, &headers).await?;
    Ok(Copied {
        headers: written_headers(&headers, found),
        etag: etag.to_client(),
        last_modified: document_times::answered(&headers),
        checksum: checksum.map(|(algorithm, value)| (algorithm, value.to_base64(), FULL_OBJECT)),
    })
}

/// Refuses a length that no object can have: it is the backend's claim, and the upload would fail.
fn check_length(length: PlaintextLength) -> Outcome<()> {
    if length.0 <= MOST_PARTS * MAX_PART.0 {
        Ok(())
    } else {
        Err(too_long())
    }
}

fn too_long() -> Failure {
    Failure::Unusable("an object above the size limit of multipart uploads")
}

/// Moves conditional headers out of `outgoing`: they belong to the completion.
fn take_conditions(outgoing: &mut HeaderMap) -> HeaderMap {
    let mut conditions = HeaderMap::new();
    for name in [header::IF_MATCH, header::IF_NONE_MATCH] {
        if let Some(value) = outgoing.remove(&name) {
            conditions.insert(name, value);
        }
    }
    conditions
}

/// Begins an upload to `object`. `part_headers` go with each of its further requests.
pub(crate) async fn create<'a>(
    call: &StoreCall<'_>,
    object: ObjectRef<'a>,
    headers: HeaderMap,
    part_headers: HeaderMap,
) -> Outcome<BackendUpload<'a>> {
    let mut request = call.request(Method::POST, object);
    request.query = vec![("uploads".to_owned(), None)];
    request.headers = headers;
    let backed = call.expect_success(request).await?;
    let result = read_bounded(backed.body, MAX_RESULT_BYTES).await?;
    let id = initiate::upload_id(&result)
        .map_err(|_| Failure::Unusable("a malformed InitiateMultipartUploadResult"))?;
    Ok(BackendUpload {
        object,
        id,
        headers: part_headers,
    })
}

fn upload_request(call: &StoreCall<'_>, method: Method, upload: &BackendUpload<'_>) -> Request {
    let mut request = call.request(method, upload.object);
    request.query = vec![("uploadId".to_owned(), Some(upload.id.clone()))];
    request.headers = upload.headers.clone();
    request
}

pub(crate) fn part_request(
    call: &StoreCall<'_>,
    upload: &BackendUpload<'_>,
    number: PartNumber,
    body: RequestBody,
) -> Request {
    let mut request = upload_request(call, Method::PUT, upload);
    let text = Some(number.get().to_string());
    request.query.insert(0, ("partNumber".to_owned(), text));
    request.body = body;
    request
}

/// Stores the parts one after the other, which limits memory to that of any other body.
async fn store_parts(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    found: &Found,
    upload: &BackendUpload<'_>,
    dek: &Dek,
    measured: Option<ChecksumAlgorithm>,
) -> Outcome<Vec<StoredPiece>> {
    let mut parts = Vec::new();
    for (number, range) in cut(found.length) {
        let length = PlaintextLength(range.last - range.first + 1);
        let frame = Frame::new(number, length).ok_or_else(too_long)?;
        // Every read is pinned: parts of two states of the source cannot mix.
        let content = read::open(call, source, found, Some(range)).await?;
        let content = Replay::new(content, length.0);
        let sealer = ObjectSealer::part(dek, frame, call.store.pool.take());
        let mark = Mark::of(sealer.head());
        let put = |body| part_request(call, upload, number, body);
        let (backed, checksum) = send_sealed(call, content, sealer, measured, put).await?;
        parts.push(StoredPiece {
            frame,
            mark,
            etag: etag_of(&backed.headers)?,
            checksum,
        });
    }
    Ok(parts)
}

/// Boundaries of the parts. Each has whole chunks (except at the end) and at least 5 MiB.
fn cut(length: PlaintextLength) -> Vec<(PartNumber, PlaintextRange)> {
    let chunk = CHUNK_BYTES as u64;
    let size = PART_BYTES.max(length.0.div_ceil(MOST_PARTS).next_multiple_of(chunk));
    let mut count = length.0.div_ceil(size);
    if !length.0.is_multiple_of(size) && length.0 % size < PADDED_FROM.0 {
        // Too short to precede the tail, which is the last part: the part before includes it.
        count -= 1;
    }
    (0..count)
        .filter_map(|index| {
            let end = if index + 1 == count {
                length.0
            } else {
                (index + 1) * size
            };
            let number = PartNumber::new(u16::try_from(index + 1).ok()?)?;
            Some((number, PlaintextRange::new(index * size, end - 1)?))
        })
        .collect()
}

/// Stores the tail after the parts, and completes the upload.
async fn complete(
    call: &StoreCall<'_>,
    upload: &BackendUpload<'_>,
    dek: &Dek,
    parts: &[StoredPiece],
    conditions: HeaderMap,
) -> Outcome<(HeaderMap, ETag, Option<Checksum>)> {
    let checksum = combined(parts);
    let seal = seal(upload, parts, checksum.as_ref())?;
    // Backends put parts together in the order of their numbers, so the tail gets the highest.
    let number = PartNumber::MAX;
    let tail = RequestBody::Held(Bytes::from(seal.tail(dek)));
    let request = part_request(call, upload, number, tail);
    let backed = call.expect_etag(request).await?;
    let tail = etag_of(&backed.headers)?;

    let named = parts
        .iter()
        .map(|part| (part.frame.number().get(), part.etag.as_str()));
    let document = complete_request(named.chain([(number.get(), tail.as_str())]));
    let (headers, etag) = finish(call, upload, document, conditions).await?;
    Ok((headers, etag, checksum))
}

/// Completes the upload at the backend, and returns the response headers and the ETag.
pub(crate) async fn finish(
    call: &StoreCall<'_>,
    upload: &BackendUpload<'_>,
    document: String,
    conditions: HeaderMap,
) -> Outcome<(HeaderMap, ETag)> {
    let mut request = upload_request(call, Method::POST, upload);
    request.headers.extend(conditions);
    request.body = RequestBody::Held(Bytes::from(document));
    request.response_timeout = Some(COPY_TIMEOUT);
    // CompleteMultipartUpload may report an error in the body of a 200 (S3 API Reference).
    let backed = call.expect_success(request).await?;
    let headers = backed.headers.clone();
    let document = embedded_error::document(backed).await?;
    let result = CompleteResult::parse(&document)
        .map_err(|_| Failure::Unusable("a malformed CompleteMultipartUploadResult"))?;
    let etag = match result.etag {
        Some(etag) => etag,
        None => etag_of_object(call, upload).await?,
    };
    Ok((headers, etag))
}

/// Stores the content of `found` unencrypted, in parts, under the headers of a PutObject.
pub(crate) async fn store_plaintext(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    found: &Found,
    destination: Destination<'_>,
) -> Outcome<(HeaderMap, ETag)> {
    check_length(found.length)?;
    let Destination {
        object: target,
        headers: mut outgoing,
        part_headers,
    } = destination;
    let conditions = take_conditions(&mut outgoing);
    let tags = Tags::select(Directive::Replace, &outgoing, &found.headers);
    let upload = create(call, target, outgoing, part_headers).await?;
    let made = async {
        let mut named = Vec::new();
        for (number, range) in cut(found.length) {
            let content = read::open(call, source, found, Some(range)).await?;
            let length = range.last - range.first + 1;
            let body = BodyStream::new(content.map_err(Into::into));
            let request = part_request(call, &upload, number, RequestBody::Stream { length, body });
            let backed = call.expect_etag(request).await?;
            named.push((number.get(), etag_of(&backed.headers)?));
        }
        let named = named.iter().map(|(number, etag)| (*number, etag.as_str()));
        finish(call, &upload, complete_request(named), conditions).await
    };
    let (headers, etag) = match made.await {
        Ok(made) => made,
        Err(failure) => {
            abort(call, &upload).await;
            return Err(failure);
        }
    };
    tags.settle(call, target, source, found, &headers).await?;
    Ok((headers, etag))
}

/// ETag from a HEAD: some servers return none on completion.
async fn etag_of_object(call: &StoreCall<'_>, upload: &BackendUpload<'_>) -> Outcome<ETag> {
    let mut request = call.request(Method::HEAD, upload.object);
    request.headers = upload.headers.clone();
    let backed = call.expect_success(request).await?;
    etag_of(&backed.headers)
}

fn combined(parts: &[StoredPiece]) -> Option<Checksum> {
    let algorithm = parts.first()?.checksum.as_ref()?.0;
    let known: Option<Vec<(&ChecksumValue, u64)>> = parts
        .iter()
        .map(|part| Some((&part.checksum.as_ref()?.1, part.frame.length().0)))
        .collect();
    Some((algorithm, combine_crc(algorithm, known?.into_iter())?))
}

fn seal(
    upload: &BackendUpload<'_>,
    parts: &[StoredPiece],
    checksum: Option<&Checksum>,
) -> Outcome<Seal> {
    let named =
        |(algorithm, value): &Checksum| (algorithm.as_str().to_owned(), value.as_bytes().to_vec());
    let fields = SealFields {
        checksums: checksum.map(named).into_iter().collect(),
        upload_hash: Some(upload.object.upload_hash(&upload.id)),
        checksum_type: checksum.map(|_| FULL_OBJECT.to_owned()),
        part_checksum: None,
    };
    let sealed: Vec<SealedPart> = parts
        .iter()
        .map(|part| SealedPart {
            frame: part.frame,
            mark: part.mark,
            checksum: Vec::new(),
        })
        .collect();
    Seal::new(fields, &sealed).map_err(|error| Failure::Stored(error.into()))
}

/// Aborts the backend's upload. A failure is only logged: the copy has failed already.
pub(crate) async fn abort(call: &StoreCall<'_>, upload: &BackendUpload<'_>) {
    let request = upload_request(call, Method::DELETE, upload);
    if let Err(error) = call.store.backend.send(request).await {
        tracing::warn!(%error, "failed to abort the multipart upload of a failed copy; it remains at the backend");
    }
}

fn etag_of(headers: &HeaderMap) -> Outcome<ETag> {
    ETag::from_headers(headers).ok_or(Failure::Unusable("a success without an ETag"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const TIB: u64 = 1 << 40;

    #[test]
    fn parts_cover_all_of_it_and_each_may_stand_before_the_tail() {
        for length in [
            PART_BYTES,
            PART_BYTES + 1,
            5120 * MIB,
            5120 * MIB + 5 * MIB - 1,
            5120 * MIB + 5 * MIB,
            MOST_PARTS * PART_BYTES,
            MOST_PARTS * PART_BYTES + 1,
            5 * TIB,
            48 * TIB,
            MOST_PARTS * MAX_PART.0,
        ] {
            check_length(PlaintextLength(length)).unwrap();
            let parts = cut(PlaintextLength(length));
            assert!(parts.len() as u64 <= MOST_PARTS, "{length}");
            let mut next = 0;
            for (index, (number, range)) in parts.iter().enumerate() {
                assert_eq!(usize::from(number.get()), index + 1);
                assert_eq!(range.first, next);
                assert!(range.last + 1 - range.first >= PADDED_FROM.0, "{length}");
                next = range.last + 1;
            }
            assert_eq!(next, length);
        }
    }

    #[test]
    fn a_length_that_no_upload_can_have_is_refused() {
        for length in [
            MOST_PARTS * MAX_PART.0 + 1,
            (1 << 48) - 1,
            u64::MAX >> 1,
            u64::MAX,
        ] {
            assert!(check_length(PlaintextLength(length)).is_err(), "{length}");
        }
    }
}
