//! GetObject and HeadObject: what was sealed, opened; the rest as it is.
//!
//! The first request to the backend guesses that the object is sealed in layout 1, and asks for
//! the stored bytes that would hold the range. Where the answer's metadata says otherwise, a second
//! request follows, pinned to the same object by its version or ETag.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use s3proxy_envelope::dek::Dek;
use s3proxy_envelope::header::{Envelope, Layout, PrivateMap};
use s3proxy_envelope::layout::{
    self, PlaintextLength, PlaintextRange, StoredLength, plaintext_length,
};
use s3proxy_envelope::object::ObjectOpener;
use s3proxy_protocol::checksum::{ChecksumAlgorithm, ChecksumValue};
use s3proxy_protocol::conditional;
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::etag;
use s3proxy_protocol::http_date;
use s3proxy_protocol::range::{ByteRange, ContentRange, RangeRequest};

use super::answer::{self, Backed};
use super::delivery::{Delivery, header_value, respond};
use super::new_object::insert_checksum;
use super::stored::{self, Form};
use super::{Job, Outcome};
use crate::backend::Request;
use crate::body::buffers::STREAM_BYTES;
use crate::body::opening::OpeningBody;
use crate::body::outbound::{Content, ResponseBody};
use crate::config::resolved::Permission;
use crate::respond::Failure;

/// Serves GetObject.
pub(crate) async fn get_object(job: &Job<'_>) -> Outcome<Response<ResponseBody>> {
    let requested = requested_range(job)?;
    let mut request = read_request(job, Method::GET)?;
    if let Some(range) = requested {
        request
            .headers
            .insert(header::RANGE, header_value(&stored_range(range)));
    }
    let backed = answer::receive(job, job.parts.backend.send(request).await?);
    match backed.status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {}
        StatusCode::RANGE_NOT_SATISFIABLE => return unsatisfiable(job, backed).await,
        StatusCode::NOT_MODIFIED => return Ok(not_modified(job, &backed)),
        _ => return Err(answer::refused(job, backed).await),
    }
    if requested.is_some() && !range_applies(job, &backed.headers) {
        // If-Range named another state of the object: all of it is wanted after all.
        return get_whole(job, &backed.headers).await;
    }
    match stored::form(&backed.headers, &job.parts.dek_tag)? {
        Form::Sealed(envelope) => open(job, backed, &envelope, requested).await,
        Form::Legacy => legacy(job),
        Form::Plain => plain(job, backed, requested).await,
    }
}

/// Serves HeadObject: one request to the backend, and no key unless a checksum is asked for.
pub(crate) async fn head_object(job: &Job<'_>) -> Outcome<Response<ResponseBody>> {
    let requested = requested_range(job)?;
    let request = read_request(job, Method::HEAD)?;
    let backed = answer::receive(job, job.parts.backend.send(request).await?);
    match backed.status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {}
        StatusCode::NOT_MODIFIED => return Ok(not_modified(job, &backed)),
        _ => return Err(answer::refused(job, backed).await),
    }
    let requested = requested.filter(|_| range_applies(job, &backed.headers));
    let form = stored::form(&backed.headers, &job.parts.dek_tag)?;
    let mut headers = answer::client_headers(&backed.headers);
    let length = match &form {
        Form::Sealed(envelope) => {
            let stored = stored::stored_length(&backed.headers)?;
            let length = sealed_length(stored)?;
            describe_sealed(job, &mut headers);
            if wants_checksum(job) && requested.is_none() {
                let dek = unwrap(job, envelope)?;
                add_checksum(job, &mut headers, envelope, &dek)?;
            }
            length.0
        }
        Form::Legacy => return legacy(job),
        Form::Plain => {
            stored::permit_plain(job.parts.policy.plaintext_reads)?;
            if job.request.query.contains("partNumber") {
                let body = ResponseBody::empty();
                return Ok(respond_as_it_is(backed.status, &backed.headers, body));
            }
            stored::stored_length(&backed.headers)?.0
        }
    };
    let delivery = Delivery::of(job, requested, length)?;
    Ok(respond(headers, &delivery, length, ResponseBody::empty()))
}

