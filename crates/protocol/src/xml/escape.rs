//! Escapes text for XML.
//!
//! There are two ways, because XML 1.0 cannot represent most control characters, which keys may
//! contain. [`escape`] preserves the text, as S3 does for keys, for readers that go beyond the
//! standard. [`escape_for_strict_readers`] replaces such characters in error documents, which have
//! to be readable for any client input. Neither lets text become markup.

use std::borrow::Cow;
use std::fmt::Write;

/// Escapes text without loss, as S3 does: markup characters and control characters become
/// references. XML 1.0 has no reference for most control characters, so strict readers refuse
/// documents that contain them. S3 sends them nevertheless, since a listing can represent such keys
/// in no other way (except with `encoding-type=url`).
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_special) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            special if is_special(special) => {
                write!(escaped, "&#x{:X};", u32::from(special))
                    .expect("writing to a string cannot fail");
            }
            plain => escaped.push(plain),
        }
    }
    Cow::Owned(escaped)
}

/// Escapes text for a document that every XML reader must accept: characters that XML 1.0 cannot
/// represent are replaced by U+FFFD.
#[must_use]
pub fn escape_for_strict_readers(text: &str) -> String {
    let carried: String = text
        .chars()
        .map(|character| match character {
            '\t' | '\n' | '\r' => character,
            '\u{FFFE}' | '\u{FFFF}' => char::REPLACEMENT_CHARACTER,
            control if u32::from(control) < 0x20 => char::REPLACEMENT_CHARACTER,
            other => other,
        })
        .collect();
    escape(&carried).into_owned()
}

/// Whether a character is markup, or would be dropped, changed or taken for a line end by XML
/// readers.
fn is_special(character: char) -> bool {
    matches!(
        character,
        '&' | '<' | '>' | '"' | '\'' | '\u{2028}' | '\u{FFFE}' | '\u{FFFF}'
    ) || character.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_markup_and_controls() {
        assert_eq!(escape("plain é😀"), "plain é😀");
        assert_eq!(
            escape("<a b='c' d=\"&\">"),
            "&lt;a b=&apos;c&apos; d=&quot;&amp;&quot;&gt;"
        );
        assert_eq!(escape("\r\n\u{1}\u{85}"), "&#xD;&#xA;&#x1;&#x85;");
    }

    #[test]
    fn replaces_what_strict_readers_refuse() {
        assert_eq!(
            escape_for_strict_readers("a\0\u{1}\n\u{FFFF}"),
            "a\u{FFFD}\u{FFFD}&#xA;\u{FFFD}"
        );
    }
}
