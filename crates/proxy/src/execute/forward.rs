//! Operations that carry no object data, passed on without a byte of the client's body.
//!
//! A document is held, bounded, verified against what the client signed, written anew, and sent
//! with the proxy's own Content-MD5 and signature. An answer's body is relayed only where it is the
//! document of that operation: a backend that does not know the sub-resource would answer with the
//! object, or with a listing.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::operation::{AnswerDocument, Kind, Operation, RequestDocument};
use s3proxy_protocol::xml::restore::{RestoreRequest, restore_request};

use super::answer::{self, Backed};
use super::held::{HeldMemory, HeldShare};
use super::sub_resource::{self, Permission};
use super::{BodySlot, Job, Outcome, payload};
use crate::backend::RequestBody;
use crate::body::outbound::ResponseBody;

/// Longest body of a forwarded request, in bytes; S3's largest (DeleteObjects, lifecycle rules)
/// stay below.
pub(crate) const MAX_DOCUMENT_BYTES: u64 = 2 * 1024 * 1024;

/// A document as it came and as it is written.
const MEMORY: HeldMemory = HeldMemory {
    per_byte: 2,
    besides: 0,
};

/// Passes the request on, and the answer back.
pub(crate) async fn forward(job: &Job<'_>, body: &mut BodySlot) -> Outcome<Response<ResponseBody>> {
    if sub_resource::permission(job).await? == Permission::AlreadyAbsent {
        let mut response = Response::new(ResponseBody::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(response);
    }
    let mut request = answer::request_for(job, job.request.method.clone());
    request.query = answer::query_for_backend(job);
    request.headers = answer::headers_for_backend(job)?;
    let _share;
    if let Some((document, share)) = document(job, body).await? {
        request.body = RequestBody::Held(document);
        _share = share;
    }
    let backed = answer::expect_success(job, job.parts.backend.send(request).await?).await?;
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

/// The document that goes on, if the operation has one; the client's body ends here.
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
        refuse_select(&received)?;
    }
    let written = expected.written_anew(&received, headers)?;
    Ok((!written.is_empty()).then(|| (Bytes::from(written), share)))
}

/// An answer whose body, if it has one, is nobody's business.
fn without_body(backed: &Backed) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = backed.status;
    *response.headers_mut() = answer::client_headers(&backed.headers);
    // Some servers give the object's, in stored terms; S3 gives none with these operations.
    response.headers_mut().remove(header::ETAG);
    response
}

/// Where the new bucket is, which the backend would say of itself.
fn location(job: &Job<'_>) -> Option<HeaderValue> {
    let bucket = job.request.bucket()?;
    HeaderValue::try_from(format!("/{bucket}")).ok()
}

/// An answer whose body is the operation's document.
async fn relayed(
    job: &Job<'_>,
    backed: Backed,
    expected: AnswerDocument,
) -> Outcome<Response<ResponseBody>> {
    let mut response = without_body(&backed);
    let Some(text) = sub_resource::read_answer(job, backed, expected).await? else {
        return Err(unknown(job).into());
    };
    job.parts.sub_resources.learn(job.request.operation);
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

fn refuse_select(document: &[u8]) -> Result<(), S3Error> {
    match restore_request(document) {
        Ok(RestoreRequest::Archive) => Ok(()),
        Ok(RestoreRequest::Select) => Err(S3Error::new(
            ErrorCode::NotImplemented,
            "A restore with SELECT cannot work on sealed data; restore the object itself.",
        )),
        Err(error) => Err(S3Error::new(ErrorCode::MalformedXML, error.to_string())),
    }
}
