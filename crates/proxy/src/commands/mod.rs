//! The operator's commands on stored objects.
//!
//! A command implements [`walk::Work`], which processes one object. Everything else is shared: the
//! choice of objects ([`selection`], [`listing`]), concurrency and position ([`walk`],
//! [`frontier`]), output for people and scripts ([`report`], [`progress`]), and clean interruption
//! ([`stop`]). Like `app`, this module wires; the steps themselves are in the engine (`objects`, `upload_state`).
//!
//! Invariants: memory does not grow with the number of objects; an object is processed only while
//! there is memory for it; results go to standard output and progress to standard error; an
//! interrupted command finishes the objects in flight and reports how to resume.
//!
//! Absent on purpose: state on disk. A repeated command looks at the objects to find out which are
//! done.

mod ahead;
mod anew;
pub mod decrypt;
pub mod decrypt_one;
mod failures;
mod frontier;
pub mod inspect;
mod item_source;
mod listing;
pub mod migrate;
mod needed;
mod place;
mod probe;
mod progress;
pub mod recover;
mod replicas;
mod report;
pub mod rewrap;
mod room;
pub mod selection;
mod session;
mod stop;
pub mod sweep;
pub mod verify;
mod walk;
mod written;

pub use report::Format;
pub use stop::Signal;

use http::StatusCode;

use crate::failure::Failure;

/// Returns whether the object does not exist, or not any more.
fn missing(failure: &Failure) -> bool {
    matches!(failure, Failure::Answer(answer) if answer.status == StatusCode::NOT_FOUND)
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything is done.
    Everything,
    /// Something failed, or was left undone.
    Incomplete,
    /// Everything is done, and the condition holds that the user wanted reported by the exit
    /// status.
    Found,
    /// A signal interrupted the command.
    Interrupted(Signal),
}

impl Ended {
    /// Returns the exit status. 1 is for commands that did not start, 2 for wrong arguments.
    #[must_use]
    pub fn status(self) -> u8 {
        match self {
            Self::Everything => 0,
            Self::Incomplete => 3,
            Self::Found => 4,
            Self::Interrupted(Signal::Interrupt) => 130,
            Self::Interrupted(Signal::Terminate) => 143,
        }
    }
}
