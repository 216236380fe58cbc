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
use s3proxy_envelope::multipart::{
    Frame, Mark, PartNumber, Seal, SealFields, SealedPart, UploadHash,
};
use s3proxy_envelope::object::ObjectSealer;
use s3proxy_protocol::checksum::{ChecksumAlgorithm, ChecksumType, ChecksumValue, combine_crc};
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::etag;
use s3proxy_protocol::header_rules;
use s3proxy_protocol::operation::Operation;
use s3proxy_protocol::xml::complete::{CompleteResult, complete_request};
use s3proxy_protocol::xml::initiate;

use super::carried::Directive;
use super::tags::Tags;
use super::{Copied, FULL_OBJECT, sealed, times};
use crate::backend::{BodyStream, Request, RequestBody};
use crate::body::replaying::Replay;
use crate::config::resolved::PartSizes;
use crate::execute::answer;
use crate::execute::embedded;
use crate::execute::new_object::{self, Checksum, NewObject, Place, insert_envelope};
use crate::execute::put_object::expect_result;
use crate::execute::sealed_stream::send_sealed;
use crate::execute::source::{self, Found, Source};
use crate::execute::{Job, Outcome};
use crate::respond::Failure;

/// Plaintext bytes of a part, unless the copy would then need too many parts.
const PART_BYTES: u64 = 64 * 1024 * 1024;

/// Most parts of an upload, not counting the tail (S3 User Guide, "Multipart upload limits").
const MOST_PARTS: u64 = 9_999;

/// Longest response document that the proxy reads, in bytes.
const MAX_RESULT_BYTES: usize = 64 * 1024;

/// An upload in progress at the backend.
pub(super) struct Upload {
    id: String,
    /// Headers of each request of the upload: the target's SSE-C key and the requester-pays header.
    headers: HeaderMap,
}

/// A stored part.
struct Stored {
    frame: Frame,
    mark: Mark,
    etag: String,
    checksum: Option<Checksum>,
}

