//! Operations that carry no object data, passed on as they are.
//!
//! Bodies are XML (or a JSON policy): held, bounded, verified against what the client signed, and
//! sent with the proxy's own Content-MD5 and signature.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::operation::{Kind, Operation};
use s3proxy_protocol::xml::restore::{RestoreRequest, restore_request};

use super::held::HeldMemory;
use super::{BodySlot, Job, Outcome, answer, payload, stored};
use crate::backend::{self, RequestBody};
use crate::body::outbound::{Content, ResponseBody};
use crate::respond::Failure;

/// Longest body of a forwarded request, in bytes; S3's largest (DeleteObjects, lifecycle rules)
/// stay below.
pub(crate) const MAX_DOCUMENT_BYTES: u64 = 2 * 1024 * 1024;

/// Passes the request on, and the answer back.
pub(crate) async fn forward(job: &Job<'_>, body: &mut BodySlot) -> Outcome<Response<ResponseBody>> {
    let headers = &job.request.headers;
    let mut request = answer::request_for(job, job.request.method.clone());
    request.query = answer::query_for_backend(job);
    request.headers = answer::headers_for_backend(job)?;
    let mut _share = None;
    if payload::has_body(headers) {
        let memory = HeldMemory::ONCE;
        let held = payload::read_held(job, body.take(), MAX_DOCUMENT_BYTES, memory).await?;
        let document = held.bytes;
        _share = Some(held.share);
        if job.request.operation.kind() == Kind::RestoreObject {
            refuse_select(&document)?;
        }
        request.body = RequestBody::Held(Bytes::from(document));
    }
    let backed = answer::expect_success(job, job.parts.backend.send(request).await?).await?;
    let mut headers = answer::client_headers(&backed.headers);
    if let Some(length) = backed.headers.get(header::CONTENT_LENGTH) {
        headers.insert(header::CONTENT_LENGTH, length.clone());
    }
    if job.request.operation == Operation::CreateBucket {
        headers.extend(location(job).map(|location| (header::LOCATION, location)));
    }
    let content = document(job, &backed.headers, backed.body).await?;
    let mut response = Response::new(ResponseBody::from(content));
    *response.status_mut() = backed.status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// The answer's document, which passes through where its length is known.
async fn document(job: &Job<'_>, headers: &HeaderMap, body: backend::Body) -> Outcome<Content> {
    match stored::content_length(headers) {
        Some(length) if length <= MAX_DOCUMENT_BYTES => Ok(Content::Passing(Box::new(body))),
        Some(_) => Err(Failure::Unusable("a document that is far too long")),
        None => {
            let most = usize::try_from(MAX_DOCUMENT_BYTES).expect("a bounded length");
            let _share = job.share(most).await?;
            Ok(Content::Held(answer::read_bounded(body, most).await?))
        }
    }
}

/// Where the new bucket is, which the backend would say of itself.
fn location(job: &Job<'_>) -> Option<HeaderValue> {
    let bucket = job.request.bucket()?;
    HeaderValue::try_from(format!("/{bucket}")).ok()
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
