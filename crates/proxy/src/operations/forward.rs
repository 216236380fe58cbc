//! Forwards operations that carry no object data, without a byte of the client's body.
//!
//! A request document is held within bounds, verified against the client's signature, rewritten,
//! and sent with the proxy's own Content-MD5 and signature. The body of a response is relayed only
//! if it is the operation's document: a backend that does not support the sub-resource would return
//! the object, or a listing.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::operation::{AnswerDocument, Kind, Operation, RequestDocument};

use crate::backend::RequestBody;
use crate::body::outbound::ResponseBody;
use crate::failure::Outcome;
use crate::objects::call::{BackendResponse, client_headers};
use crate::operations::held_body::{HeldMemory, HeldShare};
use crate::operations::request_body::BodySlot;
use crate::operations::sub_resource_support::{self, ForwardPermission};
use crate::operations::{Job, payload, restore_object};

/// Longest body of a forwarded request, in bytes; S3's largest (DeleteObjects, lifecycle rules)
/// stay below.
pub(crate) const MAX_DOCUMENT_BYTES: u64 = 2 * 1024 * 1024;

/// Memory for a document as received and as rewritten.
const MEMORY: HeldMemory = HeldMemory {
    per_byte: 2,
    besides: 0,
};

/// Forwards the request, and relays the response.
pub(crate) async fn forward(job: &Job<'_>, body: &mut BodySlot) -> Outcome<Response<ResponseBody>> {
    if sub_resource_support::permission(job).await? == ForwardPermission::AlreadyAbsent {
        let mut response = Response::new(ResponseBody::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(response);
    }
    let mut request = job.request_for(job.request.method.clone());
    request.query = job.query_for_backend();
    request.headers = job.headers_for_backend()?;
    // Declared before the branch: the memory is accounted for until the backend has responded.
    let _share;
    if let Some((document, share)) = document(job, body).await? {
        request.body = RequestBody::Held(document);
        _share = share;
    }
    let backed = job.call.expect_success(request).await?;
    match job.request.operation.answer_document() {
        AnswerDocument::Nothing => {
            let mut response = without_body(&backed);
            if job.request.operation == Operation::CreateBucket {
                let location = location(job).map(|location| (header::LOCATION, location));
                response.headers_mut().extend(location);
            }
            Ok(response)
        }
        expected @ (AnswerDocument::Xml(_) | AnswerDocument::Policy) => {
            relayed(job, backed, expected).await
        }
    }
}

/// The rewritten document, if the operation has one. The client's own bytes go no further.
async fn document(
    job: &Job<'_>,
    body: &mut BodySlot,
) -> Outcome<Option<(Bytes, Option<HeldShare>)>> {
    let headers = &job.request.headers;
    let expected = job.request.operation.request_document();
    if expected == RequestDocument::Nothing {
        return Ok(None);
    }
    let mut received = Vec::new();
    let mut share = None;
    if payload::has_body(headers) {
        let limit = expected.maximum_bytes() as u64;
        let held = payload::read_held(job, body.take(), limit, MEMORY).await?;
        received = held.bytes;
        share = Some(held.share);
    }
    if job.request.operation.kind() == Kind::RestoreObject {
        restore_object::refuse_select(&received)?;
    }
    let written = expected.written_anew(&received, headers)?;
    Ok((!written.is_empty()).then(|| (Bytes::from(written), share)))
}

/// Response without the backend's body, if there is one.
fn without_body(backed: &BackendResponse) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = backed.status;
    *response.headers_mut() = client_headers(&backed.headers);
    // Some servers give the object's, in stored terms; S3 gives none with these operations.
    response.headers_mut().remove(header::ETAG);
    response
}

/// Path of a new bucket. The backend's `Location` would name the backend's own host.
fn location(job: &Job<'_>) -> Option<HeaderValue> {
    let bucket = job.request.bucket()?;
    HeaderValue::try_from(format!("/{bucket}")).ok()
}

/// Response whose body is the operation's document.
async fn relayed(
    job: &Job<'_>,
    backed: BackendResponse,
    expected: AnswerDocument,
) -> Outcome<Response<ResponseBody>> {
    let mut response = without_body(&backed);
    let Some(text) = sub_resource_support::read_answer(job, backed, expected).await? else {
        return Err(unknown(job).into());
    };
    // A document of the right kind proves that the backend supports the sub-resource.
    job.services.sub_resources.learn(job.request.operation);
    let headers = response.headers_mut();
    if !headers.contains_key(header::CONTENT_TYPE) {
        let xml = HeaderValue::from_static("application/xml");
        headers.insert(header::CONTENT_TYPE, xml);
    }
    *response.body_mut() = ResponseBody::held(text);
    Ok(response)
}

fn unknown(job: &Job<'_>) -> S3Error {
    S3Error::new(
        ErrorCode::NotImplemented,
        format!(
            "The storage behind this proxy does not know {}: it answered with something else.",
            job.request.operation.as_str()
        ),
    )
}
