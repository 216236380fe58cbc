//! Boundary of a form (RFC 2046, section 5.1.1), from its `Content-Type`.
//!
//! A boundary contains no CR, so the delimiter made from it cannot overlap with itself: the parsers
//! in this module rely on that.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::error::PostError;
use crate::headers;

/// Separator of a form's parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundary {
    /// CR LF, two hyphens and the boundary.
    delimiter: Vec<u8>,
}

impl Boundary {
    /// Parses the boundary from a request's `Content-Type`, which must appear exactly once.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, PostError> {
        let mut values = headers.get_all(CONTENT_TYPE).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => {
                let text = headers::value_text(value).ok_or(PostError::Boundary)?;
                Self::from_content_type(text)
            }
            (None, _) | (Some(_), Some(_)) => Err(PostError::Boundary),
        }
    }

    /// Parses `multipart/form-data; boundary=…`, with the boundary quoted or not. Fails with
    /// [`PostError::Boundary`].
    pub fn from_content_type(text: &str) -> Result<Self, PostError> {
        let (media, parameters) = text.split_once(';').ok_or(PostError::Boundary)?;
        if !media.trim().eq_ignore_ascii_case("multipart/form-data") {
            return Err(PostError::Boundary);
        }
        let mut found = None;
        // Splitting ignores quotes, which is safe: `;` is the one separator of parameters that a
        // boundary would have to quote, and no boundary may contain it.
        for parameter in parameters.split(';') {
            let Some((name, value)) = parameter.split_once('=') else {
                continue;
            };
            // Two boundaries would let another parser see other parts than this one.
            if name.trim().eq_ignore_ascii_case("boundary")
                && found.replace(unquote(value.trim())).is_some()
            {
                return Err(PostError::Boundary);
            }
        }
        let boundary = found.filter(|text| is_boundary(text));
        let boundary = boundary.ok_or(PostError::Boundary)?;
        Ok(Self {
            delimiter: [b"\r\n--", boundary.as_bytes()].concat(),
        })
    }

    /// The bytes that end a part, including the line break before the boundary.
    pub(super) fn delimiter(&self) -> &[u8] {
        &self.delimiter
    }
}

fn unquote(text: &str) -> &str {
    text.strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text)
}

/// Whether a text consists of 1 to 70 `bchars` and does not end in a space (RFC 2046).
fn is_boundary(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    (1..=70).contains(&text.len()) && text.bytes().all(known) && !text.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_are_read_quoted_and_bare() {
        let long = format!("multipart/form-data; boundary={}", "b".repeat(70));
        for (text, boundary) in [
            ("multipart/form-data; boundary=edge", "edge"),
            (
                "Multipart/Form-Data;charset=utf-8; Boundary=\"a b:c\"",
                "a b:c",
            ),
            (
                "multipart/form-data; boundary=----WebKitFormBoundaryX",
                "----WebKitFormBoundaryX",
            ),
            (&long, &"b".repeat(70)),
        ] {
            let expected = format!("\r\n--{boundary}");
            let read = Boundary::from_content_type(text).unwrap();
            assert_eq!(read.delimiter(), expected.as_bytes(), "{text}");
        }
    }

    #[test]
    fn other_content_types_are_refused() {
        let long = format!("multipart/form-data; boundary={}", "b".repeat(71));
        for text in [
            "",
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"\"",
            "multipart/form-data; boundary=\"a \"",
            "multipart/form-data; boundary=a; boundary=b",
            "multipart/form-data; boundary=a\u{7f}",
            // A quote is no boundary character, not even escaped.
            "multipart/form-data; boundary=\"a\\\"b\"",
            "multipart/mixed; boundary=a",
            "application/x-www-form-urlencoded; boundary=a",
            &long,
        ] {
            let read = Boundary::from_content_type(text);
            assert_eq!(read, Err(PostError::Boundary), "{text}");
        }
    }
}
