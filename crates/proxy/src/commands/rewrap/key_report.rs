//! Observations of `rewrap`, and its report on the keys that are still needed.
//!
//! Every doubt counts against the old key: failed objects, unreadable ones, and those that were not
//! checked.

use std::collections::{BTreeSet, HashSet};

use indicatif::HumanCount;
use serde_json::json;

use super::super::keys_in_use::{self, KeyNeeds, OpenUploads};
use super::super::listing::Item;
use super::super::object_selection::VersionScope;
use super::super::report::{CommandSummary, OLD_VERSIONS_NOT_CHECKED, counted, fields};

/// Number of failed objects that are remembered, so that another walk does not report them again.
const MOST_FAILURES: usize = 10_000;

/// Observations so far.
#[derive(Default)]
pub(super) struct KeyObservations {
    /// Needs found in the current walk.
    pub(super) walk: KeyNeeds,
    /// Number of objects that the current walk rewrapped.
    pub(super) changed: u64,
    /// Needs over all walks: the maximum of each walk, since they visit the same objects.
    needs: KeyNeeds,
    /// Names of the keys that new objects would get.
    pub(super) wanted: BTreeSet<String>,
    /// Whether a bucket has versions.
    pub(super) versions: bool,
    /// Number of uploads whose state cannot be read.
    pub(super) unreadable: u64,
    /// Number of older proxies' objects, whose keys are not named: in the current walk, and the
    /// maximum.
    older: (u64, u64),
    /// Whether objects under another key kept appearing.
    pub(super) is_unsettled: bool,
    /// Objects that failed, up to the bound.
    failed: HashSet<Item>,
    /// Reports of the running proxies that keep a key in use, or errors of their queries.
    pub(super) replicas: Vec<String>,
}

/// The end of a rewrap.
#[derive(Debug, Default)]
pub(super) struct KeyReport {
    pub(super) summary: CommandSummary,
    /// Whether a key other than those of new objects is or may be needed.
    pub(super) is_other_key_needed: bool,
}

/// Basis of the summary.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReportBasis {
    pub(super) versions: VersionScope,
    /// Whether everything was listed, and nothing failed.
    pub(super) is_complete: bool,
    /// Whether the exit status reports the result.
    pub(super) is_check: bool,
    /// Whether running proxies were queried.
    pub(super) asked_replicas: bool,
}

impl KeyObservations {
    pub(super) fn note_failure(&mut self, item: &Item) {
        if self.failed.len() < MOST_FAILURES {
            self.failed.insert(item.clone());
        }
    }

    /// Returns whether the failure of this object was reported already.
    pub(super) fn has_failed(&self, item: &Item) -> bool {
        self.failed.contains(item)
    }

    pub(super) fn saw_older_format(&mut self, is_under_zero_key: bool) {
        // That key is public, and configured nowhere.
        if !is_under_zero_key {
            self.older.0 += 1;
        }
    }

    /// Ends a walk. Returns the number of objects that it rewrapped.
    pub(super) fn end_walk(&mut self) -> u64 {
        self.needs.include(std::mem::take(&mut self.walk));
        self.older = (0, self.older.1.max(self.older.0));
        std::mem::take(&mut self.changed)
    }

    /// Adds the uploads at the end of the command.
    pub(super) fn count(&mut self, uploads: &OpenUploads) {
        self.unreadable = uploads.unreadable();
        for (key, number) in uploads.by_key() {
            self.needs.of(key).uploads += number;
        }
    }

    /// Makes the report, after the last walk. `active` is the name of the active key.
    pub(super) fn report(&mut self, active: &str, basis: ReportBasis) -> KeyReport {
        self.end_walk();
        self.wanted.insert(active.to_owned());
        self.needs.leave_out(&self.wanted);
        let doubts = self.doubts(basis);
        let is_other_key_needed =
            !self.needs.is_empty() || !doubts.is_empty() || !self.replicas.is_empty();
        let mut lines = keys_in_use::sentences(&self.needs);
        lines.extend(doubts);
        lines.extend(self.replicas.iter().cloned());
        if !is_other_key_needed {
            lines.push("Nothing that was checked needs another key.".to_owned());
            if basis.is_check && !basis.asked_replicas {
                lines.push(
                    "Requests in flight were not checked: before you remove the key, wait until \
                     every proxy has logged that none uses it, or give --replica."
                        .to_owned(),
                );
            }
        }
        let details = fields(json!({
            "still_needed": keys_in_use::to_json(&self.needs),
            "keys_of_new_objects": self.wanted,
            "versioned": self.versions,
            "old_versions_counted": basis.versions == VersionScope::All,
            "unreadable_uploads": self.unreadable,
            "older_format_objects": self.older.1,
            "settled": !self.is_unsettled,
            "replicas_asked": basis.asked_replicas,
            "replicas": self.replicas,
        }));
        KeyReport {
            summary: CommandSummary { details, lines },
            is_other_key_needed,
        }
    }

