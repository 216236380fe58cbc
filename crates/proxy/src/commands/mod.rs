//! The operator's commands.
//!
//! Most work on stored objects: such a command implements [`object_walk::Work`], which processes
//! one object. The rest is shared: the choice of objects ([`object_selection`], [`listing`]),
//! concurrency and position ([`object_walk`], [`resume_point`]), output for people and scripts
//! ([`report`], [`progress`]), and clean interruption ([`stop_signals`]). Like `app`, this module
//! wires; the steps themselves are in the engine (`objects`, `upload_state`).
//!
//! Invariants: memory does not grow with the number of objects; an object is processed only while
//! there is memory for it; results go to standard output and progress to standard error; an
//! interrupted command finishes the objects in flight and reports how to resume.
//!
//! Absent on purpose: state on disk. A repeated command looks at the objects to find out which are
//! done.

pub mod check_config;
mod command_run;
mod copy_condition_probe;
pub mod decrypt;
pub mod decrypt_one;
mod failures;
pub mod health;
mod http_get;
pub mod inspect;
mod item_source;
pub mod keygen;
mod keys_in_use;
mod listing;
mod memory_gate;
pub mod migrate;
mod object_count;
pub mod object_selection;
mod object_walk;
mod open_check;
mod progress;
pub mod recover;
mod replica_keys;
mod report;
mod resume_point;
pub mod rewrap;
mod rewriting;
mod stop_signals;
pub mod sweep;
mod unfinished_file;
pub mod verify;
mod write_condition_probe;
pub mod write_options;

pub use report::Format;
pub use stop_signals::StopSignal;

use http::StatusCode;

use crate::failure::Failure;

/// Returns whether the object does not exist, or not any more.
fn missing(failure: &Failure) -> bool {
    matches!(failure, Failure::Answer(answer) if answer.status == StatusCode::NOT_FOUND)
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandEnd {
    /// Everything is done.
    Complete,
    /// Something failed, or was left undone.
    Incomplete,
    /// Everything is done, and `rewrap --check` found that another key is or may be needed.
    KeyStillNeeded,
    /// A signal interrupted the command.
    Interrupted(StopSignal),
}

impl CommandEnd {
    /// Returns the exit status. 1 is for commands that did not start, 2 for wrong arguments.
    #[must_use]
    pub fn status(self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::Incomplete => 3,
            Self::KeyStillNeeded => 4,
            Self::Interrupted(StopSignal::Interrupt) => 130,
            Self::Interrupted(StopSignal::Terminate) => 143,
        }
    }
}
