//! Which keys are still needed, and by what: current objects, old versions, uploads in progress.
//!
//! An upload carries the envelope of the object to be, under the key of its beginning, in its state
//! beside the data. States of uploads that have ended count too until a sweep removes them, since
//! nothing here can tell.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::Method;
use s3proxy_envelope::multipart::{SealedUploadState, UploadName};
use serde_json::{Value, json};

use super::report::{counted, shown};
use crate::execute::multipart::bucket::Bucket;
use crate::execute::multipart::evidence::named_upload;
use crate::execute::multipart::staged::{folder_id, folders};
use crate::execute::multipart::state::MAX_STATE_BYTES;
use crate::execute::{Outcome, answer};
use crate::respond::Failure;

/// States that are read side by side.
const STATES_AT_ONCE: usize = 8;

/// What needs one key.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) current: u64,
    pub(super) old: u64,
    pub(super) uploads: u64,
}

/// By the key's name.
pub(super) type Needs = BTreeMap<String, Need>;

/// The uploads whose state lies in some buckets, by the folder of the state. Those that have ended
/// stay here until a sweep removes their state.
#[derive(Debug, Default)]
pub(super) struct Uploads(BTreeMap<String, UploadKey>);

/// The key of one upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UploadKey {
    /// The key that its object will be under; none where the state cannot be read.
    pub(super) key_name: Option<String>,
    /// None in states of earlier versions.
    pub(super) upload: Option<UploadName>,
}

impl Uploads {
    /// Adds the uploads whose state lies in a bucket.
    pub(super) async fn add(&mut self, bucket: &Bucket, state_prefix: &str) -> Outcome<()> {
        let mut ids = Vec::new();
        bucket
            .walk_objects(&folders(state_prefix), |entry| {
                if entry.key.ends_with("/state")
                    && let Some(id) = folder_id(&entry.key, state_prefix)
                {
                    ids.push((id.to_owned(), entry.key.clone()));
                }
                ControlFlow::Continue(())
            })
            .await?;
        let mut read = stream::iter(ids)
            .map(|(id, key)| async move {
                let found = read_state(bucket, &id, &key).await?;
                Ok::<_, Failure>(found.map(|found| (id, found)))
            })
            .buffer_unordered(STATES_AT_ONCE);
        while let Some(found) = read.next().await {
            self.0.extend(found?);
        }
        Ok(())
    }

    /// How many need each key.
    pub(super) fn by_key(&self) -> BTreeMap<&str, u64> {
        let mut counts = BTreeMap::new();
        for name in self.0.values().filter_map(|it| it.key_name.as_deref()) {
            *counts.entry(name).or_default() += 1;
        }
        counts
    }

    /// How many states cannot be read.
    pub(super) fn unreadable(&self) -> u64 {
        let unreadable = self.0.values().filter(|it| it.key_name.is_none());
        unreadable.count() as u64
    }

    /// Uploads that were there before and are no longer: aborted, or completed into an object.
    pub(super) fn since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a UploadKey> {
        let gone = before.0.iter().filter(|(id, _)| !self.0.contains_key(*id));
        gone.map(|(_, upload)| upload)
    }
}

/// None where the state is gone since it was listed.
async fn read_state(bucket: &Bucket, id: &str, key: &str) -> Outcome<Option<UploadKey>> {
    let backed = match bucket.send(bucket.request(Method::GET, Some(key))).await {
        Ok(backed) => backed,
        Err(failure) if super::missing(&failure) => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let state = match answer::read_bounded(backed.body, MAX_STATE_BYTES).await {
        Ok(bytes) => bytes,
        Err(Failure::Unusable(_)) => Bytes::new(),
        Err(failure) => return Err(failure),
    };
    let parsed = SealedUploadState::parse(&state).ok();
    Ok(Some(UploadKey {
        key_name: parsed.map(|state| state.envelope.key_name),
        upload: named_upload(&state, id),
    }))
}

/// For programs.
pub(super) fn to_json(needs: &Needs) -> Value {
    let needs = needs.iter().map(|(key, need)| {
        json!({
            "encryption_key": key,
            "current_objects": need.current,
            "old_versions": need.old,
            "open_uploads": need.uploads,
        })
    });
    Value::Array(needs.collect())
}

/// For people: a sentence for each key.
pub(super) fn sentences(needs: &Needs) -> Vec<String> {
    let sentence = |(key, need): (&String, &Need)| {
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
    needs.iter().map(sentence).collect()
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
            Uploads(
                named
                    .map(|(id, key)| ((*id).to_owned(), upload(*key)))
                    .collect(),
            )
        };
        let before = uploads(&[("1", Some("a")), ("2", Some("b")), ("3", None)]);
        let after = uploads(&[("2", Some("b")), ("4", Some("b"))]);
        assert_eq!(after.by_key(), BTreeMap::from([("b", 2)]));
        assert_eq!((before.unreadable(), after.unreadable()), (1, 0));
        let gone: Vec<&UploadKey> = after.since(&before).collect();
        assert_eq!(gone, [&upload(Some("a")), &upload(None)]);
    }

    #[test]
    fn a_sentence_says_what_a_key_is_needed_by() {
        let need = |current, old, uploads| Need {
            current,
            old,
            uploads,
        };
        let needs = Needs::from([
            ("a".to_owned(), need(0, 2, 1)),
            ("b".to_owned(), need(1, 0, 0)),
        ]);
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
