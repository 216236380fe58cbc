//! DeleteBucket: forwarded, once nothing of the proxy's own keeps the bucket from being empty.
//!
//! The backend decides. Only when it says that the bucket is not empty, a look is taken: where all
//! that is left is state of uploads that have ended, that is removed and the request made again. A
//! client cannot see or delete it.
//!
//! States are listed before uploads, and only those listed are removed. So no upload in progress loses
//! its state, not even one that begins meanwhile: as long as there is one, the backend's refusal
//! stands. Where the list of uploads does not show it, the backend is asked for each upload that a
//! state names. A bucket that holds the states of other buckets is never cleared.

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

/// The most that is cleared at once; a bucket with more is for the sweep.
const MOST_STATES: usize = 100_000;

/// Uploads that the backend is asked for side by side.
const QUESTIONS_AT_ONCE: usize = 8;

/// Serves DeleteBucket.
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
            tracing::warn!(reason = %failure, "a bucket could not be cleared of upload state");
            Err(refusal)
        }
    }
}

/// Whether what was left of the bucket could be removed.
enum Cleared {
    Everything,
    Nothing,
}

fn is_not_empty(failure: &Failure) -> bool {
    matches!(failure, Failure::Answer(answer) if answer.document.code == "BucketNotEmpty")
}

async fn clear(job: &Job<'_>) -> Outcome<Cleared> {
    let name = job.request.bucket().unwrap_or_default();
    if job.parts.policy.state_bucket == StateBucket::Named(name.to_owned()) {
        return Ok(Cleared::Nothing);
    }
    let bucket = Bucket::of(job, name);
    let Some(states) = only_states(&bucket, &folders(&job.parts.policy.state_prefix)).await? else {
        return Ok(Cleared::Nothing);
    };
    let mut uploads = 0_usize;
    bucket.each_upload(|_| uploads += 1).await?;
    if uploads > 0 || states.is_empty() || has_upload(job, &bucket, &states).await? {
        return Ok(Cleared::Nothing);
    }
    match bucket.remove(&states).await.into_iter().next() {
        None => Ok(Cleared::Everything),
        Some(left) => Err(left.failure),
    }
}

/// Whether a state belongs to an upload that the backend has, though its list does not show it. What
/// a state without the name of its upload belongs to would go with the bucket.
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

/// All that the bucket holds, if that is state only.
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
    let mut request = answer::request_for(job, Method::DELETE);
    request.query = answer::query_for_backend(job);
    request.headers = answer::headers_for_backend(job)?;
    let backed = answer::expect_success(job, job.parts.backend.send(request).await?).await?;
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = backed.status;
    *response.headers_mut() = answer::client_headers(&backed.headers);
    Ok(response)
}
