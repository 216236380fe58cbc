//! Reader for the format of the two older proxies. Only tests write this format.
//!
//! A body is `nonce (12) || ciphertext || tag (16)`, AES-256-GCM-SIV (RFC 8452) over the whole
//! object with empty associated data. The data-encryption key is in the metadata, wrapped by
//! AES-256-KWP under a key that Intrinsec's proxy derives from a text in one of two ways
//! ([`KekVersion`]).
//!
//! GCM-SIV authenticates a body as a whole or not at all, so a large one is read twice. The first
//! pass ([`LegacyVerifier`]) checks the tag and records a digest of every block of stored bytes.
//! The second pass ([`LegacyOpener`]) releases only blocks that match the recorded digest: a
//! backend that serves other bytes the second time is caught before a byte of them is released. The
//! record contains no key and can be kept: further ranges need no second read of the whole body.
//!
//! Invariants: no plaintext is released before its bytes were authenticated; memory is one block
//! and the list of digests, both bounded by the length; tags and digests are compared in constant
//! time.
//! Absent: sealing, and the choice between key-encryption keys.

mod body;
mod keys;
mod opener;
mod siv;
mod verifier;

#[cfg(test)]
mod tests;

pub use body::{VerifiedBody, open_held};
pub use keys::{
    KekVersion, LegacyDek, LegacyKek, LegacyTextKeks, LegacyWrappedDek, UnknownKekVersion,
};
pub use opener::LegacyOpener;
pub use verifier::LegacyVerifier;

use thiserror::Error;

use crate::layout::{PlaintextLength, StoredLength};

/// Length in bytes of the nonce before the ciphertext.
pub const NONCE_BYTES: usize = 12;
/// Length in bytes of the tag after the ciphertext.
pub const TAG_BYTES: usize = 16;

/// Maximum plaintext length of RFC 8452, section 6: 2^36 bytes.
const MAX_PLAINTEXT: u64 = 1 << 36;
const OVERHEAD: u64 = (NONCE_BYTES + TAG_BYTES) as u64;

/// Why a body could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LegacyError {
    /// No body has this length.
    #[error("no object of the older format has {0} bytes")]
    Length(u64),
    /// The stream had fewer or more bytes than the body.
    #[error("the stored body is not as long as announced")]
    OtherLength,
    /// Wrong key or altered data: the cipher cannot distinguish them.
    #[error("the stored body is not authentic: it was altered, or sealed under another key")]
    NotAuthentic,
    /// The body was authentic on the first read, and differed on the second.
    #[error("the stored body changed between its verification and its delivery")]
    Changed,
    /// The range does not lie inside the plaintext.
    #[error("the range does not lie inside the object's {0} bytes")]
    RangeBeyondEnd(u64),
}

/// Returns the plaintext length of a stored body, if that length is possible.
pub fn legacy_plaintext_length(stored: StoredLength) -> Result<PlaintextLength, LegacyError> {
    let plaintext = stored.0.checked_sub(OVERHEAD);
    plaintext
        .filter(|plaintext| *plaintext <= MAX_PLAINTEXT)
        .map(PlaintextLength)
        .ok_or(LegacyError::Length(stored.0))
}

/// Returns the length of the stored body. Saturates beyond any length that exists.
#[must_use]
pub fn legacy_stored_length(plaintext: PlaintextLength) -> StoredLength {
    StoredLength(plaintext.0.saturating_add(OVERHEAD))
}
