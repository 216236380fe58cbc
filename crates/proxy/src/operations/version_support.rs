//! Whether the backend selects versions by `versionId`, and whether a response is about the
//! requested one.
//!
//! A backend that ignores the parameter takes a request for an old version for one about the
//! current object, and a deletion would delete that. Responses to reads therefore have to name the
//! requested version, and a version is deleted only if the backend is known to find it. AWS is.
//! Others are sent a HEAD with the version and one without it, until the two responses differ. Many
//! servers return 404 for a delete marker, so if both responses are 404 the versions are listed.
//! Evidence is cached as long as the backend is the same. The version `null` is the current object
//! of an unversioned bucket, with any backend.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Method, StatusCode};
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::name::ObjectKey;

use crate::failure::{Failure, Outcome};
use crate::objects::ObjectRef;
use crate::objects::call::{BackendResponse, failure_of};
use crate::objects::versions::{NULL_VERSION, ignored, version};
use crate::operations::{Job, sub_resource_support};
use crate::upload_state::bucket::Bucket;

/// Whether the backend has been seen to select versions.
#[derive(Default)]
pub(crate) struct VersionSupport(AtomicBool);

impl VersionSupport {
    fn is_seen(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Refuses to delete a version that the backend is not known to find: it could delete the current
/// object. Costs at most two requests and a listing, and none once the backend has been seen to
/// select versions.
pub(crate) async fn permit_deletion(job: &Job<'_>, key: &ObjectKey, asked: &str) -> Outcome<()> {
    if asked.is_empty() {
        return Err(empty().into());
    }
    let support = &job.services.versions;
    let is_aws = job.call.is_aws();
    if asked == NULL_VERSION || is_aws || support.is_seen() {
        return Ok(());
    }
    let object = ObjectRef {
        bucket: job.bucket(),
        key,
        version: None,
    };
    let of_version = head(job, object.at(Some(asked))).await?;
    if of_version.status.is_success() && version(&of_version.headers) != Some(asked) {
        return Err(ignored().into());
    }
    let current = head(job, object).await?;
    match judge(asked, &of_version, &current) {
        VersionEvidence::Selects => {
            support.note();
            Ok(())
        }
        VersionEvidence::Current => Ok(()),
        VersionEvidence::Absent if has_versions(job, object).await? => {
            support.note();
            Ok(())
        }
        VersionEvidence::Absent => Err(no_such_version().into()),
        VersionEvidence::Refused => Err(failure_of(of_version).await),
    }
}

/// Conclusion from two responses, the first of which shows no other version than the requested one.
#[derive(Debug, PartialEq, Eq)]
enum VersionEvidence {
    /// The parameter made a difference.
    Selects,
    /// The version is the current object, which a backend without versions would delete as well.
    Current,
    /// Neither request found anything.
    Absent,
    /// The backend refuses the request.
    Refused,
}

fn judge(asked: &str, of_version: &BackendResponse, current: &BackendResponse) -> VersionEvidence {
    let names_it = |backed: &BackendResponse| version(&backed.headers) == Some(asked);
    let is_found = names_it(of_version);
    // Only a versioned backend names another version. A 200 without a version proves nothing: the
    // object may have been created between the two requests.
    let current_is_another = current.status.is_success() && version(&current.headers).is_some();
    // A HEAD of a delete marker's version is 405, and its key is 404 while the marker is current.
    let is_delete_marker = of_version.status == StatusCode::METHOD_NOT_ALLOWED
        && current.status == StatusCode::NOT_FOUND;
    if is_found && names_it(current) {
        VersionEvidence::Current
    } else if is_found || current_is_another || is_delete_marker {
        VersionEvidence::Selects
    } else if of_version.status == StatusCode::NOT_FOUND {
        VersionEvidence::Absent
    } else {
        VersionEvidence::Refused
    }
}

/// Whether the backend lists a version or a delete marker of the key.
async fn has_versions(job: &Job<'_>, object: ObjectRef<'_>) -> Outcome<bool> {
    let object_key = object.key.as_str();
    let mut found = false;
    let bucket = Bucket::for_call(&job.call, object.bucket.as_str());
    let walked = bucket.walk(object_key, |entry| {
        // The listing is by prefix and sorted: the key itself comes first, longer keys follow.
        if entry.key != object_key {
            return ControlFlow::Break(());
        }
        found = entry
            .version_id
            .as_deref()
            .is_some_and(|version| version != NULL_VERSION);
        if found {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    walked.await?;
    Ok(found)
}

async fn head(job: &Job<'_>, object: ObjectRef<'_>) -> Outcome<BackendResponse> {
    let mut request = job.call.request(Method::HEAD, object);
    sub_resource_support::carry_headers(job, &mut request);
    let backed = job.call.send(request).await?;
    // Any other status is evidence about the version.
    if backed.status.is_server_error() {
        return Err(failure_of(backed).await);
    }
    Ok(backed)
}

fn no_such_version() -> S3Error {
    S3Error::new(
        ErrorCode::NoSuchVersion,
        "The specified version does not exist.",
    )
}

fn empty() -> S3Error {
    S3Error::new(
        ErrorCode::InvalidArgument,
        "Version id cannot be the empty string",
    )
}

/// Error code and message of a failed object of a batch, as far as the client may see them.
pub(crate) fn batch_error(failure: &Failure) -> (String, String) {
    match failure {
        Failure::Refused(error) => (error.code.as_str().to_owned(), error.message.to_string()),
        Failure::Answer(answer) => (
            answer.document.code.clone(),
            answer.document.message.clone(),
        ),
        _ => (
            ErrorCode::ServiceUnavailable.as_str().to_owned(),
            "The storage behind this proxy did not answer for this object; delete it again."
                .to_owned(),
        ),
    }
}
