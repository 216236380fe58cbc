//! GetObject: opens sealed objects, and passes others through.
//!
//! The first request asks for the stored bytes that should hold the requested plaintext: according
//! to the cached layout, or else as if the object were sealed in layout 1. The response shows the
//! object's form. Its bytes are used as far as they cover the requested ones; the rest is requested
//! separately, pinned to the same object. If the object was replaced in between, the
//! read starts again.
//!
//! `Range`, `If-Range` and `partNumber` are not forwarded, except for objects that are not sealed:
//! the backend would apply them to stored bytes.

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use s3proxy_envelope::header::Envelope;
use s3proxy_envelope::layout;
use s3proxy_protocol::headers;
use s3proxy_protocol::range::ByteRange;
use s3proxy_protocol::{conditional, etag, http_date};

use crate::backend::Request;
use crate::body::outbound::{Content, ResponseBody};
use crate::failure::{Failure, Outcome};
use crate::keys::legacy::LegacyEnvelope;
use crate::objects::call::{client_headers, failure_of};
use crate::objects::delivery::{Delivery, PartStructure, RequestedPortion, header_value};
use crate::objects::plaintext_headers;
use crate::objects::read::{self, Arrived, Found, Legacy, Sealed, Source};
use crate::objects::replaced::retry_replaced;
use crate::objects::stored::{self, Form};
use crate::operations::Job;
use crate::operations::plaintext_response::{respond, wants_checksum};
use crate::s3_request::ObjectRead;
use crate::telemetry::metrics;

/// Handles GetObject.
pub(crate) async fn get_object(
    job: &Job<'_>,
    object: &ObjectRead,
) -> Outcome<Response<ResponseBody>> {
    let source = job.source(object.version.as_ref())?;
    retry_replaced(|| read(job, &source, object.portion)).await
}

/// The first request to the backend.
#[derive(PartialEq, Eq)]
enum FirstRequest {
    GetAll,
    /// GET with this value of `Range`.
    GetRange(String),
    Head,
}

async fn read(
    job: &Job<'_>,
    source: &Source<'_>,
    requested: RequestedPortion,
) -> Outcome<Response<ResponseBody>> {
    let first = first_request_kind(job, source, requested);
    let mut request = first_request(job, source, Method::GET);
    match &first {
        FirstRequest::GetAll => {}
        FirstRequest::GetRange(range) => {
            request.headers.insert(header::RANGE, header_value(range));
        }
        FirstRequest::Head => request.method = Method::HEAD,
    }
    let backed = job.call.send(request).await?;
    let (found, arrived) = match backed.status {
        // A 200 to a range request brings the whole object; `Arrived` knows its bytes.
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
            let found = Found::from_headers(&job.call, source, backed.headers)?;
            let arrived = match first {
                FirstRequest::GetAll | FirstRequest::GetRange(_) => {
                    Some(Arrived::from_response(&found.headers, backed.body)?)
                }
                FirstRequest::Head => None,
            };
            (found, arrived)
        }
        // The guess lies beyond the stored bytes. The response needs the plaintext's length, and a
        // plain object may contain the requested range: the guess was made for a sealed one.
        StatusCode::RANGE_NOT_SATISFIABLE => (read::describe(&job.call, source).await?, None),
        StatusCode::NOT_MODIFIED => return Ok(not_modified(job, source, &backed.headers).await),
        _ => return Err(failure_of(backed).await),
    };
    let requested = as_it_applies(job, requested, &found.headers);
    match &found.form {
        Form::Sealed(envelope) => sealed(job, source, &found, envelope, requested, arrived).await,
        Form::Legacy(envelope) => legacy(job, source, &found, envelope, requested, arrived).await,
        // Only a GET without range fits a plain object: a range was computed for a sealed one.
        Form::Plain => match (requested, first, arrived) {
            (RequestedPortion::Whole, FirstRequest::GetAll, Some(arrived)) => {
                stored::permit_plain(&job.call, source.object)?;
                check_length(&found.headers)?;
                metrics::plaintext_read();
                let body = ResponseBody::from(Content::Passing(Box::new(arrived.body)));
                Ok(respond_as_it_is(job, StatusCode::OK, &found.headers, body))
            }
            _ => plain(job, source, &found, requested).await,
        },
    }
}

