//! `s3proxy decrypt --output`: one object, to a file or to standard output.
//!
//! A file is written under another name in the same folder and renamed once it is complete and on
//! disk, so that a partial file never has the requested name. Standard output gets each piece as
//! soon as it is authentic; if a later piece is not, the exit status reports it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;

use super::Ended;
use super::anew::reading_everything;
use super::listing::{Age, Item, Origin};
use super::progress::{Done, Progress, Total, Unit};
use super::report::{explained, shown};
use super::selection::Target;
use super::stop::Stop;
use crate::app::{self, StartError};
use crate::config::resolved::Config;
use crate::failure::Failure;
use crate::objects::read::{self, Found, Source};
use crate::objects::stored::Form;
use crate::objects::{OwnedCall, StoreCall};
use crate::record::RequestId;

/// Destination of the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Standard,
    /// A file that is either complete or absent.
    File(PathBuf),
}

/// Why the object could not be written out.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutputError {
    #[error("{}", explained(.0))]
    Object(#[from] Failure),
    #[error("{path}: {error}")]
    File { path: String, error: io::Error },
}

/// Runs the command.
pub async fn decrypt_one(
    config: Config,
    object: Target,
    version: Option<String>,
    output: Output,
) -> Result<Ended, StartError> {
    let parts = app::store_without_clients(reading_everything(config)).await?;
    let mut stop = Stop::catch().map_err(StartError::Signal)?;
    let item = Item {
        bucket: object.bucket.clone(),
        key: object.prefix.clone(),
        version,
        age: Age::Current,
        origin: Origin::Named,
    };
    let mut meter = Meter::new(&object.to_string(), &output);
    let work = async {
        let name = item.name()?;
        let source = item.source(&name);
        let owned = OwnedCall::by_operator(&parts);
        let (call, meter) = (owned.call(), &mut meter);
        match &output {
            Output::Standard => write(&call, &source, &mut io::stdout(), "-", meter).await,
            Output::File(path) => to_file(&call, &source, path, meter).await,
        }
    };
    // If a signal wins, dropping the work removes the unfinished file.
    let done = tokio::select! {
        done = work => Ok(done),
        signal = stop.requested() => Err(signal),
    };
    meter.end();
    let done = match done {
        Ok(done) => done,
        Err(signal) => return Ok(Ended::Interrupted(signal)),
    };
    Ok(match done {
        Ok(found) => {
            if let Some(remark) = remark(&item, &found) {
                eprintln!("s3proxy: {}: {remark}", shown(&object.to_string()));
            }
            Ended::Everything
        }
        Err(error) => {
            eprintln!("s3proxy: {}: {error}", shown(&object.to_string()));
            Ended::Incomplete
        }
    })
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
struct Meter {
    progress: Progress,
    done: Done,
    started: Instant,
    /// Time of the last update of the display, since the start.
    shown: Duration,
}

impl Meter {
    /// Interval between two updates.
    const INTERVAL: Duration = Duration::from_millis(100);

    /// Makes a meter that is silent if the content goes to the same terminal.
    fn new(object: &str, output: &Output) -> Self {
        let mut progress = match output {
            Output::Standard if io::stdout().is_terminal() => Progress::silent(),
            Output::Standard | Output::File(_) => {
                Progress::on_standard_error("decrypt", Unit::Bytes)
            }
        };
        progress.begin(object);
        Self {
            progress,
            done: Done::default(),
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
            self.progress.show(self.done, elapsed);
        }
    }

    fn end(&mut self) {
        self.progress.end(self.done, self.started.elapsed());
    }
}

async fn to_file(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    path: &Path,
    meter: &mut Meter,
) -> Result<Found, OutputError> {
    let mut file = Unfinished::beside(path)?;
    let name = file.path.display().to_string();
    let found = write(call, source, &mut file.file, &name, meter).await?;
    file.finish(path)?;
    Ok(found)
}

async fn write(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    output: &mut (impl Write + Send),
    name: &str,
    meter: &mut Meter,
) -> Result<Found, OutputError> {
    let failed = |error| OutputError::File {
        path: name.to_owned(),
        error,
    };
    let found = read::describe(call, source).await?;
    let mut body = read::open(call, source, &found, None).await?;
    meter.progress.set_total(Total::Exactly(found.length.0));
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(Failure::from)?.into_data() {
            output.write_all(&data).map_err(failed)?;
            meter.advance(data.len());
        }
    }
    if meter.done.bytes != found.length.0 {
        return Err(Failure::Unusable("another length than announced").into());
    }
    output.flush().map_err(failed)?;
    Ok(found)
}

/// A file under a temporary name, which is removed unless it is finished.
pub(super) struct Unfinished {
    pub(super) file: File,
    path: PathBuf,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Begun,
    Renamed,
}

impl Unfinished {
    /// Creates the file in the folder of `path`, so that it can be renamed.
    pub(super) fn beside(path: &Path) -> Result<Self, OutputError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let unfinished = path.with_file_name(format!(".{name}.{}", RequestId::generate()));
        // Only the owner may read plaintext, whatever the umask.
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished);
        Ok(Self {
            file: file.map_err(|error| at(&unfinished, error))?,
            path: unfinished,
            state: State::Begun,
        })
    }

    /// Renames the file, once it is on disk.
    pub(super) fn finish(mut self, path: &Path) -> Result<(), OutputError> {
        // Before the rename: after a crash the final name must not denote an incomplete file.
        self.file
            .sync_all()
            .map_err(|error| at(&self.path, error))?;
        fs::rename(&self.path, path).map_err(|error| at(path, error))?;
        self.state = State::Renamed;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        match self.state {
            State::Begun => {
                // If the removal fails, nothing can be done about the file.
                let _ = fs::remove_file(&self.path);
            }
            State::Renamed => {}
        }
    }
}

pub(super) fn at(path: &Path, error: io::Error) -> OutputError {
    OutputError::File {
        path: path.display().to_string(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_has_its_name_only_when_it_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("object");
        let names = || -> Vec<String> {
            let entries = fs::read_dir(folder.path()).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.collect()
        };
        let mut unfinished = Unfinished::beside(&path).unwrap();
        unfinished.file.write_all(b"half").unwrap();
        assert!(!path.exists() && names().len() == 1);
        drop(unfinished);
        assert_eq!(names(), [""; 0]);
        let mut unfinished = Unfinished::beside(&path).unwrap();
        unfinished.file.write_all(b"whole").unwrap();
        unfinished.finish(&path).unwrap();
        assert_eq!(names(), ["object"]);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read(&path).unwrap(), b"whole");
    }
}
