//! Maps the ETags of sealed objects between clients and the backend.
//!
//! In S3, an ETag of 32 hex digits is the content's MD5, and clients check it. The ETag of a sealed
//! object is the MD5 of its stored bytes, so clients get it with `-0` appended: the same text in
//! every response, and one that no client takes for an MD5. In requests `-0` is stripped, only
//! after exactly 32 hex digits, so multipart ETags (`…-12`) and others pass unchanged.
//!
//! The functions on text preserve quotes, or their absence, and `W/`. [`ETag`] and [`ClientETag`]
//! hold the text without quotes, and add them where S3 has them: in headers and in most documents.
//! ETags of parts have a different mapping (FORMAT.md) that is not implemented here. The caller has
//! to know whether an object is sealed.

use std::borrow::Cow;
use std::fmt;

use http::HeaderMap;
use http::header::{self, HeaderValue};

use crate::headers;

const SUFFIX: &str = "-0";

/// ETag of an object or a part as the backend knows it, without quotes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ETag(String);

/// ETag as clients know it, without quotes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientETag(String);

impl ETag {
    /// Reads the value of a header or an element. Some servers leave the quotes out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(unquoted(text).to_owned())
    }

    /// ETag in the headers of a response.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        headers::text(headers, header::ETAG).map(Self::parse)
    }

    /// The text without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text in quotes, as in a condition on the ETag. `None` if the backend's text cannot be
    /// the value of a header.
    #[must_use]
    pub fn header_value(&self) -> Option<HeaderValue> {
        HeaderValue::try_from(format!("\"{}\"", self.0)).ok()
    }

    /// The form in which clients know the ETag of a sealed object.
    #[must_use]
    pub fn to_client(&self) -> ClientETag {
        ClientETag(to_client(&self.0).into_owned())
    }
}

impl ClientETag {
    /// The text without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Clients know the ETag of an object that is not sealed as the backend does.
impl From<ETag> for ClientETag {
    fn from(etag: ETag) -> Self {
        Self(etag.0)
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for ClientETag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Removes white space, and the quotes around an entity tag if it has both.
pub(crate) fn unquoted(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(text)
}

/// Maps the backend's ETag of a sealed object to the client's form.
#[must_use]
pub fn to_client(backend: &str) -> Cow<'_, str> {
    let (prefix, opaque, suffix) = opaque_part(backend);
    if is_md5(opaque) {
        Cow::Owned(format!("{prefix}{opaque}{SUFFIX}{suffix}"))
    } else {
        Cow::Borrowed(backend)
    }
}

/// Maps a client's ETag to the backend's form. ETags of objects that are not sealed are the same on
/// both sides and pass unchanged.
#[must_use]
pub fn to_backend(client: &str) -> Cow<'_, str> {
    let (prefix, opaque, suffix) = opaque_part(client);
    match opaque.strip_suffix(SUFFIX).filter(|rest| is_md5(rest)) {
        Some(md5) => Cow::Owned(format!("{prefix}{md5}{suffix}")),
        None => Cow::Borrowed(client),
    }
}

/// Maps each entity tag of an `If-Match` or `If-None-Match` value to the backend's form; `*` stays.
#[must_use]
pub fn list_to_backend(value: &str) -> String {
    let mut mapped = String::with_capacity(value.len());
    let mut start = 0;
    let mut quoted = false;
    for (at, byte) in value.bytes().enumerate() {
        // A comma may be inside a tag (RFC 9110, section 8.8.3), so only those outside quotes
        // separate. Tags have no escapes: every quote opens or closes one.
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                push_mapped(&mut mapped, &value[start..at]);
                mapped.push(',');
                start = at + 1;
            }
            _ => {}
        }
    }
    push_mapped(&mut mapped, &value[start..]);
    mapped
}

/// Whether a client's list of entity tags, or `*`, contains the backend's ETag `current`.
#[must_use]
pub fn list_names(list: &str, current: &str) -> bool {
    let mapped = list_to_backend(list);
    let mut quoted = false;
    // Called for each character in order, so `quoted` is always up to date.
    let mut tags = mapped.split(|character| {
        quoted ^= character == '"';
        character == ',' && !quoted
    });
    tags.any(|tag| tag.trim() == "*" || matches_strongly(tag, current))
}

fn push_mapped(mapped: &mut String, item: &str) {
    let tag = item.trim();
    let (before, after) = item.split_at(item.len() - item.trim_start().len());
    mapped.push_str(before);
    mapped.push_str(&to_backend(tag));
    mapped.push_str(&after[tag.len()..]);
}

/// Strong comparison (RFC 9110, section 8.8.3.2): equal text and neither tag weak. Quotes are
/// ignored, since some clients leave them out.
#[must_use]
pub fn matches_strongly(one: &str, other: &str) -> bool {
    let strong = |tag: &str| !tag.trim().starts_with("W/");
    strong(one) && strong(other) && opaque_part(one.trim()).1 == opaque_part(other.trim()).1
}

