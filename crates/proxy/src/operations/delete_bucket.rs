//! DeleteBucket: forwarded, after removing the proxy's upload state from an otherwise empty bucket.
//!
//! The backend decides. Only if it reports that the bucket is not empty, and upload state and staged
//! parts are all that is left, the uploads are aborted, the state is removed, and the request is sent
//! again: a client cannot see or delete the state, and S3 deletes a bucket with open uploads.
//!
//! States are listed first. Only listed ones are removed, along with their uploads. An upload that
//! begins meanwhile has a state that is not listed, so the bucket stays. One that completes meanwhile
//! leaves an object, so the bucket stays too: no object is ever deleted here. Uploads that were begun
//! around the proxy have no state; the backend decides about them.
//!
//! A state names its upload. States of an earlier version do not, and their uploads are found in the
//! list of uploads. A bucket that holds the states of other buckets is never cleared.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use http::{Method, Response};
use s3proxy_envelope::multipart::UploadName;
use s3proxy_protocol::xml::listing::ListEntry;

use crate::body::outbound::ResponseBody;
use crate::config::resolved::StateBucket;
use crate::failure::{Failure, Outcome};
use crate::objects::call::client_headers;
use crate::operations::request_body::BodySlot;
use crate::operations::{Job, forward};
use crate::upload_state::bucket::{Bucket, parameter};
use crate::upload_state::evidence::{StateFolder, StateOwner};
use crate::upload_state::staged::{folder_id, folders};
use crate::upload_state::state::{forget, is_gone};

/// Most states that are cleared in one request; the sweep handles buckets with more.
const MOST_STATES: usize = 100_000;

/// Uploads that are looked up, and then aborted, side by side.
const UPLOADS_AT_ONCE: usize = 8;

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
            tracing::warn!(reason = %failure, "failed to remove upload state from a bucket");
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
    failure.is_backend_code("BucketNotEmpty")
}

async fn clear(job: &Job<'_>) -> Outcome<Cleared> {
    let name = job.bucket().as_str();
    // This bucket may hold the state of uploads to any other.
    if job.call.store.policy.state_bucket == StateBucket::Named(name.to_owned()) {
        return Ok(Cleared::Nothing);
    }
    let bucket = Bucket::for_call(&job.call, name);
    let Some(states) = only_states(&bucket, &folders(&job.call.store.policy.state_prefix)).await?
    else {
        return Ok(Cleared::Nothing);
    };
    if states.is_empty() {
        return Ok(Cleared::Nothing);
    }
    let Some(uploads) = uploads_of(job, &bucket, &states).await? else {
        return Ok(Cleared::Nothing);
    };
    abort(job, &bucket, uploads).await?;
    match bucket.remove(&states).await.into_iter().next() {
        None => Ok(Cleared::Everything),
        Some(left) => Err(left.failure),
    }
}

/// Uploads of the states, open or not; `None` if one is of another bucket.
async fn uploads_of(
    job: &Job<'_>,
    bucket: &Bucket,
    states: &[ListEntry],
) -> Outcome<Option<Vec<UploadName>>> {
    let prefix = &job.call.store.policy.state_prefix;
    let ids = states
        .iter()
        .filter_map(|entry| folder_id(&entry.key, prefix));
    let ids: BTreeSet<String> = ids.map(str::to_owned).collect();
    let named = stream::iter(ids.clone())
        .map(|id| async move {
            let folder = StateFolder {
                place: bucket,
                prefix,
                id: &id,
            };
            folder.named().await
        })
        .buffer_unordered(UPLOADS_AT_ONCE);
    let named: Vec<StateOwner> = named.try_collect().await?;
    let mut uploads = Vec::new();
    let mut has_nameless = false;
    for named in named {
        match named {
            StateOwner::Upload(upload) if upload.bucket == bucket.name => uploads.push(upload),
            StateOwner::Upload(_) => return Ok(None),
            StateOwner::Nobody => has_nameless = true,
            StateOwner::Gone => {}
        }
    }
    if has_nameless {
        bucket
            .each_upload(|listed| {
                let upload = UploadName {
                    bucket: bucket.name.clone(),
                    object_key: listed.object_key.clone(),
                    upload_id: listed.upload_id.clone(),
                };
                if ids.contains(&upload.hash().id()) {
                    uploads.push(upload);
                }
            })
            .await?;
    }
    Ok(Some(uploads))
}

/// Aborts uploads, and skips those that have ended.
async fn abort(job: &Job<'_>, bucket: &Bucket, uploads: Vec<UploadName>) -> Outcome<()> {
    let hashes: Vec<_> = uploads.iter().map(UploadName::hash).collect();
    let mut aborted = stream::iter(uploads)
        .map(|upload| async move {
            let key = Some(upload.object_key.as_str());
            let mut request = bucket.request(Method::DELETE, key);
            request.query = vec![parameter("uploadId", &upload.upload_id)];
            match bucket.send(request).await {
                Ok(_) => Ok(1),
                // Ceph's gateway returns NoSuchKey for an upload that has ended.
                Err(failure) if is_gone(&failure) || is_no_such_key(&failure) => Ok(0),
                Err(failure) => Err(failure),
            }
        })
        .buffer_unordered(UPLOADS_AT_ONCE);
    let mut count = 0;
    while let Some(outcome) = aborted.next().await {
        count += outcome?;
    }
    if count > 0 {
        tracing::info!(
            bucket = bucket.name,
            uploads = count,
            "aborted the open uploads of a deleted bucket"
        );
    }
    for hash in &hashes {
        forget(&job.services.uploads, hash);
    }
    Ok(())
}

fn is_no_such_key(failure: &Failure) -> bool {
    failure.is_backend_code("NoSuchKey")
}

/// All objects of the bucket, if they are upload state only and not too many.
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
    let mut request = job.request_for(Method::DELETE);
    request.query = job.query_for_backend();
    request.headers = job.headers_for_backend()?;
    let backed = job.call.expect_success(request).await?;
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = backed.status;
    *response.headers_mut() = client_headers(&backed.headers);
    Ok(response)
}
