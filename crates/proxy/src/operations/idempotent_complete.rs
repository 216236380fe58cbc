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

use http::{HeaderMap, HeaderName, Method, header};
use s3proxy_envelope::header::{Envelope, Layout};
use s3proxy_envelope::multipart::{Frame, Mark, PartEtag, PartNumber, Seal};
use s3proxy_envelope::object::ObjectOpener;
use s3proxy_protocol::checksum::{ChecksumAlgorithm, ChecksumType, ChecksumValue};
use s3proxy_protocol::etag::ETag;
use s3proxy_protocol::header_rules;
use s3proxy_protocol::operation::Operation;
use s3proxy_protocol::xml::complete::{CompleteRequest, CompletedPart};

use crate::body::buffers::PIECE_BYTES;
use crate::failure::{Failure, Outcome};
use crate::objects::call::read_bounded;
use crate::objects::layout_cache::KnownLayout;
use crate::objects::read::{self, Found, Source};
use crate::objects::replaced::retry_replaced;
use crate::objects::stored::Form;
use crate::operations::Job;
use crate::operations::complete_multipart_upload::{finished, stated_size};
use crate::operations::long_running::Finished;
use crate::upload_state::CompletionError;
use crate::upload_state::object_checksum::{self, Whole};
use crate::upload_state::part::Shelf;
use crate::upload_state::selection::Selected;
use crate::upload_state::state::{self, OpenUpload};
use crate::upload_state::tail::open_staged;

/// Headers that the responses to a Complete and to a HEAD of the object have in common.
const PASSED: &[&str] = &[
    "x-amz-version-id",
    "x-amz-expiration",
    "x-amz-request-charged",
];

/// The object that exists now.
struct CurrentObject<'a> {
    source: Source<'a>,
    found: Found,
    envelope: Box<Envelope>,
}

/// Object that an upload made.
enum Made<'a> {
    /// An object from 5 MiB up, with the layout that has its seal.
    Large(CurrentObject<'a>, Arc<KnownLayout>),
    /// An object below 5 MiB, with the state of its upload that is known here.
    Small(CurrentObject<'a>, Arc<OpenUpload>),
}

/// Whether the upload made the object, of any parts.
pub(crate) async fn is_its_object(job: &Job<'_>, upload_id: &str) -> Outcome<bool> {
    let made = retry_replaced(|| made(job, upload_id)).await?;
    Ok(made.is_some())
}

/// The earlier success, if this upload made the object of the parts that the request names.
pub(crate) async fn answer(
    job: &Job<'_>,
    upload_id: &str,
    request: &CompleteRequest,
) -> Outcome<Option<Finished>> {
    retry_replaced(|| attempt(job, upload_id, request)).await
}

async fn attempt(
    job: &Job<'_>,
    upload_id: &str,
    request: &CompleteRequest,
) -> Outcome<Option<Finished>> {
    let Some(made) = made(job, upload_id).await? else {
        return Ok(None);
    };
    let stated = object_checksum::stated(&job.request.headers)?;
    let (object, whole, parts, is_same) = match made {
        Made::Large(object, layout) => {
            let seal = layout.seal().expect("a large object has a seal");
            let is_same = names_parts(request, seal) && has_checksum(seal, stated.as_ref());
            (object, whole(seal), seal.frames().len(), is_same)
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
    let length = object.found.length.0;
    let is_sized = stated_size(&job.request.headers)?.is_none_or(|stated| stated == length);
    if !is_same || !is_sized {
        return Ok(None);
    }
    let etag = ETag::parse(object.found.etag()?);
    let headers = passed(&object.found);
    Ok(Some(finished(job, headers, &etag, whole.as_ref(), parts)))
}

async fn made<'a>(job: &Job<'a>, upload_id: &str) -> Outcome<Option<Made<'a>>> {
    let Some(object) = current_object(job).await? else {
        return Ok(None);
    };
    let CurrentObject {
        source,
        found,
        envelope,
    } = &object;
    if !found.has_seal(envelope) {
        let known = state::remembered(&job.uploads(), job.object(), upload_id).await;
        // An equal envelope means the same data key, which no other upload has.
        let known = known.filter(|upload| upload.envelope == **envelope);
        return Ok(known.map(|upload| Made::Small(object, upload)));
    }
    let dek = read::unwrap(&job.call, source, envelope).await?;
    let layout = read::layout(&job.call, source, found, envelope, &dek).await?;
    let hash = job.object().upload_hash(upload_id);
    let made_by = layout.seal().and_then(|seal| seal.fields().upload_hash);
    Ok((made_by == Some(hash)).then(|| Made::Large(object, layout)))
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
    object: &CurrentObject<'_>,
    part: &CompletedPart,
) -> Outcome<bool> {
    let CurrentObject { source, found, .. } = object;
    let number = PartNumber::new(part.number);
    let frame = number.and_then(|number| Frame::new(number, found.length));
    let (Some(frame), Some(etag)) = (frame, PartEtag::parse(&part.etag)) else {
        return Ok(false);
    };
    let total = usize::try_from(found.stored.0).expect("little more than 5 MiB");
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
    let request = read::pinned_request(&job.call, source, found, None);
    let backed = read::send_pinned(&job.call, found, request).await?;
    let message = read_bounded(backed.body, total).await?;
    let mut machine = ObjectOpener::whole_headless(&upload.dek, found.stored)
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
async fn current_object<'a>(job: &Job<'a>) -> Outcome<Option<CurrentObject<'a>>> {
    let source = Source {
        object: job.object(),
        headers: reading(job),
    };
    let request = source.request(&job.call, Method::HEAD);
    let backed = job.call.send(request).await?;
    if !backed.status.is_success() {
        return Ok(None);
    }
    let found = match Found::from_headers(&job.call, &source, backed.headers) {
        Ok(found) => found,
        // Not an object that the proxy has made.
        Err(Failure::Stored(_)) => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let envelope = match &found.form {
        Form::Sealed(envelope) if envelope.layout == Layout::Multipart => envelope.clone(),
        Form::Sealed(_) | Form::Legacy(_) | Form::Plain => return Ok(None),
    };
    let is_pinnable = found.headers.contains_key(header::ETAG);
    Ok(is_pinnable.then_some(CurrentObject {
        source,
        found,
        envelope,
    }))
}

/// The client's headers for a read: an SSE-C key among them, but no conditions.
fn reading(job: &Job<'_>) -> HeaderMap {
    header_rules::backend_request_headers(Operation::UploadPart, &job.request.headers)
}

fn passed(found: &Found) -> HeaderMap {
    let names = PASSED.iter().map(|name| HeaderName::from_static(name));
    names
        .filter_map(|name| Some((name.clone(), found.headers.get(&name)?.clone())))
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
