//! A Complete for an upload that is gone: it may have succeeded before, with only the response
//! lost.
//!
//! From 5 MiB up the object's seal contains the hash of the upload that made it, and the numbers,
//! marks and checksums of its parts. If they match this upload and the request, the response is the
//! earlier success. Below 5 MiB there is no seal, and the envelope was written before the upload
//! had an id. Then only a replica that completed the upload, or that still finds its state, can
//! recognize the object by its envelope: data keys are never reused. The part is compared with the
//! one that this replica completed, or by its content if it is still staged. Otherwise the response
//! is `NoSuchUpload`, as S3 returns some time after a completion.
//!
//! A size and a checksum in the request must match the object. `If-Match` and `If-None-Match` are
//! not evaluated again: they held when the object was made, and now it exists.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use s3proxy_envelope::header::{Envelope, Layout};
use s3proxy_envelope::layout::{StoredLength, plaintext_length};
use s3proxy_envelope::multipart::{Frame, Mark, PartEtag, PartNumber, Seal, tail_first};
use s3proxy_envelope::object::ObjectOpener;
use s3proxy_protocol::checksum::{ChecksumAlgorithm, ChecksumType, ChecksumValue};
use s3proxy_protocol::etag::ETag;
use s3proxy_protocol::header_rules;
use s3proxy_protocol::headers;
use s3proxy_protocol::operation::Operation;
use s3proxy_protocol::xml::complete::{CompleteRequest, CompletedPart};

use crate::body::buffers::PIECE_BYTES;
use crate::failure::{Failure, Outcome};
use crate::objects::call::read_bounded;
use crate::objects::stored::{self, Form};
use crate::operations::Job;
use crate::operations::complete_multipart_upload::{finished, stated_size};
use crate::operations::long_running::Finished;
use crate::upload_state::CompletionError;
use crate::upload_state::object_checksum::{self, Whole};
use crate::upload_state::part::Shelf;
use crate::upload_state::selection::Selected;
use crate::upload_state::state::{self, OpenUpload};
use crate::upload_state::tail::open_staged;

/// Longest tail that is read, in bytes. A tail has at most 1.6 MB.
const MAX_TAIL_BYTES: usize = 2 * 1024 * 1024;

/// Headers that the responses to a Complete and to a HEAD of the object have in common.
const PASSED: &[&str] = &[
    "x-amz-version-id",
    "x-amz-expiration",
    "x-amz-request-charged",
];

/// The object that exists now.
struct Object {
    headers: HeaderMap,
    envelope: Envelope,
    stored: StoredLength,
    /// ETag as the backend returned it, with quotes.
    etag: HeaderValue,
}

/// Object that an upload made.
enum Made {
    /// An object from 5 MiB up, with its seal.
    Large(Object, Seal),
    /// An object below 5 MiB, with the state of its upload that is known here.
    Small(Object, Arc<OpenUpload>),
}

/// Whether the upload made the object, of any parts.
pub(crate) async fn is_its_object(job: &Job<'_>, upload_id: &str) -> Outcome<bool> {
    Ok(made(job, upload_id).await?.is_some())
}

/// The earlier success, if this upload made the object of the parts that the request names.
pub(crate) async fn answer(
    job: &Job<'_>,
    upload_id: &str,
    request: &CompleteRequest,
) -> Outcome<Option<Finished>> {
    let Some(made) = made(job, upload_id).await? else {
        return Ok(None);
    };
    let stated = object_checksum::stated(&job.request.headers)?;
    let (object, whole, parts, is_same) = match made {
        Made::Large(object, seal) => {
            let is_same = names_parts(request, &seal) && has_checksum(&seal, stated.as_ref());
            (object, whole(&seal), seal.frames().len(), is_same)
        }
        Made::Small(object, upload) => {
            let is_same = match (upload.completed(), request.parts.as_slice()) {
                (Some(completed), _) => named(request).is_some_and(|parts| parts == completed),
                (None, [part]) => is_content(job, &upload, &object, part).await?,
                (None, _) => false,
            };
            (object, None, 1, is_same)
        }
    };
    let length = plaintext_length(object.stored).map(|length| length.0);
    let is_sized = stated_size(&job.request.headers)?.is_none_or(|stated| Some(stated) == length);
    if !is_same || !is_sized {
        return Ok(None);
    }
    let etag = headers::value_text(&object.etag).unwrap_or_default();
    let etag = ETag::parse(etag);
    Ok(Some(finished(
        job,
        passed(&object),
        &etag,
        whole.as_ref(),
        parts,
    )))
}

