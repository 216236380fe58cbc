//! DeleteBucket: forwarded, after removing upload state of the proxy that keeps the bucket from
//! being empty.
//!
//! The backend decides. Only if it says that the bucket is not empty does the proxy look: if the
//! bucket holds nothing but state of ended uploads, the state is removed and the request repeated.
//! Clients can neither see nor delete this state.
//!
//! States are listed before uploads, and only the listed ones are removed. An upload in progress
//! therefore never loses its state, not even one that begins meanwhile: while there is one, the
//! backend's refusal is returned. In case the list of uploads is incomplete, the backend is asked
//! about each upload that a state names. A bucket that holds other buckets' state is never cleared.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use futures_util::stream::{self, StreamExt};
use http::{Method, Response};
use s3proxy_protocol::xml::listing::ListEntry;

use super::multipart::bucket::Bucket;
use super::multipart::evidence::{Evidence, StateFolder};
use super::multipart::staged::{folder_id, folders};
use super::{BodySlot, Job, Outcome, answer, forward};
use crate::body::outbound::ResponseBody;
use crate::config::resolved::StateBucket;
use crate::respond::Failure;

/// Most states that are cleared in one request; the sweep handles buckets with more.
const MOST_STATES: usize = 100_000;

/// Concurrent lookups of uploads.
const QUESTIONS_AT_ONCE: usize = 8;

/// Handles DeleteBucket.
pub(crate) async fn delete_bucket(
    job: &Job<'_>,
    body: &mut BodySlot,
) -> Outcome<Response<ResponseBody>> {
    let refusal = match forward::forward(job, body).await {
        Err(failure) if is_not_empty(&failure) => failure,
        outcome => return outcome,
    };
    match clear(job).await {
        Ok(Cleared::Everything) => again(job).await,
        Ok(Cleared::Nothing) => Err(refusal),
        Err(failure) => {
            // The client gets the backend's own refusal, which is true.
            tracing::warn!(reason = %failure, "a bucket could not be cleared of upload state");
            Err(refusal)
        }
    }
}

/// Result of clearing the bucket.
enum Cleared {
    Everything,
    Nothing,
}

fn is_not_empty(failure: &Failure) -> bool {
    matches!(failure, Failure::Answer(answer) if answer.document.code == "BucketNotEmpty")
}

async fn clear(job: &Job<'_>) -> Outcome<Cleared> {
    let name = job.request.bucket().unwrap_or_default();
    // This bucket may hold the state of uploads to any other.
    if job.parts.policy.state_bucket == StateBucket::Named(name.to_owned()) {
        return Ok(Cleared::Nothing);
    }
    let bucket = Bucket::of(job, name);
    let Some(states) = only_states(&bucket, &folders(&job.parts.policy.state_prefix)).await? else {
        return Ok(Cleared::Nothing);
    };
    let mut uploads = 0_usize;
    // After the states were listed: an upload that begins now has a state that is not in the list.
    bucket.each_upload(|_| uploads += 1).await?;
    if uploads > 0 || states.is_empty() || has_upload(job, &bucket, &states).await? {
        return Ok(Cleared::Nothing);
    }
    match bucket.remove(&states).await.into_iter().next() {
        None => Ok(Cleared::Everything),
        Some(left) => Err(left.failure),
    }
}

/// Whether one of the states belongs to an upload that the backend still has, although its list
/// does not show it. A state that does not name its upload is taken for a leftover.
async fn has_upload(job: &Job<'_>, bucket: &Bucket, states: &[ListEntry]) -> Outcome<bool> {
    let prefix = &job.parts.policy.state_prefix;
    let ids = states
        .iter()
        .filter_map(|entry| folder_id(&entry.key, prefix));
    let ids: BTreeSet<String> = ids.map(str::to_owned).collect();
    let mut asked = stream::iter(ids)
        .map(|id| async move {
            let folder = StateFolder {
                place: bucket,
                prefix,
                id: &id,
            };
            folder.evidence().await
        })
        .buffer_unordered(QUESTIONS_AT_ONCE);
    while let Some(evidence) = asked.next().await {
        match evidence? {
            Evidence::InProgress => return Ok(true),
            Evidence::Ended | Evidence::Nameless => {}
        }
    }
    Ok(false)
}

/// Everything in the bucket, if that is upload state only and not too much.
async fn only_states(bucket: &Bucket, folders: &str) -> Outcome<Option<Vec<ListEntry>>> {
    let mut states = Some(Vec::new());
    bucket
        .walk("", |entry| {
            if let Some(found) = &mut states
                && entry.key.starts_with(folders)
                && found.len() < MOST_STATES
            {
                found.push(entry.clone());
                ControlFlow::Continue(())
            } else {
                states = None;
                ControlFlow::Break(())
            }
        })
        .await?;
    Ok(states)
}

async fn again(job: &Job<'_>) -> Outcome<Response<ResponseBody>> {
    // Not through `forward`, which has used the client's body already.
    let mut request = answer::request_for(job, Method::DELETE);
    request.query = answer::query_for_backend(job);
    request.headers = answer::headers_for_backend(job)?;
    let backed = answer::expect_success(job, job.parts.backend.send(request).await?).await?;
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = backed.status;
    *response.headers_mut() = answer::client_headers(&backed.headers);
    Ok(response)
}
