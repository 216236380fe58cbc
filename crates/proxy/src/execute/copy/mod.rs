//! CopyObject: the key is wrapped anew, or the content sealed on its way.
//!
//! One HEAD says what the source is, and the client's conditions are judged on it. A sealed source
//! stays where it is: the backend copies its body, and the new object's metadata carry the same
//! data key, wrapped for the new place. A plain one, or one in an older proxy's format, is read and
//! sealed. Whatever happens after the
//! HEAD is pinned to what it saw, so that envelope and body always belong together; where the
//! source was replaced meanwhile the copy starts again.
//!
//! To the backend the metadata directive is always REPLACE, since the envelope is new: what COPY
//! keeps is sent explicitly ([`carried`]). Absent: reading content to compute a checksum that the
//! source does not have; then the answer has none.

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

/// A new object, as its answer describes it.
struct Copied {
    /// For the client, without those of the document.
    headers: HeaderMap,
    /// The client's, without quotes.
    etag: String,
    last_modified: String,
    checksum: Option<(ChecksumAlgorithm, String, &'static str)>,
}

/// Serves it.
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
        return plain::copy_unsealed(job, directives, &source, &found).await;
    }
    match &found.form {
        Form::Sealed(envelope) => sealed::copy(job, directives, &source, &found, envelope).await,
        Form::Legacy(_) | Form::Plain => plain::copy(job, directives, &source, &found).await,
    }
}

/// The algorithm that the client wants a checksum of.
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
