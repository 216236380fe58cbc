//! What a command says of each object, and of all of them at the end: lines for people or JSON for
//! programs, on standard output.
//!
//! People get lines for what deserves one: failures, and what a dry run would do; for everything
//! where they asked for it. Programs get one object for each, and one for the end; the names of
//! their fields are documented (docs/commands.md) and stay. Control characters of keys and reasons
//! never reach a terminal. Failures are shown when they happen and only counted after that, so that
//! memory does not grow with them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount};
use s3proxy_protocol::quote::{self, is_deceptive};
use serde_json::{Map, Value, json};

use super::listing::{Age, Item};
use super::progress::Progress;
use crate::respond::Failure;

/// What became of one object. The words are stable: scripts read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Done, and what.
    Done(&'static str),
    /// A dry run would have done it.
    Would(&'static str),
    /// Nothing was to do, and why.
    Skipped(&'static str),
    /// Not done, and why.
    Failed(String),
}

/// What a command did with an object.
#[derive(Debug)]
pub(crate) struct Handled {
    pub(crate) verdict: Verdict,
    /// Stored bytes that it was about.
    pub(crate) bytes: u64,
    /// Further fields of its JSON line.
    pub(crate) details: Map<String, Value>,
    /// What people read behind its name.
    pub(crate) remark: Option<String>,
    /// Whether people get a line also where they did not ask for all.
    pub(crate) notable: Notable,
}

impl Handled {
    /// Nothing was to do.
    pub(crate) fn skipped(why: &'static str) -> Self {
        Self::new(Verdict::Skipped(why))
    }

    /// It could not be done.
    pub(crate) fn failed(reason: impl Into<String>) -> Self {
        Self::new(Verdict::Failed(reason.into()))
    }

    /// Without anything else to say.
    pub(crate) fn new(verdict: Verdict) -> Self {
        Self {
            verdict,
            bytes: 0,
            details: Map::new(),
            remark: None,
            notable: Notable::IfAsked,
        }
    }
}

/// Whether a line is worth its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notable {
    Always,
    IfAsked,
    /// It was looked at before in this run, and counted then.
    Never,
}

/// Whom the output is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// People: notable objects, and a summary.
    Lines,
    /// People: every object, and a summary.
    AllLines,
    /// Programs.
    Json,
}

/// Objects and bytes.
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

/// Everything that was counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    done: BTreeMap<&'static str, Count>,
    would: BTreeMap<&'static str, Count>,
    skipped: BTreeMap<&'static str, Count>,
    failed: Count,
    /// Targets whose list broke off.
    not_listed: u64,
}

impl Tally {
    fn add(&mut self, handled: &Handled) {
        let count = match &handled.verdict {
            Verdict::Done(what) => self.done.entry(what).or_default(),
            Verdict::Would(what) => self.would.entry(what).or_default(),
            Verdict::Skipped(why) => self.skipped.entry(why).or_default(),
            Verdict::Failed(_) => &mut self.failed,
        };
        count.add(handled.bytes);
    }

    /// Objects that were looked at.
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

    /// Whether anything failed.
    pub(crate) fn is_complete(&self) -> bool {
        self.failed.objects == 0 && self.not_listed == 0
    }
}

/// What a command adds to its end.
#[derive(Debug, Default)]
pub(crate) struct Closing {
    /// Further fields of the JSON summary.
    pub(crate) details: Map<String, Value>,
    /// Lines for people, behind the table.
    pub(crate) lines: Vec<String>,
}

/// Where it all goes.
pub(crate) struct Reporter<'o> {
    command: &'static str,
    format: Format,
    output: &'o mut (dyn Write + Send),
    progress: Progress,
    tally: Tally,
    started: Instant,
}

