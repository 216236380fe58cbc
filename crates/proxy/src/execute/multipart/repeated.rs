//! A Complete for an upload that is gone: perhaps it succeeded before, and only its answer was lost.
//!
//! From 5 MiB up the object's seal carries the hash of the upload that made it. If it is this
//! upload's, the answer is the success that it was. Below 5 MiB there is no seal, and the envelope was
//! written before the upload had an id; so there only a replica that still remembers the upload, or
//! finds its state, can tell, by its envelope: data keys are never used twice. Elsewhere the answer is
//! `NoSuchUpload`, as S3 gives some time after a completion.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use s3proxy_envelope::header::{Envelope, Layout};
use s3proxy_envelope::layout::StoredLength;
use s3proxy_envelope::multipart::{Seal, UploadHash, tail_first};
use s3proxy_protocol::checksum::{ChecksumAlgorithm, ChecksumType, ChecksumValue};
use s3proxy_protocol::header_rules;
use s3proxy_protocol::operation::Operation;

use super::complete::finished;
use super::state;
use super::verdict::Whole;
use crate::execute::answer;
use crate::execute::new_object::Place;
use crate::execute::patience::Finished;
use crate::execute::stored::{self, Form};
use crate::execute::{Job, Outcome};
use crate::respond::Failure;

/// Longest tail: 1.6 MB.
const MAX_TAIL_BYTES: usize = 2 * 1024 * 1024;

/// What the answer to a Complete has in common with that to a HEAD of the object.
const PASSED: &[&str] = &[
    "x-amz-version-id",
    "x-amz-expiration",
    "x-amz-request-charged",
];

/// The object as it stands there now.
struct Object {
    headers: HeaderMap,
    envelope: Envelope,
    stored: StoredLength,
    /// The backend's, with its quotes.
    etag: HeaderValue,
}

/// The answer that was given before, if the object is this upload's.
pub(super) async fn answer(job: &Job<'_>, upload_id: &str) -> Outcome<Option<Finished>> {
    let Some(object) = look(job).await? else {
        return Ok(None);
    };
    let etag = object
        .etag
        .to_str()
        .unwrap_or_default()
        .trim()
        .trim_matches('"');
    match tail_first(object.stored) {
        None => {
            let known = state::remembered(job, upload_id).await;
            let same = known.is_some_and(|upload| upload.envelope == object.envelope);
            Ok(same.then(|| finished(job, passed(&object), etag, None, 1)))
        }
        Some(first) => {
            let Place { bucket, object_key } = Place::of(job);
            let seal = read_seal(job, &object, first).await?;
            if seal.fields().upload_hash != Some(UploadHash::of(bucket, object_key, upload_id)) {
                return Ok(None);
            }
            let whole = whole(&seal);
            let parts = seal.frames().len();
            Ok(Some(finished(
                job,
                passed(&object),
                etag,
                whole.as_ref(),
                parts,
            )))
        }
    }
}

/// The object, if an upload made it.
async fn look(job: &Job<'_>) -> Outcome<Option<Object>> {
    let mut request = answer::request_for(job, Method::HEAD);
    request.headers = reading(job);
    let response = job.parts.backend.send(request).await?;
    if !response.status().is_success() {
        return Ok(None);
    }
    let headers = answer::receive(job, response).headers;
    let etag = headers.get(header::ETAG).cloned();
    let form = stored::form(&headers, &job.parts.dek_tag);
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
    let Place { bucket, object_key } = Place::of(job);
    let place = job.parts.rules.place(bucket, object_key);
    let dek = job.parts.keys.unwrap(place, &object.envelope).await?;
    let mut request = answer::request_for(job, Method::GET);
    request.headers = reading(job);
    let range = HeaderValue::try_from(format!("bytes={first}-")).expect("digits are a value");
    request.headers.insert(header::RANGE, range);
    request
        .headers
        .insert(header::IF_MATCH, object.etag.clone());
    let backed = answer::expect_success(job, job.parts.backend.send(request).await?).await?;
    let tail: Bytes = answer::read_bounded(backed.body, MAX_TAIL_BYTES).await?;
    Seal::open(&dek, object.stored, &tail).map_err(|error| Failure::Stored(error.into()))
}

/// The client's headers for a read: a customer's key among them, no conditions.
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
