//! Code that the targets share: the reading of inputs as choices, and the client's side of a
//! request.
//!
//! A target that only fed bytes to a parser would find nothing but panics. So most targets read
//! their input as [`Choices`]: the value to build, the cuts, the change. Then they can check the
//! result.

#![forbid(unsafe_code)]

pub mod choices;
pub mod head;
pub mod sealing;
pub mod signing;

pub use choices::Choices;