async fn made(job: &Job<'_>, upload_id: &str) -> Outcome<Option<Made>> {
    let Some(object) = look(job).await? else {
        return Ok(None);
    };
    match tail_first(object.stored) {
        None => {
            let known = state::remembered(&job.uploads(), job.object(), upload_id).await;
            // An equal envelope means the same data key, which no other upload has.
            let known = known.filter(|upload| upload.envelope == object.envelope);
            Ok(known.map(|upload| Made::Small(object, upload)))
        }
        Some(first) => {
            let seal = read_seal(job, &object, first).await?;
            let hash = job.object().upload_hash(upload_id);
            let is_its = seal.fields().upload_hash == Some(hash);
            Ok(is_its.then(|| Made::Large(object, seal)))
        }
    }
}

/// Numbers and marks of the parts that the request names; `None` if one of them is invalid.
fn named(request: &CompleteRequest) -> Option<Vec<(PartNumber, Mark)>> {
    let part = |part: &CompletedPart| {
        let mark = PartEtag::parse(&part.etag)?.tag.mark();
        Some((PartNumber::new(part.number)?, mark))
    };
    request.parts.iter().map(part).collect()
}

/// Whether the object was made of the parts that the request names.
fn names_parts(request: &CompleteRequest, seal: &Seal) -> bool {
    // Marks, not ETags: the backend's ETags of the parts are gone with the upload.
    let sealed = seal.frames().map(Frame::number).zip(seal.marks());
    let algorithm = seal.fields().part_checksum;
    let contradicts = |(index, part): (usize, &CompletedPart)| {
        let sealed = seal.checksum(index);
        let named = part.checksum.as_ref();
        let of_seal = |name: &str| algorithm.is_some_and(|algorithm| algorithm.name() == name);
        let named = named.filter(|(algorithm, _)| of_seal(algorithm.as_str()));
        named.is_some_and(|(_, value)| sealed != Some(value.as_bytes()))
    };
    named(request).is_some_and(|parts| parts.into_iter().eq(sealed))
        && !request.parts.iter().enumerate().any(contradicts)
}

/// Whether the object has the full checksum that the request states, if it states one.
fn has_checksum(seal: &Seal, stated: Option<&(ChecksumAlgorithm, ChecksumValue)>) -> bool {
    let sealed = &seal.fields().checksums;
    stated.is_none_or(|(algorithm, value)| {
        let sealed = sealed.get(algorithm.as_str()).map(Vec::as_slice);
        sealed == Some(value.as_bytes())
    })
}

