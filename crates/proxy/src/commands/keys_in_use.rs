//! Keys that are still needed, by current objects, old versions and uploads in progress.
//!
//! The state of an upload carries the envelope of the object that the upload will make, under the
//! key of its beginning. States of ended uploads count, too, until a sweep removes them, since
//! nothing here can distinguish them.
//!
//! Invariant: memory is bounded for any number of uploads, and for any number of keys that
//! envelopes name.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::Method;
use s3proxy_envelope::multipart::{SealedUploadState, UploadName};
use serde_json::{Value, json};

use super::report::{counted, explained, shown};
use crate::failure::{Failure, Outcome};
use crate::objects::call::read_bounded;
use crate::upload_state::bucket::Bucket;
use crate::upload_state::evidence::named_upload;
use crate::upload_state::staged::{folder_id, folders};
use crate::upload_state::state::MAX_STATE_BYTES;

/// Number of states that are read concurrently.
const STATES_AT_ONCE: usize = 8;

/// Numbers of objects and uploads that need one key.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyUse {
    pub(super) current: u64,
    pub(super) old: u64,
    pub(super) uploads: u64,
}

/// Needs by the name of the key.
#[derive(Debug, Default)]
pub(super) struct KeyNeeds(BTreeMap<String, KeyUse>);

/// Largest number of distinct keys. Envelopes name them, so anybody who can write to the bucket can
/// invent some.
const MOST_KEYS: usize = 1000;

/// Label for all further keys. No key has this name.
const OTHER_KEYS: &str = "(others)";

impl KeyNeeds {
    /// Returns the counts for this key.
    pub(super) fn of(&mut self, key: &str) -> &mut KeyUse {
        let has_room = self.0.len() < MOST_KEYS || self.0.contains_key(key);
        let key = if has_room { key } else { OTHER_KEYS };
        self.0.entry(key.to_owned()).or_default()
    }

    /// Merges the counts of another walk over the same objects.
    pub(super) fn include(&mut self, found: Self) {
        for (key, found) in found.0 {
            let need = self.of(&key);
            // The maximum, not the sum: both walks saw the same objects.
            need.current = need.current.max(found.current);
            need.old = need.old.max(found.old);
        }
    }

    /// Removes the keys that new objects get.
    pub(super) fn leave_out(&mut self, wanted: &BTreeSet<String>) {
        self.0.retain(|key, _| !wanted.contains(key));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Memory limit for uploads, in bytes: more than 100,000 of them, with long names.
const UPLOADS_BYTES: usize = 64 * 1024 * 1024;

/// Memory of an upload without its names, in bytes.
const ENTRY_BYTES: usize = 256;

/// Uploads with state in some buckets, by the folder of the state. Uploads that have ended are
/// included until a sweep removes their state.
#[derive(Debug)]
pub(super) struct OpenUploads {
    found: BTreeMap<String, UploadKey>,
    /// Number of bytes left for further uploads.
    room: usize,
}

/// Why the list of uploads is incomplete.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenUploadsError {
    #[error("{}", explained(.0))]
    Backend(#[from] Failure),
    #[error(
        "too many are open to compare in {} MiB of memory; abort abandoned ones, run \
         `s3proxy sweep`, and repeat this command",
        UPLOADS_BYTES >> 20
    )]
    TooMany,
}

/// Key that one upload needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UploadKey {
    /// Key that its object will be under; `None` if the state cannot be read.
    pub(super) key_name: Option<String>,
    /// Name of the upload; `None` in states of earlier versions.
    pub(super) upload: Option<UploadName>,
}

impl Default for OpenUploads {
    fn default() -> Self {
        Self {
            found: BTreeMap::new(),
            room: UPLOADS_BYTES,
        }
    }
}

impl UploadKey {
    fn bytes(&self) -> usize {
        let key_name = self.key_name.as_ref().map_or(0, String::len);
        let upload = self.upload.as_ref().map_or(0, |upload| {
            upload.bucket.len() + upload.object_key.len() + upload.upload_id.len()
        });
        key_name + upload
    }
}

