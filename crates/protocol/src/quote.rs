//! Quotes foreign text in messages: shortened, and without characters that control a terminal.
//!
//! An element name, a header value or a parameter may be as long as a request. Messages and log
//! lines quote its beginning with [`quoted`], and include foreign messages with [`bounded`].
//! Neither uses more memory than its limit.

use std::borrow::Cow;
use std::fmt::{self, Display, Write};

/// Maximum length of a quotation, in characters before escaping.
pub const QUOTED_CHARACTERS: usize = 48;

/// Marks a shortened text.
const ELLIPSIS: char = '…';

/// Quotes a text for a message: in quotation marks, escaped, and at most [`QUOTED_CHARACTERS`]
/// long.
#[must_use]
pub fn quoted(text: &str) -> Quoted<'_> {
    Quoted(text)
}

/// Displays a quoted text, see [`quoted`].
#[derive(Debug, Clone, Copy)]
pub struct Quoted<'text>(&'text str);

impl Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_char('"')?;
        let mut characters = self.0.chars();
        for character in characters.by_ref().take(QUOTED_CHARACTERS) {
            write!(formatter, "{}", character.escape_debug())?;
        }
        if characters.next().is_some() {
            formatter.write_char(ELLIPSIS)?;
        }
        formatter.write_char('"')
    }
}

/// Formats `value` up to a number of bytes; an ellipsis marks a cut.
#[must_use]
pub fn bounded(value: &dyn Display, bytes: usize) -> String {
    let mut bounded = Bounded {
        text: String::new(),
        bytes,
    };
    // `Bounded` fails only to stop the formatting once it is full.
    if write!(bounded, "{value}").is_err() {
        bounded.text.push(ELLIPSIS);
    }
    bounded.text
}

struct Bounded {
    text: String,
    bytes: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // The cut must not split a character.
        let room = self.bytes - self.text.len();
        self.text.push_str(&text[..text.floor_char_boundary(room)]);
        if text.len() > room {
            return Err(fmt::Error);
        }
        Ok(())
    }
}

/// Whether a character is not displayed as itself: control characters, and format characters that
/// hide text or change its direction (such as U+202E).
#[must_use]
pub fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Escapes those deceptive characters in JSON that JSON itself allows. The values stay the same.
#[must_use]
pub fn escaped_json(json: &str) -> Cow<'_, str> {
    // JSON already escapes ASCII controls inside strings; those between values are whitespace.
    let is_escaped = |character: char| character >= '\u{7f}' && is_deceptive(character);
    if !json.chars().any(is_escaped) {
        return Cow::Borrowed(json);
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if is_escaped(character) {
            // JSON escapes are UTF-16: characters beyond the BMP take a surrogate pair.
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(escaped, "\\u{unit:04x}").expect("a string takes everything");
            }
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotations_are_short_and_escaped() {
        for (text, expected) in [
            ("", r#""""#),
            ("Part", r#""Part""#),
            ("é\"\n\u{202e}\u{200b}", r#""é\"\n\u{202e}\u{200b}""#),
        ] {
            assert_eq!(quoted(text).to_string(), expected);
        }
        let exact = "é".repeat(QUOTED_CHARACTERS);
        assert_eq!(quoted(&exact).to_string(), format!("\"{exact}\""));
        let long = "é".repeat(1_000_000);
        assert_eq!(quoted(&long).to_string(), format!("\"{exact}…\""));
    }

    #[test]
    fn foreign_messages_end_at_their_bound() {
        assert_eq!(bounded(&"abc", 3), "abc");
        assert_eq!(bounded(&"abcd", 3), "abc…");
        assert_eq!(bounded(&"aéb", 2), "a…");
        let long = "x".repeat(1_000_000);
        let shortened = bounded(&format_args!("{long}{long}"), 1000);
        assert!(shortened.capacity() < 4096, "{}", shortened.capacity());
    }

    #[test]
    fn json_keeps_its_values_when_it_is_escaped() {
        let text = "é\u{7f}\u{9b}\u{202e}\u{e0041}\n";
        let json = serde_json::to_string(text).expect("a text is JSON");
        let escaped = escaped_json(&json);
        assert_eq!(escaped, "\"é\\u007f\\u009b\\u202e\\udb40\\udc41\\n\"");
        let read: String = serde_json::from_str(&escaped).expect("it still is");
        assert_eq!(read, text);
        assert!(matches!(escaped_json("{\"a\":\"é\"}\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn characters_that_mislead_readers_are_known() {
        for character in ['\0', '\u{7f}', '\u{9b}', '\u{202e}', '\u{2066}', '\u{200f}'] {
            assert!(is_deceptive(character), "{character:?}");
        }
        for character in ['a', ' ', 'é', '日', '😀', 'ש'] {
            assert!(!is_deceptive(character), "{character:?}");
        }
    }
}
