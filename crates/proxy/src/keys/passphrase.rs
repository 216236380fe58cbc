//! Local keys that are passphrases, which can be guessed.

use s3proxy_envelope::kek::Kek;

/// Fewer characters than four random words have.
const SHORT: usize = 20;

/// How hard a passphrase is to guess, by its length alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passphrase {
    Short,
    Long,
}

impl Passphrase {
    /// Absent for a generated key.
    pub(super) fn of(text: &str) -> Option<Self> {
        if !Kek::is_passphrase(text) {
            return None;
        }
        let is_short = text.chars().count() < SHORT;
        Some(if is_short { Self::Short } else { Self::Long })
    }

    pub(super) fn warn(self, key: &str) {
        match self {
            Self::Short => tracing::warn!(
                key,
                "this key is a passphrase of fewer than {SHORT} characters: whoever sees one stored \
                 object can guess it; take a key made by `s3proxy keygen`"
            ),
            Self::Long => tracing::warn!(
                key,
                "this key is a passphrase: whoever sees one stored object can try to guess it; take \
                 a key made by `s3proxy keygen`"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passphrases_are_told_from_keys_and_short_ones_from_long() {
        let key = Kek::generate().to_configured();
        for (text, expected) in [
            ("x", Some(Passphrase::Short)),
            ("nineteen characters", Some(Passphrase::Short)),
            ("correct horse battery staple", Some(Passphrase::Long)),
            (key.as_str(), None),
        ] {
            assert_eq!(Passphrase::of(text), expected, "{}", text.len());
        }
    }
}
