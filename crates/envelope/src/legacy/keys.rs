//! Keys of the older formats: the text or bytes behind a key-encryption key, and the wrapped key.
//!
//! Nothing is bound to an object here: a wrapped key opens next to any body, and only the body's
//! own tag proves that the two belong together. Unwrapping detects a wrong key-encryption key (RFC
//! 5649, section 3), so several can be tried.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};

use crate::{
    dek::{DEK_BYTES, UnwrapError, WRAPPED_DEK_BYTES, kwp_unwrap},
    kek::KekError,
    secret::{SECRET_BYTES, Secret},
};

/// Input whose hash is the salt of KEK version 1.
const SALT_NAME: &[u8] = b"s3proxy-kek-salt-v1";
/// HKDF `info` of KEK version 1.
const INFO: &[u8] = b"s3proxy/kek/v1";

/// Derivation of a key-encryption key from the configured text in Intrinsec's proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KekVersion {
    /// SHA-256 of the text, up to release 1.7. Objects do not record this version.
    Zero,
    /// HKDF-SHA256, from release 1.8.0 on. Objects record this version as `1`.
    One,
}

/// A KEK version that this crate does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownKekVersion;

impl KekVersion {
    /// Parses the version that an object records next to its wrapped key. Missing or empty means
    /// [`KekVersion::Zero`].
    pub fn from_recorded(value: Option<&str>) -> Result<Self, UnknownKekVersion> {
        match value {
            None | Some("") => Ok(Self::Zero),
            Some("1") => Ok(Self::One),
            Some(_) => Err(UnknownKekVersion),
        }
    }
}

impl fmt::Display for KekVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Zero => "0",
            Self::One => "1",
        })
    }
}

/// All key-encryption keys that Intrinsec's proxy derives from one configured text.
pub struct LegacyTextKeks {
    zero: LegacyKek,
    one: LegacyKek,
}

impl LegacyTextKeks {
    /// Derives the key of every version.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self {
            zero: LegacyKek::from_text(text, KekVersion::Zero),
            one: LegacyKek::from_text(text, KekVersion::One),
        }
    }

    /// Returns the key of one version.
    #[must_use]
    pub fn of(&self, version: KekVersion) -> &LegacyKek {
        match version {
            KekVersion::Zero => &self.zero,
            KekVersion::One => &self.one,
        }
    }
}

/// Key-encryption key of an older proxy.
pub struct LegacyKek(Secret);

struct KekLength;

impl KeyType for KekLength {
    fn len(&self) -> usize {
        SECRET_BYTES
    }
}

impl LegacyKek {
    /// Derives a key of Intrinsec's proxy from the configured text.
    #[must_use]
    pub fn from_text(text: &str, version: KekVersion) -> Self {
        let mut kek = Secret::zero();
        match version {
            KekVersion::Zero => {
                let digest = digest(&SHA256, text.as_bytes());
                kek.as_mut().copy_from_slice(digest.as_ref());
            }
            KekVersion::One => {
                let salt = digest(&SHA256, SALT_NAME);
                Salt::new(HKDF_SHA256, salt.as_ref())
                    .extract(text.as_bytes())
                    .expand(&[INFO], KekLength)
                    .and_then(|okm| okm.fill(kek.as_mut()))
                    .expect("32 bytes are far below HKDF's limit");
            }
        }
        Self(kek)
    }

    /// Takes a key of Constellation's proxy: 32 bytes from its key service.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KekError> {
        let found = bytes.len();
        Secret::copy_of(bytes)
            .map(Self)
            .ok_or(KekError::Length { found })
    }

    /// Returns the all-zero key, known to everyone, which faulty versions of both proxies used.
    #[must_use]
    pub fn zero() -> Self {
        Self(Secret::zero())
    }
}

/// A wrapped data-encryption key, as the metadata carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LegacyWrappedDek([u8; WRAPPED_DEK_BYTES]);

impl LegacyWrappedDek {
    /// Parses 80 hexadecimal digits. The older proxies wrote lower case and read both cases.
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

/// Data-encryption key of one object of the older format.
pub struct LegacyDek(Secret);

impl LegacyDek {
    /// Unwraps a key; fails under every key-encryption key except the right one.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_is_missing_or_empty_is_the_first_and_an_unknown_one_is_none() {
        for (recorded, expected) in [
            (None, Ok(KekVersion::Zero)),
            (Some(""), Ok(KekVersion::Zero)),
            (Some("1"), Ok(KekVersion::One)),
        ] {
            assert_eq!(
                KekVersion::from_recorded(recorded),
                expected,
                "{recorded:?}"
            );
        }
        for unknown in ["0", "2", "01", "1 ", " ", "1,1", "v1", "-"] {
            let read = KekVersion::from_recorded(Some(unknown));
            assert_eq!(read, Err(UnknownKekVersion), "{unknown:?}");
        }
    }

    #[test]
    fn a_text_has_another_key_in_each_version() {
        let keks = LegacyTextKeks::new("toto");
        for (version, wrapped) in [
            (
                KekVersion::Zero,
                "9eac60c9de9cb3010734f1b158cd599ecc14626fe5270d6c8f3859af0ef2452d0d5b1a3f953c6b8b",
            ),
            (
                KekVersion::One,
                "b06381355e8f3e10f41c27c02e5ce61f4935a2ccc691da0df110b9ac7066bc2617c249492a3678bb",
            ),
        ] {
            let wrapped = LegacyWrappedDek::from_hex(wrapped).unwrap();
            for other in [KekVersion::Zero, KekVersion::One] {
                let opened = LegacyDek::unwrap(&wrapped, keks.of(other)).is_ok();
                assert_eq!(opened, other == version, "{version} under {other}");
            }
        }
    }
}
