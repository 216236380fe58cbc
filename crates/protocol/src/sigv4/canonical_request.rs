//! Canonical request and string to sign (S3 API Reference, "Authenticating Requests").
//!
//! S3 decodes a path once and encodes it once: nothing is normalised, a `+` in a path is a plus,
//! one in a query is a space. Clients do not agree on which characters they escape, nor on whether
//! they sign what they escaped or what S3 would have. So paths and queries come as [`Spellings`]:
//! the canonical one, and the one that was sent. Both decode to the same bytes, so that a signature
//! over either vouches for the same request. Headers differ in white space: AWS's SDKs for Java,
//! JavaScript and Python take tabs for spaces, those for Go and Rust leave them alone, and Python,
//! JavaScript and `MinIO`'s Go client collapse Unicode's white space too. They differ outside
//! ASCII: Python sends Latin-1 and signs UTF-8, as AWS reads it. A signature over any of these
//! vouches for the value but for its white space.
//!
//! Not handled: removal of `..` and `//`, and double encoding, which all AWS services except S3
//! use.

use aws_lc_rs::digest;
use http::{HeaderMap, HeaderName, Method};

use super::error::SigV4Error;
use crate::hex;
use crate::percent::{self, Plus};

/// The canonical spelling, followed by those that differ from it.
pub(crate) struct Spellings<T>(Vec<T>);

