//! `s3proxy sweep`: a sweep on demand, reported line by line.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use super::progress::{Done, Progress, Total, Unit};
use crate::app::{self, StartError};
use crate::config::resolved::{Config, StateBucket};
use crate::failure::Outcome;
use crate::upload_state::sweep::{Found, Sweep, UploadBucket, list_buckets};

pub use crate::upload_state::sweep::{Mode, Nameless};

/// Options of the command.
pub struct Asked {
    /// Buckets to sweep; empty for all that the credential can list.
    pub buckets: Vec<String>,
    /// Minimum age; younger state is kept.
    pub older_than: Duration,
    /// Whether anything is removed.
    pub mode: Mode,
    /// What happens to states that name no upload.
    pub nameless: Nameless,
}

/// How the sweep ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swept {
    /// Nothing is left to do.
    Everything,
    /// A bucket could not be swept, or an object not be removed.
    NotEverything,
}

/// Sweeps, and reports each bucket and each object in a line.
pub async fn sweep(
    config: Config,
    asked: Asked,
    mut line: impl FnMut(&str),
) -> Result<Swept, StartError> {
    let backend = app::backend(&config.backend).await?;
    let names = if asked.buckets.is_empty() {
        match list_buckets(&backend, None).await {
            Ok(names) => names,
            Err(failure) => {
                line(&format!(
                    "The buckets cannot be listed: {failure}. Name them with --bucket."
                ));
                return Ok(Swept::NotEverything);
            }
        }
    } else {
        asked.buckets
    };
    let state_bucket = match &config.policy.state_bucket {
        StateBucket::Same => None,
        StateBucket::Named(name) => Some(name.clone()),
    };
    // A separate state bucket is swept once, for all buckets.
    let swept = state_bucket.map_or_else(|| names.clone(), |name| vec![name]);
    // Shared by two closures of one task, which never run at the same time.
    let progress = RefCell::new(Sweeping::begin(swept));
    let buckets = names.into_iter().map(|name| UploadBucket {
        name,
        service: None,
    });
    let sweep = Sweep {
        backend: &backend,
        policy: &config.policy,
        older_than: asked.older_than,
        mode: asked.mode,
        nameless: asked.nameless,
    };
    let mut summary = Summary::default();
    let tell = |bucket: &str, found: Outcome<Found>| {
        let mut progress = progress.borrow_mut();
        progress.end_bucket(found.is_err());
        let mut aside = |text: &str| progress.progress.aside(|| line(text));
        summary.add(bucket, found, asked.mode, &mut aside);
    };
    with_ticks(&progress, sweep.buckets(buckets.collect(), tell)).await;
    progress.into_inner().end();
    line(&summary.text(asked.mode));
    Ok(summary.swept())
}

/// Interval between two updates of the progress.
const TICK: Duration = Duration::from_millis(200);

/// Shows the progress until the work is done.
async fn with_ticks(progress: &RefCell<Sweeping>, work: impl Future<Output = ()>) {
    let mut work = std::pin::pin!(work);
    let mut ticker = tokio::time::interval(TICK);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = &mut work => return,
            _ = ticker.tick() => progress.borrow_mut().tick(),
        }
    }
}

/// The bucket that is being swept, and the number of those done.
struct Sweeping {
    progress: Progress,
    /// Buckets in the order of the sweep.
    buckets: Vec<String>,
    done: Done,
    started: Instant,
}

impl Sweeping {
    fn begin(buckets: Vec<String>) -> Self {
        let mut progress = Progress::on_standard_error("sweep", Unit::Buckets);
        progress.set_total(Total::Exactly(buckets.len() as u64));
        let mut sweeping = Self {
            progress,
            buckets,
            done: Done::default(),
            started: Instant::now(),
        };
        sweeping.begin_bucket();
        sweeping
    }

    fn begin_bucket(&mut self) {
        let index = usize::try_from(self.done.units).unwrap_or(usize::MAX);
        if let Some(name) = self.buckets.get(index) {
            self.progress.begin(name);
        }
    }

    fn end_bucket(&mut self, is_failure: bool) {
        self.done.units += 1;
        self.done.failed += u64::from(is_failure);
        self.begin_bucket();
    }

    fn tick(&mut self) {
        self.progress.show(self.done, self.started.elapsed());
    }

    fn end(mut self) {
        self.progress.end(self.done, self.started.elapsed());
    }
}

#[derive(Default)]
struct Summary {
    buckets: usize,
    ended: usize,
    objects: usize,
    not_removed: usize,
    not_swept: usize,
}

impl Summary {
    fn add(
        &mut self,
        bucket: &str,
        found: Outcome<Found>,
        mode: Mode,
        line: &mut impl FnMut(&str),
    ) {
        self.buckets += 1;
        let found = match found {
            Ok(found) => found,
            Err(failure) => {
                self.not_swept += 1;
                line(&format!("{bucket}: not swept: {failure}"));
                return;
            }
        };
        self.ended += found.ended;
        self.objects += found.objects.len();
        self.not_removed += found.not_removed.len();
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
                "{bucket}: {} of an earlier version, without the name of an upload; where the backend \
                 lists every upload in progress, --by-list removes those that it does not list",
                counted(found.nameless, "state")
            ));
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

    fn swept(&self) -> Swept {
        if self.not_removed == 0 && self.not_swept == 0 {
            Swept::Everything
        } else {
            Swept::NotEverything
        }
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

    fn told(found: Vec<Outcome<Found>>, mode: Mode) -> (Vec<String>, Swept) {
        let mut lines = Vec::new();
        let mut summary = Summary::default();
        for (number, found) in found.into_iter().enumerate() {
            let bucket = format!("bucket-{number}");
            summary.add(&bucket, found, mode, &mut |line| {
                lines.push(line.to_owned());
            });
        }
        lines.push(summary.text(mode));
        (lines, summary.swept())
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
    fn a_whole_sweep_is_told_with_every_key() {
        let (lines, swept) = told(vec![Ok(found()), Ok(Found::default())], Mode::Remove);
        assert_eq!(swept, Swept::Everything);
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
    fn states_that_stay_because_they_name_no_upload_are_told() {
        let mut nameless = found();
        nameless.nameless = 2;
        let (lines, swept) = told(vec![Ok(nameless)], Mode::Remove);
        assert_eq!(swept, Swept::Everything);
        let told = "bucket-0: 2 states of an earlier version, without the name of an upload; ";
        assert!(lines.iter().any(|line| line.starts_with(told)), "{lines:?}");
    }

    #[test]
    fn a_dry_run_says_what_it_would_do() {
        let (lines, _) = told(vec![Ok(found())], Mode::Show);
        assert_eq!(lines[0], "bucket-0: would remove p/part-1");
        assert_eq!(
            lines[3],
            "2 objects of 1 ended upload would be removed, in 1 bucket"
        );
    }

    #[test]
    fn what_was_not_done_is_told_and_counted() {
        let mut stuck = found();
        stuck.not_removed.push(NotRemoved {
            key: "p/part-2".to_owned(),
            failure: Failure::Unusable("x"),
        });
        let failure = Failure::Unusable("y");
        let (lines, swept) = told(vec![Ok(stuck), Err(failure)], Mode::Remove);
        assert_eq!(swept, Swept::NotEverything);
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