    /// Returns the reasons for which another key might still be needed.
    fn doubts(&self, basis: ReportBasis) -> Vec<String> {
        let mut lines = Vec::new();
        if !basis.is_complete {
            lines.push("Objects that failed may need another key.".to_owned());
        }
        if self.versions && basis.versions == VersionScope::Current {
            lines.push(OLD_VERSIONS_NOT_CHECKED.to_owned());
        }
        if self.unreadable > 0 {
            lines.push(format!(
                "The states of {} uploads cannot be read; `s3proxy sweep` deletes the state of \
                 uploads that have ended.",
                HumanCount(self.unreadable)
            ));
        }
        if self.older.1 > 0 {
            lines.push(format!(
                "{} in an older proxy's format may need another key, which the format does not \
                 name; `s3proxy migrate` re-encrypts them.",
                counted(self.older.1, "object")
            ));
        }
        if self.is_unsettled {
            lines.push(
                "New objects under another key kept appearing; load the new configuration on every \
                 proxy, and repeat the command."
                    .to_owned(),
            );
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASIS: ReportBasis = ReportBasis {
        versions: VersionScope::All,
        is_complete: true,
        is_check: true,
        asked_replicas: true,
    };

    fn report(observations: &mut KeyObservations, basis: ReportBasis) -> (Vec<String>, bool) {
        let report = observations.report("new", basis);
        (report.summary.lines, report.is_other_key_needed)
    }

    #[test]
    fn without_doubts_nothing_needs_another_key() {
        let (lines, is_needed) = report(&mut KeyObservations::default(), BASIS);
        assert_eq!(lines, ["Nothing that was checked needs another key."]);
        assert!(!is_needed);
    }

    #[test]
    fn every_doubt_counts_against_the_old_key() {
        let failed = ReportBasis {
            is_complete: false,
            ..BASIS
        };
        let current_only = ReportBasis {
            versions: VersionScope::Current,
            ..BASIS
        };
        let observed = |observe: fn(&mut KeyObservations)| {
            let mut observations = KeyObservations::default();
            observe(&mut observations);
            observations
        };
        for (mut observations, basis) in [
            (observed(|_| {}), failed),
            (observed(|it| it.versions = true), current_only),
            (observed(|it| it.unreadable = 1), BASIS),
            (observed(|it| it.older = (1, 0)), BASIS),
            (observed(|it| it.is_unsettled = true), BASIS),
            (observed(|it| it.replicas.push("x".to_owned())), BASIS),
        ] {
            let (lines, is_needed) = report(&mut observations, basis);
            assert!(is_needed, "{lines:?}");
            let says_nothing = lines.iter().any(|line| line.contains("Nothing"));
            assert!(!says_nothing, "{lines:?}");
        }
    }

    #[test]
    fn walks_over_the_same_objects_count_them_once() {
        let mut observations = KeyObservations::default();
        // Both walks saw the same objects, so the larger count is reported, not the sum.
        for current in [2, 1] {
            observations.walk.of("old").current = current;
            observations.changed = current;
            assert_eq!(observations.end_walk(), current);
        }
        let (lines, _) = report(&mut observations, BASIS);
        assert_eq!(lines, ["Key old is still needed by 2 current objects."]);
    }

    #[test]
    fn keys_of_new_objects_are_not_reported() {
        let mut observations = KeyObservations::default();
        observations.walk.of("new").old = 1;
        assert!(!report(&mut observations, BASIS).1);
    }

    #[test]
    fn a_check_without_replicas_says_so() {
        let basis = ReportBasis {
            asked_replicas: false,
            ..BASIS
        };
        let (lines, is_needed) = report(&mut KeyObservations::default(), basis);
        assert!(lines[1].contains("--replica"), "{lines:?}");
        assert!(!is_needed);
    }
}
