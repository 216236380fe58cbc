//! Streaming state machines for stored bodies: sealing and opening piece by piece.
//!
//! The caller pushes bytes in and takes bytes out. The machines do no I/O and own no buffer except
//! one for a chunk that was split between two pushes. Every output buffer belongs to the caller and
//! keeps its capacity.
//!
//! Invariants: a sealer releases only sealed bytes, and its last chunk only after all of the
//! announced plaintext arrived; an opener releases only authentic bytes, and reports completion
//! only if nothing is missing.
//! Absent: requests to the backend; `layout` and `multipart` compute which stored bytes to request.

mod opener;
mod sealer;

pub(crate) use opener::{Context, Expected, Planned, Wanted};
pub use opener::{ObjectOpener, Progress};
pub use sealer::{ObjectSealer, SealError, SealedTail};

use crate::layout::PlaintextLength;

const OBJECT_LABEL: &[u8; 18] = b"s3proxy/v1/object\0";

/// Returns the context of an object's message. Frozen.
pub(crate) fn object_context(length: PlaintextLength) -> [u8; 26] {
    let mut context = [0; 26];
    context[..18].copy_from_slice(OBJECT_LABEL);
    context[18..].copy_from_slice(&length.0.to_be_bytes());
    context
}