/// Range of the request; malformed and multiple ranges mean the whole object, as S3 has it.
fn requested_range(job: &Job<'_>) -> Outcome<Option<ByteRange>> {
    let text = job.request.headers.get(header::RANGE);
    let range = match RangeRequest::parse(text.and_then(|value| value.to_str().ok())) {
        RangeRequest::Single(range) => Some(range),
        RangeRequest::None | RangeRequest::Many | RangeRequest::Invalid => None,
    };
    if job.request.query.contains("partNumber") && range.is_some() {
        return Err(Failure::Refused(S3Error::new(
            ErrorCode::InvalidRequest,
            "Cannot specify both Range header and partNumber query parameter",
        )));
    }
    Ok(range)
}

/// The stored bytes to ask for, were the object sealed in layout 1.
fn stored_range(range: ByteRange) -> String {
    match range {
        ByteRange::First { first, last } => {
            let start = layout::stored_first_guess(first);
            match last {
                Some(last) => format!("bytes={start}-{}", layout::stored_last_guess(last)),
                None => format!("bytes={start}-"),
            }
        }
        ByteRange::Suffix { length } => format!("bytes=-{}", layout::stored_suffix_guess(length)),
    }
}

fn read_request(job: &Job<'_>, method: Method) -> Outcome<Request> {
    let mut request = answer::request_for(job, method);
    request.query = answer::query_for_backend(job);
    request.headers = answer::headers_for_backend(job)?;
    // Both are about plaintext, and dealt with here.
    request.headers.remove(header::RANGE);
    request.headers.remove(header::IF_RANGE);
    Ok(request)
}

