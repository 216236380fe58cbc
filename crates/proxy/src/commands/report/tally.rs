//! Counts of a command, by the words of its verdicts.

use std::collections::BTreeMap;

use super::{ObjectReport, ObjectVerdict};
use crate::commands::progress::DoneCounts;

/// Number of objects and bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
}

impl Count {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }
}

/// All counts of a command.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(super) done: BTreeMap<&'static str, Count>,
    pub(super) would: BTreeMap<&'static str, Count>,
    pub(super) skipped: BTreeMap<&'static str, Count>,
    pub(super) failed: Count,
    /// Number of targets whose list broke off.
    pub(super) not_listed: u64,
}

impl Tally {
    pub(super) fn add(&mut self, report: &ObjectReport) {
        let count = match &report.verdict {
            ObjectVerdict::Done(what) => self.done.entry(what).or_default(),
            ObjectVerdict::Would(what) => self.would.entry(what).or_default(),
            ObjectVerdict::Skipped(why) => self.skipped.entry(why).or_default(),
            ObjectVerdict::Failed(_) => &mut self.failed,
        };
        count.add(report.bytes);
    }

    /// Returns the number of objects that were processed.
    pub(crate) fn objects(&self) -> u64 {
        let groups = [&self.done, &self.would, &self.skipped];
        let counts = groups.into_iter().flat_map(BTreeMap::values);
        counts.map(|count| count.objects).sum::<u64>() + self.failed.objects
    }

    pub(crate) fn bytes(&self) -> u64 {
        let groups = [&self.done, &self.would];
        let counts = groups.into_iter().flat_map(BTreeMap::values);
        counts.map(|count| count.bytes).sum()
    }

    pub(crate) fn skipped(&self) -> u64 {
        self.skipped.values().map(|count| count.objects).sum()
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed.objects
    }

    /// Returns the counts for the progress.
    pub(super) fn done(&self) -> DoneCounts {
        DoneCounts {
            units: self.objects(),
            bytes: self.bytes(),
            skipped: self.skipped(),
            failed: self.failed(),
        }
    }

    /// Returns whether nothing failed.
    pub(crate) fn is_complete(&self) -> bool {
        self.failed.objects == 0 && self.not_listed == 0
    }
}