impl<T: PartialEq> Spellings<T> {
    pub(crate) fn new(spellings: impl IntoIterator<Item = T>) -> Self {
        let mut distinct = Vec::new();
        for spelling in spellings {
            if !distinct.contains(&spelling) {
                distinct.push(spelling);
            }
        }
        Self(distinct)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

/// The canonical URI.
pub(crate) fn path(raw_path: &str) -> Result<Spellings<String>, SigV4Error> {
    let raw_path = if raw_path.is_empty() { "/" } else { raw_path };
    let decoded = decode(raw_path, Plus::Literal)?;
    let canonical = percent::encode_path(&decoded);
    Ok(Spellings::new([canonical, raw_path.to_owned()]))
}

/// The canonical query string in both spellings, without `X-Amz-Signature`.
pub(super) fn query(raw_query: Option<&str>) -> Result<Spellings<String>, SigV4Error> {
    let mut canonical = Vec::new();
    let mut sent = Vec::new();
    for (name, value) in pairs(raw_query) {
        let decoded_name = decode(name, Plus::Space)?;
        // In any case, as `presigned` reads it: the signature cannot cover itself.
        if decoded_name.eq_ignore_ascii_case(b"x-amz-signature") {
            continue;
        }
        canonical.push((
            percent::encode_component(&decoded_name),
            percent::encode_component(decode(value, Plus::Space)?),
        ));
        sent.push((name.to_owned(), value.to_owned()));
    }
    Ok(Spellings::new([canonical, sent].map(join_sorted)))
}

/// The name and value of every query parameter, as sent.
pub(crate) fn pairs(raw_query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    raw_query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Joins parameters sorted by name, then by value. Sorting the joined text would give another
/// order, since `=` sorts after `-` and `.`.
fn join_sorted(mut pairs: Vec<(String, String)>) -> String {
    pairs.sort_unstable();
    let joined: Vec<String> = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    joined.join("&")
}

/// The part of the canonical request after the query: headers, their names, and the payload's hash
/// or mode. It is in two spellings, with tabs as spaces and with tabs kept.
pub(super) fn header_part(
    headers: &HeaderMap,
    signed_headers: &[HeaderName],
    payload: &str,
) -> Spellings<Vec<u8>> {
    let part = |reading| header_part_with(headers, signed_headers, payload, reading);
    let values = signed_headers.iter().flat_map(|name| headers.get_all(name));
    let is_ascii = values.into_iter().all(|value| value.as_bytes().is_ascii());
    let of_ascii = [Reading::SpacesAndTabs, Reading::Spaces];
    let others = [Reading::UnicodeWhiteSpace, Reading::Latin1];
    let others = others.into_iter().filter(|_| !is_ascii);
    Spellings::new(of_ascii.into_iter().chain(others).map(part))
}

/// How a header's value is read.
#[derive(Clone, Copy)]
enum Reading {
    /// Spaces and tabs are white space.
    SpacesAndTabs,
    /// Spaces are.
    Spaces,
    /// As UTF-8 text, with all that Unicode takes for white space.
    UnicodeWhiteSpace,
    /// As Latin-1 text, which is signed as UTF-8.
    Latin1,
}

fn header_part_with(
    headers: &HeaderMap,
    signed_headers: &[HeaderName],
    payload: &str,
    reading: Reading,
) -> Vec<u8> {
    let mut part = Vec::with_capacity(512);
    for name in signed_headers {
        part.extend_from_slice(name.as_str().as_bytes());
        part.push(b':');
        // Values of a repeated header are joined by commas, in their order.
        for (index, value) in headers.get_all(name).iter().enumerate() {
            if index > 0 {
                part.push(b',');
            }
            append_collapsed(&mut part, value.as_bytes(), reading);
        }
        part.push(b'\n');
    }
    // The empty line ends the headers. The last line has no line feed.
    part.push(b'\n');
    let names: Vec<&str> = signed_headers.iter().map(HeaderName::as_str).collect();
    part.extend_from_slice(names.join(";").as_bytes());
    part.push(b'\n');
    part.extend_from_slice(payload.as_bytes());
    part
}

/// Appends a header's value without white space around it and with single spaces inside.
fn append_collapsed(output: &mut Vec<u8>, value: &[u8], reading: Reading) {
    match (reading, std::str::from_utf8(value)) {
        (Reading::UnicodeWhiteSpace, Ok(text)) => {
            append_words(output, text.split_whitespace().map(str::as_bytes));
        }
        (Reading::SpacesAndTabs | Reading::UnicodeWhiteSpace, _) => {
            append_words(output, value.split(|byte| matches!(byte, b' ' | b'\t')));
        }
        (Reading::Spaces, _) => append_words(output, value.split(|byte| *byte == b' ')),
        (Reading::Latin1, _) => {
            let text: String = value.iter().copied().map(char::from).collect();
            append_words(output, text.as_bytes().split(|byte| *byte == b' '));
        }
    }
}

fn append_words<'a>(output: &mut Vec<u8>, words: impl Iterator<Item = &'a [u8]>) {
    for (index, word) in words.filter(|word| !word.is_empty()).enumerate() {
        if index > 0 {
            output.push(b' ');
        }
        output.extend_from_slice(word);
    }
}

/// SHA-256 of a canonical request in lower-case hexadecimal.
pub(super) fn hash(method: &Method, path: &str, query: &str, header_part: &[u8]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for line in [method.as_str(), path, query] {
        context.update(line.as_bytes());
        context.update(b"\n");
    }
    context.update(header_part);
    hex::encode(context.finish().as_ref())
}

/// Decodes percent escapes once. Signatures cover bytes, which need not be UTF-8.
pub(crate) fn decode(text: &str, plus: Plus) -> Result<Vec<u8>, SigV4Error> {
    percent::decode_bytes(text, plus).map_err(|_| SigV4Error::InvalidUri)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical_path(raw_path: &str) -> String {
        path(raw_path).unwrap().0.remove(0)
    }

    fn canonical_query(raw_query: &str) -> String {
        query(Some(raw_query)).unwrap().0.remove(0)
    }

    #[test]
    fn paths_are_decoded_once_and_encoded_once_and_never_normalised() {
        for (raw, canonical) in [
            ("", "/"),
            ("/a//b/../c/./", "/a//b/../c/./"),
            ("/a%2Fb", "/a/b"),
            ("/a%252Fb", "/a%252Fb"),
            ("/a+b%2Bc", "/a%2Bb%2Bc"),
            ("/%7e~%41", "/~~A"),
            ("/ü%c3%bc", "/%C3%BC%C3%BC"),
            (
                "/a=b&c;d!'()*$,:@",
                "/a%3Db%26c%3Bd%21%27%28%29%2A%24%2C%3A%40",
            ),
        ] {
            assert_eq!(canonical_path(raw), canonical, "{raw}");
        }
    }

    #[test]
    fn a_percent_sign_that_escapes_nothing_is_refused() {
        for raw in ["/%", "/%4", "/%zz", "/a%4g"] {
            assert_eq!(path(raw).err(), Some(SigV4Error::InvalidUri), "{raw}");
            assert_eq!(
                query(Some(raw)).err(),
                Some(SigV4Error::InvalidUri),
                "{raw}"
            );
        }
    }

    #[test]
    fn queries_are_sorted_by_encoded_name_and_then_value() {
        for (raw, canonical) in [
            ("", ""),
            ("b=2&a=1", "a=1&b=2"),
            // `-` sorts before `=`.
            ("a-=1&a=2", "a=2&a-=1"),
            ("a=2&a=1&A=3", "A=3&a=1&a=2"),
            ("uploads", "uploads="),
            ("a=b=c&&", "a=b%3Dc"),
            ("prefix=a+b%2Bc%20d/e", "prefix=a%20b%2Bc%20d%2Fe"),
            // The signature itself is left out in any spelling.
            ("x=1&X-Amz-Signature=ab&x%2Damz-signature=cd", "x=1"),
        ] {
            assert_eq!(canonical_query(raw), canonical, "{raw}");
        }
    }

    #[test]
    fn header_values_are_trimmed_collapsed_and_joined() {
        let mut headers = HeaderMap::new();
        headers.append("x-amz-meta-a", " one  two\t three ".parse().unwrap());
        headers.append("x-amz-meta-a", "four".parse().unwrap());
        headers.append("host", "h".parse().unwrap());
        let signed = ["host", "x-amz-meta-a"].map(HeaderName::from_static);
        let spellings = header_part(&headers, &signed, "P");
        let text = |part: &Vec<u8>| String::from_utf8(part.clone()).unwrap();
        assert_eq!(
            spellings.iter().map(text).collect::<Vec<_>>(),
            [
                "host:h\nx-amz-meta-a:one two three,four\n\nhost;x-amz-meta-a\nP",
                "host:h\nx-amz-meta-a:one two\t three,four\n\nhost;x-amz-meta-a\nP",
            ]
        );
    }

    #[test]
    fn values_outside_ascii_have_two_readings_more() {
        let signed = [HeaderName::from_static("a")];
        let readings = |value: &[u8]| -> Vec<String> {
            let mut headers = HeaderMap::new();
            headers.append("a", value.try_into().unwrap());
            let part = header_part(&headers, &signed, "P");
            let texts = part.iter().map(|part| String::from_utf8_lossy(part));
            let lines = texts.map(|text| text.lines().next().unwrap()[2..].to_owned());
            lines.collect()
        };
        let all = readings("x\u{3000}\u{a0}y\u{85}".as_bytes());
        assert_eq!(
            all,
            [
                "x\u{3000}\u{a0}y\u{85}",
                "x y",
                "x\u{e3}\u{80}\u{80}\u{c2}\u{a0}y\u{c2}\u{85}"
            ]
        );
        assert_eq!(readings(b"\xfc"), ["\u{fffd}", "\u{fc}"]);
        assert_eq!(readings(b"x y"), ["x y"]);
    }
}
