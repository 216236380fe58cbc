//! The audit log: client, operation, object, verdict and key of each request.
//!
//! A request reserves an [`AuditSlot`] in the queue before any work is done for it, and fills the
//! slot when its record ends. So a due line always has room, the end of a request never waits, and
//! the queue cannot outgrow its slots. One thread writes (`writer`). If it cannot, slots run out,
//! and requests wait for one up to [`SLOT_WAIT`]. Then `audit.on_failure` decides: the request is
//! refused, or served without a line, which is counted and logged.
//!
//! `line` defines the contents of a line, `trail` collects them; `docs/audit.md` states the schema.
//! Absent: rotation (a file that was moved away is replaced), signing, and lines about input that
//! never became a request, such as a broken head or a failed handshake.

mod line;
mod output;
mod trail;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::log_rate_limit::LogRateLimit;
use super::metrics;
use crate::config::resolved::{self, AuditFailure, AuditObjectKeys, AuditOutput};

pub(crate) use line::{ObjectLine, StoredForm, StoredFormat};
pub(crate) use trail::{AuditTrail, BatchErrors, RequestFacts};

use output::LineOutput;

/// Number of slots beyond one per connection.
const SPARE_SLOTS: usize = 4096;

/// Number of lines in one slot: those of one request, or some of those about a batch's objects.
const LINES_PER_SLOT: usize = 16;

/// Time that a request waits for a slot.
const SLOT_WAIT: Duration = Duration::from_secs(5);

/// Time that the end of the program waits for the last lines.
const FLUSH_WAIT: Duration = Duration::from_secs(3);

/// Failure to start the audit log.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file cannot be opened.
    #[error(
        "audit.output: {path} cannot be opened for appending: {error}; name a file in a folder that \
         this user may write to"
    )]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Error from the system.
        error: std::io::Error,
    },
    /// The writer's thread cannot be started.
    #[error("the audit log's thread cannot be started: {0}")]
    Thread(std::io::Error),
}

/// Error of a request for which there is no slot, if the settings forbid serving it without.
#[derive(Debug, thiserror::Error)]
#[error("the audit log cannot be written, and audit.on_failure = refuse")]
pub(crate) struct AuditUnavailable;

/// The audit log, if there is one. Clones share it.
#[derive(Clone)]
pub(crate) struct AuditLog(Option<Arc<AuditQueue>>);

struct AuditQueue {
    slots: Arc<Semaphore>,
    all_slots: usize,
    writer: mpsc::Sender<Message>,
    /// Whether writes have been failing for a while, so that waiting for a slot is pointless.
    stuck: Arc<AtomicBool>,
    object_keys: AuditObjectKeys,
    on_failure: AuditFailure,
    losses: LogRateLimit,
}

/// Message to the writer's thread. Lines carry their permits, which are released once written.
enum Message {
    Lines(Vec<u8>, OwnedSemaphorePermit),
    Reopen,
    Flush(oneshot::Sender<()>),
}

/// Reserved room in the queue for the lines of one request.
pub(crate) struct AuditSlot {
    log: Arc<AuditQueue>,
    permit: OwnedSemaphorePermit,
}

impl AuditLog {
    /// Opens the output and starts the writer. `connections` bounds the requests in flight.
    pub(crate) fn start(
        settings: &resolved::Audit,
        connections: usize,
    ) -> Result<Self, AuditError> {
        let output = match &settings.output {
            AuditOutput::Off => return Ok(Self(None)),
            AuditOutput::Stdout => LineOutput::Stdout,
            AuditOutput::File(path) => LineOutput::file(path.clone())?,
        };
        Self::over(output, settings, connections + SPARE_SLOTS)
    }

    /// Checks that the output can be opened, without creating a file.
    pub(crate) fn check(settings: &resolved::Audit) -> Result<(), AuditError> {
        match &settings.output {
            AuditOutput::Off | AuditOutput::Stdout => Ok(()),
            AuditOutput::File(path) => LineOutput::check(path),
        }
    }

    fn over(
        output: LineOutput,
        settings: &resolved::Audit,
        slots: usize,
    ) -> Result<Self, AuditError> {
        let stuck = Arc::new(AtomicBool::new(false));
        let writer = writer::start(output, Arc::clone(&stuck)).map_err(AuditError::Thread)?;
        Ok(Self(Some(Arc::new(AuditQueue {
            slots: Arc::new(Semaphore::new(slots)),
            all_slots: slots,
            writer,
            stuck,
            object_keys: settings.object_keys,
            on_failure: settings.on_failure,
            losses: LogRateLimit::default(),
        }))))
    }