/// Whether the named part is still staged and is the object's content. A Complete that was cut off
/// after the backend's own completion leaves it.
async fn is_content(
    job: &Job<'_>,
    upload: &OpenUpload,
    object: &Object,
    part: &CompletedPart,
) -> Outcome<bool> {
    let length = plaintext_length(object.stored);
    let number = PartNumber::new(part.number);
    let frame = number
        .zip(length)
        .and_then(|(number, length)| Frame::new(number, length));
    let (Some(frame), Some(etag)) = (frame, PartEtag::parse(&part.etag)) else {
        return Ok(false);
    };
    let total = usize::try_from(object.stored.0).expect("little more than 5 MiB");
    // Two messages and two plaintexts, each about as long.
    let _share = job.call.share(4 * total).await?;
    let staged = Selected {
        frame,
        etag: ETag::parse(&etag.backend),
        shelf: Shelf::Staged,
        tag: etag.tag,
        checksum: None,
    };
    let staged = match open_staged(&job.call, upload, &staged).await {
        Ok(plaintext) => plaintext,
        Err(CompletionError::Changed(_) | CompletionError::Failed(Failure::Stored(_))) => {
            return Ok(false);
        }
        Err(CompletionError::Failed(failure)) => return Err(failure),
    };
    let mut request = job.request_for(Method::GET);
    request.headers = reading(job);
    request
        .headers
        .insert(header::IF_MATCH, object.etag.clone());
    let backed = job.call.expect_success(request).await?;
    let message = read_bounded(backed.body, total).await?;
    let mut machine = ObjectOpener::whole_headless(&upload.dek, object.stored)
        .map_err(|error| Failure::Stored(error.into()))?;
    let mut plaintext = Vec::with_capacity(total + PIECE_BYTES);
    let opened = machine
        .push(&message, &mut plaintext)
        .and_then(|_| machine.finish());
    opened.map_err(|error| Failure::Stored(error.into()))?;
    // The same part was sealed twice, with different heads: only plaintexts can be compared.
    Ok(plaintext == staged)
}

/// Current object, if a multipart upload made it.
async fn look(job: &Job<'_>) -> Outcome<Option<Object>> {
    let mut request = job.request_for(Method::HEAD);
    request.headers = reading(job);
    let response = job.call.store.backend.send(request).await?;
    if !response.status().is_success() {
        return Ok(None);
    }
    let headers = job.call.receive(response).headers;
    let etag = headers.get(header::ETAG).cloned();
    let form = stored::form(&headers, &job.call.store.dek_tag);
    let (Ok(Form::Sealed(envelope)), Some(etag)) = (form, etag) else {
        return Ok(None);
    };
    match envelope.layout {
        Layout::Single => Ok(None),
        Layout::Multipart => Ok(Some(Object {
            stored: stored::stored_length(&headers)?,
            envelope: *envelope,
            headers,
            etag,
        })),
    }
}

async fn read_seal(job: &Job<'_>, object: &Object, first: u64) -> Outcome<Seal> {
    let dek = job
        .call
        .store
        .keys
        .unwrap(job.call.place(job.object()), &object.envelope)
        .await?;
    let mut request = job.request_for(Method::GET);
    request.headers = reading(job);
    // Pinned below to the ETag of the HEAD: seal and envelope must belong to one object.
    let range = HeaderValue::try_from(format!("bytes={first}-")).expect("digits are a value");
    request.headers.insert(header::RANGE, range);
    request
        .headers
        .insert(header::IF_MATCH, object.etag.clone());
    let backed = job.call.expect_success(request).await?;
    let tail: Bytes = read_bounded(backed.body, MAX_TAIL_BYTES).await?;
    Seal::open(&dek, object.stored, &tail).map_err(|error| Failure::Stored(error.into()))
}

/// The client's headers for a read: an SSE-C key among them, but no conditions.
fn reading(job: &Job<'_>) -> HeaderMap {
    header_rules::backend_request_headers(Operation::UploadPart, &job.request.headers)
}

fn passed(object: &Object) -> HeaderMap {
    let names = PASSED.iter().map(|name| HeaderName::from_static(name));
    names
        .filter_map(|name| Some((name.clone(), object.headers.get(&name)?.clone())))
        .collect()
}

fn whole(seal: &Seal) -> Option<Whole> {
    let fields = seal.fields();
    let (name, raw) = fields.checksums.first_key_value()?;
    let algorithm = ChecksumAlgorithm::from_name(name)?;
    Some(Whole {
        algorithm,
        value: ChecksumValue::from_bytes(algorithm, raw)?,
        kind: ChecksumType::parse(fields.checksum_type.as_deref()?)?,
    })
}
