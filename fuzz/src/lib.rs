//! What the targets share: how an input becomes choices, and a client's side of a request.
//!
//! A target that only fed bytes to a parser would find panics and nothing else. So most of them read
//! their input as [`Choices`]: what to build, how to cut it, what to change in it. Then they can say
//! what must come out.

#![forbid(unsafe_code)]

pub mod choices;
pub mod head;
pub mod sealing;
pub mod signing;

pub use choices::Choices;
