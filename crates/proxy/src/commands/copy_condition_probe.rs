//! Probe: does a backend honour the conditions on copies that rewrapping relies on?
//!
//! A copy onto itself must not happen if a client has written the object in the meantime. Some
//! servers silently ignore the condition. So each bucket is probed with a separate object, under
//! the state prefix, where no client sees it. The object is removed at the end, versions included.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use s3proxy_protocol::copy_source::CopySource;
use s3proxy_protocol::name::{BucketName, ObjectKey};

use super::report::explained;
use super::write_condition_probe::{RACY, is_racy, unsafe_writes};
use super::write_options::Writers;
use crate::app::StartError;
use crate::backend::RequestBody;
use crate::failure::{Failure, Outcome};
use crate::objects::Store;
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
enum CopyOutcome {
    Copied,
    ConditionFailed,
    /// The server does not implement the condition, and says so.
    NotImplemented,
}

/// Returns the conditions that the backend honours in each bucket. Refuses if a client's write
/// could be lost.
pub(super) async fn honoured(
    parts: &Store,
    buckets: BTreeSet<&str>,
    writers: Writers,
) -> Result<BTreeMap<String, Conditions>, StartError> {
    let mut honoured = BTreeMap::new();
    for name in buckets {
        let conditions = match writers {
            Writers::Stopped => Conditions::Source,
            Writers::Possible => {
                let bucket = Bucket::new(&parts.backend, name, None);
                let probed = match conditions(&bucket, &parts.policy.state_prefix).await {
                    Ok((_, seen)) if is_racy(parts, &seen).await => Err(RACY.to_owned()),
                    Ok((conditions, _)) => sufficient(Ok(conditions)),
                    Err(failure) => sufficient(Err(failure)),
                };
                probed.map_err(|reason| unsafe_writes(name, &reason))?
            }
        };
        honoured.insert(name.to_owned(), conditions);
    }
    Ok(honoured)
}

/// Returns the conditions if clients may write at the same time, and otherwise the reason.
fn sufficient(probed: Outcome<Option<Conditions>>) -> Result<Conditions, String> {
    match probed {
        Ok(Some(Conditions::SourceAndTarget)) => Ok(Conditions::SourceAndTarget),
        Ok(Some(Conditions::Source)) => Err(
            "the backend ignores the condition on the target of a copy, so it overwrites an object \
             that was written between the check of the source and the copy"
                .to_owned(),
        ),
        Ok(None) => Err("the backend ignores conditions on copies".to_owned()),
        Err(failure) => Err(format!(
            "cannot find out whether the backend honours conditions on copies: {}",
            explained(&failure)
        )),
    }
}

/// Probes the conditions; `None` if the condition on the source is ignored. Also returns the
/// headers of the probe object.
async fn conditions(
    bucket: &Bucket,
    state_prefix: &str,
) -> Outcome<(Option<Conditions>, HeaderMap)> {
    let key = format!("{state_prefix}probe/{}", RequestId::generate());
    let found = ask(bucket, &key).await;
    let removed = remove(bucket, &key).await;
    // The probe object is removed first, also if the probe failed.
    let found = found?;
    removed?;
    Ok(found)
}

async fn ask(bucket: &Bucket, key: &str) -> Outcome<(Option<Conditions>, HeaderMap)> {
    let mut request = bucket.request(Method::PUT, Some(key));
    request.body = RequestBody::Held(Bytes::from_static(b"Whether conditions on copies count."));
    bucket.send(request).await?;
    let seen = bucket.send(bucket.request(Method::HEAD, Some(key))).await?;
    let etag = seen.headers.get(header::ETAG).cloned();
    let etag = etag.ok_or(Failure::Unusable("an object without an ETag"))?;
    Ok((honoured_by_copies(bucket, key, &etag).await?, seen.headers))
}

async fn honoured_by_copies(
    bucket: &Bucket,
    key: &str,
    etag: &HeaderValue,
) -> Outcome<Option<Conditions>> {
    // A wrong ETag of the source must prevent the copy.
    match copy(bucket, key, &OTHER_ETAG, None).await? {
        CopyOutcome::Copied | CopyOutcome::NotImplemented => return Ok(None),
        CopyOutcome::ConditionFailed => {}
    }
    // So must a wrong ETag of the target.
    match copy(bucket, key, etag, Some(&OTHER_ETAG)).await? {
        CopyOutcome::Copied | CopyOutcome::NotImplemented => return Ok(Some(Conditions::Source)),
        CopyOutcome::ConditionFailed => {}
    }
    Ok(match copy(bucket, key, etag, Some(etag)).await? {
        CopyOutcome::Copied => Some(Conditions::SourceAndTarget),
        // A condition that always fails is useless.
        CopyOutcome::ConditionFailed | CopyOutcome::NotImplemented => Some(Conditions::Source),
    })
}

async fn copy(
    bucket: &Bucket,
    key: &str,
    source_etag: &HeaderValue,
    target_etag: Option<&HeaderValue>,
) -> Outcome<CopyOutcome> {
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
        Ok(_) => Ok(CopyOutcome::Copied),
        Err(Failure::Answer(answer)) => match answer.status {
            StatusCode::PRECONDITION_FAILED => Ok(CopyOutcome::ConditionFailed),
            StatusCode::NOT_IMPLEMENTED | StatusCode::BAD_REQUEST => {
                Ok(CopyOutcome::NotImplemented)
            }
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
