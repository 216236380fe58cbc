//! Fingerprints: whether a text is still the same, without keeping the text.
//!
//! A fingerprint is an HMAC under a key that is drawn once in a process and leaves it in no way, so
//! that it says nothing of a secret to whoever sees it, and comparing two of them tells nothing by
//! its duration. Fingerprints of two processes have nothing in common.

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;

static KEY: LazyLock<hmac::Key> = LazyLock::new(|| {
    hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
        .expect("the system's generator works")
});

/// Stands for a sequence of texts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// That of `texts`: each counts with its length, so that no two sequences run into each other.
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
