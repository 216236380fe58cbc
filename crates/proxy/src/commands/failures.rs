//! Failures in the report for people: the first few of each reason in full, the others as one line
//! at the end.
//!
//! One missing key can fail millions of objects for the same reason, so the memory for failures
//! must not grow with their number.

use std::collections::BTreeMap;

use super::report::{counted, shown};
use crate::failure::Failure;
use crate::keys::KeyError;

/// Number of failures per reason that are shown in full.
const IN_FULL: u64 = 5;

/// Number of reasons that are remembered. Failures for other reasons are all shown in full.
const MOST_REASONS: usize = 100;

/// Failures so far, by reason.
#[derive(Debug, Default)]
pub(super) struct Failures(BTreeMap<String, Reason>);

#[derive(Debug)]
struct Reason {
    count: u64,
    remedy: Option<&'static str>,
}

/// Whether the failure of an object gets its own line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureLine {
    InFull,
    InSummary,
}

impl Failures {
    pub(super) fn note(&mut self, reason: &str, remedy: Option<&'static str>) -> FailureLine {
        if let Some(known) = self.0.get_mut(reason) {
            known.count += 1;
            return if known.count > IN_FULL {
                FailureLine::InSummary
            } else {
                FailureLine::InFull
            };
        }
        if self.0.len() < MOST_REASONS {
            self.0
                .insert(reason.to_owned(), Reason { count: 1, remedy });
        }
        FailureLine::InFull
    }

    /// Returns a line for each reason with more to report; `all` is the option that shows each
    /// object.
    pub(super) fn lines(&self, all: &str) -> Vec<String> {
        let lines = self.0.iter().filter_map(|(reason, known)| {
            let more = known.count.saturating_sub(IN_FULL);
            let remedy = known.remedy;
            match (more, remedy) {
                (0, None) => None,
                (0, Some(remedy)) => {
                    let objects = counted(known.count, "object");
                    Some(format!("{objects} failed: {}; {remedy}.", shown(reason)))
                }
                (_, remedy) => {
                    let remedy = remedy.map(|remedy| format!("; {remedy}"));
                    Some(format!(
                        "{} failed for the same reason: {}{}. {all} shows each of them.",
                        more_objects(more),
                        shown(reason),
                        remedy.unwrap_or_default()
                    ))
                }
            }
        });
        lines.collect()
    }
}

fn more_objects(number: u64) -> String {
    counted(number, "more object")
}

/// Returns the operator's remedy for a failure, if it is known and not part of the failure's text.
pub(super) fn remedy(failure: &Failure) -> Option<&'static str> {
    match failure {
        Failure::Key(KeyError::Missing(name)) if name.starts_with("local:") => {
            Some("add that key to S3PROXY_KEYS_DECRYPT_KEYS (keys.decrypt_keys)")
        }
        Failure::Key(KeyError::Missing(_)) => {
            Some("configure the key service that holds that key (docs/keys.md)")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_reason_are_told_in_full_and_the_others_once() {
        let mut failures = Failures::default();
        let mut in_full = 0;
        for _ in 0..2000 {
            in_full += u64::from(failures.note("no key", Some("give one")) == FailureLine::InFull);
        }
        assert_eq!(failures.note("damaged", None), FailureLine::InFull);
        assert_eq!(in_full, IN_FULL);
        assert_eq!(
            failures.lines("--verbose"),
            [
                "1,995 more objects failed for the same reason: no key; give one. --verbose shows \
                 each of them."
            ]
        );
    }

    #[test]
    fn a_remedy_is_told_also_where_few_failed() {
        let mut failures = Failures::default();
        failures.note("no key", Some("give one"));
        assert_eq!(
            failures.lines("--json"),
            ["1 object failed: no key; give one."]
        );
    }

    #[test]
    fn reasons_without_end_take_no_memory_without_end() {
        let mut failures = Failures::default();
        for number in 0..10 * MOST_REASONS {
            for _ in 0..=IN_FULL {
                let line = failures.note(&number.to_string(), None);
                assert!(number < MOST_REASONS || line == FailureLine::InFull);
            }
        }
        assert_eq!(failures.0.len(), MOST_REASONS);
    }

    #[test]
    fn a_missing_key_has_a_remedy_by_its_kind() {
        let missing = |name: &str| Failure::Key(KeyError::Missing(name.to_owned()));
        assert!(
            remedy(&missing("local:1"))
                .unwrap()
                .contains("S3PROXY_KEYS_DECRYPT_KEYS")
        );
        assert!(remedy(&missing("vault:1")).unwrap().contains("key service"));
        assert_eq!(remedy(&Failure::Replaced), None);
    }
}
