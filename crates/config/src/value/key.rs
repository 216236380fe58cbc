//! Validation of key texts, as far as it is possible without deriving a key.
//!
//! A generated key is `s3pk1.` and 32 bytes in canonical base64url (FORMAT.md); any other text is a
//! passphrase. A damaged key, a quoted one or the path of a key's file must not pass for a
//! passphrase: objects would be sealed under an unintended key. The one exception is a list of
//! `keys.decrypt_keys` in the configuration file: TOML has its own quotes, so texts are taken
//! unchanged there, and objects sealed under such a text can still be read.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::{RawValue, Reason, Scalar, Value};
use crate::declare::Sensitivity;
use crate::secret::SecretText;

const GENERATED: &str = "s3pk1.";
const KEY_BYTES: usize = 32;

/// U+FEFF, which some editors put at the beginning of a file.
const BYTE_ORDER_MARK: char = '\u{feff}';

const QUOTES: [char; 7] = [
    '"', '\'', '`', '\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}',
];

/// One key or passphrase.
pub(crate) struct KeyText(pub SecretText);

impl Scalar for KeyText {
    const SENSITIVITY: Sensitivity = Sensitivity::Secret;

    fn expects() -> String {
        "a key made by s3proxy keygen, or a passphrase".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Reason> {
        match damage(text).or_else(|| stray(text)) {
            Some(reason) => Err(reason.to_owned()),
            None => SecretText::parse(text).map(Self),
        }
    }
}

impl KeyText {
    /// Parses a key that only opens objects, written in a place where quotes and spaces can only be
    /// deliberate.
    fn parse_verbatim(text: &str) -> Result<Self, Reason> {
        match damage(text) {
            Some(reason) => Err(reason.to_owned()),
            None => SecretText::parse(text).map(Self),
        }
    }
}

/// Returns the length of a passphrase in characters; `None` for a generated key.
pub(crate) fn passphrase_length(text: &str) -> Option<usize> {
    (!is_generated(text)).then(|| text.chars().count())
}

/// Why a text is a damaged key, whatever else it might be.
#[must_use]
pub fn damage(text: &str) -> Option<&'static str> {
    if text.starts_with(BYTE_ORDER_MARK) {
        return Some("it begins with a byte order mark; save the file as UTF-8 without one");
    }
    // In any case: a capital letter alone would turn the key into a passphrase.
    let folded = Zeroizing::new(text.to_ascii_lowercase());
    match folded.matches(GENERATED).count() {
        0 => None,
        1 if is_generated(text) => None,
        1 if is_quoted(text) => {
            Some("the key is in quotes, which are part of the value; remove them")
        }
        1 if text.trim() != text => Some("the key has leading or trailing white space; remove it"),
        1 => Some(
            "it is a malformed generated key: expected s3pk1. in lower case and exactly 43 \
             characters, with nothing before or after; copy the key again",
        ),
        _ => Some("several keys are in one line"),
    }
}

/// Returns why a text is hardly the intended passphrase, if so.
fn stray(text: &str) -> Option<&'static str> {
    if is_quoted(text) {
        return Some(
            "it begins or ends with a quote, which is part of the value; remove the quotes, or, to \
             read objects sealed with them, list the text in keys.decrypt_keys of the \
             configuration file",
        );
    }
    if text.trim() != text {
        return Some(
            "it has leading or trailing white space; remove it, or, to read objects sealed with \
             it, list the text in keys.decrypt_keys of the configuration file",
        );
    }
    if text.contains(char::is_control) {
        return Some(
            "it contains a line break or another control character; expected a single line",
        );
    }
    let is_unexpanded = |(start, end): (&str, &str)| text.starts_with(start) && text.ends_with(end);
    if [("$(", ")"), ("${", "}"), ("{{", "}}")]
        .into_iter()
        .any(is_unexpanded)
    {
        return Some("it is an unexpanded expression; set its value");
    }
    if is_path(text) {
        return Some(
            "it is the path of a file; use the setting's file form: a field that ends with \
             _file, or a variable that ends with _FILE",
        );
    }
    None
}

