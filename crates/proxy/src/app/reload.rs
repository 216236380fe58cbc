//! Reloading the configuration while the program runs.
//!
//! SIGHUP triggers a reload, and so does a change of a file that the configuration came from. Flags
//! and environment are those of the start. The loaded configuration is validated as at start and
//! replaces the old one as a whole, or not at all: then the log lists every problem, once for each
//! state of the files and once for each SIGHUP.
//!
//! A failure unrelated to the files (no credential was available, say) is not retried
//! automatically, since its end cannot be predicted: the next SIGHUP retries.
//!
//! Absent: reloading in `s3proxy dev`, which makes up half of its configuration.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;

use super::StartError;
use super::running_service::RunningService;
use crate::config::resolved::{Config, Watch};
use crate::config::{
    self, Changes, FileChange, FileWatcher, Files, LoadedConfig, Notice, Problems, Snapshot,
    Sources,
};
use crate::telemetry::{LogLevels, metrics};

/// Interval between two checks of the files.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Time for which files must stay unchanged after they were read. A writer may be halfway through,
/// and half a file may be a valid configuration, too.
const SETTLED_FOR: Duration = Duration::from_millis(100);

/// Number of times that files are read while they keep changing.
const MAX_READS: usize = 50;

/// State that a running program needs to reload its configuration.
pub struct Reload {
    sources: Sources,
    snapshot: Snapshot,
    notices: Vec<Notice>,
    /// Files from which the active configuration came.
    files: Files,
    watcher: FileWatcher,
    watch: Watch,
    /// A file that can be read only once, such as a pipe.
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
        "{} cannot be read a second time; use regular files for the configuration, or restart",
        .0.display()
    )]
    ReadOnce(PathBuf),
    #[error(
        "{0} cannot change at run time; restart, or revert it for the other changes to take effect"
    )]
    AtStartOnly(String),
    #[error(
        "{} is now empty; if that is intended, restart",
        .0.display()
    )]
    Emptied(PathBuf),
    #[error("the configuration files keep changing")]
    Unsettled,
    #[error(transparent)]
    Start(#[from] StartError),
}

#[derive(Clone, Copy)]
enum ReloadCause {
    Signal,
    File,
}

impl Reload {
    /// Prepares reloading from the state of the start. Every signal of `hangups` requests a reload.
    /// Catching the signal early keeps a SIGHUP during the start from ending the program.
    #[must_use]
    pub fn prepare(
        sources: Sources,
        loaded: LoadedConfig,
        hangups: Signal,
        log: LogLevels,
    ) -> (Config, Reloading) {
        let LoadedConfig {
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
            watcher: FileWatcher::new(files.clone()),
            files,
            hangups,
            log,
        };
        (config, Reloading::On(Box::new(reload)))
    }

    /// Reloads on every trigger.
    pub(super) async fn run(mut self, serving: Arc<RunningService>) {
        loop {
            let cause = self.cause().await;
            let loaded = Box::pin(self.reload(&serving)).await;
            metrics::config_reloaded(match &loaded {
                Ok(_) => metrics::ReloadResult::Success,
                Err(_) => metrics::ReloadResult::Failure,
            });
            match loaded {
                Ok(changes) if changes.is_empty() => {
                    tracing::info!(%cause, "configuration reloaded: no changes");
                }
                Ok(changes) => {
                    tracing::info!(%cause, %changes, "configuration reloaded");
                }
                Err(error) => tracing::error!(
                    %cause,
                    %error,
                    "could not reload the configuration; keeping the previous one"
                ),
            }
        }
    }

    async fn cause(&mut self) -> ReloadCause {
        loop {
            tokio::select! {
                Some(()) = self.hangups.recv() => return ReloadCause::Signal,
                () = tokio::time::sleep(CHECK_INTERVAL) => {}
            }
            match self.watch {
                Watch::Nothing => {}
                Watch::Files => match self.watcher.check().await {
                    FileChange::Same | FileChange::Moving => {}
                    FileChange::Settled => return ReloadCause::File,
                },
            }
        }
    }

    /// Replaces the configuration if the sources give another that is valid. Returns the changes.
    async fn reload(&mut self, serving: &RunningService) -> Result<Changes, ReloadError> {
        let LoadedConfig {
            config,
            notices,
            snapshot,
            files,
        } = self.load_valid().await?;
        let changes = self.permitted_changes(&snapshot, &files)?;
        let (log, watch) = (config.log, config.watch);
        if changes.is_empty() {
            // The certificate's files may have new contents under unchanged settings.
            serving.renew_certificate(&config.listen.tls)?;
        } else {
            Box::pin(serving.replace(config, &changes)).await?;
        }
        // Nothing fails from here on: the new configuration is the active one.
        self.log.set(log.level);
        self.watch = watch;
        // Notices that were logged before are not repeated.
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

    /// Loads a valid configuration, and watches its files from now on, or those that failed.
    async fn load_valid(&mut self) -> Result<LoadedConfig, ReloadError> {
        if let Some(path) = &self.read_once {
            return Err(ReloadError::ReadOnce(path.clone()));
        }
        match self.load_settled().await? {
            Ok(loaded) => {
                // Also if the configuration is refused later: a refused state of the files is
                // reported once, too.
                self.watcher = FileWatcher::new(loaded.files.clone());
                Ok(loaded)
            }
            Err(problems) => {
                let text = problems.in_one_line();
                // Watch the files that failed, so that the same failure is not logged again until
                // one changes.
                self.watcher = FileWatcher::new(problems.files);
                Err(ReloadError::Problems(text))
            }
        }
    }

    /// Returns the changes to the active configuration, if all of them may happen at run time.
    fn permitted_changes(
        &self,
        snapshot: &Snapshot,
        files: &Files,
    ) -> Result<Changes, ReloadError> {
        if let Some(path) = files.emptied_since(&self.files) {
            return Err(ReloadError::Emptied(path.to_owned()));
        }
        let changes = Changes::between(&self.snapshot, snapshot);
        let fixed = changes.at_start_only();
        if fixed.is_empty() {
            Ok(changes)
        } else {
            Err(ReloadError::AtStartOnly(fixed.join(", ")))
        }
    }

    /// Reads all sources until the files among them have settled.
    async fn load_settled(&self) -> Result<Result<LoadedConfig, Problems>, ReloadError> {
        for _ in 0..MAX_READS {
            let loaded = self.load().await;
            let files = match &loaded {
                Ok(loaded) => &loaded.files,
                Err(problems) => &problems.files,
            };
            tokio::time::sleep(SETTLED_FOR).await;
            if FileWatcher::new(files.clone()).check().await == FileChange::Same {
                return Ok(loaded);
            }
        }
        Err(ReloadError::Unsettled)
    }

    /// Reads all sources on a thread that may block.
    async fn load(&self) -> Result<LoadedConfig, Problems> {
        let sources = self.sources.clone();
        match tokio::task::spawn_blocking(move || config::load(sources)).await {
            Ok(loaded) => loaded,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

impl fmt::Display for ReloadCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signal => "SIGHUP",
            Self::File => "a file has changed",
        })
    }
}
