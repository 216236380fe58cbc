//! A command from its beginning to its exit status.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;

use super::CommandEnd;
use super::object_selection::Selection;
use super::object_walk::{ListingBackend, Pass, WalkEnd, Work, walk};
use super::progress::{ProgressDisplay, Unit};
use super::report::{CommandSummary, Format, Reporter, Tally};
use super::stop_signals::StopSignals;
use crate::app::StartError;

/// A running command.
pub(crate) struct CommandRun<'o> {
    reporter: Reporter<'o>,
    stop: StopSignals,
}

impl<'o> CommandRun<'o> {
    /// Begins a command; signals are caught from here on.
    pub(crate) fn begin(
        command: &'static str,
        format: Format,
        output: &'o mut (dyn Write + Send),
    ) -> Result<Self, StartError> {
        let stop = StopSignals::catch().map_err(StartError::Signal)?;
        let progress = ProgressDisplay::on_standard_error(command, Unit::Objects);
        Ok(Self {
            reporter: Reporter::new(command, format, output, progress),
            stop,
        })
    }

    /// Processes every object, and writes the end of the report. `summary` makes the command's own
    /// part of it.
    pub(crate) async fn complete<W: Work>(
        mut self,
        store: ListingBackend<'_>,
        selection: &Selection,
        work: &Arc<W>,
        summary: impl FnOnce(&WalkEnd, &Tally) -> CommandSummary,
    ) -> CommandEnd {
        command_end(match self.walk(store, selection, work).await {
            Ok(walked) => {
                let summary = summary(&walked, self.reporter.tally());
                self.end(&walked, summary)
            }
            Err(error) => Err(error),
        })
    }

    /// Processes every object.
    pub(crate) async fn walk<W: Work>(
        &mut self,
        store: ListingBackend<'_>,
        selection: &Selection,
        work: &Arc<W>,
    ) -> io::Result<WalkEnd> {
        let (reporter, stop) = (&mut self.reporter, &mut self.stop);
        walk(store, selection, Pass::First, work, reporter, stop).await
    }

    /// Processes objects again, of which most were counted before.
    pub(crate) async fn walk_again<W: Work>(
        &mut self,
        store: ListingBackend<'_>,
        selection: &Selection,
        work: &Arc<W>,
    ) -> io::Result<WalkEnd> {
        let (reporter, stop) = (&mut self.reporter, &mut self.stop);
        walk(store, selection, Pass::Repeated, work, reporter, stop).await
    }

    pub(crate) fn reporter(&mut self) -> &mut Reporter<'o> {
        &mut self.reporter
    }

    /// Writes the end of the report.
    pub(crate) fn end(self, walked: &WalkEnd, summary: CommandSummary) -> io::Result<CommandEnd> {
        let resume = match walked {
            WalkEnd::Through => None,
            WalkEnd::Interrupted(_, resume) => Some(resume),
        };
        let tally = self.reporter.finish(resume, summary)?;
        Ok(match walked {
            WalkEnd::Interrupted(signal, _) => CommandEnd::Interrupted(*signal),
            WalkEnd::Through if tally.is_complete() => CommandEnd::Complete,
            WalkEnd::Through => CommandEnd::Incomplete,
        })
    }
}

/// Returns how a command ended, also if its results could not be written. A closed pipe is no error
/// worth a message: its reader has seen enough.
pub(crate) fn command_end(end: io::Result<CommandEnd>) -> CommandEnd {
    end.unwrap_or_else(|error| {
        if error.kind() != ErrorKind::BrokenPipe {
            eprintln!("s3proxy: cannot write the results to standard output: {error}");
        }
        CommandEnd::Incomplete
    })
}
