//! The key-encryption key (KEK): 32 bytes under which data-encryption keys are wrapped.
//!
//! A local KEK comes from a configured string: `s3pk1.` and base64url of the key, or a passphrase
//! that Argon2id stretches. A KEK of a key service is generated here and encrypted by the service.
//!
//! Invariants: a string that was meant as a key (in any case, with any padding) never becomes a
//! passphrase by mistake; a `Kek` is zeroized on drop and has no `Debug`, `Clone`, `==` or serde.
//! Absent: key services, and the keys of older formats.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::derive::hkdf_expand;
use crate::secret::{SECRET_BYTES, Secret};

/// Length of a key-encryption key in bytes. Frozen.
pub const KEK_BYTES: usize = SECRET_BYTES;

// Frozen: the prefix of a configured key, the derivation of a passphrase, the label of the key's
// name.
const KEY_PREFIX: &str = "s3pk1.";
const PASSPHRASE_SALT: &[u8] = b"s3proxy/v1/kek";
const ARGON2_MEMORY_KIB: u32 = 64 * 1024;
const ARGON2_PASSES: u32 = 3;
const ARGON2_LANES: u32 = 1;
const KEY_ID_LABEL: &[u8] = b"s3proxy/v1/key-id";
const KEY_ID_BYTES: usize = 8;

/// Why a key-encryption key was refused. The message never repeats the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KekError {
    /// The configured string is empty.
    #[error("the encryption key is empty; give a key made by `keygen` or a passphrase")]
    Empty,
    /// The string starts like a key, but is not the canonical text of one.
    #[error(
        "the encryption key starts like `s3pk1.` but is not a canonical one: lower-case `s3pk1.` \
         and 43 characters of unpadded base64url, nothing before or behind"
    )]
    NotCanonical,
    /// A provider returned a key that is not 32 bytes long.
    #[error("the encryption key has {found} bytes; it must have exactly 32")]
    Length {
        /// Length of the key that was given, in bytes.
        found: usize,
    },
    /// Argon2id could not allocate its memory.
    #[error("the passphrase could not be stretched: Argon2id needs 64 MiB of memory")]
    Stretching,
}

/// A key-encryption key.
pub struct Kek(Secret);

impl Kek {
    /// Reads a configured string: a key `s3pk1.…`, or else a passphrase.
    ///
    /// Stretching a passphrase takes 64 MiB and some tenths of a second; the memory is freed on
    /// return.
    pub fn from_configured(text: &str) -> Result<Self, KekError> {
        if text.is_empty() {
            return Err(KekError::Empty);
        }
        if looks_like_key(text) {
            return Self::from_canonical(text);
        }
        Self::from_passphrase(text)
    }

    /// Returns whether [`Kek::from_configured`] treats the string as a passphrase.
    #[must_use]
    pub fn is_passphrase(text: &str) -> bool {
        !text.is_empty() && !looks_like_key(text)
    }

    /// Takes a key from a provider: exactly 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KekError> {
        let found = bytes.len();
        Secret::copy_of(bytes)
            .map(Self)
            .ok_or(KekError::Length { found })
    }

    /// Generates a new key-encryption key.
    #[must_use]
    pub fn generate() -> Self {
        Self(Secret::random())
    }

    /// Returns the text that [`Kek::from_configured`] accepts: `s3pk1.` and 43 characters.
    #[must_use]
    pub fn to_configured(&self) -> Zeroizing<String> {
        let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.as_bytes()));
        // The capacity is exact: a growing string would leave copies of the key on the heap.
        let mut text = Zeroizing::new(String::with_capacity(KEY_PREFIX.len() + encoded.len()));
        text.push_str(KEY_PREFIX);
        text.push_str(&encoded);
        text
    }

    /// Returns the name that envelopes carry for this key if it is a local one: `local:` and 16 hex
    /// digits. The name reveals nothing about the key.
    #[must_use]
    pub fn local_name(&self) -> String {
        let mut id = [0; KEY_ID_BYTES];
        hkdf_expand(self.as_bytes(), &[KEY_ID_LABEL], &mut id);
        format!("local:{:016x}", u64::from_be_bytes(id))
    }

    /// Returns the key itself, for the key service that encrypts it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_array()
    }

    fn from_canonical(text: &str) -> Result<Self, KekError> {
        let encoded = text
            .strip_prefix(KEY_PREFIX)
            .ok_or(KekError::NotCanonical)?;
        let bytes = URL_SAFE_NO_PAD
            .decode(encoded)
            .map(Zeroizing::new)
            .map_err(|_| KekError::NotCanonical)?;
        Self::from_bytes(&bytes).map_err(|_| KekError::NotCanonical)
    }

    fn from_passphrase(passphrase: &str) -> Result<Self, KekError> {
        let params = Params::new(
            ARGON2_MEMORY_KIB,
            ARGON2_PASSES,
            ARGON2_LANES,
            Some(KEK_BYTES),
        )
        .expect("the frozen parameters are valid");
        // The salt is fixed: every replica must derive the same key from the passphrase alone.
        let mut kek = Self(Secret::zero());
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.as_bytes(), PASSPHRASE_SALT, kek.0.as_mut())
            .map_err(|_| KekError::Stretching)?;
        Ok(kek)
    }
}

/// Returns whether the string was meant as a key. Wrong case or a stray space must be an error:
/// taken as a passphrase, the string would silently be a different key.
fn looks_like_key(text: &str) -> bool {
    // Only leading white space is skipped here: the canonical form finds damage at the end.
    let start = text.trim_start().as_bytes();
    start.len() >= KEY_PREFIX.len()
        && start[..KEY_PREFIX.len()].eq_ignore_ascii_case(KEY_PREFIX.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_reads_back_from_its_text() {
        let kek = Kek::generate();
        let again = Kek::from_configured(&kek.to_configured()).unwrap();
        assert_eq!(kek.as_bytes(), again.as_bytes());
        assert_eq!(kek.local_name(), again.local_name());
    }

    #[test]
    fn two_generated_keys_differ() {
        assert_ne!(Kek::generate().as_bytes(), Kek::generate().as_bytes());
    }

    #[test]
    fn a_key_with_stray_space_is_refused_and_not_taken_as_a_passphrase() {
        let text = Kek::generate().to_configured();
        for slip in [
            format!(" {}", *text),
            format!("{}\n", *text),
            format!("{} ", *text),
        ] {
            assert_eq!(
                Kek::from_configured(&slip).err(),
                Some(KekError::NotCanonical)
            );
        }
    }

    #[test]
    fn only_32_bytes_make_a_key() {
        for length in [0, 16, 31, 33, 64] {
            assert_eq!(
                Kek::from_bytes(&vec![7; length]).err(),
                Some(KekError::Length { found: length })
            );
        }
        assert!(Kek::from_bytes(&[7; 32]).is_ok());
    }
}
