//! `multipart = forward-plaintext`, and rules with `encryption = "off"`: uploads are forwarded and
//! stored unencrypted.
//!
//! For tests, and for buckets that hold plaintext on purpose. If it applies to everything, a
//! warning is logged at every start. Bodies are still verified against the client's checksums and
//! signature. UploadPartCopy is refused, since the backend would copy the sealed bytes of its
//! source.
//!
//! Uploads that were begun under `encrypt` cannot continue here, nor the other way round: their
//! parts would have two forms.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response};
use http_body_util::BodyExt;
use s3proxy_protocol::error::{ErrorCode, S3Error};

use crate::backend::{BodyStream, RequestBody};
use crate::body::buffers::STREAM_BYTES;
use crate::body::outbound::ResponseBody;
use crate::body::verifying::VerifyingBody;
use crate::failure::{Failure, Outcome};
use crate::objects::call::client_headers;
use crate::objects::new_object::refuse_reserved_metadata;
use crate::operations::held_body::HeldMemory;
use crate::operations::request_body::{BodySlot, RawBody};
use crate::operations::{Job, forward, list_multipart_uploads, payload};
use crate::s3_request::UploadRequest;
use crate::telemetry::audit::StoredForm;

/// Longest list of parts that is read, in bytes.
const MAX_REQUEST_BYTES: u64 = 8 * 1024 * 1024;

/// Handles one step of an upload.
pub(crate) async fn step(
    job: &Job<'_>,
    request: &UploadRequest,
    body: &mut BodySlot,
) -> Outcome<Response<ResponseBody>> {
    match request {
        UploadRequest::Create | UploadRequest::UploadPart(_) | UploadRequest::Complete(_) => {
            job.call.writes(StoredForm::plaintext);
        }
        UploadRequest::Abort(_)
        | UploadRequest::ListParts(_)
        | UploadRequest::List(_)
        | UploadRequest::UploadPartCopy(_) => {}
    }
    match request {
        UploadRequest::UploadPart(_) => upload_part(job, body.take()).await,
        UploadRequest::Complete(_) => complete(job, body.take()).await,
        UploadRequest::Create => {
            refuse_reserved_metadata(job.call.store, &job.request.headers)?;
            forward::forward(job, body).await
        }
        UploadRequest::Abort(_) | UploadRequest::ListParts(_) => forward::forward(job, body).await,
        // Hides upload state here too: other objects of the bucket may be sealed.
        UploadRequest::List(start) => list_multipart_uploads::list_uploads(job, start).await,
        UploadRequest::UploadPartCopy(_) => Err(Failure::Refused(S3Error::new(
            ErrorCode::NotImplemented,
            "UploadPartCopy does not work where multipart uploads are stored as plaintext \
             (policy.multipart or a rule): upload the part itself.",
        ))),
    }
}

async fn upload_part(job: &Job<'_>, body: RawBody) -> Outcome<Response<ResponseBody>> {
    let announced = payload::announced(job.request)?;
    let length = announced.length;
    let received = Arc::clone(&job.record.received);
    let mut inbound = announced.inbound(body, job.services.patience.clone(), received);
    inbound.begin().await?;
    let share = job.call.share(STREAM_BYTES).await?;
    let passing = VerifyingBody::new(inbound, share);
    let fault = passing.fault();
    let body = BodyStream::new(passing.map_err(Into::into));
    let sent = send(job, Method::PUT, RequestBody::Stream { length, body }).await;
    // The client's fault comes first: the backend's failure is only its consequence.
    match fault.get() {
        Some(fault) => Err(Failure::Inbound(fault.clone())),
        None => sent,
    }
}

async fn complete(job: &Job<'_>, body: RawBody) -> Outcome<Response<ResponseBody>> {
    let announced = payload::announced_document(job.request)?;
    let memory = HeldMemory::ONCE;
    let held = payload::read_announced(job, announced, body, MAX_REQUEST_BYTES, memory).await?;
    let _share = held.share;
    let document = RequestBody::Held(Bytes::from(held.bytes));
    send(job, Method::POST, document).await
}

async fn send(job: &Job<'_>, method: Method, body: RequestBody) -> Outcome<Response<ResponseBody>> {
    let mut request = job.request_for(method);
    request.query = job.query_for_backend();
    request.headers = job.headers_for_backend()?;
    request.body = body;
    let backed = job.call.expect_success(request).await?;
    let mut response = Response::new(ResponseBody::passing(backed.body));
    *response.status_mut() = backed.status;
    *response.headers_mut() = client_headers(&backed.headers);
    Ok(response)
}
