//! Probe: does a backend honour the conditions on writes that migration relies on?
//!
//! An object must not be overwritten if a client has written it in the meantime. Some servers
//! silently ignore `If-Match`. So each bucket is probed with a separate object, under the state
//! prefix, where no client sees it. The object is removed at the end, versions included.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::copy_condition_probe::remove;
use super::report::{explained, shown};
use super::write_options::Writers;
use crate::app::StartError;
use crate::backend::{Family, RequestBody};
use crate::failure::{Failure, Outcome};
use crate::objects;
use crate::objects::versions::{self, NULL_VERSION};
use crate::record::RequestId;
use crate::upload_state::bucket::Bucket;

/// An ETag that no object can have.
const OTHER_ETAG: HeaderValue = HeaderValue::from_static("\"00000000000000000000000000000000\"");

const ANYTHING: HeaderValue = HeaderValue::from_static("*");

/// Refuses buckets whose backend ignores conditions, unless nobody else writes.
pub(super) async fn conditions_must_count(
    parts: &objects::Store,
    buckets: BTreeSet<&str>,
    writers: Writers,
) -> Result<(), StartError> {
    match writers {
        Writers::Stopped => return Ok(()),
        Writers::Possible => {}
    }
    for name in buckets {
        let bucket = Bucket::new(&parts.backend, name, None);
        let reason = match probe(&bucket, &parts.policy.state_prefix).await {
            Ok(Some(seen)) if is_racy(parts, &seen).await => RACY.to_owned(),
            Ok(Some(_)) => continue,
            Ok(None) => "the backend ignores conditions on writes".to_owned(),
            Err(failure) => format!(
                "cannot find out whether the backend honours conditions on writes: {}",
                explained(&failure)
            ),
        };
        return Err(unsafe_writes(name, &reason));
    }
    Ok(())
}

/// Reason to refuse a bucket that [`is_racy`].
pub(super) const RACY: &str =
    "SeaweedFS checks a condition and writes in two steps if the bucket has versions";

/// Whether a client's write can be overwritten although the backend honours conditions. `seen` are
/// the headers of the probe object. No probe shows this race reliably, so it is known by the
/// server's family.
pub(super) async fn is_racy(parts: &objects::Store, seen: &HeaderMap) -> bool {
    let has_versions = versions::version(seen).is_some_and(|version| version != NULL_VERSION);
    has_versions && parts.backend.family().await == Family::SeaweedFs
}

/// Returns the refusal to write to a bucket whose backend does not honour the conditions.
pub(super) fn unsafe_writes(bucket: &str, reason: &str) -> StartError {
    StartError::Refused(format!(
        "{}: {reason}; a write by a client could be lost. Stop everything that writes to the \
         bucket, and use --offline",
        shown(bucket)
    ))
}

/// Returns the headers of the probe object; `None` if the backend ignores conditions.
async fn probe(bucket: &Bucket, state_prefix: &str) -> Outcome<Option<HeaderMap>> {
    let key = format!("{state_prefix}probe/{}", RequestId::generate());
    let found = ask(bucket, &key).await;
    // The probe object is removed first, also if the probe failed.
    let removed = remove(bucket, &key).await;
    let found = found?;
    removed?;
    Ok(found)
}

async fn ask(bucket: &Bucket, key: &str) -> Outcome<Option<HeaderMap>> {
    put(bucket, key, None).await?;
    let seen = bucket.send(bucket.request(Method::HEAD, Some(key))).await?;
    let etag = seen.headers.get(header::ETAG).cloned();
    let etag = etag.ok_or(Failure::Unusable("an object without an ETag"))?;
    // Two conditions that must fail and one that must hold: a server that refuses every condition
    // is useless, too.
    for (name, value, expected) in [
        (header::IF_MATCH, OTHER_ETAG, false),
        (header::IF_NONE_MATCH, ANYTHING, false),
        (header::IF_MATCH, etag, true),
    ] {
        if put(bucket, key, Some((name, value))).await? != expected {
            return Ok(None);
        }
    }
    Ok(Some(seen.headers))
}

/// Sends the probe object. Returns whether it was written.
async fn put(
    bucket: &Bucket,
    key: &str,
    condition: Option<(HeaderName, HeaderValue)>,
) -> Outcome<bool> {
    let mut request = bucket.request(Method::PUT, Some(key));
    request.body = RequestBody::Held(Bytes::from_static(b"Whether conditions on writes count."));
    let is_conditional = condition.is_some();
    request.headers.extend(condition);
    match bucket.send(request).await {
        Ok(_) => Ok(true),
        Err(Failure::Answer(answer))
            if is_conditional && answer.status == StatusCode::PRECONDITION_FAILED =>
        {
            Ok(false)
        }
        Err(failure) => Err(failure),
    }
}
