//! Whether the backend knows a sub-resource, so that a request about it may be sent.
//!
//! A backend that does not know one serves the request as if it were not named: `PUT /b/k?tagging`
//! becomes PutObject, and `DELETE /b?website` becomes DeleteBucket. So a change is sent where the
//! backend is known to have the operation: AWS has all of them, `backend.operations` lists others,
//! and of the rest a read of the same sub-resource tells, by answering with that operation's
//! document or with its own error for the lack of one. Nothing is deleted that was not read just
//! before.
//!
//! What was found out is remembered, per sub-resource, as long as the backend is the same.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderName, Method, StatusCode, header};
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::operation::{AnswerDocument, Operation};

use super::answer::{self, Backed};
use super::forward::MAX_DOCUMENT_BYTES;
use super::multipart::state;
use super::{Job, Outcome, stored};
use crate::backend::Request;
use crate::respond::Failure;

/// Headers of the client's that a read on its behalf needs, too.
const CARRIED: &[&str] = &["x-amz-expected-bucket-owner", "x-amz-request-payer"];

/// Codes by which a backend says that there is no such bucket, object or version, or none that
/// the operation could work on: nothing is learnt from them, and nothing need be sent.
const NO_TARGET: &[&str] = &[
    "InvalidBucketState",
    "InvalidObjectState",
    "InvalidRequest",
    "NoSuchBucket",
    "NoSuchKey",
    "NoSuchVersion",
];

/// What the backend is known to have. Bounded by the table of operations.
pub(crate) struct KnownSubResources {
    /// By the configuration.
    listed: Vec<Operation>,
    /// Reading operations that were answered, each for its whole sub-resource.
    read: Mutex<BTreeSet<Operation>>,
}

impl KnownSubResources {
    /// Of a backend that has the operations of `backend.operations`.
    pub(crate) fn new(listed: Vec<Operation>) -> Self {
        Self {
            listed,
            read: Mutex::default(),
        }
    }

    /// Notes that the backend answered a reading operation with its document.
    pub(super) fn learn(&self, reading: Operation) {
        self.known().insert(reading);
    }

