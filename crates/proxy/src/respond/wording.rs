//! Wording of errors for clients, in documents and in headers.

use http::HeaderValue;
use s3proxy_protocol::xml::error_document::ErrorDocument;

/// Longest reason in a header, in characters.
const REASON_CHARACTERS: usize = 512;

/// Formats a message as a sentence: a capital, unless it begins with a name, and a full stop.
pub(super) fn sentence(message: &str) -> String {
    let first = message.split(' ').next().unwrap_or_default();
    // A first word with digits or hyphens is a name, such as `x-amz-date`.
    let is_word = first
        .bytes()
        .all(|byte| byte.is_ascii_alphabetic() || byte == b',');
    let mut letters = message.chars();
    let mut sentence: String = match letters.next() {
        Some(letter) if is_word => letter.to_uppercase().chain(letters).collect(),
        Some(_) | None => message.to_owned(),
    };
    if !sentence.ends_with(['.', '!', '?', '\u{2026}']) {
        sentence.push('.');
    }
    sentence
}

/// Code and message in one line of ASCII, for responses that have no body.
pub(super) fn reason(document: &ErrorDocument) -> HeaderValue {
    let ErrorDocument { code, message, .. } = document;
    let text = [code.as_str(), ": ", message.as_str()];
    let characters = text.iter().flat_map(|part| part.chars());
    let visible = characters.map(|character| match character {
        ' '..='~' => character,
        // Messages that were cut off end in an ellipsis, which is not ASCII.
        '\u{2026}' => '.',
        _ => '?',
    });
    let text: String = visible.take(REASON_CHARACTERS).collect();
    HeaderValue::try_from(text.trim_end()).expect("visible ASCII is a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_sentences() {
        for (text, expected) in [
            ("the key is missing; add it", "The key is missing; add it."),
            ("The range is wrong.", "The range is wrong."),
            ("x-amz-date is missing", "x-amz-date is missing."),
            ("\u{e9}t\u{e9}", "\u{e9}t\u{e9}."),
            ("cut off\u{2026}", "Cut off\u{2026}"),
        ] {
            assert_eq!(sentence(text), expected);
        }
    }

    #[test]
    fn reasons_are_visible_ascii_of_bounded_length() {
        let document = |message: String| ErrorDocument {
            code: "Code".to_owned(),
            message,
            resource: None,
            request_id: None,
            details: Vec::new(),
        };
        let of = |message: &str| reason(&document(message.to_owned()));
        assert_eq!(of("a\r\nb \u{1b}[2J \u{e9}"), "Code: a??b ?[2J ?");
        assert_eq!(of(&"x".repeat(10_000)).len(), REASON_CHARACTERS);
    }
}
