//! Texts of keys, as far as they can be judged without deriving a key from them.
//!
//! A generated key is `s3pk1.` and 32 bytes in canonical base64url (FORMAT.md); any other text is a
//! passphrase. What looks like a generated key and is none must not pass for a passphrase, or
//! objects would be sealed under a key that nobody meant.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::{Given, Reason, Scalar, Value};
use crate::config::declare::Sensitivity;
use crate::config::secret::SecretText;

const GENERATED: &str = "s3pk1.";
const KEY_BYTES: usize = 32;

/// One key or passphrase.
pub(crate) struct KeyText(pub SecretText);

impl Scalar for KeyText {
    const SENSITIVITY: Sensitivity = Sensitivity::Secret;

    fn expects() -> String {
        "a key made by s3proxy keygen, or a passphrase".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Reason> {
        if text.matches(GENERATED).count() > 1 {
            return Err("several keys stand in one line".to_owned());
        }
        if looks_generated(text) && !is_generated(text) {
            return Err(
                "it looks like a generated key, which is s3pk1. in lower case and 43 \
                        characters, with nothing before or behind"
                    .to_owned(),
            );
        }
        SecretText::parse(text).map(Self)
    }
}

fn looks_generated(text: &str) -> bool {
    let start = text.trim_start().as_bytes().get(..GENERATED.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(GENERATED.as_bytes()))
}

fn is_generated(text: &str) -> bool {
    let encoded = text.strip_prefix(GENERATED).unwrap_or_default();
    let bytes = URL_SAFE_NO_PAD.decode(encoded).map(Zeroizing::new);
    bytes.is_ok_and(|bytes| bytes.len() == KEY_BYTES)
}

/// Keys, one a line: passphrases may hold commas.
pub(crate) struct KeyLines(pub Vec<SecretText>);

impl Value for KeyLines {
    const SENSITIVITY: Sensitivity = Sensitivity::Secret;

    fn expects() -> String {
        "keys or passphrases, one a line, or a list of them in the configuration file".to_owned()
    }

    fn read(given: &Given) -> Result<Self, Reason> {
        let key = |text: &str| KeyText::parse(text).map(|KeyText(secret)| secret);
        match given {
            Given::Text(text) => text
                .lines()
                .filter(|line| !line.is_empty())
                .map(key)
                .collect::<Result<_, _>>(),
            Given::List(items) => items.iter().map(|item| key(item)).collect(),
        }
        .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::given;
    use super::*;

    #[test]
    fn what_looks_like_a_generated_key_has_to_be_one() {
        let key = format!("s3pk1.{}", "A".repeat(43));
        assert!(KeyText::parse(&key).is_ok());
        assert!(KeyText::parse("s3pk is a passphrase").is_ok());
        for wrong in [
            key.to_uppercase(),
            format!(" {key}"),
            format!("{key}="),
            format!("{key} "),
            key[..48].to_owned(),
            format!("s3pk1.{}B", "A".repeat(42)),
            "s3pk1.".to_owned(),
        ] {
            assert!(KeyText::parse(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn keys_stand_one_a_line_and_keep_their_commas() {
        let KeyLines(keys) = KeyLines::read(&given("one, two\n\nthree\n")).ok().unwrap();
        assert_eq!(
            keys.iter().map(SecretText::expose).collect::<Vec<_>>(),
            ["one, two", "three"]
        );
    }

    #[test]
    fn several_generated_keys_in_one_line_are_refused() {
        let reason = KeyLines::read(&given("s3pk1.aa,s3pk1.bb")).err().unwrap();
        assert_eq!(reason, "several keys stand in one line");
    }
}
