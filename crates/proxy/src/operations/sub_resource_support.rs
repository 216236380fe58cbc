//! Whether the backend supports a sub-resource, which decides whether a request about it is sent.
//!
//! A backend that does not support one handles the request as if it were not named:
//! `PUT /b/k?tagging` becomes PutObject, and `DELETE /b?website` becomes DeleteBucket. A change is
//! therefore sent only if the backend is known to support the operation: AWS supports all,
//! `backend.operations` lists others, and for the rest a read of the same sub-resource decides. It
//! must return the operation's document, or the operation's own error for its absence. A deletion
//! is sent only after such a read found a document.
//!
//! Results are cached per sub-resource, as long as the backend is the same.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderName, Method, StatusCode, header};
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::operation::{AnswerDocument, Operation};

use crate::backend::Request;
use crate::failure::{Failure, Outcome};
use crate::objects::call::{BackendResponse, failure_of, read_bounded};
use crate::objects::stored;
use crate::operations::Job;
use crate::operations::forward::MAX_DOCUMENT_BYTES;
use crate::upload_state::state;

/// Headers of the client that a read on its behalf needs.
const CARRIED: &[&str] = &["x-amz-expected-bucket-owner", "x-amz-request-payer"];

/// Error codes for a missing bucket, object or version, or for one that the operation cannot apply
/// to. They prove nothing about the sub-resource, and the request need not be sent.
const NO_TARGET: &[&str] = &[
    "InvalidBucketState",
    "InvalidObjectState",
    "InvalidRequest",
    "NoSuchBucket",
    "NoSuchKey",
    "NoSuchVersion",
];

/// Sub-resources that the backend is known to support. Bounded by the table of operations.
pub(crate) struct KnownSubResources {
    /// Operations that the configuration lists.
    listed: Vec<Operation>,
    /// Reading operations that succeeded, each of which represents its whole sub-resource.
    read: Mutex<BTreeSet<Operation>>,
}

impl KnownSubResources {
    /// Starts with the operations of `backend.operations`.
    pub(crate) fn new(listed: Vec<Operation>) -> Self {
        Self {
            listed,
            read: Mutex::default(),
        }
    }

    /// Records that the backend returned the document of a reading operation.
    pub(crate) fn learn(&self, reading: Operation) {
        self.known().insert(reading);
    }

