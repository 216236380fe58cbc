//! Requests and responses of the server in memory, as text.

use super::*;

/// The headers that are stored with an object.
pub(super) fn kept(request: &RecordedRequest) -> Vec<(String, String)> {
    let named = request.headers.iter();
    let named = named.filter(|(name, _)| {
        name.as_str().starts_with("x-amz-meta-") || KEPT.contains(&name.as_str())
    });
    named
        .map(|(name, value)| {
            let value = std::str::from_utf8(value.as_bytes()).unwrap();
            (name.to_string(), value.to_owned())
        })
        .collect()
}

pub(super) const TAGGING: &str = "x-amz-tagging";

/// Headers of a write that are stored, besides metadata.
pub(super) const KEPT: &[&str] = &[
    TAGGING,
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
];

/// As text in a document, control characters included.
pub(super) fn escaped(text: &str) -> String {
    let escaped = text.chars().map(|character| match character {
        '<' | '>' | '&' | '"' | '\'' | '\0'..'\x20' => format!("&#{};", u32::from(character)),
        other => other.to_string(),
    });
    escaped.collect()
}

pub(super) fn parameter(request: &RecordedRequest, name: &str) -> Option<String> {
    let pairs = request.query().split('&');
    let mut pairs = pairs.filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(known, _)| *known == name)?;
    Some(decode(value))
}

pub(super) fn decode(text: &str) -> String {
    percent::decode(text, Plus::Literal).unwrap()
}

pub(super) fn element<'t>(text: &'t str, name: &str) -> &'t str {
    let start = text.find(&format!("<{name}>")).unwrap() + name.len() + 2;
    &text[start..start + text[start..].find("</").unwrap()]
}

pub(super) fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

pub(super) fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.to_vec()).unwrap()
}

pub(super) fn document(status: u16, text: &str) -> Answer {
    let headers = [("content-type", "application/xml")];
    answer(status, &headers, text.as_bytes())
}

pub(super) fn error(status: u16, code: &str) -> Answer {
    document(
        status,
        &format!("<Error><Code>{code}</Code><Message>m</Message></Error>"),
    )
}
