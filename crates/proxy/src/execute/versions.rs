//! Whether the backend selects versions by `versionId`, and whether it gave the one that was asked for.
//!
//! A backend that does not know the parameter takes a request about an old version for one about the
//! current object: a deletion would delete that. So answers to reads have to name the version that was
//! asked for, and a version is deleted only where the backend is known to find it. AWS is. Any other is
//! asked by HEAD, with the version and without it, until the two answers differ. Many servers say of a
//! delete marker that nothing is there, so where both answers say so, the versions are listed. Evidence is
//! remembered as long as the backend is the same. The version `null` is the current object of a bucket without
//! versions, with such a backend too.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, Method, StatusCode};
use s3proxy_protocol::error::{ErrorCode, S3Error};

use super::answer::{self, Backed};
use super::multipart::bucket::Bucket;
use super::{Job, Outcome, sub_resource};
use crate::respond::Failure;

/// The version that an answer is about.
const VERSION_ID: &str = "x-amz-version-id";

/// The version that an object has which was written while its bucket had no versions.
const NULL_VERSION: &str = "null";

/// Whether the backend was seen to select versions.
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

/// Refuses an answer about another version than the one that was asked for.
pub(super) fn require_answered(asked: Option<&str>, answered: &HeaderMap) -> Outcome<()> {
    match asked {
        None => Ok(()),
        Some(NULL_VERSION) => match version(answered) {
            None | Some(NULL_VERSION) => Ok(()),
            Some(_) => Err(ignored().into()),
        },
        Some(asked) if version(answered) == Some(asked) => Ok(()),
        Some(_) => Err(ignored().into()),
    }
}

/// Refuses to delete a version of an object of the job's bucket where the backend is not known to find
/// it: it would delete the current object. Two requests and a listing at most, and none once the backend
/// was seen to select versions.
pub(super) async fn permit_deletion(job: &Job<'_>, object_key: &str, asked: &str) -> Outcome<()> {
    if asked.is_empty() {
        return Err(empty().into());
    }
    let support = &job.parts.versions;
    let is_aws = job.parts.backend.is_aws(answer::service_of(job).as_ref());
    if asked == NULL_VERSION || is_aws || support.is_seen() {
        return Ok(());
    }
    let of_version = head(job, object_key, Some(asked)).await?;
    if of_version.status.is_success() && version(&of_version.headers) != Some(asked) {
        return Err(ignored().into());
    }
    let current = head(job, object_key, None).await?;
    match judge(asked, &of_version, &current) {
        Evidence::Selects => {
            support.note();
            Ok(())
        }
        Evidence::Current => Ok(()),
        Evidence::Absent if has_versions(job, object_key).await? => {
            support.note();
            Ok(())
        }
        Evidence::Absent => Err(no_such_version().into()),
        Evidence::Refused => Err(answer::refused(job, of_version).await),
    }
}

/// Conclusion from two answers, the first of which shows no other version than the one asked for.
#[derive(Debug, PartialEq, Eq)]
enum Evidence {
    /// The parameter made a difference.
    Selects,
    /// The version is the current object, which a backend without versions would delete as well.
    Current,
    /// Nothing is there.
    Absent,
    /// The backend refuses to tell.
    Refused,
}

fn judge(asked: &str, of_version: &Backed, current: &Backed) -> Evidence {
    let names_it = |backed: &Backed| version(&backed.headers) == Some(asked);
    let is_found = names_it(of_version);
    // Only a backend with versions names one, and one without them may have been given the object
    // between the two questions.
    let current_is_another = current.status.is_success() && version(&current.headers).is_some();
    // A delete marker is no object that can be read, and the key of one that is current has none.
    let is_delete_marker = of_version.status == StatusCode::METHOD_NOT_ALLOWED
        && current.status == StatusCode::NOT_FOUND;
    if is_found && names_it(current) {
        Evidence::Current
    } else if is_found || current_is_another || is_delete_marker {
        Evidence::Selects
    } else if of_version.status == StatusCode::NOT_FOUND {
        Evidence::Absent
    } else {
        Evidence::Refused
    }
}

/// Whether the backend lists a version or a delete marker of a key.
async fn has_versions(job: &Job<'_>, object_key: &str) -> Outcome<bool> {
    let mut found = false;
    let bucket = Bucket::of(job, job.request.bucket().unwrap_or_default());
    let walked = bucket.walk(object_key, |entry| {
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

async fn head(job: &Job<'_>, object_key: &str, version: Option<&str>) -> Outcome<Backed> {
    let mut request = answer::request_for(job, Method::HEAD);
    request.key = Some(object_key.to_owned());
    let version = version.map(|version| ("versionId".to_owned(), Some(version.to_owned())));
    request.query.extend(version);
    sub_resource::carry_headers(job, &mut request);
    let backed = answer::receive(job, job.parts.backend.send(request).await?);
    if backed.status.is_server_error() {
        return Err(answer::refused(job, backed).await);
    }
    Ok(backed)
}

fn version(headers: &HeaderMap) -> Option<&str> {
    headers.get(VERSION_ID)?.to_str().ok()
}

fn ignored() -> S3Error {
    S3Error::new(
        ErrorCode::NotImplemented,
        "The storage behind this proxy does not select versions: asked for one, it answers with \
         another or with the current object.",
    )
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

/// The error of an object of a batch: what a client may be told of a failure.
pub(super) fn batch_error(failure: &Failure) -> (String, String) {
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
