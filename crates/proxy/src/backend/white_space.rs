//! Values of signed headers that every server reads alike.
//!
//! A signature covers values with their white space collapsed, and servers disagree on the
//! definition of white space: spaces alone (AWS, Ceph's gateway), or all of Unicode's (servers in
//! Go). So the only white space in signed headers is the space:
//! - a tab, and in `Content-Type` and the like any white space, becomes a space;
//! - user metadata with other white space is sent as an encoded word (RFC 2047), and is returned as
//!   one: the form in which S3 returns all metadata outside ASCII. The same holds for metadata that
//!   is not UTF-8, whose signature only AWS could verify.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use s3proxy_protocol::header_rules::METADATA_PREFIX;

use super::settings::Endpoint;
use super::sign::is_signed;

/// Rewrites the values that servers would read in different ways.
pub(super) fn unify(headers: &mut HeaderMap, endpoint: &Endpoint) {
    for (name, value) in headers.iter_mut().filter(|(name, _)| is_signed(name)) {
        if let Some(unified) = unified(name, value.as_bytes(), endpoint.is_aws()) {
            *value = HeaderValue::try_from(unified).expect("white space makes no value invalid");
        }
    }
}

/// Returns the value to send, if it differs from the given one.
fn unified(name: &HeaderName, value: &[u8], is_aws: bool) -> Option<String> {
    let is_metadata = name.as_str().starts_with(METADATA_PREFIX);
    let Ok(text) = std::str::from_utf8(value) else {
        let latin_1 = || value.iter().copied().map(char::from).collect::<String>();
        return (is_metadata && !is_aws).then(|| encoded_word(&latin_1()));
    };
    let is_odd = |character: char| character.is_whitespace() && character != ' ';
    if !text.contains(is_odd) {
        return None;
    }
    if is_metadata && text.contains(|character| is_odd(character) && character != '\t') {
        return Some(encoded_word(text));
    }
    Some(text.replace(is_odd, " "))
}

fn encoded_word(text: &str) -> String {
    format!("=?UTF-8?B?{}?=", BASE64_STANDARD.encode(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_values_have_no_white_space_but_spaces() {
        let meta = "x-amz-meta-a";
        for (name, value, expected) in [
            (meta, &b"a  b"[..], None),
            (meta, b"a\tb", Some("a b")),
            (meta, b"a\t\tb", Some("a  b")),
            (meta, "\u{e0}".as_bytes(), None),
            (
                meta,
                "a\tb\u{3000}".as_bytes(),
                Some("=?UTF-8?B?YQli44CA?="),
            ),
            (meta, b"\xfc", Some("=?UTF-8?B?w7w=?=")),
            (
                "content-type",
                "text/plain;\t\u{a0}a=b".as_bytes(),
                Some("text/plain;  a=b"),
            ),
            ("content-type", b"\xfc", None),
        ] {
            let name = HeaderName::from_static(name);
            assert_eq!(
                unified(&name, value, false).as_deref(),
                expected,
                "{value:?}"
            );
        }
        assert_eq!(unified(&HeaderName::from_static(meta), b"\xfc", true), None);
    }
}