impl<'o> Reporter<'o> {
    pub(crate) fn new(
        command: &'static str,
        format: Format,
        output: &'o mut (dyn Write + Send),
        progress: Progress,
    ) -> Self {
        Self {
            command,
            format,
            output,
            progress,
            tally: Tally::default(),
            started: Instant::now(),
        }
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(crate) fn progress(&mut self) -> &mut Progress {
        &mut self.progress
    }

    /// Time to show how far it is.
    pub(crate) fn tick(&mut self) {
        self.progress.show(&self.tally, self.started.elapsed());
    }

    /// Tells of one object.
    pub(crate) fn object(&mut self, item: &Item, handled: &Handled) -> io::Result<()> {
        if handled.notable == Notable::Never {
            return Ok(());
        }
        self.tally.add(handled);
        self.tick();
        let line = match self.format {
            Format::Json => Some(json_line(item, handled)),
            Format::AllLines => Some(line(item, handled)),
            Format::Lines => is_notable(handled).then(|| line(item, handled)),
        };
        line.map_or(Ok(()), |line| self.write(&line))
    }

    /// A list that broke off.
    pub(crate) fn not_listed(&mut self, target: &str, reason: &str) -> io::Result<()> {
        self.tally.not_listed += 1;
        let line = match self.format {
            Format::Json => json!({
                "type": "target", "target": target, "status": "failed", "reason": reason,
            })
            .to_string(),
            Format::Lines | Format::AllLines => {
                format!(
                    "FAILED {}: cannot be listed: {}",
                    shown(target),
                    shown(reason)
                )
            }
        };
        self.write(&line)
    }

    /// Something that people should know while it goes on.
    pub(crate) fn note(&mut self, text: &str) {
        self.progress.note(text);
    }

    /// The end. `resume` is how to go on where it came too early.
    pub(crate) fn finish(mut self, resume: Option<&Resume>, closing: Closing) -> io::Result<Tally> {
        self.progress.end();
        let elapsed = self.started.elapsed();
        match self.format {
            Format::Json => {
                let line = self.json_summary(resume, closing, elapsed);
                self.write(&line)?;
            }
            Format::Lines | Format::AllLines => {
                let lines = self.summary(elapsed).into_iter().chain(closing.lines);
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
        self.progress.aside(|| {
            writeln!(output, "{line}")?;
            output.flush()
        })
    }

    fn summary(&self, elapsed: Duration) -> Vec<String> {
        let tally = &self.tally;
        let mut lines = vec![format!(
            "{}: {} in {}",
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
            rows.push(("FAILED".to_owned(), tally.failed));
        }
        let width = rows.iter().map(|(word, _)| word.len()).max().unwrap_or(0);
        lines.extend(rows.iter().map(|(word, count)| row(word, width, *count)));
        if tally.not_listed > 0 {
            let count = counted(tally.not_listed, "target");
            lines.push(format!("  {count} could not be listed completely"));
        }
        lines
    }

    fn json_summary(&self, resume: Option<&Resume>, closing: Closing, elapsed: Duration) -> String {
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
            fields.extend(closing.details);
        }
        summary.to_string()
    }
}

/// How to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resume {
    pub(crate) start_after: Option<String>,
    /// As arguments, the first being the one that was interrupted.
    pub(crate) targets: Vec<String>,
}

impl Resume {
    fn line(&self) -> String {
        use super::selection::quoted;
        let key = self.start_after.as_deref();
        let option = key.map(|key| format!("--start-after {} ", quoted(key)));
        let targets: Vec<String> = self.targets.iter().map(|target| quoted(target)).collect();
        format!(
            "Interrupted. To go on, repeat it with: {}{}",
            option.unwrap_or_default(),
            targets.join(" ")
        )
    }

    fn json(&self) -> Value {
        json!({ "start_after": self.start_after, "targets": self.targets })
    }
}

fn is_notable(handled: &Handled) -> bool {
    match handled.verdict {
        Verdict::Failed(_) | Verdict::Would(_) => true,
        Verdict::Done(_) | Verdict::Skipped(_) => handled.notable == Notable::Always,
    }
}

fn line(item: &Item, handled: &Handled) -> String {
    let name = shown(&format!("{}/{}", item.bucket, item.key));
    let version = item.version.as_deref();
    let version = version.map(|version| format!(" (version {})", shown(version)));
    let remark = handled
        .remark
        .as_deref()
        .map(|remark| format!(": {remark}"));
    let (version, remark) = (version.unwrap_or_default(), remark.unwrap_or_default());
    match &handled.verdict {
        Verdict::Done(what) => format!("{} {name}{version}{remark}", worded(what)),
        Verdict::Would(what) => format!("would be {} {name}{version}{remark}", worded(what)),
        Verdict::Skipped(why) => format!("skipped {name}{version}: {}{remark}", worded(why)),
        Verdict::Failed(reason) => format!("FAILED {name}{version}: {}{remark}", shown(reason)),
    }
}

fn json_line(item: &Item, handled: &Handled) -> String {
    let (status, what) = match &handled.verdict {
        Verdict::Done(what) => ("done", Some(*what)),
        Verdict::Would(what) => ("would", Some(*what)),
        Verdict::Skipped(why) => ("skipped", Some(*why)),
        Verdict::Failed(_) => ("failed", None),
    };
    let mut fields = json!({
        "type": "object",
        "bucket": item.bucket,
        "key": item.key,
        "version": item.version,
        "current": item.age == Age::Current,
        "status": status,
        "what": what,
    });
    if let Value::Object(fields) = &mut fields {
        if let Verdict::Failed(reason) = &handled.verdict {
            fields.insert("reason".to_owned(), Value::from(reason.as_str()));
        }
        fields.extend(handled.details.clone());
    }
    fields.to_string()
}

fn worded(word: &str) -> String {
    word.replace('-', " ")
}

fn row(word: &str, width: usize, count: Count) -> String {
    let objects = HumanCount(count.objects).to_string();
    let bytes = HumanBytes(count.bytes).to_string();
    format!("  {word:<width$}  {objects:>12}  {bytes:>12}")
        .trim_end()
        .to_owned()
}

/// Fields of a JSON object.
pub(crate) fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// A number and what it counts.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", HumanCount(number))
}

fn seconds(elapsed: Duration) -> String {
    format!("{:.1} s", elapsed.as_secs_f64())
}

/// Text of others for a terminal: control characters, and those that hide text or change its
/// direction, are escaped.
pub(crate) fn shown(text: &str) -> String {
    text.chars()
        .flat_map(|character| {
            let escaped = is_deceptive(character).then(|| character.escape_default());
            let plain = escaped.is_none().then_some(character);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

/// A failure in the words of an operator: what the backend said is worth more here than its code.
pub(crate) fn explained(failure: &Failure) -> String {
    match failure {
        Failure::Answer(answer) => {
            let document = &answer.document;
            let status = answer.status.as_u16();
            format!(
                "the backend answered {status} {}: {}",
                document.code, document.message
            )
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
