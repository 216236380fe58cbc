//! Keys under which objects may still be sealed: those of the configuration, and those of requests
//! that began under an earlier one.
//!
//! A request keeps the keys that it began with, however long it takes. So a key that a reload has
//! replaced stays in use until the last such request has ended, which is logged, counted and shown
//! at the admin listener. Only then can a rewrap find every object under it.
//!
//! A configuration is over once its state, which every request holds from beginning to end, is
//! dropped. The number of requests is counted in addition, for operators: from admission under all
//! keys that the request may need, and under the one key that it does need once that is known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::telemetry::metrics::{self, GaugeGuard};

/// Path at the admin listener.
pub(crate) const PATH: &str = "/keys";

/// The keys in use, of the current and all earlier configurations.
#[derive(Default)]
pub(crate) struct KeysInUse(Mutex<BTreeMap<Arc<str>, KeyUse>>);

#[derive(Default)]
struct KeyUse {
    /// Number of configurations that are not over.
    configurations: usize,
    requests: u64,
    /// Whether the current configuration is among them.
    is_current: bool,
}

/// The keys that a configuration seals under; in use until this is dropped.
pub(crate) struct SealingKeys {
    names: Vec<Arc<str>>,
    all: Arc<KeysInUse>,
}

/// A request that may seal under some keys, until this is dropped.
pub(crate) struct SealingRequest {
    counted: Vec<(Arc<str>, GaugeGuard)>,
    all: Arc<KeysInUse>,
}

impl KeysInUse {
    /// Registers a configuration that replaces the one before.
    pub(crate) fn begin(self: &Arc<Self>, names: BTreeSet<&str>) -> SealingKeys {
        let mut uses = self.uses();
        // Keys of the previous configuration stay listed while its requests run.
        uses.values_mut().for_each(|it| it.is_current = false);
        let names = names.into_iter().map(|name| {
            let name: Arc<str> = name.into();
            let it = uses.entry(Arc::clone(&name)).or_default();
            it.configurations += 1;
            it.is_current = true;
            name
        });
        SealingKeys {
            names: names.collect(),
            all: Arc::clone(self),
        }
    }

    /// Returns the state for the admin listener.
    pub(crate) fn to_json(&self) -> Value {
        let uses = self.uses();
        let keys = uses.iter().map(
            |(name, it)| json!({ "key": &**name, "seals": it.is_current, "requests": it.requests }),
        );
        json!({ "keys": keys.collect::<Vec<_>>() })
    }

    fn uses(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, KeyUse>> {
        // A poisoned lock is usable: each update of a count is complete or was not made.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SealingKeys {
    /// Counts a request that has begun, under every key that it may need.
    pub(crate) fn request(&self) -> SealingRequest {
        let mut uses = self.all.uses();
        let counted = self.names.iter().map(|name| {
            if let Some(it) = uses.get_mut(name) {
                it.requests += 1;
            }
            (Arc::clone(name), metrics::request_under_key(name))
        });
        SealingRequest {
            counted: counted.collect(),
            all: Arc::clone(&self.all),
        }
    }
}

impl SealingRequest {
    /// Narrows the request to the key that it seals under, or to none.
    pub(crate) fn only(&mut self, name: Option<&str>) {
        let mut uses = self.all.uses();
        self.counted.retain(|(counted, _)| {
            let stays = name == Some(&**counted);
            if let Some(it) = uses.get_mut(counted)
                && !stays
            {
                it.requests = it.requests.saturating_sub(1);
            }
            stays
        });
    }
}

impl Drop for SealingRequest {
    fn drop(&mut self) {
        self.only(None);
    }
}

impl Drop for SealingKeys {
    fn drop(&mut self) {
        let mut ended = Vec::new();
        let mut uses = self.all.uses();
        for name in &self.names {
            if let Some(it) = uses.get_mut(name) {
                it.configurations -= 1;
                // When the program ends, the current configuration is dropped, too: that is not a
                // key out of use.
                if it.configurations == 0 && !it.is_current {
                    uses.remove(name);
                    ended.push(name);
                }
            }
        }
        // The lock is released before logging, which may block.
        drop(uses);
        for key in ended {
            tracing::info!(%key, "no request in flight seals under this key any more");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(keys: &KeysInUse) -> Vec<(String, bool, u64)> {
        let entries = keys.to_json();
        let keys = entries["keys"].as_array().unwrap().iter();
        let entries = |it: &Value| {
            let key = it["key"].as_str()?.to_owned();
            Some((key, it["seals"].as_bool()?, it["requests"].as_u64()?))
        };
        keys.map(|it| entries(it).unwrap()).collect()
    }

    fn entry(key: &str, seals: bool, requests: u64) -> (String, bool, u64) {
        (key.to_owned(), seals, requests)
    }

    #[test]
    fn a_key_is_in_use_until_the_last_request_of_its_configuration_has_ended() {
        let keys = Arc::new(KeysInUse::default());
        let old = keys.begin(BTreeSet::from(["old"]));
        let request = old.request();
        let new = keys.begin(BTreeSet::from(["new"]));
        let expected = [entry("new", true, 0), entry("old", false, 1)];
        assert_eq!(entries(&keys), expected);
        drop(request);
        let expected = [entry("new", true, 0), entry("old", false, 0)];
        assert_eq!(entries(&keys), expected, "its parts are still held");
        drop(old);
        assert_eq!(entries(&keys), [entry("new", true, 0)]);
        drop(new);
    }

    #[test]
    fn a_request_counts_under_the_key_that_it_needs() {
        let keys = Arc::new(KeysInUse::default());
        let both = keys.begin(BTreeSet::from(["a", "b"]));
        let (mut one, mut other) = (both.request(), both.request());
        assert_eq!(entries(&keys), [entry("a", true, 2), entry("b", true, 2)]);
        one.only(Some("a"));
        other.only(None);
        assert_eq!(entries(&keys), [entry("a", true, 1), entry("b", true, 0)]);
        drop(one);
        assert_eq!(entries(&keys), [entry("a", true, 0), entry("b", true, 0)]);
    }

    #[test]
    fn a_key_that_stays_is_in_use_all_the_while() {
        let keys = Arc::new(KeysInUse::default());
        let first = keys.begin(BTreeSet::from(["a"]));
        let second = keys.begin(BTreeSet::from(["a"]));
        drop(first);
        assert_eq!(entries(&keys), [entry("a", true, 0)]);
        drop(second);
    }
}