    fn contains(&self, reading: Operation) -> bool {
        self.known().contains(&reading)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeSet<Operation>> {
        // Poison is ignored: an insertion is complete or did not happen, even if a thread panicked.
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Decision about a request to be forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForwardPermission {
    Send,
    /// A deletion has nothing to delete, which S3 reports as success.
    AlreadyAbsent,
}

/// Decides whether the job's request may be sent, by reading the sub-resource if necessary.
pub(crate) async fn permission(job: &Job<'_>) -> Outcome<ForwardPermission> {
    let operation = job.request.operation;
    // Always read first, even at a known backend: a mistake would delete an object or a bucket.
    if operation.deletes_sub_resource() {
        return deletion(job).await;
    }
    let has_it = |reading| job.services.sub_resources.contains(reading);
    let reading = operation.reading();
    let known = !operation.changes_sub_resource() || is_named(job) || reading.is_some_and(has_it);
    if known {
        return Ok(ForwardPermission::Send);
    }
    let Some(reading) = reading else {
        return Err(unknown(operation).into());
    };
    match read(job, reading.answer_document(), reading.absence_codes()).await? {
        SubResourceReading::Document | SubResourceReading::Absence(_) => {
            job.services.sub_resources.learn(reading);
            Ok(ForwardPermission::Send)
        }
        SubResourceReading::NoTarget(failure) => Err(failure),
        SubResourceReading::SomethingElse => Err(unknown(operation).into()),
    }
}

/// Whether the backend is AWS, or the configuration lists the operation.
fn is_named(job: &Job<'_>) -> bool {
    job.call.is_aws()
        || job
            .services
            .sub_resources
            .listed
            .contains(&job.request.operation)
}

/// Permits a deletion only if there is something to delete.
async fn deletion(job: &Job<'_>) -> Outcome<ForwardPermission> {
    let operation = job.request.operation;
    let Some(reading) = operation.reading() else {
        return Err(unknown(operation).into());
    };
    match read(job, reading.answer_document(), reading.absence_codes()).await? {
        SubResourceReading::Document => Ok(ForwardPermission::Send),
        // S3 reports most deletions of absent things as success, but not those with this code.
        SubResourceReading::Absence(Failure::Answer(answer))
            if answer.document.code == "NoSuchConfiguration" =>
        {
            Err(Failure::Answer(answer))
        }
        SubResourceReading::Absence(_) => Ok(ForwardPermission::AlreadyAbsent),
        SubResourceReading::NoTarget(failure) => Err(failure),
        SubResourceReading::SomethingElse => Err(unread(operation, reading).into()),
    }
}

/// Refuses to abort an upload at a backend that may not support uploads: it would delete the object
/// of that key. Ceph's gateway (16) returns `NoSuchKey` for an upload that has ended.
pub(crate) async fn require_uploads(job: &Job<'_>) -> Outcome<()> {
    let reading = Operation::ListParts;
    if is_named(job) || job.services.sub_resources.contains(reading) {
        return Ok(());
    }
    let expected = AnswerDocument::Xml(&["ListPartsResult"]);
    match read(job, expected, &["NoSuchUpload"]).await? {
        SubResourceReading::Document | SubResourceReading::Absence(_) => {
            job.services.sub_resources.learn(reading);
            Ok(())
        }
        SubResourceReading::NoTarget(Failure::Answer(answer))
            if answer.document.code == "NoSuchKey" =>
        {
            Err(state::no_such_upload())
        }
        SubResourceReading::NoTarget(failure) => Err(failure),
        SubResourceReading::SomethingElse => Err(unread(job.request.operation, reading).into()),
    }
}

/// Result of reading a sub-resource.
enum SubResourceReading {
    /// The operation's document.
    Document,
    /// The operation's own error for an absent sub-resource.
    Absence(Failure),
    /// An error that proves nothing about the sub-resource.
    NoTarget(Failure),
    /// Any other response, such as the object itself.
    SomethingElse,
}

/// Reads the sub-resource that the job's request is about.
async fn read(
    job: &Job<'_>,
    expected: AnswerDocument,
    absence: &[&str],
) -> Outcome<SubResourceReading> {
    let mut request = job.request_for(Method::GET);
    request.query = job.query_for_backend();
    carry_headers(job, &mut request);
    let backed = job.call.send(request).await?;
    if backed.status.is_success() {
        let text = read_answer(job, backed, expected).await?;
        return Ok(match text {
            Some(text) if !text.is_empty() => SubResourceReading::Document,
            Some(_) | None => SubResourceReading::SomethingElse,
        });
    }
    let failure = failure_of(backed).await;
    Ok(match &failure {
        Failure::Answer(answer) => {
            let code = answer.document.code.as_str();
            // 501 is a statement about the operation; other 5xx only mean that the read failed.
            let about_us =
                answer.status.is_server_error() && answer.status != StatusCode::NOT_IMPLEMENTED;
            if absence.contains(&code) {
                SubResourceReading::Absence(failure)
            } else if NO_TARGET.contains(&code) || about_us {
                SubResourceReading::NoTarget(failure)
            } else {
                SubResourceReading::SomethingElse
            }
        }
        _ => SubResourceReading::NoTarget(failure),
    })
}

/// Adds the client's headers that a read on its behalf needs.
pub(crate) fn carry_headers(job: &Job<'_>, request: &mut Request) {
    for name in CARRIED {
        if let Some(value) = job.request.headers.get(*name) {
            let name = HeaderName::from_static(name);
            request.headers.insert(name, value.clone());
        }
    }
}

/// Body of a success, if it is the expected document or empty.
///
/// An object's content is never read: objects have an ETag, and these documents have none.
pub(crate) async fn read_answer(
    job: &Job<'_>,
    backed: BackendResponse,
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
    let _share = job.call.share(announced).await?;
    let text = read_bounded(backed.body, limit).await?;
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
