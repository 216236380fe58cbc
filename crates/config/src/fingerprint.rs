//! Fingerprints: they show whether a text has changed, without keeping the text.
//!
//! A fingerprint is an HMAC under a key that is generated once per process and never leaves it. So
//! it reveals nothing about a secret, and the duration of a comparison reveals nothing either.
//! Fingerprints of two processes are unrelated.

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;

static KEY: LazyLock<hmac::Key> = LazyLock::new(|| {
    hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
        .expect("the system's generator works")
});

/// Fingerprint of a sequence of texts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Computes the fingerprint of `texts`. Each is prefixed with its length, so that different
    /// sequences cannot have the same input.
    pub(crate) fn of<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut context = hmac::Context::with_key(&KEY);
        for text in texts {
            context.update(&(text.len() as u64).to_le_bytes());
            context.update(text);
        }
        let tag = context.sign();
        Self(tag.as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes"))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sequences_have_equal_fingerprints_and_no_others() {
        let of = |texts: &[&str]| Fingerprint::of(texts.iter().map(|text| text.as_bytes()));
        assert!(of(&["a", "bc"]) == of(&["a", "bc"]));
        for other in [&["ab", "c"][..], &["abc"], &["a", "bc", ""], &[]] {
            assert!(of(&["a", "bc"]) != of(other), "{other:?}");
        }
    }
}
