//! The report of a command, on standard output: each object and a summary, as lines for people or
//! as JSON for programs.
//!
//! People get lines for noteworthy objects (failures, the plan of a dry run), or for all with
//! `--verbose`. Programs get one JSON object for each stored object, and one for the summary; the
//! field names are documented (docs/commands.md) and never change. Control characters of keys and
//! reasons never reach a terminal. The first failures of each reason are shown when they happen and
//! later ones only counted ([`super::failures`]), so that memory does not grow with them. Lines for
//! people contain ANSI styles, which the output stream strips unless it is a terminal with colours.

mod tally;
mod text;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use anstyle::Style;
use s3proxy_protocol::quote;
use serde_json::{Map, Value, json};

use self::text::{FAILED, FAILED_ROW, json_line, line, row, seconds};
use super::failures::{FailureLine, Failures};
use super::listing::Item;
use super::progress::ProgressDisplay;

pub(crate) use self::tally::{Count, Tally};
pub(crate) use self::text::{counted, explained, fields, shown};

/// Shortest time between two updates of the progress.
const SHOWN_INTERVAL: Duration = Duration::from_millis(100);

/// Line of a summary whose command has seen that a bucket has versions, and did not list them.
pub(crate) const OLD_VERSIONS_NOT_CHECKED: &str =
    "Old versions from before this run were not checked; --versions counts them.";

/// Style of the first line of the summary.
const HEADLINE: Style = Style::new().bold();

/// Result for one object. The words are stable: scripts read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ObjectVerdict {
    /// The work was done; the word for the action.
    Done(&'static str),
    /// A dry run would have done it; the word for the action.
    Would(&'static str),
    /// Nothing had to be done; the word for the reason.
    Skipped(&'static str),
    /// The work on the object failed, for this reason.
    Failed(String),
}

impl ObjectVerdict {
    /// Returns whether the object was changed, or would be.
    pub(crate) fn is_change(&self) -> bool {
        match self {
            Self::Done(_) | Self::Would(_) => true,
            Self::Skipped(_) | Self::Failed(_) => false,
        }
    }
}

/// Report about one object.
#[derive(Debug)]
pub(crate) struct ObjectReport {
    pub(crate) verdict: ObjectVerdict,
    /// Stored bytes of the object.
    pub(crate) bytes: u64,
    /// Further fields of its JSON line.
    pub(crate) details: Map<String, Value>,
    /// Remark after its name, for people.
    pub(crate) remark: Option<String>,
    /// Whether people get a line without asking for all objects.
    pub(crate) notable: Notable,
    /// Remedy for a failure.
    pub(crate) remedy: Option<&'static str>,
}

impl ObjectReport {
    /// Reports that nothing had to be done.
    pub(crate) fn skipped(why: &'static str) -> Self {
        Self::new(ObjectVerdict::Skipped(why))
    }

    /// Reports a failure.
    pub(crate) fn failed(reason: impl Into<String>) -> Self {
        Self::new(ObjectVerdict::Failed(reason.into()))
    }

    /// Reports a verdict without further details.
    pub(crate) fn new(verdict: ObjectVerdict) -> Self {
        Self {
            verdict,
            bytes: 0,
            details: Map::new(),
            remark: None,
            notable: Notable::IfVerbose,
            remedy: None,
        }
    }
}

/// Whether an object deserves a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notable {
    Always,
    IfVerbose,
    /// The object was reported and counted before in this run.
    Never,
}

/// Audience of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people: notable objects, and a summary.
    Lines,
    /// For people: every object, and a summary.
    AllLines,
    /// For programs: one JSON document per line.
    Json,
}

/// A command's own part of the summary.
#[derive(Debug, Default)]
pub(crate) struct CommandSummary {
    /// Further fields of the JSON summary.
    pub(crate) details: Map<String, Value>,
    /// Lines for people, after the table.
    pub(crate) lines: Vec<String>,
}

/// Writer of the report.
pub(crate) struct Reporter<'o> {
    command: &'static str,
    format: Format,
    output: &'o mut (dyn Write + Send),
    progress: ProgressDisplay,
    tally: Tally,
    failures: Failures,
    started: Instant,
    /// Time of the last update of the progress, since the start.
    shown: Duration,
}

