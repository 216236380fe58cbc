//! Which keys are still needed, and by what: current objects, old versions, uploads in progress.
//!
//! An upload carries the envelope of the object to be, under the key of its beginning, in its state
//! beside the data. States of uploads that have ended count too until a sweep removes them, since
//! nothing here can tell.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use futures_util::stream::{self, StreamExt};
use http::Method;
use s3proxy_envelope::multipart::SealedUploadState;
use serde_json::{Value, json};

use super::report::{counted, shown};
use crate::execute::multipart::bucket::Bucket;
use crate::execute::multipart::staged::folders;
use crate::execute::{Outcome, answer};
use crate::respond::Failure;

/// Longest state that is read.
const MAX_STATE_BYTES: usize = 64 * 1024;

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

/// Counts the uploads whose state lies in a bucket, by the key that they need. The second number
/// is of states that cannot be read.
pub(super) async fn uploads(
    bucket: &Bucket,
    state_prefix: &str,
) -> Outcome<(BTreeMap<String, u64>, u64)> {
    let mut keys = Vec::new();
    let mut see = |key: &str| {
        if key.ends_with("/state") {
            keys.push(key.to_owned());
        }
    };
    let folders = folders(state_prefix);
    bucket
        .walk_objects(&folders, |entry| {
            see(&entry.key);
            ControlFlow::Continue(())
        })
        .await?;
    let mut read = stream::iter(keys)
        .map(|key| async move { key_of_state(bucket, &key).await })
        .buffer_unordered(STATES_AT_ONCE);
    let (mut found, mut unreadable) = (BTreeMap::new(), 0);
    while let Some(name) = read.next().await {
        match name? {
            State::Under(name) => *found.entry(name).or_default() += 1,
            State::Unreadable => unreadable += 1,
            State::Gone => {}
        }
    }
    Ok((found, unreadable))
}

enum State {
    Under(String),
    Unreadable,
    Gone,
}

async fn key_of_state(bucket: &Bucket, key: &str) -> Outcome<State> {
    let backed = match bucket.send(bucket.request(Method::GET, Some(key))).await {
        Ok(backed) => backed,
        Err(failure) if super::missing(&failure) => return Ok(State::Gone),
        Err(failure) => return Err(failure),
    };
    let bytes = match answer::read_bounded(backed.body, MAX_STATE_BYTES).await {
        Ok(bytes) => bytes,
        Err(Failure::Unusable(_)) => return Ok(State::Unreadable),
        Err(failure) => return Err(failure),
    };
    Ok(match SealedUploadState::parse(&bytes) {
        Ok(state) => State::Under(state.envelope.key_name),
        Err(_) => State::Unreadable,
    })
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
