//! Text that must not be seen: keys, passphrases, secret access keys, session tokens.
//!
//! A `SecretText` is wiped from memory on drop and has no `Debug`, `Display`, `PartialEq` or serde
//! implementation, so that a log line or an error with a secret does not compile. The only way to
//! the text is [`SecretText::expose`], which is easy to search for.
//!
//! Absent on purpose: `Clone`. Each secret has one owner.

use zeroize::Zeroizing;

/// A secret from the configuration. Never empty.
pub struct SecretText(Zeroizing<String>);

/// Error that the text is empty.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret is empty")]
pub struct EmptySecret;

impl SecretText {
    /// Wraps the text unchanged; surrounding white space belongs to it.
    pub fn new(text: Zeroizing<String>) -> Result<Self, EmptySecret> {
        if text.is_empty() {
            return Err(EmptySecret);
        }
        Ok(Self(text))
    }

    /// Returns the text itself, for the one place that uses it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}
