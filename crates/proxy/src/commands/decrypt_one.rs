//! `s3proxy decrypt --output`: one object, to a file or to standard output.
//!
//! A file gets the requested name only once it is complete ([`UnfinishedFile`]). Standard output
//! gets each chunk as soon as it is authentic; if a later one is not, the exit status reports it.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;

use super::CommandEnd;
use super::listing::{Item, ItemOrigin, VersionAge};
use super::object_selection::ObjectTarget;
use super::progress::{DoneCounts, ProgressDisplay, Total, Unit};
use super::report::shown;
use super::rewriting::reading_everything;
use super::stop_signals::StopSignals;
use super::unfinished_file::{OutputError, UnfinishedFile};
use crate::app::{self, StartError};
use crate::config::resolved::Config;
use crate::failure::Failure;
use crate::objects::read::{self, Found, Source};
use crate::objects::stored::Form;
use crate::objects::{OwnedCall, StoreCall};

/// Destination of the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecryptOutput {
    /// Standard output.
    Standard,
    /// A file that is either complete or absent.
    File(PathBuf),
}

/// Runs the command.
pub async fn decrypt_one(
    config: Config,
    object: ObjectTarget,
    version: Option<String>,
    output: DecryptOutput,
) -> Result<CommandEnd, StartError> {
    let parts = app::store_without_clients(reading_everything(config)).await?;
    let mut stop = StopSignals::catch().map_err(StartError::Signal)?;
    let item = Item {
        bucket: object.bucket.clone(),
        key: object.prefix.clone(),
        version,
        age: VersionAge::Current,
        origin: ItemOrigin::Named,
    };
    let mut progress = WriteProgress::begin(&object.to_string(), &output);
    let work = async {
        let name = item.name()?;
        let source = item.source(&name);
        let owned = OwnedCall::by_operator(&parts);
        let (call, progress) = (owned.call(), &mut progress);
        match &output {
            DecryptOutput::Standard => {
                write(&call, &source, &mut io::stdout(), "-", progress).await
            }
            DecryptOutput::File(path) => to_file(&call, &source, path, progress).await,
        }
    };
    // If a signal wins, dropping the work removes the unfinished file.
    let done = tokio::select! {
        done = work => Ok(done),
        signal = stop.requested() => Err(signal),
    };
    progress.end();
    Ok(match done {
        Ok(done) => report(&object, done.map(|found| remark(&item, &found))),
        Err(signal) => CommandEnd::Interrupted(signal),
    })
}

/// Reports a remark or an error about the object.
fn report(object: &ObjectTarget, done: Result<Option<&'static str>, OutputError>) -> CommandEnd {
    let object = shown(&object.to_string());
    match done {
        Ok(remark) => {
            if let Some(remark) = remark {
                eprintln!("s3proxy: {object}: {remark}");
            }
            CommandEnd::Complete
        }
        Err(error) => {
            eprintln!("s3proxy: {object}: {error}");
            CommandEnd::Incomplete
        }
    }
}

/// Returns a property of the object that explains unexpected output.
fn remark(item: &Item, found: &Found) -> Option<&'static str> {
    if item.key.ends_with('/') && found.length.0 == 0 {
        return Some("a directory marker, which is an empty object; the output is empty");
    }
    match found.form {
        Form::Plain => Some("not encrypted; the content was copied as it is stored"),
        Form::Sealed(_) | Form::Legacy(_) => None,
    }
}

/// Progress of writing the object.
struct WriteProgress {
    display: ProgressDisplay,
    done: DoneCounts,
    started: Instant,
    /// Time of the last update of the display, since the start.
    shown: Duration,
}

impl WriteProgress {
    /// Interval between two updates.
    const INTERVAL: Duration = Duration::from_millis(100);

    /// Starts a display that is silent if the content goes to the same terminal.
    fn begin(object: &str, output: &DecryptOutput) -> Self {
        let mut display = match output {
            DecryptOutput::Standard if io::stdout().is_terminal() => ProgressDisplay::silent(),
            DecryptOutput::Standard | DecryptOutput::File(_) => {
                ProgressDisplay::on_standard_error("decrypt", Unit::Bytes)
            }
        };
        display.begin(object);
        Self {
            display,
            done: DoneCounts::default(),
            started: Instant::now(),
            shown: Duration::ZERO,
        }
    }

    fn advance(&mut self, bytes: usize) {
        self.done.bytes += bytes as u64;
        self.done.units = self.done.bytes;
        let elapsed = self.started.elapsed();
        if elapsed >= self.shown + Self::INTERVAL {
            self.shown = elapsed;
            self.display.show(self.done, elapsed);
        }
    }

    fn end(&mut self) {
        self.display.end(self.done, self.started.elapsed());
    }
}

async fn to_file(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    path: &Path,
    progress: &mut WriteProgress,
) -> Result<Found, OutputError> {
    let mut file = UnfinishedFile::beside(path)?;
    let name = file.path.display().to_string();
    let found = write(call, source, &mut file.file, &name, progress).await?;
    file.finish(path)?;
    Ok(found)
}

async fn write(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    output: &mut (impl Write + Send),
    name: &str,
    progress: &mut WriteProgress,
) -> Result<Found, OutputError> {
    let failed = |error| OutputError::File {
        path: name.to_owned(),
        error,
    };
    let found = read::describe(call, source).await?;
    let mut body = read::open(call, source, &found, None).await?;
    progress.display.set_total(Total::Exactly(found.length.0));
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(Failure::from)?.into_data() {
            output.write_all(&data).map_err(failed)?;
            progress.advance(data.len());
        }
    }
    if progress.done.bytes != found.length.0 {
        return Err(Failure::Unusable("a body of another length than announced").into());
    }
    output.flush().map_err(failed)?;
    Ok(found)
}
