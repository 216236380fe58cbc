//! CreateMultipartUpload: the backend's upload first, then its state.
//!
//! The envelope is part of the metadata that the backend keeps for the future object, so completing
//! needs no further write. If the state cannot be stored, the backend's upload is aborted: nobody
//! could use it. If the proxy dies between the two, the backend keeps an upload without parts whose
//! id no client knows; it can be listed and aborted, and lifecycle rules remove it.

use http::{HeaderValue, Method, Response, header};
use s3proxy_envelope::header::Layout;
use s3proxy_envelope::multipart::UploadState;
use s3proxy_protocol::xml::initiate;

use super::checksum::UploadChecksum;
use super::state;
use crate::body::outbound::ResponseBody;
use crate::execute::new_object::{
    self, NewObject, Place, announce_encryption, insert_envelope, refuse_reserved_metadata,
};
use crate::execute::{Job, Outcome, answer};
use crate::respond::Failure;

/// Longest backend response that is read, in bytes.
const MAX_RESULT_BYTES: usize = 64 * 1024;

/// Handles CreateMultipartUpload.
pub(super) async fn create(job: &Job<'_>) -> Outcome<Response<ResponseBody>> {
    let checksum = UploadChecksum::asked_for(&job.request.headers)?;
    let mut outgoing = answer::headers_for_backend(job)?;
    refuse_reserved_metadata(job.parts, &outgoing)?;
    let private = new_object::private_map(job.parts, &mut outgoing, None);
    let place = Place::of(job);
    let object = NewObject::new(job, Layout::Multipart, place, &private).await?;
    let envelope = object.envelope(None);
    insert_envelope(job.parts, &mut outgoing, &envelope)?;
    let state = UploadState {
        checksum_algorithm: checksum.map(|it| it.algorithm.as_str().to_owned()),
        checksum_type: checksum.map(|it| it.kind.as_str().to_owned()),
        headers: state::headers_to_keep(&outgoing),
    };

    let mut request = answer::request_for(job, Method::POST);
    request.query = answer::query_for_backend(job);
    request.headers = outgoing;
    let backed = answer::expect_success(job, job.parts.backend.send(request).await?).await?;
    let result = answer::read_bounded(backed.body, MAX_RESULT_BYTES).await?;
    let upload_id = initiate::upload_id(&result)
        .map_err(|_| Failure::Unusable("an InitiateMultipartUploadResult that is not S3's"))?;
    if let Err(failure) = state::store(job, &upload_id, envelope, object.dek, state).await {
        abandon(job, &upload_id).await;
        return Err(failure);
    }

    let document = initiate::initiate_answer(place.bucket, place.object_key, &upload_id);
    let mut response = Response::new(ResponseBody::held(document));
    let mut headers = answer::client_headers(&backed.headers);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/xml"),
    );
    announce_encryption(&mut headers, job.parts.policy.announce_encryption);
    if let Some(checksum) = checksum {
        checksum.announce(&mut headers);
    }
    *response.headers_mut() = headers;
    Ok(response)
}

/// Aborts the backend's upload. A failure is only logged: the creation has failed already.
async fn abandon(job: &Job<'_>, upload_id: &str) {
    let mut request = answer::request_for(job, Method::DELETE);
    request.query = vec![("uploadId".to_owned(), Some(upload_id.to_owned()))];
    if let Err(error) = job.parts.backend.send(request).await {
        tracing::warn!(%error, "an upload without a state stays behind");
    }
}
