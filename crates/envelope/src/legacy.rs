//! Reading what the two older proxies wrote. Nothing is written in this format but by tests.
//!
//! A body is `nonce (12) || ciphertext || tag (16)`, AES-256-GCM-SIV (RFC 8452) over the whole
//! object with empty associated data; the data key stands beside it, wrapped by AES-256-KWP under a
//! key that Intrinsec's proxy derives from a text in one of two ways ([`KekVersion`]).
//!
//! GCM-SIV authenticates a body as a whole or not at all, so a large one is read twice. The first
//! reading ([`LegacyVerifier`]) checks the tag and records a digest of every block of stored bytes;
//! the second ([`LegacyOpener`]) hands out only blocks whose digest is the recorded one, so that a
//! backend which serves other bytes the second time is found out before a byte of them is released.
//! What was recorded holds no key and can be kept: further ranges need no reading of the whole.
//!
//! Invariants: no plaintext leaves before its bytes were authenticated; memory is one block and the
//! list of digests, both bounded by the length; tags and digests are compared in constant time.
//! Absent: any way to seal, and the choice between key-encryption keys.

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

/// Length of the nonce in front of the ciphertext.
pub const NONCE_BYTES: usize = 12;
/// Length of the tag behind it.
pub const TAG_BYTES: usize = 16;

/// RFC 8452, section 6: no plaintext is longer than 2^36 bytes.
const MAX_PLAINTEXT: u64 = 1 << 36;
const OVERHEAD: u64 = (NONCE_BYTES + TAG_BYTES) as u64;

/// Why a body did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LegacyError {
    /// No body has this length.
    #[error("no object of the older format has {0} bytes")]
    Length(u64),
    /// Fewer or more bytes came than the body has.
    #[error("the stored body is not as long as announced")]
    OtherLength,
    /// Another key, or altered data: they cannot be told apart.
    #[error("the stored body is not authentic: it was altered, or sealed under another key")]
    NotAuthentic,
    /// The body was authentic when it was read first, and other bytes came the second time.
    #[error("the stored body changed between its verification and its delivery")]
    Changed,
    /// The range does not lie inside the plaintext.
    #[error("the range does not lie inside the object's {0} bytes")]
    RangeBeyondEnd(u64),
}

/// The plaintext length of a stored body, where there can be one.
pub fn legacy_plaintext_length(stored: StoredLength) -> Result<PlaintextLength, LegacyError> {
    let plaintext = stored.0.checked_sub(OVERHEAD);
    plaintext
        .filter(|plaintext| *plaintext <= MAX_PLAINTEXT)
        .map(PlaintextLength)
        .ok_or(LegacyError::Length(stored.0))
}

/// The length of the stored body. Saturates beyond any length that exists.
#[must_use]
pub fn legacy_stored_length(plaintext: PlaintextLength) -> StoredLength {
    StoredLength(plaintext.0.saturating_add(OVERHEAD))
}
