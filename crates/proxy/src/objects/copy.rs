//! CopyObject: the data key is rewrapped, or the content is sealed on its way.
//!
//! One HEAD describes the source, and the client's conditions are judged on it. The content of a
//! sealed source stays at the backend, which copies the body; the new object's envelope has the
//! same data key, wrapped for the new place. A source that is plain, or in a legacy format, is
//! read and sealed. Every later request is pinned to the state that the HEAD showed, which keeps
//! envelope and body consistent; if the source was replaced meanwhile, the copy starts again.
//!
//! The backend always gets the metadata directive REPLACE, since the envelope is new: headers that
//! COPY keeps are sent explicitly ([`carried`]). Not implemented: reading content to compute a
//! checksum that the source does not have. The response then has no checksum.

mod carried;
mod large;
mod onto_itself;
pub(crate) mod origin;
mod plain;
pub(crate) mod rewrap;
pub(crate) mod rewrite;
mod sealed;
pub(crate) mod tags;
pub(crate) mod times;

use http::{HeaderMap, Response};
use s3proxy_protocol::checksum::ChecksumAlgorithm;
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::xml::copy::copy_object_document;

use self::carried::Directives;
use super::new_object::announce_encryption;
use super::patience::Finished;
use super::stored::Form;
use super::{Job, Outcome, OwnedJob, patience, unsealed};
use crate::body::outbound::ResponseBody;

const FULL_OBJECT: &str = "FULL_OBJECT";

/// The new object, as described in the response.
struct Copied {
    /// Headers for the client, without the fields of the document.
    headers: HeaderMap,
    /// ETag that the client sees, without quotes.
    etag: String,
    last_modified: String,
    checksum: Option<(ChecksumAlgorithm, String, &'static str)>,
}

/// Handles CopyObject.
pub(crate) async fn copy_object(job: &Job<'_>) -> Outcome<Response<ResponseBody>> {
    patience::answer(job, copy).await
}

async fn copy(owned: OwnedJob) -> Outcome<Finished> {
    let job = &owned.job();
    let directives = Directives::of(job)?;
    let copied = origin::unless_replaced(|| attempt(job, &directives)).await?;
    let checksum = copied.checksum.as_ref();
    let document = copy_object_document(
        &copied.etag,
        &copied.last_modified,
        checksum.map(|(algorithm, value, _)| (*algorithm, value.as_str())),
        checksum.map(|(_, _, kind)| *kind),
    );
    let mut headers = copied.headers;
    if !unsealed::is_asked_for(job) {
        announce_encryption(&mut headers, job.parts.policy.announce_encryption);
    }
    Ok(Finished { headers, document })
}

async fn attempt(job: &Job<'_>, directives: &Directives) -> Outcome<Copied> {
    let source = origin::source(job);
    let found = origin::find(job, &source).await?;
    if unsealed::is_asked_for(job) {
        // The rule for the target decides about the form of the copy, not the source's form.
        return plain::copy_unsealed(job, directives, &source, &found).await;
    }
    match &found.form {
        Form::Sealed(envelope) => sealed::copy(job, directives, &source, &found, envelope).await,
        Form::Legacy(_) | Form::Plain => plain::copy(job, directives, &source, &found).await,
    }
}

/// Checksum algorithm that the client requests.
fn wanted_checksum(headers: &HeaderMap) -> Result<Option<ChecksumAlgorithm>, S3Error> {
    let Some(value) = headers.get("x-amz-checksum-algorithm") else {
        return Ok(None);
    };
    let algorithm = value.to_str().ok().and_then(ChecksumAlgorithm::from_name);
    algorithm.map(Some).ok_or_else(|| {
        S3Error::new(
            ErrorCode::InvalidRequest,
            format!(
                "Checksum algorithm provided is unsupported. Please try again with any of the \
                 valid types: [{}]",
                ChecksumAlgorithm::NAMES
            ),
        )
    })
}
