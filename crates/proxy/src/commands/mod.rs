//! The operator's commands: what is done with stored objects, one after the other or side by side.
//!
//! A command is a [`walk::Work`]: it says what becomes of one object. Everything else is shared:
//! which objects ([`selection`], [`listing`]), how many at a time and up to where ([`walk`],
//! [`frontier`]), what people and scripts get to see ([`report`], [`progress`]), and stopping
//! cleanly ([`stop`]). Like `app`, this module wires; the steps themselves are `execute`'s.
//!
//! Invariants: memory does not grow with the number of objects; an object is worked on only while
//! there is room for it; results go to standard output and progress to standard error; a command
//! that is stopped finishes the objects in its hands and says how to go on.
//!
//! Absent on purpose: state on disk. A command that is repeated finds what is done already by
//! looking at the objects.

mod ahead;
mod anew;
pub mod decrypt;
pub mod decrypt_one;
mod errand;
mod failures;
mod frontier;
pub mod inspect;
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

use crate::respond::Failure;

/// Whether the object is not there, or no longer.
fn missing(failure: &Failure) -> bool {
    matches!(failure, Failure::Answer(answer) if answer.status == StatusCode::NOT_FOUND)
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything that there was to do is done.
    Everything,
    /// Something failed, or was left.
    Incomplete,
    /// All is done, and something that the user asked to be told of by the exit status is so.
    Found,
    /// A signal came before the end.
    Interrupted(Signal),
}

impl Ended {
    /// The exit status. 1 is for commands that did not begin, 2 for wrong arguments.
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
