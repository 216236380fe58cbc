//! `s3proxy sweep`: deletes leftover state of multipart uploads on demand, reported line by line.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use super::CommandEnd;
use super::object_walk::ticker;
use super::progress::{DoneCounts, ProgressDisplay, Total, Unit};
use crate::app::{self, StartError};
use crate::config::resolved::{Config, StateBucket};
use crate::failure::Outcome;
use crate::upload_state::sweep::{Found, Sweep, UploadBucket, list_buckets};

pub use crate::upload_state::sweep::{Mode, Nameless};

/// Options of the command.
pub struct SweepOptions {
    /// Buckets to sweep; empty for all that the credential can list.
    pub buckets: Vec<String>,
    /// Minimum age; younger state is kept.
    pub older_than: Duration,
    /// Whether anything is removed.
    pub mode: Mode,
    /// What happens to states that name no upload.
    pub nameless: Nameless,
}

/// Runs the command. Reports each bucket and each object in a line.
pub async fn sweep(
    config: Config,
    options: SweepOptions,
    mut line: impl FnMut(&str),
) -> Result<CommandEnd, StartError> {
    let backend = app::backend(&config.backend).await?;
    let names = if options.buckets.is_empty() {
        match list_buckets(&backend, None).await {
            Ok(names) => names,
            Err(failure) => {
                line(&format!(
                    "The buckets cannot be listed: {failure}. Name them with --bucket."
                ));
                return Ok(CommandEnd::Incomplete);
            }
        }
    } else {
        options.buckets
    };
    let sweep = Sweep {
        backend: &backend,
        policy: &config.policy,
        older_than: options.older_than,
        mode: options.mode,
        nameless: options.nameless,
    };
    Ok(sweep_buckets(&sweep, names, &mut line).await)
}

/// Sweeps the state of these buckets.
async fn sweep_buckets(
    sweep: &Sweep<'_>,
    names: Vec<String>,
    line: &mut impl FnMut(&str),
) -> CommandEnd {
    let swept = match &sweep.policy.state_bucket {
        StateBucket::Same => names.clone(),
        // A separate state bucket is swept once, for all buckets.
        StateBucket::Named(name) => vec![name.clone()],
    };
    let buckets = names.into_iter().map(|name| UploadBucket {
        name,
        service: None,
    });
    // Shared by two closures of one task, which never run at the same time.
    let progress = RefCell::new(SweepProgress::begin(swept));
    let mut summary = SweepSummary::default();
    let report = |bucket: &str, found: Outcome<Found>| {
        let mut progress = progress.borrow_mut();
        progress.end_bucket(found.is_err());
        let mut line = |text: &str| progress.display.suspended(|| line(text));
        summary.add(bucket, found, sweep.mode, &mut line);
    };
    with_ticks(&progress, sweep.buckets(buckets.collect(), report)).await;
    progress.into_inner().end();
    line(&summary.text(sweep.mode));
    summary.command_end()
}

/// Shows the progress until the work is done.
async fn with_ticks(progress: &RefCell<SweepProgress>, work: impl Future<Output = ()>) {
    let mut work = std::pin::pin!(work);
    let mut ticker = ticker();
    loop {
        tokio::select! {
            () = &mut work => return,
            _ = ticker.tick() => progress.borrow_mut().tick(),
        }
    }
}

/// The bucket that is being swept, and the number of those done.
struct SweepProgress {
    display: ProgressDisplay,
    /// Buckets in the order of the sweep.
    buckets: Vec<String>,
    done: DoneCounts,
    started: Instant,
}

impl SweepProgress {
    fn begin(buckets: Vec<String>) -> Self {
        let mut display = ProgressDisplay::on_standard_error("sweep", Unit::Buckets);
        display.set_total(Total::Exactly(buckets.len() as u64));
        let mut progress = Self {
            display,
            buckets,
            done: DoneCounts::default(),
            started: Instant::now(),
        };
        progress.begin_bucket();
        progress
    }

    fn begin_bucket(&mut self) {
        let index = usize::try_from(self.done.units).unwrap_or(usize::MAX);
        if let Some(name) = self.buckets.get(index) {
            self.display.begin(name);
        }
    }

    fn end_bucket(&mut self, is_failure: bool) {
        self.done.units += 1;
        self.done.failed += u64::from(is_failure);
        self.begin_bucket();
    }

    fn tick(&mut self) {
        self.display.show(self.done, self.started.elapsed());
    }

    fn end(mut self) {
        self.display.end(self.done, self.started.elapsed());
    }
}

/// Counts for the last line.
#[derive(Default)]
struct SweepSummary {
    buckets: usize,
    ended: usize,
    objects: usize,
    not_removed: usize,
    not_swept: usize,
}

