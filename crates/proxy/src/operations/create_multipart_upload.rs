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

use crate::body::outbound::ResponseBody;
use crate::failure::{Failure, Outcome};
use crate::objects::call::{client_headers, read_bounded};
use crate::objects::new_object::{
    self, NewObject, announce_encryption, insert_envelope, refuse_reserved_metadata,
};
use crate::operations::Job;
use crate::upload_state::state;
use crate::upload_state::upload_checksum::UploadChecksum;

/// Longest backend response that is read, in bytes.
const MAX_RESULT_BYTES: usize = 64 * 1024;

/// Handles CreateMultipartUpload.
pub(crate) async fn create(job: &Job<'_>) -> Outcome<Response<ResponseBody>> {
    let checksum = UploadChecksum::asked_for(&job.request.headers)?;
    let mut outgoing = job.headers_for_backend()?;
    refuse_reserved_metadata(job.call.store, &outgoing)?;
    let private = new_object::private_map(job.call.store, &mut outgoing, None);
    let target = job.object();
    let object = NewObject::new(&job.call, Layout::Multipart, target, &private).await?;
    let envelope = object.envelope(None);
    insert_envelope(job.call.store, &mut outgoing, &envelope)?;
    let state = UploadState {
        checksum_algorithm: checksum.map(|it| it.algorithm.as_str().to_owned()),
        checksum_type: checksum.map(|it| it.kind.as_str().to_owned()),
        headers: state::headers_to_keep(&outgoing),
    };

    let mut request = job.request_for(Method::POST);
    request.query = job.query_for_backend();
    request.headers = outgoing;
    let backed = job.call.expect_success(request).await?;
    let result = read_bounded(backed.body, MAX_RESULT_BYTES).await?;
    let upload_id = initiate::upload_id(&result)
        .map_err(|_| Failure::Unusable("a malformed InitiateMultipartUploadResult"))?;
    if let Err(failure) = state::store(
        &job.uploads(),
        target,
        &upload_id,
        envelope,
        object.dek,
        state,
    )
    .await
    {
        abandon(job, &upload_id).await;
        return Err(failure);
    }

    let document =
        initiate::initiate_answer(target.bucket.as_str(), target.key.as_str(), &upload_id);
    let mut response = Response::new(ResponseBody::held(document));
    let mut headers = client_headers(&backed.headers);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/xml"),
    );
    announce_encryption(&mut headers, job.call.store.policy.announce_encryption);
    if let Some(checksum) = checksum {
        checksum.announce(&mut headers);
    }
    *response.headers_mut() = headers;
    Ok(response)
}

/// Aborts the backend's upload. A failure is only logged: the creation has failed already.
async fn abandon(job: &Job<'_>, upload_id: &str) {
    let mut request = job.request_for(Method::DELETE);
    request.query = vec![("uploadId".to_owned(), Some(upload_id.to_owned()))];
    if let Err(error) = job.call.store.backend.send(request).await {
        tracing::warn!(%error, "failed to abort a multipart upload without state; it remains at the backend");
    }
}
