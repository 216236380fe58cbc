//! The streaming state machines of stored bodies: sealing and opening piece by piece.
//!
//! Both are driven by pushing bytes in and taking bytes out; they own no I/O and no buffers but
//! one for a chunk that was split between two pushes. Every buffer that they fill is the caller's
//! and keeps its capacity.
//!
//! Invariants: a sealer hands out no byte that is not sealed, and its last chunk only after all
//! the announced plaintext has come; an opener hands out no byte that is not authentic, and says
//! that it is complete only when nothing is missing.
//! Absent: the backend's requests; which stored bytes to ask for is said by `layout` and
//! `multipart`.

mod opener;
mod sealer;

pub(crate) use opener::{Context, Expected, Planned, Wanted};
pub use opener::{ObjectOpener, Progress};
pub use sealer::{ObjectSealer, SealError, SealedTail};

use crate::layout::PlaintextLength;

const OBJECT_LABEL: &[u8; 18] = b"s3proxy/v1/object\0";

/// The context of an object's message. Frozen.
pub(crate) fn object_context(length: PlaintextLength) -> [u8; 26] {
    let mut context = [0; 26];
    context[..18].copy_from_slice(OBJECT_LABEL);
    context[18..].copy_from_slice(&length.0.to_be_bytes());
    context
}