impl OpenUploads {
    /// Adds the uploads with state in a bucket.
    pub(super) async fn add(
        &mut self,
        bucket: &Bucket,
        state_prefix: &str,
    ) -> Result<(), OpenUploadsError> {
        let mut ids = Vec::new();
        let mut has_room = Ok(());
        bucket
            .walk_objects(&folders(state_prefix), |entry| {
                if entry.key.ends_with("/state")
                    && let Some(id) = folder_id(&entry.key, state_prefix)
                {
                    // Reserved first, so that the list is bounded while it grows.
                    has_room = self.reserve(ENTRY_BYTES + id.len() + entry.key.len());
                    ids.push((id.to_owned(), entry.key.clone()));
                }
                match has_room {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            })
            .await?;
        has_room?;
        let mut read = stream::iter(ids)
            .map(|(id, key)| async move {
                let found = read_state(bucket, &id, &key).await?;
                Ok::<_, Failure>(found.map(|found| (id, found)))
            })
            .buffer_unordered(STATES_AT_ONCE);
        while let Some(found) = read.next().await {
            if let Some((id, upload)) = found? {
                self.reserve(upload.bytes())?;
                self.found.insert(id, upload);
            }
        }
        Ok(())
    }

    fn reserve(&mut self, bytes: usize) -> Result<(), OpenUploadsError> {
        let left = self.room.checked_sub(bytes);
        self.room = left.ok_or(OpenUploadsError::TooMany)?;
        Ok(())
    }

    /// Returns the number of uploads that need each key.
    pub(super) fn by_key(&self) -> BTreeMap<&str, u64> {
        let mut counts = BTreeMap::new();
        for name in self.found.values().filter_map(|it| it.key_name.as_deref()) {
            *counts.entry(name).or_default() += 1;
        }
        counts
    }

    /// Returns the number of unreadable states.
    pub(super) fn unreadable(&self) -> u64 {
        let unreadable = self.found.values().filter(|it| it.key_name.is_none());
        unreadable.count() as u64
    }

    /// Returns the uploads that existed before and do not any more: aborted, or completed into an
    /// object.
    pub(super) fn since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a UploadKey> {
        let gone = before.found.iter();
        let gone = gone.filter(|(id, _)| !self.found.contains_key(*id));
        gone.map(|(_, upload)| upload)
    }
}

/// Reads a state; `None` if it was deleted since it was listed.
async fn read_state(bucket: &Bucket, id: &str, key: &str) -> Outcome<Option<UploadKey>> {
    let backed = match bucket.send(bucket.request(Method::GET, Some(key))).await {
        Ok(backed) => backed,
        Err(failure) if super::missing(&failure) => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let state = match read_bounded(backed.body, MAX_STATE_BYTES).await {
        Ok(bytes) => bytes,
        // Longer than any state: unreadable, which counts against the old key.
        Err(Failure::Unusable(_)) => Bytes::new(),
        Err(failure) => return Err(failure),
    };
    let parsed = SealedUploadState::parse(&state).ok();
    Ok(Some(UploadKey {
        key_name: parsed.map(|state| state.envelope.key_name),
        upload: named_upload(&state, id),
    }))
}

/// Renders the needs for programs.
pub(super) fn to_json(needs: &KeyNeeds) -> Value {
    let needs = needs.0.iter().map(|(key, need)| {
        json!({
            "encryption_key": key,
            "current_objects": need.current,
            "old_versions": need.old,
            "open_uploads": need.uploads,
        })
    });
    Value::Array(needs.collect())
}

/// Renders the needs for people: one sentence per key.
pub(super) fn sentences(needs: &KeyNeeds) -> Vec<String> {
    let sentence = |(key, need): (&String, &KeyUse)| {
        let counts = [
            (need.current, "current object"),
            (need.old, "old version"),
            (need.uploads, "open upload"),
        ];
        let counts = counts.iter().filter(|(number, _)| *number > 0);
        let counts: Vec<String> = counts
            .map(|(number, noun)| counted(*number, noun))
            .collect();
        format!(
            "Key {} is still needed by {}.",
            shown(key),
            counts.join(", ")
        )
    };
    needs.0.iter().map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(key_name: Option<&str>) -> UploadKey {
        UploadKey {
            key_name: key_name.map(str::to_owned),
            upload: None,
        }
    }

    #[test]
    fn uploads_are_counted_by_key_and_those_that_are_gone_are_told() {
        let uploads = |named: &[(&str, Option<&str>)]| {
            let named = named.iter();
            OpenUploads {
                found: named
                    .map(|(id, key)| ((*id).to_owned(), upload(*key)))
                    .collect(),
                ..OpenUploads::default()
            }
        };
        let before = uploads(&[("1", Some("a")), ("2", Some("b")), ("3", None)]);
        let after = uploads(&[("2", Some("b")), ("4", Some("b"))]);
        assert_eq!(after.by_key(), BTreeMap::from([("b", 2)]));
        assert_eq!((before.unreadable(), after.unreadable()), (1, 0));
        let gone: Vec<&UploadKey> = after.since(&before).collect();
        assert_eq!(gone, [&upload(Some("a")), &upload(None)]);
    }

    #[test]
    fn keys_beyond_a_number_are_counted_together() {
        let mut needs = KeyNeeds::default();
        for number in 0..3 * MOST_KEYS {
            needs.of(&format!("made up {number}")).current += 1;
        }
        assert_eq!(needs.0.len(), MOST_KEYS + 1);
        assert_eq!(needs.0[OTHER_KEYS].current, 2 * MOST_KEYS as u64);
    }

    #[test]
    fn a_sentence_says_what_a_key_is_needed_by() {
        let need = |current, old, uploads| KeyUse {
            current,
            old,
            uploads,
        };
        let needs = KeyNeeds(BTreeMap::from([
            ("a".to_owned(), need(0, 2, 1)),
            ("b".to_owned(), need(1, 0, 0)),
        ]));
        assert_eq!(
            sentences(&needs),
            [
                "Key a is still needed by 2 old versions, 1 open upload.",
                "Key b is still needed by 1 current object.",
            ]
        );
        assert_eq!(to_json(&needs)[0]["open_uploads"], 1);
    }
}