/// Whether the range holds for this state of the object. If-Range is judged here: not every
/// backend knows it (RFC 9110, section 13.1.5).
fn range_applies(job: &Job<'_>, seen: &HeaderMap) -> bool {
    let text = |name| {
        seen.get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let Some(condition) = job.request.headers.get(header::IF_RANGE) else {
        return true;
    };
    let etag = text(header::ETAG).map(etag::to_client).unwrap_or_default();
    let modified = text(header::LAST_MODIFIED).and_then(http_date::parse);
    let condition = condition.to_str().unwrap_or_default();
    conditional::if_range_holds(condition, &etag, modified)
}

async fn get_whole(job: &Job<'_>, seen: &HeaderMap) -> Outcome<Response<ResponseBody>> {
    let request = pinned(job, seen)?;
    let backed = answer::expect_success(job, job.parts.backend.send(request).await?).await?;
    match stored::form(&backed.headers, &job.parts.dek_tag)? {
        Form::Sealed(envelope) => open(job, backed, &envelope, None).await,
        Form::Legacy => legacy(job),
        Form::Plain => plain(job, backed, None).await,
    }
}

/// A second request for exactly the object that an earlier answer described.
fn pinned(job: &Job<'_>, seen: &HeaderMap) -> Outcome<Request> {
    let mut request = read_request(job, Method::GET)?;
    let headers = &mut request.headers;
    for name in [
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
    ] {
        headers.remove(name);
    }
    let version = seen
        .get("x-amz-version-id")
        .and_then(|version| version.to_str().ok());
    match version {
        Some(version) => {
            let query = &mut request.query;
            query.retain(|(name, _)| name != "versionId");
            query.push(("versionId".to_owned(), Some(version.to_owned())));
        }
        None => {
            if let Some(etag) = seen.get(header::ETAG) {
                headers.insert(header::IF_MATCH, etag.clone());
            }
        }
    }
    Ok(request)
}

async fn open(
    job: &Job<'_>,
    backed: Backed,
    envelope: &Envelope,
    requested: Option<ByteRange>,
) -> Outcome<Response<ResponseBody>> {
    let head = match (envelope.layout, &envelope.head) {
        (Layout::Single, Some(head)) => head,
        (Layout::Single, None) => return Err(Failure::Stored("no head in layout 1".to_owned())),
        (Layout::Multipart, _) => return Err(stored::multipart_not_readable()),
    };
    let stored = stored::stored_length(&backed.headers)?;
    let length = sealed_length(stored)?;
    let delivery = Delivery::of(job, requested, length.0)?;
    let dek = unwrap(job, envelope)?;
    let (opener, skip) = match delivery.range {
        None => (ObjectOpener::whole(&dek, head, stored), Some(0)),
        Some(range) => (
            ObjectOpener::range(&dek, head, stored, range),
            bytes_before(&backed, range, length),
        ),
    };
    let opener = opener.map_err(|error| Failure::Stored(error.to_string()))?;
    let skip = skip.ok_or(Failure::Unusable("another range than was asked for"))?;

    let mut headers = answer::client_headers(&backed.headers);
    describe_sealed(job, &mut headers);
    if wants_checksum(job) && delivery.range.is_none() {
        add_checksum(job, &mut headers, envelope, &dek)?;
    }
    let share = job.parts.budget.share(STREAM_BYTES).await?;
    let pool = Arc::clone(&job.parts.pool);
    let mut body = OpeningBody::new(
        backed.body,
        opener,
        delivery.bytes(length.0),
        skip,
        pool,
        share,
    );
    body.prefetch().await?;
    let body = ResponseBody::from(Content::Opening(Box::new(body)));
    Ok(respond(headers, &delivery, length.0, body))
}

/// Stored bytes that the answer holds before the range's first chunk, or `None` where the answer
/// does not cover the range.
fn bytes_before(backed: &Backed, range: PlaintextRange, length: PlaintextLength) -> Option<u64> {
    let span = layout::ChunkSpan::of(range, length);
    let (first, last) = match stored::content_range(&backed.headers) {
        Some(ContentRange::Satisfied { range, .. }) => (range.first, range.last),
        Some(ContentRange::Unsatisfied { .. }) => return None,
        // A 200 to a range: everything came.
        None => (0, stored::content_length(&backed.headers)?.checked_sub(1)?),
    };
    let covers = first <= span.stored_first() && span.stored_last() <= last;
    covers.then(|| span.stored_first() - first)
}

async fn plain(
    job: &Job<'_>,
    backed: Backed,
    requested: Option<ByteRange>,
) -> Outcome<Response<ResponseBody>> {
    stored::permit_plain(job.parts.policy.plaintext_reads)?;
    match requested {
        None => {
            let body = ResponseBody::from(Content::Passing(Box::new(backed.body)));
            Ok(respond_as_it_is(backed.status, &backed.headers, body))
        }
        Some(_) => plain_range(job, &backed.headers).await,
    }
}

/// The guess was wrong: asks again, for the bytes that the client meant.
async fn plain_range(job: &Job<'_>, seen: &HeaderMap) -> Outcome<Response<ResponseBody>> {
    let mut request = pinned(job, seen)?;
    if let Some(range) = job.request.headers.get(header::RANGE) {
        request.headers.insert(header::RANGE, range.clone());
    }
    let backed = answer::expect_success(job, job.parts.backend.send(request).await?).await?;
    let body = ResponseBody::from(Content::Passing(Box::new(backed.body)));
    Ok(respond_as_it_is(backed.status, &backed.headers, body))
}

/// An answer about an object that is not sealed.
fn respond_as_it_is(
    status: StatusCode,
    seen: &HeaderMap,
    body: ResponseBody,
) -> Response<ResponseBody> {
    let mut headers = answer::client_headers(seen);
    for name in [header::CONTENT_LENGTH, header::CONTENT_RANGE] {
        if let Some(value) = seen.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn legacy<T>(job: &Job<'_>) -> Outcome<T> {
    match job.parts.policy.legacy_reads {
        Permission::Allow => Err(stored::legacy_not_readable()),
        Permission::Deny => Err(Failure::Refused(S3Error::new(
            ErrorCode::AccessDenied,
            "The object is in an older proxy's format, and legacy_reads = deny refuses to serve it.",
        ))),
    }
}

/// The backend found the guessed range beyond the stored bytes. For a sealed object the answer
/// needs the plaintext's length; a plain one may hold the range after all.
async fn unsatisfiable(job: &Job<'_>, backed: Backed) -> Outcome<Response<ResponseBody>> {
    let mut request = pinned(job, &backed.headers)?;
    request.method = Method::HEAD;
    let response = job.parts.backend.send(request).await?;
    if !response.status().is_success() {
        return Err(answer::refused(job, backed).await);
    }
    let described = answer::receive(job, response);
    match stored::form(&described.headers, &job.parts.dek_tag)? {
        Form::Sealed(_) => {
            let stored = stored::stored_length(&described.headers)?;
            Err(Failure::Range(sealed_length(stored)?.0))
        }
        Form::Legacy => legacy(job),
        Form::Plain => {
            stored::permit_plain(job.parts.policy.plaintext_reads)?;
            plain_range(job, &described.headers).await
        }
    }
}

fn not_modified(job: &Job<'_>, backed: &Backed) -> Response<ResponseBody> {
    let mut headers = answer::client_headers(&backed.headers);
    if let Some(etag) = known_etag(&job.request.headers, &headers) {
        headers.insert(header::ETAG, etag);
    }
    headers.remove(job.parts.dek_tag.header());
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.headers_mut() = headers;
    response
}

/// The client's own text for the ETag of a 304, which says nothing of the envelope: it is the one
/// in `If-None-Match` that the backend found to match.
fn known_etag(asked: &HeaderMap, answered: &HeaderMap) -> Option<HeaderValue> {
    let current = answered.get(header::ETAG)?.to_str().ok()?;
    let list = asked.get(header::IF_NONE_MATCH)?.to_str().ok()?;
    let mut known = list
        .split(',')
        .map(|tag| tag.trim().trim_start_matches("W/"));
    let text = known.find(|tag| etag::to_backend(tag) == current)?;
    HeaderValue::try_from(text).ok()
}

fn sealed_length(stored: StoredLength) -> Outcome<PlaintextLength> {
    plaintext_length(stored)
        .ok_or_else(|| Failure::Stored(format!("no sealed object has {} bytes", stored.0)))
}

fn unwrap(job: &Job<'_>, envelope: &Envelope) -> Outcome<Dek> {
    let bucket = job.request.bucket().unwrap_or_default();
    let object_key = job.request.object_key().unwrap_or_default();
    let binding = stored::binding(envelope, bucket, object_key);
    Ok(job.parts.keys.unwrap(envelope, &binding)?)
}

fn describe_sealed(job: &Job<'_>, headers: &mut HeaderMap) {
    stored::map_etag(headers);
    headers.remove(job.parts.dek_tag.header());
    headers.remove("x-amz-mp-parts-count");
}

fn wants_checksum(job: &Job<'_>) -> bool {
    job.request
        .headers
        .get("x-amz-checksum-mode")
        .is_some_and(|mode| mode.as_bytes().eq_ignore_ascii_case(b"ENABLED"))
}

fn add_checksum(
    job: &Job<'_>,
    headers: &mut HeaderMap,
    envelope: &Envelope,
    dek: &Dek,
) -> Outcome<()> {
    let Some(sealed) = &envelope.private else {
        return Ok(());
    };
    let bucket = job.request.bucket().unwrap_or_default();
    let object_key = job.request.object_key().unwrap_or_default();
    let binding = stored::binding(envelope, bucket, object_key);
    let private = PrivateMap::open(dek, &binding, sealed)
        .map_err(|error| Failure::Stored(error.to_string()))?;
    for (name, raw) in private.checksums {
        let algorithm = ChecksumAlgorithm::from_name(&name);
        if let Some(algorithm) = algorithm
            && let Some(value) = ChecksumValue::from_bytes(algorithm, &raw)
        {
            insert_checksum(headers, algorithm, &value);
        }
    }
    Ok(())
}