fn first_request_kind(
    job: &Job<'_>,
    source: &Source<'_>,
    requested: RequestedPortion,
) -> FirstRequest {
    let key = source.layout_key();
    let known = job.call.store.layouts.recall(&key);
    let known = known.and_then(|known| known.stretch(requested));
    match (
        requested,
        known.or_else(|| job.call.store.verified.stretch(&key, requested)),
    ) {
        (RequestedPortion::Whole, _) => FirstRequest::GetAll,
        (RequestedPortion::Range(_) | RequestedPortion::Part(_), Some((first, last))) => {
            FirstRequest::GetRange(format!("bytes={first}-{last}"))
        }
        (RequestedPortion::Range(range), None) => FirstRequest::GetRange(guessed_range(range)),
        // The position of a part cannot be guessed, and a GET without range would transfer most of
        // a large object in vain.
        (RequestedPortion::Part(_), None) => FirstRequest::Head,
    }
}

/// Stored bytes that hold the range if the object is sealed in layout 1.
fn guessed_range(range: ByteRange) -> String {
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

/// The client's request, for the whole object.
pub(crate) fn first_request(job: &Job<'_>, source: &Source<'_>, method: Method) -> Request {
    let mut request = source.request(&job.call, method);
    request.query = job.query_for_backend();
    request.query.retain(|(name, _)| name != "partNumber");
    request
}

/// Drops a range whose `If-Range` does not hold for this state of the object. The proxy judges it
/// itself: not every backend supports it (RFC 9110, section 13.1.5).
pub(crate) fn as_it_applies(
    job: &Job<'_>,
    requested: RequestedPortion,
    seen: &HeaderMap,
) -> RequestedPortion {
    let text = |name| headers::text(seen, name);
    let condition = job.request.headers.get(header::IF_RANGE);
    let (RequestedPortion::Range(_), Some(condition)) = (requested, condition) else {
        return requested;
    };
    let etag = text(header::ETAG).map(etag::to_client).unwrap_or_default();
    let modified = text(header::LAST_MODIFIED).and_then(http_date::parse);
    let condition = headers::value_text(condition).unwrap_or_default();
    if conditional::if_range_holds(condition, &etag, modified) {
        requested
    } else {
        RequestedPortion::Whole
    }
}

async fn sealed(
    job: &Job<'_>,
    source: &Source<'_>,
    found: &Found,
    envelope: &Envelope,
    requested: RequestedPortion,
    arrived: Option<Arrived>,
) -> Outcome<Response<ResponseBody>> {
    let length = found.length.0;
    requested.check(length)?;
    let dek = read::unwrap(&job.call, source, envelope).await?;
    let private = plaintext_headers::private_map(source, envelope, &dek)?;
    let sealed = Sealed::new(&job.call, source, found, envelope, dek).await?;
    let delivery = Delivery::resolve(requested, length, sealed.parts())?;

    let mut headers = plaintext_headers::sealed_headers(&job.call, &found.headers);
    if let Some(private) = &private {
        plaintext_headers::replace_user_metadata(&job.call, &mut headers, private)?;
    }
    if wants_checksum(job) {
        plaintext_headers::add_checksums(&mut headers, requested, private.as_ref(), sealed.seal());
    }
    // An empty part of a non-empty object needs no bytes. An empty object is still read: its only
    // chunk authenticates that nothing was cut off.
    let body = if length > 0 && delivery.bytes(length) == 0 {
        ResponseBody::empty()
    } else {
        let body = sealed.read(delivery.range(length), arrived).await?;
        ResponseBody::from(Content::Opening(Box::new(body)))
    };
    Ok(respond(headers, delivery, length, body))
}

/// Serves an object in a legacy format, which has no parts, no checksums and no sealed metadata.
async fn legacy(
    job: &Job<'_>,
    source: &Source<'_>,
    found: &Found,
    envelope: &LegacyEnvelope,
    requested: RequestedPortion,
    arrived: Option<Arrived>,
) -> Outcome<Response<ResponseBody>> {
    let legacy = Legacy::new(&job.call, source, found, envelope).await?;
    let length = found.length.0;
    let delivery = Delivery::resolve(requested, length, PartStructure::None)?;
    let headers = plaintext_headers::sealed_headers(&job.call, &found.headers);
    let body = legacy.read(delivery.range(length), arrived).await?;
    let body = ResponseBody::from(Content::Legacy(Box::new(body)));
    Ok(respond(headers, delivery, length, body))
}

/// Serves a plain object for which the first request did not fit: requests the client's own range
/// or part.
async fn plain(
    job: &Job<'_>,
    source: &Source<'_>,
    found: &Found,
    requested: RequestedPortion,
) -> Outcome<Response<ResponseBody>> {
    stored::permit_plain(&job.call, source.object)?;
    let mut request = read::pinned_request(&job.call, source, found, None);
    request.query.extend(
        job.query_for_backend()
            .into_iter()
            .filter(|(name, _)| name != "versionId" && name != "partNumber"),
    );
    match requested {
        RequestedPortion::Whole => {}
        RequestedPortion::Range(_) => {
            if let Some(range) = job.request.headers.get(header::RANGE) {
                request.headers.insert(header::RANGE, range.clone());
            }
        }
        RequestedPortion::Part(number) => {
            let number = number.get().to_string();
            request.query.push(("partNumber".to_owned(), Some(number)));
        }
    }
    let backed = read::send_pinned(&job.call, found, request).await?;
    check_length(&backed.headers)?;
    metrics::plaintext_read();
    let body = ResponseBody::from(Content::Passing(Box::new(backed.body)));
    Ok(respond_as_it_is(job, backed.status, &backed.headers, body))
}

/// Refuses a body without a length: if it were cut off, its end would look regular.
fn check_length(headers: &HeaderMap) -> Outcome<()> {
    match stored::content_length(headers) {
        Some(_) => Ok(()),
        None => Err(Failure::Unusable("a body without a Content-Length")),
    }
}

/// Response for an object that is not sealed, with the backend's length and range.
pub(crate) fn respond_as_it_is(
    job: &Job<'_>,
    status: StatusCode,
    seen: &HeaderMap,
    body: ResponseBody,
) -> Response<ResponseBody> {
    let mut headers = client_headers(seen);
    stored::remove_envelope(&mut headers, &job.call.store.dek_tag);
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

/// A 304 opens no envelope, so that it can vouch for no user metadata and has none.
pub(crate) async fn not_modified(
    job: &Job<'_>,
    source: &Source<'_>,
    answered: &HeaderMap,
) -> Response<ResponseBody> {
    let mut headers = client_headers(answered);
    if let Some(current) = headers.remove(header::ETAG)
        && let Some(etag) = clients_etag(job, source, current).await
    {
        headers.insert(header::ETAG, etag);
    }
    stored::remove_envelope(&mut headers, &job.call.store.dek_tag);
    plaintext_headers::remove_user_metadata(&mut headers);
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.headers_mut() = headers;
    response
}

/// The client's text for the backend's ETag of a 304, which says nothing of the envelope. Where
/// the ETag differs between a sealed object and a plain one, it is the client's own in
/// `If-None-Match`; a condition that names none (a date, `*`) costs a HEAD. `None` where the object
/// has changed since.
async fn clients_etag(
    job: &Job<'_>,
    source: &Source<'_>,
    current: HeaderValue,
) -> Option<HeaderValue> {
    let text = headers::value_text(&current)?;
    if etag::to_client(text) == text {
        return Some(current);
    }
    if let Some(named) = named_etag(&job.request.headers, text) {
        return Some(named);
    }
    let found = read::describe(&job.call, &source.unconditional())
        .await
        .ok()?;
    if found.headers.get(header::ETAG) != Some(&current) {
        return None;
    }
    match found.form {
        Form::Plain => Some(current),
        Form::Sealed(_) | Form::Legacy(_) => HeaderValue::try_from(&*etag::to_client(text)).ok(),
    }
}

/// The one in `If-None-Match` that the backend found to match.
fn named_etag(requested: &HeaderMap, current: &str) -> Option<HeaderValue> {
    let list = headers::text(requested, header::IF_NONE_MATCH)?;
    let mut known = list
        .split(',')
        // If-None-Match compares weakly (RFC 9110, section 13.1.2).
        .map(|tag| tag.trim().trim_start_matches("W/"));
    let text = known.find(|tag| etag::to_backend(tag) == current)?;
    HeaderValue::try_from(text).ok()
}