impl SweepSummary {
    /// Reports and counts the result for one bucket.
    fn add(
        &mut self,
        bucket: &str,
        found: Outcome<Found>,
        mode: Mode,
        line: &mut impl FnMut(&str),
    ) {
        self.buckets += 1;
        match found {
            Ok(found) => {
                self.ended += found.ended;
                self.objects += found.objects.len();
                self.not_removed += found.not_removed.len();
                report_bucket(bucket, &found, mode, line);
            }
            Err(failure) => {
                self.not_swept += 1;
                line(&format!("{bucket}: not swept: {failure}"));
            }
        }
    }

    fn text(&self, mode: Mode) -> String {
        let did = match mode {
            Mode::Remove => "removed",
            Mode::Show => "would be removed",
        };
        let mut text = format!(
            "{} of {} {did}, in {}",
            counted(self.objects, "object"),
            counted(self.ended, "ended upload"),
            counted(self.buckets, "bucket")
        );
        if self.not_removed > 0 {
            text.extend(["; ", &counted(self.not_removed, "object"), " not removed"]);
        }
        if self.not_swept > 0 {
            text.extend(["; ", &counted(self.not_swept, "bucket"), " not swept"]);
        }
        text
    }

    fn command_end(&self) -> CommandEnd {
        if self.not_removed == 0 && self.not_swept == 0 {
            CommandEnd::Complete
        } else {
            CommandEnd::Incomplete
        }
    }
}

fn report_bucket(bucket: &str, found: &Found, mode: Mode, line: &mut impl FnMut(&str)) {
    let did = match mode {
        Mode::Remove => "removed",
        Mode::Show => "would remove",
    };
    for key in &found.objects {
        line(&format!("{bucket}: {did} {key}"));
    }
    for left in &found.not_removed {
        line(&format!(
            "{bucket}: not removed {}: {}",
            left.key, left.failure
        ));
    }
    line(&format!(
        "{bucket}: {} in progress, {} ended too recently, {} left over",
        counted(found.in_progress, "upload"),
        found.young,
        found.ended
    ));
    if found.nameless > 0 {
        line(&format!(
            "{bucket}: {} of an earlier version, without the name of an upload; if the backend \
             lists every upload in progress, --by-list removes the state of unlisted ones",
            counted(found.nameless, "state")
        ));
    }
}

fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;
    use crate::upload_state::bucket::NotRemoved;

    fn reported(found: Vec<Outcome<Found>>, mode: Mode) -> (Vec<String>, CommandEnd) {
        let mut lines = Vec::new();
        let mut summary = SweepSummary::default();
        for (number, found) in found.into_iter().enumerate() {
            let bucket = format!("bucket-{number}");
            summary.add(&bucket, found, mode, &mut |line| {
                lines.push(line.to_owned());
            });
        }
        lines.push(summary.text(mode));
        (lines, summary.command_end())
    }

    fn found() -> Found {
        Found {
            in_progress: 1,
            young: 2,
            nameless: 0,
            ended: 1,
            objects: vec!["p/part-1".to_owned(), "p/state".to_owned()],
            not_removed: Vec::new(),
        }
    }

    #[test]
    fn a_complete_sweep_reports_every_key() {
        let (lines, end) = reported(vec![Ok(found()), Ok(Found::default())], Mode::Remove);
        assert_eq!(end, CommandEnd::Complete);
        assert_eq!(
            lines,
            [
                "bucket-0: removed p/part-1",
                "bucket-0: removed p/state",
                "bucket-0: 1 upload in progress, 2 ended too recently, 1 left over",
                "bucket-1: 0 uploads in progress, 0 ended too recently, 0 left over",
                "2 objects of 1 ended upload removed, in 2 buckets",
            ]
        );
    }

    #[test]
    fn states_without_the_name_of_an_upload_are_reported() {
        let mut nameless = found();
        nameless.nameless = 2;
        let (lines, end) = reported(vec![Ok(nameless)], Mode::Remove);
        assert_eq!(end, CommandEnd::Complete);
        let line_start =
            "bucket-0: 2 states of an earlier version, without the name of an upload; ";
        assert!(
            lines.iter().any(|line| line.starts_with(line_start)),
            "{lines:?}"
        );
    }

    #[test]
    fn a_dry_run_reports_the_objects_to_remove() {
        let (lines, _) = reported(vec![Ok(found())], Mode::Show);
        assert_eq!(lines[0], "bucket-0: would remove p/part-1");
        assert_eq!(
            lines[3],
            "2 objects of 1 ended upload would be removed, in 1 bucket"
        );
    }

    #[test]
    fn failures_are_reported_and_counted() {
        let mut stuck = found();
        stuck.not_removed.push(NotRemoved {
            key: "p/part-2".to_owned(),
            failure: Failure::Unusable("x"),
        });
        let failure = Failure::Unusable("y");
        let (lines, end) = reported(vec![Ok(stuck), Err(failure)], Mode::Remove);
        assert_eq!(end, CommandEnd::Incomplete);
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("bucket-0: not removed p/part-2: "))
        );
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("bucket-1: not swept: "))
        );
        let summary = "2 objects of 1 ended upload removed, in 2 buckets; 1 object not removed; 1 bucket not swept";
        assert_eq!(lines.last().map(String::as_str), Some(summary));
    }
}
