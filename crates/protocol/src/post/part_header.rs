//! Header of one part of a form (RFC 7578, section 4).
//!
//! Names and file names are parsed as browsers write them: UTF-8 between quotes, with only `\"` and
//! `\\` as escapes, since old browsers send whole paths with single backslashes. `filename*` is
//! ignored (RFC 7578 forbids it), and so is the part's own `Content-Type` (S3 uses the field of
//! that name instead).

use super::error::PostError;

/// Name and file name from the header of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartHeader {
    pub(super) name: String,
    pub(super) file_name: Option<String>,
}

impl PartHeader {
    /// Parses the header lines of a part, without the empty line after them.
    pub(super) fn parse(block: &[u8]) -> Result<Self, PostError> {
        let text = std::str::from_utf8(block)
            .map_err(|_| PostError::Malformed("the header of a part must be UTF-8"))?;
        let mut disposition = None;
        for line in text.split("\r\n") {
            let (name, value) = line
                .split_once(':')
                .filter(|(name, _)| is_token(name))
                .ok_or(PostError::Malformed(
                    "a line in the header of a part must be 'name: value'",
                ))?;
            if value
                .bytes()
                .any(|byte| byte.is_ascii_control() && byte != b'\t')
            {
                return Err(PostError::Malformed(
                    "the header of a part must have no control character",
                ));
            }
            if name.eq_ignore_ascii_case("content-disposition") {
                if disposition.replace(value.trim()).is_some() {
                    return Err(PostError::Malformed(
                        "a part must have one Content-Disposition",
                    ));
                }
            } else if name.eq_ignore_ascii_case("content-transfer-encoding") {
                require_identity(value.trim())?;
            }
        }
        Self::from_disposition(disposition.ok_or(MISSING_NAME)?)
    }

    fn from_disposition(value: &str) -> Result<Self, PostError> {
        let (kind, mut rest) = value.split_once(';').ok_or(MISSING_NAME)?;
        if !kind.trim().eq_ignore_ascii_case("form-data") {
            return Err(MISSING_NAME);
        }
        let (mut name, mut file_name) = (None, None);
        loop {
            let (parameter, text, behind) = parameter(rest).ok_or(PostError::Malformed(
                "a parameter of Content-Disposition must be name=\"value\"",
            ))?;
            let slot = if parameter.eq_ignore_ascii_case("name") {
                Some(&mut name)
            } else if parameter.eq_ignore_ascii_case("filename") {
                Some(&mut file_name)
            } else {
                None
            };
            if slot.is_some_and(|slot| slot.replace(text).is_some()) {
                return Err(PostError::Malformed(
                    "a part must have one name and one filename",
                ));
            }
            match behind {
                Some(more) => rest = more,
                None => break,
            }
        }
        let name = name.filter(|name| !name.is_empty()).ok_or(MISSING_NAME)?;
        Ok(Self { name, file_name })
    }
}

const MISSING_NAME: PostError =
    PostError::Malformed("every part must have 'Content-Disposition: form-data; name=\"…\"'");

/// Parses one `name=value`. Returns it with the text after the next `;`, if there is one.
fn parameter(text: &str) -> Option<(&str, String, Option<&str>)> {
    let (name, value) = text.split_once('=')?;
    let name = name.trim();
    if !is_token(name) {
        return None;
    }
    let value = value.trim_start();
    // Quoted values first: they may contain a `;`.
    let (value, behind) = if let Some(quoted) = value.strip_prefix('"') {
        quoted_string(quoted)?
    } else {
        let end = value.find(';').unwrap_or(value.len());
        let bare = value[..end].trim_end();
        if !is_token(bare) {
            return None;
        }
        (bare.to_owned(), &value[end..])
    };
    match behind.trim() {
        "" => Some((name, value, None)),
        more => Some((name, value, Some(more.strip_prefix(';')?))),
    }
}

/// Parses a quoted string after its opening quote. Returns its value and the text after the closing
/// quote.
fn quoted_string(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                // Any other backslash is literal: `C:\photos\cat.jpg`.
                Some((_, escaped)) => value.push(escaped),
                None => value.push('\\'),
            },
            plain => value.push(plain),
        }
    }
    None
}

/// Whether a text is a token (RFC 9110, section 5.6.2).
fn is_token(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(known)
}

/// Refuses content codings. The field is obsolete (RFC 7578, section 4.7), and with a coding the
/// part's bytes would not be the file's.
fn require_identity(coding: &str) -> Result<(), PostError> {
    let identity = ["binary", "7bit", "8bit"];
    if identity
        .iter()
        .any(|known| known.eq_ignore_ascii_case(coding))
    {
        Ok(())
    } else {
        Err(PostError::Malformed(
            "a part must have no Content-Transfer-Encoding but binary, 7bit or 8bit",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(String, Option<String>), PostError> {
        PartHeader::parse(text.as_bytes()).map(|header| (header.name, header.file_name))
    }

    #[test]
    fn names_are_read_as_browsers_and_libraries_write_them() {
        for (text, name, file_name) in [
            ("Content-Disposition: form-data; name=\"key\"", "key", None),
            ("content-disposition:form-data;name=key", "key", None),
            (
                "Content-Disposition: form-data; name=\"file\"; filename=\"a b;c.txt\"\r\nContent-Type: text/plain",
                "file",
                Some("a b;c.txt"),
            ),
            (
                "Content-Disposition: form-data; name=\"file\"; filename=\"C:\\dir\\a.txt\"",
                "file",
                Some("C:\\dir\\a.txt"),
            ),
            (
                "Content-Disposition: form-data; filename=\"a\\\"b\\\\c\"; name=\"file\"",
                "file",
                Some("a\"b\\c"),
            ),
            (
                "Content-Transfer-Encoding: binary\r\nContent-Disposition: form-data; name=\"ü\"; filename=\"\"",
                "ü",
                Some(""),
            ),
            (
                "Content-Disposition: form-data; name=\"file\"; filename=\"a\"; filename*=utf-8''b",
                "file",
                Some("a"),
            ),
        ] {
            let expected = (name.to_owned(), file_name.map(str::to_owned));
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn headers_with_another_reading_are_refused() {
        for text in [
            "",
            "Content-Type: text/plain",
            "Content-Disposition: form-data",
            "Content-Disposition: form-data; name=\"\"",
            "Content-Disposition: form-data; filename=\"a\"",
            "Content-Disposition: attachment; name=\"a\"",
            "Content-Disposition: form-data; name=\"a\"; name=\"b\"",
            "Content-Disposition: form-data; name=\"a",
            "Content-Disposition: form-data; name=\"a\" b",
            "Content-Disposition: form-data; name=a b",
            "Content-Disposition: form-data; name=\"a\";",
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; name=\"b\"",
            // Line folding is obsolete (RFC 9112, section 5.2).
            "Content-Disposition: form-data;\r\n name=\"a\"",
            "Content-Disposition: form-data; name=\"a\"\r\nno colon",
            // No white space is allowed before the colon (RFC 9112, section 5.1).
            "Content-Disposition: form-data; name=\"a\"\r\nX : y",
            "Content-Disposition: form-data; name=\"a\nb\"",
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: base64",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert!(PartHeader::parse(b"Content-Disposition: form-data; name=\"\xff\"").is_err());
    }
}
