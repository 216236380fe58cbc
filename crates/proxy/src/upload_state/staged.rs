//! Place of an upload's state and staged parts, and their removal.
//!
//! A staged part is the stored form of a part that can only be the last one, in a separate object.
//! Everything that belongs to one upload is in one folder, named by the upload's hash.
//!
//! The state is deleted last. While it exists, a Complete or an Abort that was interrupted can be
//! repeated and finds the rest. Leftovers without a state (a part staged by another replica at the
//! same moment) are in the same folder, where the sweep finds them too.
//!
//! In a versioned bucket a DELETE adds a marker and removes nothing. Its response shows this, and
//! then every version in the folder is deleted by its id, markers included. Unversioned buckets
//! need no further request.

use s3proxy_envelope::multipart::{PartNumber, UploadHash};
use s3proxy_protocol::etag::ETag;
use s3proxy_protocol::xml::listing::ListEntry;

use crate::config::resolved::{Policy, StateBucket};
use crate::failure::{Failure, Outcome};
use crate::objects::{ObjectRef, StoreCall};
use crate::upload_state::bucket::{Bucket, Deletion};

const STATE: &str = "state";
const PART: &str = "part-";

/// Location of one upload's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatePlace {
    pub(crate) bucket: String,
    /// Configured state prefix.
    pub(crate) prefix: String,
    pub(crate) hash: UploadHash,
}

impl StatePlace {
    /// Location for an upload to an object.
    pub(crate) fn new(policy: &Policy, object: ObjectRef<'_>, upload_id: &str) -> Self {
        Self {
            bucket: state_bucket(policy, object.bucket.as_str()).to_owned(),
            prefix: policy.state_prefix.clone(),
            hash: object.upload_hash(upload_id),
        }
    }

    fn folder(&self) -> String {
        format!("{}{}/", folders(&self.prefix), self.hash.id())
    }

    fn state_key(&self) -> String {
        self.hash.state_key(&self.prefix)
    }
}

/// Bucket for the state of uploads to `bucket`.
pub(crate) fn state_bucket<'a>(policy: &'a Policy, bucket: &'a str) -> &'a str {
    match &policy.state_bucket {
        StateBucket::Same => bucket,
        StateBucket::Named(name) => name,
    }
}

/// Common prefix of the folders of all uploads.
pub(crate) fn folders(prefix: &str) -> String {
    format!("{prefix}uploads/")
}

/// A staged part, as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StagedPart {
    pub(crate) number: PartNumber,
    /// ETag as the backend listed it, without quotes.
    pub(crate) etag: ETag,
    /// Length in stored bytes.
    pub(crate) size: u64,
    /// Time in the backend's own notation.
    pub(crate) last_modified: String,
}

/// Staged parts of an upload, in ascending order of their numbers.
pub(crate) async fn list_staged(
    call: &StoreCall<'_>,
    place: &StatePlace,
) -> Outcome<Vec<StagedPart>> {
    let folder = place.folder();
    let bucket = Bucket::for_call(call, &place.bucket);
    let entries = bucket.objects(&format!("{folder}{PART}")).await?;
    let parts = entries.iter().filter_map(|entry| staged(entry, &folder));
    let mut parts = parts.collect::<Outcome<Vec<_>>>()?;
    parts.sort_unstable_by_key(|part| part.number);
    Ok(parts)
}

/// Reads a listed object as a staged part; `None` if its key is not that of a part.
fn staged(entry: &ListEntry, folder: &str) -> Option<Outcome<StagedPart>> {
    let number = part_number(&entry.key, folder)?;
    let (Some(etag), Some(size)) = (entry.etag.as_deref(), entry.size) else {
        return Some(Err(Failure::Unusable("a listing without ETags or sizes")));
    };
    Some(Ok(StagedPart {
        number,
        etag: ETag::parse(etag),
        size,
        last_modified: entry.last_modified.clone().unwrap_or_default(),
    }))
}

/// Number in a staged part's key, accepted only in the form in which the proxy writes it.
fn part_number(key: &str, folder: &str) -> Option<PartNumber> {
    let text = key.strip_prefix(folder)?.strip_prefix(PART)?;
    let number = text.parse().ok().and_then(PartNumber::new)?;
    (number.get().to_string() == text).then_some(number)
}

/// Deletes one staged part, if it exists.
pub(crate) async fn delete_staged(
    call: &StoreCall<'_>,
    place: &StatePlace,
    number: PartNumber,
) -> Outcome<()> {
    let bucket = Bucket::for_call(call, &place.bucket);
    let key = place.hash.part_key(&place.prefix, number);
    match bucket.delete(&key).await? {
        Deletion::Done => Ok(()),
        Deletion::Marked => {
            let mut versions = versions(&bucket, &key).await?;
            // The prefix also matches longer numbers, such as `part-1` and `part-10`.
            versions.retain(|entry| entry.key == key);
            remove_all(&bucket, &versions).await
        }
    }
}