    /// Reserves a slot for a request. `Ok(None)` if no line is written about it.
    pub(crate) async fn reserve(&self) -> Result<Option<AuditSlot>, AuditUnavailable> {
        match &self.0 {
            None => Ok(None),
            Some(log) => {
                let permit = log.permits(1).await?;
                Ok(permit.map(|permit| AuditSlot {
                    log: Arc::clone(log),
                    permit,
                }))
            }
        }
    }

    /// Opens the file again; its path may denote another file by now.
    pub(crate) fn reopen(&self) {
        if let Some(log) = &self.0 {
            log.tell(Message::Reopen);
        }
    }

    /// Reopens the file at each SIGHUP, as tools that rotate logs expect. Never ends.
    pub(crate) async fn reopen_on_hangup(self) {
        if self.0.is_none() {
            return;
        }
        match signal(SignalKind::hangup()) {
            Ok(mut hangup) => {
                while hangup.recv().await.is_some() {
                    self.reopen();
                }
            }
            // Without the signal the file is still checked every second.
            Err(error) => tracing::warn!(%error, "cannot listen for SIGHUP"),
        }
    }

    /// Waits, for a bounded time, until everything queued so far is written.
    pub(crate) async fn finish(&self) {
        let Some(log) = &self.0 else { return };
        let (written, done) = oneshot::channel();
        log.tell(Message::Flush(written));
        if tokio::time::timeout(FLUSH_WAIT, done).await.is_err() {
            let lines = log.all_slots - log.slots.available_permits();
            tracing::error!(lines, "could not write the last lines of the audit log");
        }
    }
}

impl AuditQueue {
    async fn permits(&self, number: u32) -> Result<Option<OwnedSemaphorePermit>, AuditUnavailable> {
        let slots = Arc::clone(&self.slots);
        // The fast path never waits, and lets no queue of waiters form while there are slots.
        if let Ok(permit) = Arc::clone(&slots).try_acquire_many_owned(number) {
            return Ok(Some(permit));
        }
        if !self.stuck.load(Ordering::Relaxed) {
            let wait = tokio::time::timeout(SLOT_WAIT, slots.acquire_many_owned(number));
            if let Ok(permit) = wait.await {
                return Ok(Some(permit.expect("the semaphore is never closed")));
            }
            // The next requests decide at once instead of waiting as long; the writer clears this
            // when a write succeeds.
            self.stuck.store(true, Ordering::Relaxed);
        }
        match self.on_failure {
            AuditFailure::Refuse => Err(AuditUnavailable),
            AuditFailure::Drop => {
                self.lost(number);
                Ok(None)
            }
        }
    }

    /// Counts requests without a line. For a batch it counts slots, not lines.
    fn lost(&self, slots: u32) {
        metrics::audit_lost(slots);
        if let Some(since) = self.losses.count() {
            tracing::error!(
                lost = since,
                "the audit log cannot be written; serving requests without audit lines"
            );
        }
    }

    fn tell(&self, message: Message) {
        // The writer's thread ends only after the last sender, so sending cannot fail.
        let _ = self.writer.send(message);
    }
}

impl AuditSlot {
    /// Reserves room for the lines of a batch's objects, in addition. `None` if they are lost.
    async fn more(&self, lines: usize) -> Result<Option<OwnedSemaphorePermit>, AuditUnavailable> {
        let slots = u32::try_from(lines.div_ceil(LINES_PER_SLOT)).unwrap_or(u32::MAX);
        self.log.permits(slots).await
    }

    fn object_keys(&self) -> AuditObjectKeys {
        self.log.object_keys
    }

    /// Fills the slot and the additional ones in `more`.
    fn fill(self, lines: Vec<u8>, more: Option<OwnedSemaphorePermit>) {
        // The permits travel with the lines: the slots are free again once the lines are written.
        let Self { log, mut permit } = self;
        if let Some(more) = more {
            permit.merge(more);
        }
        log.tell(Message::Lines(lines, permit));
    }
}

#[cfg(test)]
mod tests;
