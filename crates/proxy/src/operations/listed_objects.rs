//! Lookup of listed objects: whether an object is sealed, and its plaintext length.
//!
//! A listing has stored sizes and ETags; only an object's metadata shows if it is sealed.
//! Results are cached by bucket, key, version and ETag, so they cannot go stale: other content has
//! another ETag. A sealed and a plain object with the same ETag are not possible either, since the
//! envelope differs for every write. This holds even for stores whose ETag is the body's MD5 alone,
//! since a client cannot store the bytes of a sealed body as a plain object.

use futures_util::stream::{self, StreamExt};
use http::Method;
use moka::sync::Cache;
use s3proxy_envelope::layout::{PlaintextLength, StoredLength, plaintext_length};
use s3proxy_envelope::legacy::legacy_plaintext_length;

use crate::config::resolved::Permission;
use crate::failure::Failure;
use crate::objects::stored::{self, Form};
use crate::operations::Job;
use crate::telemetry::metrics;

/// Capacity of the cache in bytes, names included: clients choose the length of names.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;

/// Bytes of an entry besides its names.
const ENTRY_BYTES: usize = 200;

/// Form of a listed object, with its plaintext length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListedForm {
    Sealed(PlaintextLength),
    /// An object in a legacy format.
    Legacy(PlaintextLength),
    /// Not sealed: size and ETag are shown as the backend lists them.
    AsItIs,
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Listed {
    pub(crate) object_key: String,
    pub(crate) version: Option<String>,
    /// Some backends list no ETag; the result is not cached then.
    pub(crate) etag: Option<String>,
    pub(crate) size: u64,
}

/// Results of earlier lookups.
pub(crate) struct LookupCache(Cache<(String, Listed), ListedForm>);

impl LookupCache {
    pub(crate) fn new() -> Self {
        let cache = Cache::builder()
            .max_capacity(CACHE_BYTES)
            .weigher(|(bucket, listed): &(String, Listed), _| entry_bytes(bucket, listed));
        Self(cache.build())
    }
}

fn entry_bytes(bucket: &str, listed: &Listed) -> u32 {
    let names = [&listed.version, &listed.etag].into_iter().flatten();
    let optional: usize = names.map(String::len).sum();
    let bytes = ENTRY_BYTES + bucket.len() + listed.object_key.len() + optional;
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Looks up the objects of a page concurrently, and returns results in the page's order. A failed
/// lookup falls back to the computed size and is not cached.
pub(crate) async fn look_up(job: &Job<'_>, page: Vec<Listed>) -> Vec<ListedForm> {
    let bucket = job.bucket().as_str();
    let concurrency = job.call.store.policy.lookup_concurrency.get();
    stream::iter(page)
        .map(|listed| look_up_one(job, bucket, listed))
        .buffered(concurrency)
        .collect()
        .await
}

async fn look_up_one(job: &Job<'_>, bucket: &str, listed: Listed) -> ListedForm {
    let place = job.call.store.rules.place(bucket, &listed.object_key);
    if !may_be_sealed(StoredLength(listed.size), place.legacy_reads()) {
        return ListedForm::AsItIs;
    }
    let known = (bucket.to_owned(), listed);
    // Without an ETag a cached result would survive an overwrite.
    if known.1.etag.is_some()
        && let Some(described) = job.services.lookups.0.get(&known)
    {
        return described;
    }
    job.record.looked_up();
    match describe(job, &known.1).await {
        Ok(described) => {
            if known.1.etag.is_some() {
                job.services.lookups.0.insert(known, described);
            }
            described
        }
        Err(failure) => {
            if let Failure::Stored(fault) = &failure {
                metrics::open_failed(fault.kind);
            }
            tracing::debug!(reason = %failure, "failed to look up a listed object; its size is computed");
            compute(known.1.size)
        }
    }
}

/// Whether a sealed object can have this stored length; others need no lookup. If legacy formats
/// are read, nearly every length is possible.
fn may_be_sealed(stored: StoredLength, legacy_reads: Permission) -> bool {
    let legacy = match legacy_reads {
        Permission::Allow => legacy_plaintext_length(stored).is_ok(),
        Permission::Deny => false,
    };
    legacy || plaintext_length(stored).is_some()
}

/// Looks up one object at the backend, without the cache.
pub(crate) async fn describe(job: &Job<'_>, listed: &Listed) -> Result<ListedForm, Failure> {
    let mut request = job.request_for(Method::HEAD);
    request.key = Some(listed.object_key.clone());
    if let Some(version) = &listed.version {
        request
            .query
            .push(("versionId".to_owned(), Some(version.clone())));
    }
    let response = job.call.store.backend.send(request).await?;
    if !response.status().is_success() {
        return Err(Failure::Unusable("the object could not be looked up"));
    }
    let headers = response.headers();
    let form = stored::form(headers, &job.call.store.dek_tag)?;
    let length = || stored::length_of(&form, stored::stored_length(headers)?);
    Ok(match form {
        Form::Sealed(_) => ListedForm::Sealed(length()?),
        Form::Legacy(_) => ListedForm::Legacy(length()?),
        Form::Plain => ListedForm::AsItIs,
    })
}

/// Form that follows from the stored length alone, on the assumption that the object is sealed.
pub(crate) fn compute(size: u64) -> ListedForm {
    plaintext_length(StoredLength(size)).map_or(ListedForm::AsItIs, ListedForm::Sealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lengths_that_something_sealed_has_are_looked_up() {
        for (stored, with_legacy, without) in [
            (0, false, false),
            (27, false, false),
            (28, true, false),
            (71, true, false),
            (72, true, true),
            (16_455, true, true),
            (16_456, true, false),
        ] {
            let stored = StoredLength(stored);
            assert_eq!(may_be_sealed(stored, Permission::Allow), with_legacy);
            assert_eq!(may_be_sealed(stored, Permission::Deny), without);
        }
    }
}