impl<'o> Reporter<'o> {
    pub(crate) fn new(
        command: &'static str,
        format: Format,
        output: &'o mut (dyn Write + Send),
        progress: ProgressDisplay,
    ) -> Self {
        Self {
            command,
            format,
            output,
            progress,
            tally: Tally::default(),
            failures: Failures::default(),
            started: Instant::now(),
            shown: Duration::ZERO,
        }
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(crate) fn progress(&mut self) -> &mut ProgressDisplay {
        &mut self.progress
    }

    /// Updates the progress, if it is time.
    pub(crate) fn tick(&mut self) {
        let elapsed = self.started.elapsed();
        // Called for each object, and there may be thousands per second.
        if elapsed >= self.shown + SHOWN_INTERVAL {
            self.shown = elapsed;
            self.progress.show(self.tally.done(), elapsed);
        }
    }

    /// Reports one object.
    pub(crate) fn object(&mut self, item: &Item, report: &ObjectReport) -> io::Result<()> {
        if report.notable == Notable::Never {
            return Ok(());
        }
        self.tally.add(report);
        self.tick();
        let line = match self.format {
            Format::Json => Some(json_line(item, report)),
            Format::AllLines => Some(line(item, report)),
            Format::Lines => self.has_line(report).then(|| line(item, report)),
        };
        line.map_or(Ok(()), |line| self.write(&line))
    }

    /// Returns whether people who did not ask for all objects get a line for this one.
    fn has_line(&mut self, report: &ObjectReport) -> bool {
        match &report.verdict {
            ObjectVerdict::Failed(reason) => {
                self.failures.note(reason, report.remedy) == FailureLine::InFull
            }
            ObjectVerdict::Would(_) => true,
            ObjectVerdict::Done(_) | ObjectVerdict::Skipped(_) => report.notable == Notable::Always,
        }
    }

    /// Reports a list that broke off.
    pub(crate) fn not_listed(&mut self, target: &str, reason: &str) -> io::Result<()> {
        self.tally.not_listed += 1;
        let line = match self.format {
            Format::Json => json!({
                "type": "target", "target": target, "status": "failed", "reason": reason,
            })
            .to_string(),
            Format::Lines | Format::AllLines => {
                format!(
                    "{FAILED}FAILED{FAILED:#} {}: cannot be listed: {}",
                    shown(target),
                    shown(reason)
                )
            }
        };
        self.write(&line)
    }

    /// Shows a message while the command runs.
    pub(crate) fn note(&mut self, text: &str) {
        self.progress.note(text);
    }

    /// Writes the end of the report. `resume` is present after an interruption.
    pub(crate) fn finish(
        mut self,
        resume: Option<&Resume>,
        own: CommandSummary,
    ) -> io::Result<Tally> {
        let elapsed = self.started.elapsed();
        self.progress.end(self.tally.done(), elapsed);
        match self.format {
            Format::Json => {
                let line = self.json_summary(resume, own, elapsed);
                self.write(&line)?;
            }
            Format::Lines | Format::AllLines => {
                let failures = self.failures.lines(self.option_for_all());
                let summary = self.summary(elapsed).into_iter();
                let lines = summary.chain(failures).chain(own.lines);
                let resume = resume.map(Resume::line);
                let text = lines.chain(resume).collect::<Vec<_>>().join("\n");
                self.write(&text)?;
            }
        }
        Ok(self.tally)
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        let line = match self.format {
            Format::Json => quote::escaped_json(line),
            Format::Lines | Format::AllLines => Cow::Borrowed(line),
        };
        let output = &mut *self.output;
        // The bar is hidden while a line is written, and drawn again below it.
        self.progress.suspended(|| {
            writeln!(output, "{line}")?;
            output.flush()
        })
    }

    /// Returns the option that shows a line for each object.
    fn option_for_all(&self) -> &'static str {
        match self.command {
            // Its lines are shown without an option, which only exists to leave them out.
            "inspect" => "--json",
            _ => "--verbose",
        }
    }

    fn summary(&self, elapsed: Duration) -> Vec<String> {
        let tally = &self.tally;
        let mut lines = vec![format!(
            "{HEADLINE}{}: {} in {}{HEADLINE:#}",
            self.command,
            counted(tally.objects(), "object"),
            seconds(elapsed)
        )];
        let mut rows: Vec<(String, Count)> = Vec::new();
        let named = |word: &&'static str| word.replace('-', " ");
        rows.extend(tally.done.iter().map(|(word, count)| (named(word), *count)));
        let would = tally.would.iter();
        rows.extend(would.map(|(word, count)| (format!("would be {}", named(word)), *count)));
        let skipped = tally.skipped.iter();
        rows.extend(skipped.map(|(word, count)| (format!("skipped: {}", named(word)), *count)));
        if tally.failed.objects > 0 {
            rows.push((FAILED_ROW.to_owned(), tally.failed));
        }
        let width = rows.iter().map(|(word, _)| word.len()).max().unwrap_or(0);
        lines.extend(rows.iter().map(|(word, count)| row(word, width, *count)));
        if tally.not_listed > 0 {
            let count = counted(tally.not_listed, "target");
            lines.push(format!("  {count} could not be listed completely"));
        }
        lines
    }

    fn json_summary(
        &self,
        resume: Option<&Resume>,
        own: CommandSummary,
        elapsed: Duration,
    ) -> String {
        let tally = &self.tally;
        let group = |counts: &BTreeMap<&'static str, Count>| -> Value {
            let fields = counts.iter().map(|(word, count)| {
                let count = json!({ "objects": count.objects, "bytes": count.bytes });
                ((*word).to_owned(), count)
            });
            Value::Object(fields.collect())
        };
        let mut summary = json!({
            "type": "summary",
            "command": self.command,
            "objects": tally.objects(),
            "done": group(&tally.done),
            "would": group(&tally.would),
            "skipped": group(&tally.skipped),
            "failed": tally.failed.objects,
            "targets_failed": tally.not_listed,
            "seconds": elapsed.as_secs_f64(),
            "interrupted": resume.is_some(),
        });
        if let Value::Object(fields) = &mut summary {
            if let Some(resume) = resume {
                fields.insert("resume".to_owned(), resume.json());
            }
            fields.extend(own.details);
        }
        summary.to_string()
    }
}

/// How to resume a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resume {
    pub(crate) start_after: Option<String>,
    /// The remaining targets as arguments, starting with the interrupted one.
    pub(crate) targets: Vec<String>,
}

impl Resume {
    fn line(&self) -> String {
        use super::object_selection::quoted;
        let key = self.start_after.as_deref();
        let option = key.map(|key| format!("--start-after {} ", quoted(key)));
        let targets: Vec<String> = self.targets.iter().map(|target| quoted(target)).collect();
        format!(
            "Interrupted. To resume, repeat the command with: {}{}",
            option.unwrap_or_default(),
            targets.join(" ")
        )
    }

    fn json(&self) -> Value {
        json!({ "start_after": self.start_after, "targets": self.targets })
    }
}

#[cfg(test)]
mod tests;
