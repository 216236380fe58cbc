//! Keys of the older formats: which text or bytes make a key-encryption key, and the wrapped key.
//!
//! Nothing is bound to a place here: a wrapped key opens beside any body, and only the body's own
//! tag tells whether the two belong together. Unwrapping tells a right key-encryption key from a
//! wrong one (RFC 5649, section 3), so several can be tried.

use aws_lc_rs::digest::{SHA256, digest};

use crate::{
    dek::{DEK_BYTES, UnwrapError, WRAPPED_DEK_BYTES, kwp_unwrap},
    kek::KekError,
    secret::Secret,
};

/// A key-encryption key of an older proxy.
pub struct LegacyKek(Secret);

impl LegacyKek {
    /// Intrinsec's: the SHA-256 of the configured text, whatever the text looks like.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let digest = digest(&SHA256, text.as_bytes());
        Self::from_bytes(digest.as_ref()).expect("SHA-256 has 32 bytes")
    }

    /// Constellation's: 32 bytes from its key service.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KekError> {
        let found = bytes.len();
        Secret::copy_of(bytes)
            .map(Self)
            .ok_or(KekError::Length { found })
    }

    /// What faulty versions of both used instead: 32 zero bytes, known to everyone.
    #[must_use]
    pub fn zero() -> Self {
        Self(Secret::zero())
    }
}

/// A data key as the metadata carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LegacyWrappedDek([u8; WRAPPED_DEK_BYTES]);

impl LegacyWrappedDek {
    /// Reads 80 hexadecimal digits. They were written in lower case; the older proxies read both.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 2 * WRAPPED_DEK_BYTES {
            return None;
        }
        let mut bytes = [0; WRAPPED_DEK_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = value_of(pair[0])? << 4 | value_of(pair[1])?;
        }
        Some(Self(bytes))
    }
}

fn value_of(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

/// The data key of one object of the older format.
pub struct LegacyDek(Secret);

impl LegacyDek {
    /// Unwraps a key; fails under every key-encryption key but its own.
    pub fn unwrap(wrapped: &LegacyWrappedDek, kek: &LegacyKek) -> Result<Self, UnwrapError> {
        kwp_unwrap(kek.0.as_array(), &wrapped.0).map(Self)
    }

    pub(super) fn as_bytes(&self) -> &[u8; DEK_BYTES] {
        self.0.as_array()
    }

    #[cfg(test)]
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        Self(Secret::copy_of(bytes).unwrap())
    }
}