/// Deletes everything that belongs to an upload, the state last.
pub(crate) async fn delete_state(call: &StoreCall<'_>, place: &StatePlace) -> Outcome<()> {
    let bucket = Bucket::for_call(call, &place.bucket);
    let folder = place.folder();
    let listed = bucket.objects(&folder).await?;
    let state = place.state_key();
    let parts = listed.into_iter().map(|entry| entry.key);
    // The state is deleted even if it is not listed: a versioned bucket may hide it under a marker.
    let keys = parts.filter(|key| *key != state).chain([state.clone()]);
    for key in keys {
        match bucket.delete(&key).await? {
            Deletion::Done => {}
            Deletion::Marked => {
                // One marker proves that the bucket is versioned: the rest goes by version id.
                let mut versions = versions(&bucket, &folder).await?;
                // Versions are listed by key, and `state` sorts after `part-`.
                let at_state = versions.iter().position(|entry| entry.key == state);
                let states = at_state.map_or_else(Vec::new, |at| versions.split_off(at));
                remove_all(&bucket, &versions).await?;
                return remove_all(&bucket, &states).await;
            }
        }
    }
    Ok(())
}

async fn versions(bucket: &Bucket, prefix: &str) -> Outcome<Vec<ListEntry>> {
    let versions = bucket.versions(prefix).await?;
    versions.ok_or(Failure::Unusable(
        "a delete marker, but no list of versions",
    ))
}

async fn remove_all(bucket: &Bucket, entries: &[ListEntry]) -> Outcome<()> {
    match bucket.remove(entries).await.into_iter().next() {
        None => Ok(()),
        Some(left) => Err(left.failure),
    }
}

/// Upload id in the key of a state or of a staged part.
pub(crate) fn folder_id<'k>(key: &'k str, prefix: &str) -> Option<&'k str> {
    let (id, rest) = key.strip_prefix(&folders(prefix))?.split_once('/')?;
    let of_state = rest == STATE || rest.starts_with(PART);
    (of_state && !id.is_empty()).then_some(id)
}

#[cfg(test)]
mod tests {
    use s3proxy_envelope::names::{BucketStr, KeyStr, UploadIdStr};

    use s3proxy_protocol::xml::listing::EntryKind;

    use super::*;

    fn place() -> StatePlace {
        StatePlace {
            bucket: "b".to_owned(),
            prefix: ".s3proxy/".to_owned(),
            hash: UploadHash::new(BucketStr("b"), KeyStr("k"), UploadIdStr("u")),
        }
    }

    fn entry(key: String) -> ListEntry {
        ListEntry {
            kind: EntryKind::Object,
            key,
            etag: Some("\"e\"".to_owned()),
            size: Some(72),
            version_id: None,
            last_modified: Some("2026-07-30T12:00:00.000Z".to_owned()),
            is_latest: false,
        }
    }

    #[test]
    fn the_folder_holds_the_keys_that_the_format_names() {
        let place = place();
        let part = place.hash.part_key(&place.prefix, PartNumber::MAX);
        assert_eq!(part_number(&part, &place.folder()), Some(PartNumber::MAX));
        for key in [part, place.state_key()] {
            assert!(key.starts_with(&place.folder()), "{key}");
            assert_eq!(
                folder_id(&key, &place.prefix),
                Some(place.hash.id().as_str())
            );
        }
    }

    #[test]
    fn only_numbers_as_the_proxy_writes_them_are_parts() {
        let folder = place().folder();
        for (name, number) in [
            ("part-1", Some(1)),
            ("part-10000", Some(10_000)),
            ("part-0", None),
            ("part-10001", None),
            ("part-01", None),
            ("part-+1", None),
            ("part-1/x", None),
            ("part-", None),
            ("state", None),
        ] {
            let found = part_number(&format!("{folder}{name}"), &folder);
            assert_eq!(found.map(PartNumber::get), number, "{name}");
        }
    }

    #[test]
    fn a_staged_part_has_its_etag_without_quotes() {
        let folder = place().folder();
        let part = staged(&entry(format!("{folder}part-7")), &folder)
            .unwrap()
            .unwrap();
        assert_eq!(
            (part.number.get(), part.etag.as_str(), part.size),
            (7, "e", 72)
        );
    }

    #[test]
    fn a_part_listed_without_etag_is_an_error_and_never_passed_over() {
        let folder = place().folder();
        let mut entry = entry(format!("{folder}part-7"));
        entry.etag = None;
        assert!(staged(&entry, &folder).unwrap().is_err());
    }

    #[test]
    fn other_keys_under_the_prefix_belong_to_no_upload() {
        for key in [
            ".s3proxy/x/state",
            ".s3proxy/uploads/state",
            ".s3proxy/uploads//state",
            ".s3proxy/uploads/i/other",
        ] {
            assert_eq!(folder_id(key, ".s3proxy/"), None, "{key}");
        }
    }
}