/// Splits a tag into the text before, inside and after its quotes.
fn opaque_part(tag: &str) -> (&str, &str, &str) {
    let unweakened = tag.strip_prefix("W/").unwrap_or(tag);
    let opaque = unweakened
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(unweakened);
    // Zero or two: a lone quote is not stripped and counts as part of the tag.
    let quotes = (unweakened.len() - opaque.len()) / 2;
    let start = tag.len() - unweakened.len() + quotes;
    (&tag[..start], opaque, &tag[start + opaque.len()..])
}

fn is_md5(opaque: &str) -> bool {
    opaque.len() == 32 && opaque.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

    #[test]
    fn marks_md5s_and_nothing_else() {
        for (backend, client) in [
            (format!("\"{MD5}\""), format!("\"{MD5}-0\"")),
            (MD5.into(), format!("{MD5}-0")),
            (format!("W/\"{MD5}\""), format!("W/\"{MD5}-0\"")),
            (MD5.to_uppercase(), format!("{}-0", MD5.to_uppercase())),
            (format!("\"{MD5}-12\""), format!("\"{MD5}-12\"")),
            ("\"opaque\"".into(), "\"opaque\"".into()),
            (format!("\"{MD5}0\""), format!("\"{MD5}0\"")),
            ("\"\"".into(), "\"\"".into()),
            ("\"".into(), "\"".into()),
        ] {
            assert_eq!(to_client(&backend), client);
            assert_eq!(to_backend(&client), backend);
        }
    }

    #[test]
    fn an_etag_has_quotes_in_headers_only() {
        for text in ["\"a-1\"", "a-1", " \"a-1\" "] {
            let etag = ETag::parse(text);
            assert_eq!(etag.as_str(), "a-1");
            assert_eq!(etag.header_value().unwrap(), "\"a-1\"");
            assert_eq!(etag.to_client().as_str(), "a-1");
        }
        assert_eq!(ETag::parse("\"").as_str(), "\"");
        assert_eq!(ETag::parse("a\nb").header_value(), None);
        let sealed = ETag::parse(MD5).to_client();
        assert_eq!(sealed.as_str(), format!("{MD5}-0"));
    }

    #[test]
    fn strips_the_mark_behind_32_hex_digits_only() {
        for tag in [
            format!("\"{MD5}-00\""),
            format!("\"{MD5}-1\""),
            "\"abc-0\"".into(),
            format!("\"x{MD5}-0\""),
            format!("\"{MD5}\""),
            "*".into(),
            "-0".into(),
            String::new(),
        ] {
            assert_eq!(to_backend(&tag), tag);
        }
    }

    #[test]
    fn maps_every_tag_of_a_list() {
        for (client, backend) in [
            ("*".into(), "*".into()),
            (format!("\"{MD5}-0\""), format!("\"{MD5}\"")),
            (
                format!("\"a,b-0\", W/\"{MD5}-0\" ,{MD5}-0,\"{MD5}-2\""),
                format!("\"a,b-0\", W/\"{MD5}\" ,{MD5},\"{MD5}-2\""),
            ),
            (format!(" {MD5}-0 , "), format!(" {MD5} , ")),
            // A comma after an unclosed quote is part of the tag.
            (
                format!("\"unclosed, {MD5}-0"),
                format!("\"unclosed, {MD5}-0"),
            ),
        ] {
            assert_eq!(list_to_backend(&client), backend);
        }
    }

    #[test]
    fn a_list_names_one_of_its_tags_as_a_client_knows_it() {
        let current = format!("\"{MD5}\"");
        for (list, named) in [
            (format!("\"{MD5}-0\""), true),
            (format!("{MD5}-0"), true),
            (format!("\"a,b\" , \"{MD5}-0\""), true),
            (" * ".into(), true),
            (format!("W/\"{MD5}-0\""), false),
            (format!("\"x,{MD5}-0\""), false),
            // A quoted asterisk is an ordinary tag.
            ("\"*\"".into(), false),
            (String::new(), false),
        ] {
            assert_eq!(list_names(&list, &current), named, "{list}");
        }
    }

    #[test]
    fn compares_strongly() {
        assert!(matches_strongly("\"a\"", "a"));
        assert!(!matches_strongly("W/\"a\"", "\"a\""));
        assert!(!matches_strongly("\"a\"", "\"b\""));
    }

    proptest! {
        #[test]
        fn what_clients_get_maps_back_to_what_the_backend_said(tag in "(W/)?\"?([0-9a-f]{32}|[ -~]{0,40})(-[1-9][0-9]{0,3})?\"?") {
            // ETags that already have our form would be ambiguous; S3 never produces them.
            prop_assume!(to_backend(&tag) == tag.as_str());
            let client = to_client(&tag).into_owned();
            prop_assert_eq!(to_backend(&client), tag.as_str());
        }
    }
}
