//! Text from outside in messages: short, and with nothing that a terminal obeys.
//!
//! An element name, a header value or a parameter may be as long as a request. Messages and log
//! lines quote the beginning of it with [`quoted`], and take over foreign messages with
//! [`bounded`]; neither ever holds more than its bound in memory.

use std::borrow::Cow;
use std::fmt::{self, Display, Write};

/// Longest quotation, in characters.
pub const QUOTED_CHARACTERS: usize = 48;

/// What stands at the end of a shortened text.
const ELLIPSIS: char = '…';

/// A text as messages quote it: in quotation marks, escaped, and at most
/// [`QUOTED_CHARACTERS`] long.
#[must_use]
pub fn quoted(text: &str) -> Quoted<'_> {
    Quoted(text)
}

/// See [`quoted`].
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

/// The beginning of what `value` displays, up to `bytes`; an ellipsis marks a cut.
#[must_use]
pub fn bounded(value: &dyn Display, bytes: usize) -> String {
    let mut bounded = Bounded {
        text: String::new(),
        bytes,
    };
    // The only error is the one by which `Bounded` says that it is full.
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
        let room = self.bytes - self.text.len();
        self.text.push_str(&text[..text.floor_char_boundary(room)]);
        if text.len() > room {
            return Err(fmt::Error);
        }
        Ok(())
    }
}

/// Whether a character is not shown as itself: controls, and the format characters that hide text
/// or change its direction (U+202E and its kin).
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

/// JSON with deceptive characters escaped that JSON itself lets through. The values that it stands
/// for stay the same.
#[must_use]
pub fn escaped_json(json: &str) -> Cow<'_, str> {
    // JSON escapes ASCII's other controls within texts; those between values are white space.
    let is_escaped = |character: char| character >= '\u{7f}' && is_deceptive(character);
    if !json.chars().any(is_escaped) {
        return Cow::Borrowed(json);
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if is_escaped(character) {
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
