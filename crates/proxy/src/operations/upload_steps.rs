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
use crate::plan::Step;

/// Part number of the tail. The backend's part of this number is never a client's.
pub(crate) const TAIL_NUMBER: PartNumber = PartNumber::MAX;

/// Part number whose length the others must have, if parts have to be equal.
const FIRST_NUMBER: PartNumber = PartNumber::MIN;

/// Handles one step of an upload.
pub(crate) async fn step(
    job: &Job<'_>,
    step: Step,
    body: &mut BodySlot,
) -> Outcome<Response<ResponseBody>> {
    if is_plaintext(job)? {
        return plaintext::step(job, step, body).await;
    }
    let answered = match step {
        Step::Create => create::create(job).await,
        Step::UploadPart => upload_part::upload_part(job, body.take()).await,
        Step::Complete => complete::complete_upload(job, body).await,
        Step::Abort => abort::abort(job).await,
        Step::ListParts => list_parts::list_parts(job).await,
        Step::ListUploads => list_uploads::list_uploads(job).await,
        Step::UploadPartCopy => patience::answer(job, upload_part_copy::upload_part_copy).await,
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
