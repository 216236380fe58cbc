//! Loading the configuration anew while the program runs.
//!
//! SIGHUP asks for it, and so does a change of a file that the configuration came from. Flags and
//! environment are those of the start. What is loaded is judged as at start and takes the place of
//! the old as a whole, or not at all: then the log says everything that is wrong, once for each
//! state of the files and once for each SIGHUP.
//!
//! A failure that has nothing to do with the files (no credential could be had, say) is not tried
//! again by itself, since nobody knows when: the next SIGHUP does.
//!
//! Absent: reloading in `s3proxy dev`, which makes up half of its configuration.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;

use super::StartError;
use super::serving::Serving;
use crate::config::resolved::{Config, Watch};
use crate::config::{
    self, Changes, Files, Loaded, Looked, Notice, Problems, Snapshot, Sources, Watched,
};
use crate::telemetry::{LogLevels, metrics};

/// Between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Files must stay the same for so long after they were read: whoever writes one over may have come
/// half the way, and half a file may be a configuration too.
const SETTLED_FOR: Duration = Duration::from_millis(100);

/// How often files are read that change all the while.
const MOST_READINGS: usize = 50;

/// What a running program needs to load its configuration anew.
pub struct Reload {
    sources: Sources,
    snapshot: Snapshot,
    notices: Vec<Notice>,
    /// What the configuration that serves came from.
    files: Files,
    watched: Watched,
    watch: Watch,
    /// A file that cannot be read again.
    read_once: Option<PathBuf>,
    hangups: Signal,
    log: LogLevels,
}

/// Whether the configuration may change while the program runs.
pub enum Reloading {
    Off,
    On(Box<Reload>),
}

/// Why the old configuration stays.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error("{0}")]
    Problems(String),
    #[error(
        "{} cannot be read a second time; give the configuration as files, or restart the program",
        .0.display()
    )]
    ReadOnce(PathBuf),
    #[error(
        "{0} cannot change while the program runs; set it back for other changes to take effect, or \
         restart the program"
    )]
    AtStartOnly(String),
    #[error(
        "{} is empty, and was not before; if it shall be, restart the program",
        .0.display()
    )]
    Emptied(PathBuf),
    #[error("the files of the configuration are being changed all the while")]
    Unsettled,
    #[error(transparent)]
    Start(#[from] StartError),
}

#[derive(Clone, Copy)]
enum Cause {
    Signal,
    File,
}

impl Reload {
    /// From what the program started with. Every signal of `hangups` is a wish to reload; catching
    /// them early keeps one that comes during the start from ending the program.
    #[must_use]
    pub fn prepare(
        sources: Sources,
        loaded: Loaded,
        hangups: Signal,
        log: LogLevels,
    ) -> (Config, Reloading) {
        let Loaded {
            config,
            notices,
            snapshot,
            files,
        } = loaded;
        let reload = Self {
            sources,
            snapshot,
            notices,
            watch: config.watch,
            read_once: files.read_once().map(ToOwned::to_owned),
            watched: Watched::new(files.clone()),
            files,
            hangups,
            log,
        };
        (config, Reloading::On(Box::new(reload)))
    }

    /// Reloads whenever there is a cause.
    pub(super) async fn run(mut self, serving: Arc<Serving>) {
        loop {
            let cause = self.cause().await;
            let loaded = Box::pin(self.load_anew(&serving)).await;
            metrics::config_reloaded(match &loaded {
                Ok(_) => metrics::Reload::Success,
                Err(_) => metrics::Reload::Failure,
            });
            match loaded {
                Ok(changes) if changes.is_empty() => {
                    tracing::info!(%cause, "the configuration was loaded anew: nothing has changed");
                }
                Ok(changes) => {
                    tracing::info!(%cause, %changes, "the configuration was loaded anew");
                }
                Err(error) => tracing::error!(
                    %cause,
                    %error,
                    "the configuration could not be loaded anew; the old one stays"
                ),
            }
        }
    }

    async fn cause(&mut self) -> Cause {
        loop {
            tokio::select! {
                Some(()) = self.hangups.recv() => return Cause::Signal,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            match self.watch {
                Watch::Nothing => {}
                Watch::Files => match self.watched.look().await {
                    Looked::Same | Looked::Moving => {}
                    Looked::Settled => return Cause::File,
                },
            }
        }
    }

    async fn load_anew(&mut self, serving: &Serving) -> Result<Changes, ReloadError> {
        if let Some(path) = &self.read_once {
            return Err(ReloadError::ReadOnce(path.clone()));
        }
        let Loaded {
            config,
            notices,
            snapshot,
            files,
        } = match self.load_settled().await? {
            Ok(loaded) => loaded,
            Err(problems) => {
                let text = problems.in_one_line();
                self.watched = Watched::new(problems.files);
                return Err(ReloadError::Problems(text));
            }
        };
        self.watched = Watched::new(files.clone());
        if let Some(path) = files.emptied_since(&self.files) {
            return Err(ReloadError::Emptied(path.to_owned()));
        }
        let changes = Changes::between(&self.snapshot, &snapshot);
        let fixed = changes.at_start_only();
        if !fixed.is_empty() {
            return Err(ReloadError::AtStartOnly(fixed.join(", ")));
        }
        let (log, watch) = (config.log, config.watch);
        if changes.is_empty() {
            serving.renew_certificate(&config.listen.tls)?;
        } else {
            Box::pin(serving.replace(config, &changes)).await?;
        }
        self.log.set(log.level);
        self.watch = watch;
        for notice in notices
            .iter()
            .filter(|notice| !self.notices.contains(notice))
        {
            notice.log();
        }
        self.notices = notices;
        self.snapshot = snapshot;
        self.files = files;
        Ok(changes)
    }

    /// Reads all sources until the files among them have settled.
    async fn load_settled(&self) -> Result<Result<Loaded, Problems>, ReloadError> {
        for _ in 0..MOST_READINGS {
            let loaded = self.load().await;
            let files = match &loaded {
                Ok(loaded) => &loaded.files,
                Err(problems) => &problems.files,
            };
            tokio::time::sleep(SETTLED_FOR).await;
            if Watched::new(files.clone()).look().await == Looked::Same {
                return Ok(loaded);
            }
        }
        Err(ReloadError::Unsettled)
    }

    /// Reads all sources on a thread where that may block.
    async fn load(&self) -> Result<Loaded, Problems> {
        let sources = self.sources.clone();
        match tokio::task::spawn_blocking(move || config::load(sources)).await {
            Ok(loaded) => loaded,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signal => "SIGHUP",
            Self::File => "a file has changed",
        })
    }
}
