//! Multipart uploads: one file per step.
//!
//! Each upload of a client is an upload at the backend with the same id; parts are sealed one by
//! one and sent there as they arrive. The upload's state and its staged parts are stored next to
//! the data. Staged parts are those that can only be the last one. Completing adds the tail, which
//! makes one readable object of the parts.
//!
//! Invariants: any replica can serve any step; nothing is visible before the backend's own
//! completion; every step can be repeated.
//!
//! The tail is stored under the highest number, 10000. A client's part is never stored there (one
//! with that number is always staged). A tail left by a failed Complete is therefore never taken
//! for a part, and no part is overwritten by a tail.

mod abort;
pub(crate) mod attempts;
pub(crate) mod bucket;
pub(crate) mod checksum;
mod complete;
mod create;
pub(crate) mod evidence;
mod list_parts;
mod list_uploads;
pub(crate) mod part;
mod part_checksums;
mod plaintext;
mod present;
mod repeated;
pub(crate) mod seldom;
mod selection;
pub(crate) mod staged;
mod staged_check;
pub(crate) mod state;
pub(crate) mod sweep;
mod tail;
mod upload_part;
mod upload_part_copy;
mod verdict;

use http::Response;
use s3proxy_envelope::multipart::PartNumber;
use s3proxy_protocol::error::{ErrorCode, S3Error};

use super::new_object::Place;
use super::{BodySlot, Job, Outcome, patience};
use crate::body::outbound::ResponseBody;
use crate::config::resolved::{Encryption, Multipart};
use crate::s3_request::UploadRequest;

/// Part number of the tail. The backend's part of this number is never a client's.
pub(crate) const TAIL_NUMBER: PartNumber = PartNumber::MAX;

/// Part number whose length the others must have, if parts have to be equal.
const FIRST_NUMBER: PartNumber = PartNumber::MIN;

/// Handles one step of an upload.
pub(crate) async fn step(
    job: &Job<'_>,
    request: &UploadRequest,
    body: &mut BodySlot,
) -> Outcome<Response<ResponseBody>> {
    if is_plaintext(job)? {
        return plaintext::step(job, request, body).await;
    }
    let answered = match request {
        UploadRequest::Create => create::create(job).await,
        UploadRequest::UploadPart(part) => upload_part::upload_part(job, part, body.take()).await,
        UploadRequest::UploadPartCopy(copy) => {
            let copy = copy.clone();
            patience::answer(job, |owned| upload_part_copy::upload_part_copy(owned, copy)).await
        }
        UploadRequest::Complete(upload_id) => complete::complete_upload(job, upload_id, body).await,
        UploadRequest::Abort(upload_id) => abort::abort(job, upload_id).await,
        UploadRequest::ListParts(list) => list_parts::list_parts(job, list).await,
        UploadRequest::List(start) => list_uploads::list_uploads(job, start).await,
    };
    if answered.is_ok() {
        // Only after a success: otherwise clients could fill the list with invented names.
        job.parts.seen_buckets.note(job);
    }
    answered
}

/// Whether the upload is stored unencrypted.
fn is_plaintext(job: &Job<'_>) -> Result<bool, S3Error> {
    let Place { bucket, object_key } = Place::of(job);
    let encryption = job.parts.rules.storing(bucket, object_key).encryption;
    match (job.parts.policy.multipart, encryption) {
        (_, Encryption::Off) | (Multipart::ForwardPlaintext, Encryption::On) => Ok(true),
        (Multipart::Encrypt | Multipart::Block, Encryption::On | Encryption::Required) => Ok(false),
        (Multipart::ForwardPlaintext, Encryption::Required) => Err(S3Error::new(
            ErrorCode::AccessDenied,
            "A rule demands encryption here, and policy.multipart = forward-plaintext would store \
             the upload as it comes; one of the two has to change.",
        )),
    }
}
