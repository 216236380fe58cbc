//! Steps of a multipart upload: which handler takes a step, and the parameters that steps share.

use http::Response;
use s3proxy_protocol::error::{ErrorCode, S3Error};

use crate::body::outbound::ResponseBody;
use crate::config::resolved::{Encryption, Multipart};
use crate::failure::Outcome;
use crate::operations::request_body::BodySlot;
use crate::operations::{
    Job, abort_multipart_upload, complete_multipart_upload, create_multipart_upload,
    list_multipart_uploads, list_parts, long_running, plaintext_upload, upload_part,
    upload_part_copy,
};
use crate::s3_request::UploadRequest;

/// Handles one step of an upload.
pub(crate) async fn step(
    job: &Job<'_>,
    request: &UploadRequest,
    body: &mut BodySlot,
) -> Outcome<Response<ResponseBody>> {
    if is_plaintext(job)? {
        return plaintext_upload::step(job, request, body).await;
    }
    let answered = match request {
        UploadRequest::Create => create_multipart_upload::create(job).await,
        UploadRequest::UploadPart(part) => upload_part::upload_part(job, part, body.take()).await,
        UploadRequest::UploadPartCopy(copy) => {
            let copy = copy.clone();
            let work = |owned| upload_part_copy::upload_part_copy(owned, copy);
            long_running::answer(job, work).await
        }
        UploadRequest::Complete(id) => {
            complete_multipart_upload::complete_upload(job, id, body).await
        }
        UploadRequest::Abort(id) => abort_multipart_upload::abort(job, id).await,
        UploadRequest::ListParts(list) => list_parts::list_parts(job, list).await,
        UploadRequest::List(start) => list_multipart_uploads::list_uploads(job, start).await,
    };
    if answered.is_ok() {
        // Only after a success: otherwise clients could fill the list with invented names.
        let seen = &job.services.seen_buckets;
        seen.note(job.bucket(), job.call.service());
    }
    answered
}

/// Whether the upload is stored unencrypted.
fn is_plaintext(job: &Job<'_>) -> Result<bool, S3Error> {
    // ListMultipartUploads names no key: rules for whole buckets apply to it.
    let key = job.request.object_key().unwrap_or("");
    let rules = &job.call.store.rules;
    let encryption = rules.storing(job.bucket().as_str(), key).encryption;
    match (job.call.store.policy.multipart, encryption) {
        (_, Encryption::Off) | (Multipart::ForwardPlaintext, Encryption::On) => Ok(true),
        (Multipart::Encrypt | Multipart::Block, Encryption::On | Encryption::Required) => Ok(false),
        (Multipart::ForwardPlaintext, Encryption::Required) => Err(S3Error::new(
            ErrorCode::AccessDenied,
            "A rule demands encryption here, and policy.multipart = forward-plaintext would store \
             the upload as it comes; one of the two has to change.",
        )),
    }
}
