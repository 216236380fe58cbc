//! A request head from bytes, as the HTTP library would pass it on.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

/// Headers of a single connection (RFC 9110, section 7.6.1), which must not be forwarded.
pub const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Method, target and headers, one per line. `None` if HTTP does not allow such a head.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Parts> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let line = lines.next()?;
    let space = line.iter().position(|byte| *byte == b' ')?;
    let method = Method::from_bytes(&line[..space]).ok()?;
    let uri = Uri::try_from(&line[space + 1..]).ok()?;
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = method;
    parts.uri = uri;
    parts.headers = headers_of(lines)?;
    Some(parts)
}

/// `name: value` on each line, up to an empty line. `None` if one of them is not a header.
#[must_use]
pub fn headers(bytes: &[u8]) -> Option<HeaderMap> {
    headers_of(bytes.split(|byte| *byte == b'\n'))
}

fn headers_of<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        headers.append(name, value);
    }
    Some(headers)
}