/// Copies the content of `found` into a sealed object, under the headers of a PutObject.
pub(super) async fn copy(
    job: &Job<'_>,
    source: &Source<'_>,
    found: &Found,
    mut outgoing: HeaderMap,
    wanted: Option<ChecksumAlgorithm>,
) -> Outcome<Copied> {
    if job.parts.policy.part_sizes == PartSizes::Equal {
        return Err(Failure::Refused(S3Error::new(
            ErrorCode::NotImplemented,
            "With policy.part_sizes = equal a plain object of more than 5 GiB cannot be copied at \
             once; copy it in parts.",
        )));
    }
    check_length(found.length)?;
    let measured = wanted.filter(|algorithm| ChecksumType::FullObject.is_valid_for(*algorithm));
    let conditions = take_conditions(&mut outgoing);
    let private = new_object::private_map(job.parts, &mut outgoing, None);
    let object = NewObject::new(job, Layout::Multipart, Place::of(job), &private).await?;
    // Metadata is fixed when the upload is created, before the parts are known: the seal, with
    // their lengths, follows in the tail.
    insert_envelope(job.parts, &mut outgoing, &object.envelope(None))?;
    let tags = Tags::of(Directive::Replace, &outgoing, &found.headers);
    let upload = create(job, outgoing).await?;
    // One future for all steps: a failure in any of them aborts the upload.
    let made = async {
        let parts = store_parts(job, source, found, &upload, &object.dek, measured).await?;
        complete(job, &upload, &object.dek, &parts, conditions).await
    };
    let (headers, etag, checksum) = match made.await {
        Ok(made) => made,
        Err(failure) => {
            abort(job, &upload).await;
            return Err(failure);
        }
    };
    tags.settle(job, source, found, &headers).await?;
    Ok(Copied {
        headers: sealed::client_headers(&headers, found),
        etag: etag::to_client(&etag).into_owned(),
        last_modified: times::answered(&headers),
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
    Failure::Unusable("an object longer than an upload in parts can make")
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

pub(super) async fn create(job: &Job<'_>, headers: HeaderMap) -> Outcome<Upload> {
    let mut request = answer::request_for(job, Method::POST);
    request.query = vec![("uploads".to_owned(), None)];
    request.headers = headers;
    let backed = answer::expect_success(job, job.parts.backend.send(request).await?).await?;
    let result = answer::read_bounded(backed.body, MAX_RESULT_BYTES).await?;
    let id = initiate::upload_id(&result)
        .map_err(|_| Failure::Unusable("an InitiateMultipartUploadResult that is not S3's"))?;
    let client = &job.request.headers;
    let headers = header_rules::backend_request_headers(Operation::UploadPart, client);
    Ok(Upload { id, headers })
}

fn upload_request(job: &Job<'_>, method: Method, upload: &Upload) -> Request {
    let mut request = answer::request_for(job, method);
    request.query = vec![("uploadId".to_owned(), Some(upload.id.clone()))];
    request.headers = upload.headers.clone();
    request
}

pub(super) fn part_request(
    job: &Job<'_>,
    upload: &Upload,
    number: PartNumber,
    body: RequestBody,
) -> Request {
    let mut request = upload_request(job, Method::PUT, upload);
    let text = Some(number.get().to_string());
    request.query.insert(0, ("partNumber".to_owned(), text));
    request.body = body;
    request
}

/// Stores the parts one after the other, which limits memory to that of any other body.
async fn store_parts(
    job: &Job<'_>,
    source: &Source<'_>,
    found: &Found,
    upload: &Upload,
    dek: &Dek,
    measured: Option<ChecksumAlgorithm>,
) -> Outcome<Vec<Stored>> {
    let mut parts = Vec::new();
    for (number, range) in cut(found.length) {
        let length = PlaintextLength(range.last - range.first + 1);
        let frame = Frame::new(number, length).ok_or_else(too_long)?;
        // Every read is pinned: parts of two states of the source cannot mix.
        let content = source::open(job, source, found, Some(range)).await?;
        let content = Replay::new(content, length.0);
        let sealer = ObjectSealer::part(dek, frame, job.parts.pool.take());
        let mark = Mark::of(sealer.head());
        let put = |body| part_request(job, upload, number, body);
        let (backed, checksum) = send_sealed(job, content, sealer, measured, put).await?;
        parts.push(Stored {
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
    job: &Job<'_>,
    upload: &Upload,
    dek: &Dek,
    parts: &[Stored],
    conditions: HeaderMap,
) -> Outcome<(HeaderMap, String, Option<Checksum>)> {
    let checksum = combined(parts);
    let seal = seal(job, upload, parts, checksum.as_ref())?;
    // Backends put parts together in the order of their numbers, so the tail gets the highest.
    let number = PartNumber::MAX;
    let tail = RequestBody::Held(Bytes::from(seal.tail(dek)));
    let request = part_request(job, upload, number, tail);
    let backed = expect_result(job, job.parts.backend.send(request).await?).await?;
    let tail = etag_of(&backed.headers)?;

    let named = parts
        .iter()
        .map(|part| (part.frame.number().get(), part.etag.as_str()));
    let document = complete_request(named.chain([(number.get(), tail.as_str())]));
    let (headers, etag) = finish(job, upload, document, conditions).await?;
    Ok((headers, etag, checksum))
}

/// Completes the upload at the backend, and returns the response headers and the ETag.
pub(super) async fn finish(
    job: &Job<'_>,
    upload: &Upload,
    document: String,
    conditions: HeaderMap,
) -> Outcome<(HeaderMap, String)> {
    let mut request = upload_request(job, Method::POST, upload);
    request.headers.extend(conditions);
    request.body = RequestBody::Held(Bytes::from(document));
    request.response_timeout = Some(sealed::COPY_TIMEOUT);
    // CompleteMultipartUpload may report an error in the body of a 200 (S3 API Reference).
    let backed = answer::expect_success(job, job.parts.backend.send(request).await?).await?;
    let headers = backed.headers.clone();
    let document = embedded::document(backed).await?;
    let result = CompleteResult::parse(&document)
        .map_err(|_| Failure::Unusable("a CompleteMultipartUploadResult that is not S3's"))?;
    let etag = match result.etag {
        Some(etag) => etag,
        None => etag_of_object(job, upload).await?,
    };
    Ok((headers, etag))
}

/// Stores the content of `found` unencrypted, in parts, under the headers of a PutObject.
pub(super) async fn store_plaintext(
    job: &Job<'_>,
    source: &Source<'_>,
    found: &Found,
    mut outgoing: HeaderMap,
) -> Outcome<(HeaderMap, String)> {
    check_length(found.length)?;
    let conditions = take_conditions(&mut outgoing);
    let tags = Tags::of(Directive::Replace, &outgoing, &found.headers);
    let upload = create(job, outgoing).await?;
    let made = async {
        let mut named = Vec::new();
        for (number, range) in cut(found.length) {
            let content = source::open(job, source, found, Some(range)).await?;
            let length = range.last - range.first + 1;
            let body = BodyStream::new(content.map_err(Into::into));
            let request = part_request(job, &upload, number, RequestBody::Stream { length, body });
            let backed = expect_result(job, job.parts.backend.send(request).await?).await?;
            named.push((number.get(), etag_of(&backed.headers)?));
        }
        let named = named.iter().map(|(number, etag)| (*number, etag.as_str()));
        finish(job, &upload, complete_request(named), conditions).await
    };
    let (headers, etag) = match made.await {
        Ok(made) => made,
        Err(failure) => {
            abort(job, &upload).await;
            return Err(failure);
        }
    };
    tags.settle(job, source, found, &headers).await?;
    Ok((headers, etag))
}

/// ETag from a HEAD: some servers return none on completion.
async fn etag_of_object(job: &Job<'_>, upload: &Upload) -> Outcome<String> {
    let mut request = answer::request_for(job, Method::HEAD);
    request.headers = upload.headers.clone();
    let backed = answer::expect_success(job, job.parts.backend.send(request).await?).await?;
    etag_of(&backed.headers)
}

fn combined(parts: &[Stored]) -> Option<Checksum> {
    let algorithm = parts.first()?.checksum.as_ref()?.0;
    let known: Option<Vec<(&ChecksumValue, u64)>> = parts
        .iter()
        .map(|part| Some((&part.checksum.as_ref()?.1, part.frame.length().0)))
        .collect();
    Some((algorithm, combine_crc(algorithm, known?.into_iter())?))
}

fn seal(
    job: &Job<'_>,
    upload: &Upload,
    parts: &[Stored],
    checksum: Option<&Checksum>,
) -> Outcome<Seal> {
    let Place { bucket, object_key } = Place::of(job);
    let named =
        |(algorithm, value): &Checksum| (algorithm.as_str().to_owned(), value.as_bytes().to_vec());
    let fields = SealFields {
        checksums: checksum.map(named).into_iter().collect(),
        upload_hash: Some(UploadHash::of(bucket, object_key, &upload.id)),
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
pub(super) async fn abort(job: &Job<'_>, upload: &Upload) {
    let request = upload_request(job, Method::DELETE, upload);
    if let Err(error) = job.parts.backend.send(request).await {
        tracing::warn!(%error, "an upload of a copy that failed stays behind");
    }
}

fn etag_of(headers: &HeaderMap) -> Outcome<String> {
    let text = headers
        .get(header::ETAG)
        .and_then(|value| value.to_str().ok());
    let etag = text.map(|text| text.trim().trim_matches('"').to_owned());
    etag.ok_or(Failure::Unusable("a success without an ETag"))
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