    fn contains(&self, reading: Operation) -> bool {
        self.known().contains(&reading)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeSet<Operation>> {
        // Insertions are whole, so that a panic elsewhere leaves the set as it was.
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a forwarded request may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permission {
    Send,
    /// There is nothing that a deletion could delete; S3 takes it for done.
    AlreadyAbsent,
}

/// Decides whether the request of `job` may be sent, by a read of the sub-resource where that is
/// what it takes.
pub(super) async fn permission(job: &Job<'_>) -> Outcome<Permission> {
    let operation = job.request.operation;
    if operation.deletes_sub_resource() {
        return deletion(job).await;
    }
    let has_it = |reading| job.parts.sub_resources.contains(reading);
    let reading = operation.reading();
    let known = !operation.changes_sub_resource() || is_named(job) || reading.is_some_and(has_it);
    if known {
        return Ok(Permission::Send);
    }
    let Some(reading) = reading else {
        return Err(unknown(operation).into());
    };
    match read(job, reading.answer_document(), reading.absence_codes()).await? {
        Found::Document | Found::Absence(_) => {
            job.parts.sub_resources.learn(reading);
            Ok(Permission::Send)
        }
        Found::NoTarget(failure) => Err(failure),
        Found::SomethingElse => Err(unknown(operation).into()),
    }
}

/// Whether AWS is asked, or the configuration lists the operation.
fn is_named(job: &Job<'_>) -> bool {
    let service = answer::service_of(job);
    job.parts.backend.is_aws(service.as_ref())
        || job
            .parts
            .sub_resources
            .listed
            .contains(&job.request.operation)
}

/// Deletions are sent only where there is something to delete.
async fn deletion(job: &Job<'_>) -> Outcome<Permission> {
    let operation = job.request.operation;
    let Some(reading) = operation.reading() else {
        return Err(unknown(operation).into());
    };
    match read(job, reading.answer_document(), reading.absence_codes()).await? {
        Found::Document => Ok(Permission::Send),
        // S3 deletes most of what is not there, and says of these that they are not.
        Found::Absence(Failure::Answer(answer))
            if answer.document.code == "NoSuchConfiguration" =>
        {
            Err(Failure::Answer(answer))
        }
        Found::Absence(_) => Ok(Permission::AlreadyAbsent),
        Found::NoTarget(failure) => Err(failure),
        Found::SomethingElse => Err(unread(operation, reading).into()),
    }
}

/// Refuses to end an upload at a backend that is not known to have uploads: it would delete the
/// object of that key. Ceph's gateway (16) says `NoSuchKey` of an upload that has ended.
pub(super) async fn require_uploads(job: &Job<'_>) -> Outcome<()> {
    let reading = Operation::ListParts;
    if is_named(job) || job.parts.sub_resources.contains(reading) {
        return Ok(());
    }
    let expected = AnswerDocument::Xml(&["ListPartsResult"]);
    match read(job, expected, &["NoSuchUpload"]).await? {
        Found::Document | Found::Absence(_) => {
            job.parts.sub_resources.learn(reading);
            Ok(())
        }
        Found::NoTarget(Failure::Answer(answer)) if answer.document.code == "NoSuchKey" => {
            Err(state::no_such_upload())
        }
        Found::NoTarget(failure) => Err(failure),
        Found::SomethingElse => Err(unread(job.request.operation, reading).into()),
    }
}

/// What a read of the sub-resource found.
enum Found {
    /// The operation's document.
    Document,
    /// The operation's own error for the lack of one.
    Absence(Failure),
    /// An error that says nothing of the sub-resource.
    NoTarget(Failure),
    /// Anything else, such as the object itself.
    SomethingElse,
}

/// Reads the sub-resource that the request of `job` is about.
async fn read(job: &Job<'_>, expected: AnswerDocument, absence: &[&str]) -> Outcome<Found> {
    let mut request = answer::request_for(job, Method::GET);
    request.query = answer::query_for_backend(job);
    carry_headers(job, &mut request);
    let backed = answer::receive(job, job.parts.backend.send(request).await?);
    if backed.status.is_success() {
        let text = read_answer(job, backed, expected).await?;
        return Ok(match text {
            Some(text) if !text.is_empty() => Found::Document,
            Some(_) | None => Found::SomethingElse,
        });
    }
    let failure = answer::refused(job, backed).await;
    Ok(match &failure {
        Failure::Answer(answer) => {
            let code = answer.document.code.as_str();
            let about_us =
                answer.status.is_server_error() && answer.status != StatusCode::NOT_IMPLEMENTED;
            if absence.contains(&code) {
                Found::Absence(failure)
            } else if NO_TARGET.contains(&code) || about_us {
                Found::NoTarget(failure)
            } else {
                Found::SomethingElse
            }
        }
        _ => Found::NoTarget(failure),
    })
}

/// Gives a read on the client's behalf those of the client's headers that it needs.
pub(super) fn carry_headers(job: &Job<'_>, request: &mut Request) {
    for name in CARRIED {
        if let Some(value) = job.request.headers.get(*name) {
            let name = HeaderName::from_static(name);
            request.headers.insert(name, value.clone());
        }
    }
}

/// The body of a successful answer, if it is the expected document; an empty one carries nothing.
///
/// Nothing of an object is read: objects have an entity tag, and these documents have none.
pub(super) async fn read_answer(
    job: &Job<'_>,
    backed: Backed,
    expected: AnswerDocument,
) -> Outcome<Option<Bytes>> {
    let limit = usize::try_from(MAX_DOCUMENT_BYTES).expect("a bounded length");
    let announced = stored::content_length(&backed.headers);
    let announced = announced.map_or(limit, |length| {
        usize::try_from(length).unwrap_or(usize::MAX)
    });
    let is_of_object = backed.headers.contains_key(header::ETAG);
    if announced > limit || backed.status != StatusCode::OK || is_of_object {
        return Ok(None);
    }
    let _share = job.share(announced).await?;
    let text = answer::read_bounded(backed.body, limit).await?;
    Ok((text.is_empty() || expected.is(&text)).then_some(text))
}

fn unknown(operation: Operation) -> S3Error {
    let name = operation.as_str();
    not_implemented(format!(
        "The storage behind this proxy is not known to have {name}, and might take the request for \
         another. If it has it, list {name} in backend.operations."
    ))
}

fn unread(operation: Operation, reading: Operation) -> S3Error {
    not_implemented(format!(
        "{} is sent only where {} shows what it would delete, and the storage behind this proxy \
         did not answer that.",
        operation.as_str(),
        reading.as_str()
    ))
}

fn not_implemented(message: String) -> S3Error {
    S3Error::new(ErrorCode::NotImplemented, message)
}
