//! Progress of a request body on its way to the backend, and the deadlines that follow from it.
//!
//! A silent backend and a silent source look alike to a plain timeout. Here only the backend's
//! silence counts: while the source is awaited, no deadline runs. The maker of the stream bounds
//! that time.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::error::{BodyStreamError, Phase};

/// Progress of one attempt's body.
pub(super) struct SendProgress {
    state: Mutex<SendState>,
}

struct SendState {
    stage: SendStage,
    since: Instant,
    ending: BodyEnding,
}

/// End of the body, unless it is simply complete.
enum BodyEnding {
    Open,
    Failed(BodyStreamError),
    Abandoned,
}

/// How far a body has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SendStage {
    /// Not polled yet: connecting, or there is no body.
    Unsent,
    /// Waiting for the source; the backend's time does not run.
    AwaitingSource,
    /// A frame was handed to the HTTP library.
    HandedOn,
    /// The last frame was handed over, or the body failed.
    Complete,
}

/// Time limit of each stage.
pub(super) struct PhaseLimits {
    pub(super) connect: Duration,
    pub(super) body: Duration,
    pub(super) response: Duration,
}

/// Result of a check of the deadlines.
pub(super) enum DeadlineCheck {
    /// No deadline has passed; check again at this time.
    CheckAgainAt(Instant),
    /// The deadline of this phase has passed, with its limit.
    Overdue(Phase, Duration),
}

impl SendProgress {
    pub(super) fn start() -> Arc<Self> {
        Arc::new(SendProgress {
            state: Mutex::new(SendState {
                stage: SendStage::Unsent,
                since: Instant::now(),
                ending: BodyEnding::Open,
            }),
        })
    }

    /// Checks the deadline of the current stage.
    pub(super) fn check_deadline(&self, limits: &PhaseLimits, now: Instant) -> DeadlineCheck {
        let state = self.lock();
        let (phase, limit) = match state.stage {
            // Connecting has its own timeout, and a request without a body stays in this stage: the
            // limit covers both.
            SendStage::Unsent => (Phase::AwaitingResponse, limits.connect + limits.response),
            // No deadline, but the stage may change before the next check.
            SendStage::AwaitingSource => return DeadlineCheck::CheckAgainAt(now + limits.body),
            SendStage::HandedOn => (Phase::SendingBody, limits.body),
            SendStage::Complete => (Phase::AwaitingResponse, limits.response),
        };
        let due = state.since + limit;
        if due <= now {
            DeadlineCheck::Overdue(phase, limit)
        } else {
            // The next stage may be due before this one.
            DeadlineCheck::CheckAgainAt(due.min(now + limits.body.min(limits.response)))
        }
    }

    /// Takes the error with which the source broke off, if it did.
    pub(super) fn take_failure(&self) -> Option<BodyStreamError> {
        match std::mem::replace(&mut self.lock().ending, BodyEnding::Open) {
            BodyEnding::Failed(cause) => Some(cause),
            BodyEnding::Open | BodyEnding::Abandoned => None,
        }
    }

    /// Returns whether a stream was begun and is not at its end.
    pub(super) fn is_under_way(&self) -> bool {
        match self.lock().stage {
            SendStage::AwaitingSource | SendStage::HandedOn => true,
            SendStage::Unsent | SendStage::Complete => false,
        }
    }

    /// Ends the body, and with it the connection, at the next opportunity.
    pub(super) fn abandon(&self) {
        self.lock().ending = BodyEnding::Abandoned;
    }

    pub(super) fn is_abandoned(&self) -> bool {
        matches!(self.lock().ending, BodyEnding::Abandoned)
    }

    /// Records that the body has reached a stage now.
    pub(super) fn reach(&self, stage: SendStage) {
        let mut current = self.lock();
        current.stage = stage;
        current.since = Instant::now();
    }

    /// Records the error of the source.
    pub(super) fn fail(&self, cause: BodyStreamError) {
        let mut state = self.lock();
        // After `abandon` an error of the body is only its consequence.
        if let BodyEnding::Open = state.ending {
            state.ending = BodyEnding::Failed(cause);
        }
    }

    fn lock(&self) -> MutexGuard<'_, SendState> {
        self.state.lock().expect("no holder of this lock can panic")
    }
}
