//! Probe: does a backend honour the conditions on copies that rewrapping relies on?
//!
//! A copy onto itself must not happen if a client has written the object in the meantime. Some
//! servers silently ignore the condition. So each bucket is probed with an object of the command's
//! own, under the state prefix, where no client sees it. The object is removed at the end, versions
//! included.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use s3proxy_protocol::copy_source::CopySource;
use s3proxy_protocol::name::{BucketName, ObjectKey};

use crate::backend::RequestBody;
use crate::failure::{Failure, Outcome};
use crate::objects::rekey::Conditions;
use crate::record::RequestId;
use crate::upload_state::bucket::{Bucket, Deletion};

const COPY_SOURCE: HeaderName = HeaderName::from_static("x-amz-copy-source");
const PIN: HeaderName = HeaderName::from_static("x-amz-copy-source-if-match");
const DIRECTIVE: HeaderName = HeaderName::from_static("x-amz-metadata-directive");

/// An ETag that no object can have.
const OTHER_ETAG: HeaderValue = HeaderValue::from_static("\"00000000000000000000000000000000\"");

/// Result of a copy with conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Copied,
    ConditionFailed,
    /// The server reports that it does not know the condition.
    NotKnown,
}

/// Probes the conditions; `None` if the condition on the source is ignored.
pub(super) async fn conditions(bucket: &Bucket, state_prefix: &str) -> Outcome<Option<Conditions>> {
    let key = format!("{state_prefix}probe/{}", RequestId::generate());
    let found = ask(bucket, &key).await;
    let removed = remove(bucket, &key).await;
    // The probe object is removed first, also if the probe failed.
    let found = found?;
    removed?;
    Ok(found)
}

async fn ask(bucket: &Bucket, key: &str) -> Outcome<Option<Conditions>> {
    let mut request = bucket.request(Method::PUT, Some(key));
    request.body = RequestBody::Held(Bytes::from_static(b"Whether conditions on copies count."));
    bucket.send(request).await?;
    let seen = bucket.send(bucket.request(Method::HEAD, Some(key))).await?;
    let etag = seen.headers.get(header::ETAG).cloned();
    let etag = etag.ok_or(Failure::Unusable("an object without an ETag"))?;
    // A wrong ETag of the source must prevent the copy.
    match copy(bucket, key, &OTHER_ETAG, None).await? {
        Answer::Copied | Answer::NotKnown => return Ok(None),
        Answer::ConditionFailed => {}
    }
    // So must a wrong ETag of the target.
    match copy(bucket, key, &etag, Some(&OTHER_ETAG)).await? {
        Answer::Copied | Answer::NotKnown => return Ok(Some(Conditions::Source)),
        Answer::ConditionFailed => {}
    }
    Ok(match copy(bucket, key, &etag, Some(&etag)).await? {
        Answer::Copied => Some(Conditions::SourceAndTarget),
        // A condition that always fails is useless.
        Answer::ConditionFailed | Answer::NotKnown => Some(Conditions::Source),
    })
}

async fn copy(
    bucket: &Bucket,
    key: &str,
    source_etag: &HeaderValue,
    target_etag: Option<&HeaderValue>,
) -> Outcome<Answer> {
    let itself = CopySource {
        bucket: BucketName::new(bucket.name.as_str())?,
        key: ObjectKey::new(key)?,
        version_id: None,
    };
    let itself = HeaderValue::try_from(itself.encode()).expect("percent-encoded text is ASCII");
    let mut request = bucket.request(Method::PUT, Some(key));
    let mut headers = HeaderMap::from_iter([
        (COPY_SOURCE, itself),
        (PIN, source_etag.clone()),
        (DIRECTIVE, HeaderValue::from_static("REPLACE")),
    ]);
    headers.extend(target_etag.map(|etag| (header::IF_MATCH, etag.clone())));
    request.headers = headers;
    match bucket.send(request).await {
        Ok(_) => Ok(Answer::Copied),
        Err(Failure::Answer(answer)) => match answer.status {
            StatusCode::PRECONDITION_FAILED => Ok(Answer::ConditionFailed),
            StatusCode::NOT_IMPLEMENTED | StatusCode::BAD_REQUEST => Ok(Answer::NotKnown),
            _ => Err(Failure::Answer(answer)),
        },
        Err(failure) => Err(failure),
    }
}

pub(super) async fn remove(bucket: &Bucket, key: &str) -> Outcome<()> {
    match bucket.delete(key).await? {
        Deletion::Done => Ok(()),
        Deletion::Marked => {
            // In a versioned bucket the deletion only added a marker: remove every version.
            let versions = bucket.versions(key).await?.unwrap_or_default();
            let failed = bucket.remove(&versions).await;
            match failed.into_iter().next() {
                None => Ok(()),
                Some(left) => Err(left.failure),
            }
        }
    }
}