fn is_quoted(text: &str) -> bool {
    text.starts_with(QUOTES) || text.ends_with(QUOTES)
}

/// Returns whether a text is a path rather than a passphrase. Base64 may begin with a slash, too:
/// with its padding, it is no path.
fn is_path(text: &str) -> bool {
    let begins = ["/", "./", "../", "~/", "file:"];
    let begins = begins.into_iter().any(|start| text.starts_with(start));
    // Also a bare name, if a file of that name exists.
    (begins && !text.ends_with('=')) || Path::new(text).is_file()
}

fn is_generated(text: &str) -> bool {
    let Some(encoded) = text.strip_prefix(GENERATED) else {
        return false;
    };
    let bytes = URL_SAFE_NO_PAD.decode(encoded).map(Zeroizing::new);
    bytes.is_ok_and(|bytes| bytes.len() == KEY_BYTES)
}

/// Keys, one per line: passphrases may contain commas.
pub(crate) struct KeyLines(pub Vec<SecretText>);

impl Value for KeyLines {
    const SENSITIVITY: Sensitivity = Sensitivity::Secret;

    fn expects() -> String {
        "keys or passphrases, one per line, or a list of them in the configuration file".to_owned()
    }

    fn read(given: &RawValue) -> Result<Self, Reason> {
        let keys: Result<Vec<_>, _> = match given {
            RawValue::Text(text) => text
                .lines()
                .filter(|line| !line.is_empty())
                .map(KeyText::parse)
                .collect(),
            RawValue::List(items) => items
                .iter()
                .map(|item| KeyText::parse_verbatim(item))
                .collect(),
        };
        Ok(Self(keys?.into_iter().map(|KeyText(key)| key).collect()))
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
            // One character short.
            key[..48].to_owned(),
            // The last character has bits that belong to no byte.
            format!("s3pk1.{}B", "A".repeat(42)),
            "s3pk1.".to_owned(),
            format!("\"{key}\""),
            format!("\u{feff}{key}"),
            format!("KEY={key}"),
            format!("{key} # of 2026"),
        ] {
            assert!(KeyText::parse(&wrong).is_err(), "{wrong:?}");
            let listed = RawValue::List(vec![Zeroizing::new(wrong.clone())]);
            assert!(KeyLines::read(&listed).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_passphrase_is_a_text_that_somebody_may_have_meant() {
        for meant in [
            "correct horse",
            "it's",
            "a/b",
            // Base64 may begin with a slash, like a path.
            "/YmFzZTY0IHRoYXQgYmVnaW5zIHdpdGggYSBzbGFzaCE=",
            "$ecret",
        ] {
            assert!(KeyText::parse(meant).is_ok(), "{meant:?}");
        }
        for stray in [
            "\"correct horse\"",
            "'correct horse",
            "correct horse\n",
            " correct horse",
            "correct\nhorse",
            "\u{feff}correct horse",
            // A path instead of the key in it.
            "/run/secrets/key",
            "./key",
            "~/key",
            "Cargo.toml",
            // No shell has expanded these.
            "${KEY}",
            "$(cat key)",
        ] {
            assert!(KeyText::parse(stray).is_err(), "{stray:?}");
        }
    }

    #[test]
    fn a_list_in_the_file_holds_texts_as_they_are() {
        let listed = RawValue::List(vec![Zeroizing::new("\"correct horse\" ".to_owned())]);
        let KeyLines(keys) = KeyLines::read(&listed).ok().unwrap();
        assert_eq!(keys[0].expose(), "\"correct horse\" ");
    }

    #[test]
    fn passphrases_have_a_length_and_keys_have_none() {
        assert_eq!(
            passphrase_length(&format!("s3pk1.{}", "A".repeat(43))),
            None
        );
        assert_eq!(passphrase_length("größe"), Some(5));
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
        assert_eq!(reason, "several keys are in one line");
    }
}
