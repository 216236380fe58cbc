//! Steps of a multipart upload: which handler takes a step, and the parameters that steps share.

use http::Response;
use s3proxy_envelope::multipart::PartNumber;
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
use crate::plan::Step;
use crate::upload_state::state;

/// Handles one step of an upload.
pub(crate) async fn step(
    job: &Job<'_>,
    step: Step,
    body: &mut BodySlot,
) -> Outcome<Response<ResponseBody>> {
    if is_plaintext(job)? {
        return plaintext_upload::step(job, step, body).await;
    }
    let answered = match step {
        Step::Create => create_multipart_upload::create(job).await,
        Step::UploadPart => upload_part::upload_part(job, body.take()).await,
        Step::Complete => complete_multipart_upload::complete_upload(job, body).await,
        Step::Abort => abort_multipart_upload::abort(job).await,
        Step::ListParts => list_parts::list_parts(job).await,
        Step::ListUploads => list_multipart_uploads::list_uploads(job).await,
        Step::UploadPartCopy => long_running::answer(job, upload_part_copy::upload_part_copy).await,
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

/// Upload id that the request names.
pub(crate) fn upload_id<'a>(job: &Job<'a>) -> Outcome<&'a str> {
    job.request
        .query
        .get("uploadId")
        .filter(|id| !id.is_empty())
        .ok_or_else(state::no_such_upload)
}

/// Part number that the request names.
pub(crate) fn part_number(job: &Job<'_>) -> Result<PartNumber, S3Error> {
    job.request
        .query
        .get("partNumber")
        .and_then(|text| text.parse().ok())
        .and_then(PartNumber::new)
        .ok_or_else(|| {
            S3Error::new(
                ErrorCode::InvalidArgument,
                "Part number must be an integer between 1 and 10000, inclusive",
            )
        })
}
