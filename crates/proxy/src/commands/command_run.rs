//! A command from its beginning to its exit status.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;

use super::Ended;
use super::object_selection::Selection;
use super::object_walk::{Pass, Store, Walked, Work, walk};
use super::progress::{Progress, Unit};
use super::report::{Closing, Format, Reporter};
use super::stop_signals::Stop;
use crate::app::StartError;

/// A running command.
pub(crate) struct Session<'o> {
    reporter: Reporter<'o>,
    stop: Stop,
}

impl<'o> Session<'o> {
    /// Begins a command; signals are caught from here on.
    pub(crate) fn begin(
        command: &'static str,
        format: Format,
        output: &'o mut (dyn Write + Send),
    ) -> Result<Self, StartError> {
        let stop = Stop::catch().map_err(StartError::Signal)?;
        let progress = Progress::on_standard_error(command, Unit::Objects);
        Ok(Self {
            reporter: Reporter::new(command, format, output, progress),
            stop,
        })
    }

    /// Processes every object.
    pub(crate) async fn walk<W: Work>(
        &mut self,
        store: Store<'_>,
        selection: &Selection,
        work: &Arc<W>,
    ) -> io::Result<Walked> {
        let (reporter, stop) = (&mut self.reporter, &mut self.stop);
        walk(store, selection, Pass::First, work, reporter, stop).await
    }

    /// Processes objects again, of which most were counted before.
    pub(crate) async fn walk_again<W: Work>(
        &mut self,
        store: Store<'_>,
        selection: &Selection,
        work: &Arc<W>,
    ) -> io::Result<Walked> {
        let (reporter, stop) = (&mut self.reporter, &mut self.stop);
        walk(store, selection, Pass::Repeated, work, reporter, stop).await
    }

    pub(crate) fn reporter(&mut self) -> &mut Reporter<'o> {
        &mut self.reporter
    }

    /// Writes the end of the report.
    pub(crate) fn end(self, walked: &Walked, closing: Closing) -> io::Result<Ended> {
        let resume = match walked {
            Walked::Through => None,
            Walked::Interrupted(_, resume) => Some(resume),
        };
        let tally = self.reporter.finish(resume, closing)?;
        Ok(match walked {
            Walked::Interrupted(signal, _) => Ended::Interrupted(*signal),
            Walked::Through if tally.is_complete() => Ended::Everything,
            Walked::Through => Ended::Incomplete,
        })
    }
}

/// Returns how a command ended if its results could not be written. A closed pipe is no error worth
/// a message: its reader has seen enough.
pub(crate) fn ended(told: io::Result<Ended>) -> Ended {
    told.unwrap_or_else(|error| {
        if error.kind() != ErrorKind::BrokenPipe {
            eprintln!("s3proxy: the results cannot be written: {error}");
        }
        Ended::Incomplete
    })
}
