//! How far a command is, on standard error: a bar on a terminal, and otherwise a line every ten
//! seconds, which logs can hold.
//!
//! The number of objects is known only when the list has been read to its end, so until then there
//! is no bar but what has been done.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};

use super::report::{Tally, counted};

/// Between two lines.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Between two looks of a bar.
const SPIN_INTERVAL: Duration = Duration::from_millis(120);

/// What is shown, and where.
pub(crate) struct Progress {
    command: &'static str,
    target: String,
    shown: Shown,
    /// Objects that were listed in all, once that is known.
    total: Option<u64>,
}

enum Shown {
    Bar(ProgressBar),
    Lines { next: Duration },
}

impl Progress {
    /// For standard error as it is.
    pub(crate) fn on_standard_error(command: &'static str) -> Self {
        let shown = if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new_spinner().with_style(counting());
            bar.enable_steady_tick(SPIN_INTERVAL);
            Shown::Bar(bar)
        } else {
            Shown::Lines {
                next: LINE_INTERVAL,
            }
        };
        Self {
            command,
            target: String::new(),
            shown,
            total: None,
        }
    }

    #[cfg(test)]
    pub(super) fn silent() -> Self {
        Self {
            command: "",
            target: String::new(),
            shown: Shown::Lines {
                next: Duration::MAX,
            },
            total: None,
        }
    }

    /// What is worked on now.
    pub(super) fn begin(&mut self, target: &str) {
        self.target = super::report::shown(target);
        self.total = None;
        if let Shown::Bar(bar) = &self.shown {
            bar.set_style(counting());
            bar.set_prefix(format!("{} {}", self.command, self.target));
        }
    }

    /// The list has ended: so many objects are to be done in all, those of earlier targets included.
    pub(super) fn listed(&mut self, total: u64) {
        self.total = Some(total);
        if let Shown::Bar(bar) = &self.shown {
            bar.set_length(total);
            bar.set_style(measuring());
        }
    }

    pub(super) fn show(&mut self, tally: &Tally, elapsed: Duration) {
        match &mut self.shown {
            Shown::Bar(bar) => {
                bar.set_position(tally.objects());
                bar.set_message(facts(tally, elapsed));
            }
            Shown::Lines { next } => {
                if elapsed >= *next {
                    *next = elapsed + LINE_INTERVAL;
                    let of = self.total.map(|total| format!(" of {}", HumanCount(total)));
                    eprintln!(
                        "{} {}: {}{}{}",
                        self.command,
                        self.target,
                        counted(tally.objects(), "object"),
                        of.unwrap_or_default(),
                        facts(tally, elapsed)
                    );
                }
            }
        }
    }

    /// A line of its own.
    pub(super) fn note(&mut self, text: &str) {
        self.aside(|| eprintln!("{text}"));
    }

    /// Something is written to the same terminal.
    pub(super) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.shown {
            Shown::Bar(bar) => bar.suspend(write),
            Shown::Lines { .. } => write(),
        }
    }

    /// Nothing more is shown.
    pub(super) fn end(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

fn counting() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix}  {human_pos} objects{msg}")
        .expect("the template is valid")
}

fn measuring() -> ProgressStyle {
    ProgressStyle::with_template("{prefix}  [{bar:24}] {human_pos} of {human_len}{msg}, {eta} left")
        .expect("the template is valid")
        .progress_chars("=> ")
}

/// What both ways show.
fn facts(tally: &Tally, elapsed: Duration) -> String {
    let milliseconds = u64::try_from(elapsed.as_millis())
        .unwrap_or(u64::MAX)
        .max(1);
    let rate = tally.objects().saturating_mul(1000) / milliseconds;
    format!(
        ", {} skipped, {} failed, {}, {}/s",
        HumanCount(tally.skipped()),
        HumanCount(tally.failed()),
        HumanBytes(tally.bytes()),
        HumanCount(rate)
    )
}
