//! Refuses ambiguous requests, which two programs could interpret in two ways, before any other
//! decision.
//!
//! A proxy that reads one request where its neighbour reads another can be used to smuggle a
//! request past its checks. So heads that leave room for that get 400, and the caller closes the
//! connection: two framings, a header twice that is decided by, two signatures, a target that is
//! neither a path nor a URL of the host in `Host`. Values are not judged here, except where
//! presence depends on them.

use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::uri::Authority;
use http::{HeaderMap, Method, Uri};

use crate::error::{ErrorCode, S3Error};
use crate::headers;
use crate::query::Query;

/// Maximum number of headers in a request. S3's 2 KB of metadata has several hundred entries at
/// most. All of them must fit into responses too, together with the backend's own headers.
pub const MAXIMUM_HEADERS: usize = 512;

/// Headers that must not be repeated: decisions or the signature depend on them.
const ONCE: &[&str] = &[
    "authorization",
    "content-length",
    "content-md5",
    "content-type",
    "host",
    "if-range",
    "range",
    "transfer-encoding",
    "x-amz-content-sha256",
    "x-amz-copy-source",
    "x-amz-copy-source-range",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-security-token",
    "x-amz-trailer",
];

/// Query parameters of a presigned request, for both signature versions.
const SIGNATURE_PARAMETERS: &[&str] = &[
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "X-Amz-Security-Token",
    "X-Amz-Content-Sha256",
    "AWSAccessKeyId",
    "Signature",
    "Expires",
];

/// Query parameters that make a request a presigned one.
const PRESIGNED: &[&str] = &[
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Signature",
    "AWSAccessKeyId",
    "Signature",
];

/// Refuses ambiguous heads with `InvalidRequest`, and those with more than [`MAXIMUM_HEADERS`]
/// headers with `RequestHeaderSectionTooLarge`.
pub fn refuse_ambiguous(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    query: &Query,
) -> Result<(), S3Error> {
    let refuse = |message: String| Err(S3Error::new(ErrorCode::InvalidRequest, message));
    if headers.len() > MAXIMUM_HEADERS {
        return Err(S3Error::new(
            ErrorCode::RequestHeaderSectionTooLarge,
            format!("A request may have at most {MAXIMUM_HEADERS} headers."),
        ));
    }
    if method == Method::CONNECT || uri.authority().is_some() && !names_host(uri, headers) {
        return refuse(
            "The request target must be a path, or a URL of the host in Host: this server is no \
             forward proxy."
                .into(),
        );
    }
    if headers.contains_key(UPGRADE) || asks_for_upgrade(headers) {
        return refuse("Upgrades of the connection are not supported: leave Upgrade out.".into());
    }
    if !is_chunked_or_plain(headers) {
        return refuse("The only Transfer-Encoding is chunked: send the body as it is.".into());
    }
    // RFC 9112, section 6.1: with both, one program may use either as the framing.
    if headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH) {
        return refuse("Transfer-Encoding and Content-Length exclude each other: send one.".into());
    }
    if !headers.contains_key(HOST) {
        return refuse("The request must have a Host header.".into());
    }
    if let Some(name) = ONCE
        .iter()
        .find(|name| headers.get_all(**name).iter().count() > 1)
    {
        return refuse(format!("Header {name} must appear only once."));
    }
    if let Some(name) = repeated_signature_parameter(query) {
        return refuse(format!("Query parameter {name} must appear only once."));
    }
    if is_presigned(query) && headers.contains_key(AUTHORIZATION) {
        return refuse(
            "Only one way to authenticate is allowed: the Authorization header or the query."
                .into(),
        );
    }
    Ok(())
}

/// Whether an absolute URL as the request target (RFC 9112, section 3.2.2) names the same host as
/// `Host`. Either may include the scheme's default port.
fn names_host(uri: &Uri, headers: &HeaderMap) -> bool {
    let default_port = match uri.scheme_str() {
        Some("http") => ":80",
        Some("https") => ":443",
        Some(_) | None => return false,
    };
    let authority = uri.authority().map_or("", Authority::as_str);
    let host = headers::text(headers, HOST);
    let without_port = |host: &str| {
        let name = host.strip_suffix(default_port).unwrap_or(host);
        name.to_ascii_lowercase()
    };
    host.is_some_and(|host| without_port(host) == without_port(authority))
}

/// The HTTP library takes every list of codings that ends in `chunked`, and decodes that one alone.
fn is_chunked_or_plain(headers: &HeaderMap) -> bool {
    headers.get_all(TRANSFER_ENCODING).iter().all(|value| {
        value
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked")
    })
}

/// Finds a repeated parameter of the signature in one pass, without allocation.
fn repeated_signature_parameter(query: &Query) -> Option<&'static str> {
    let mut seen = [false; SIGNATURE_PARAMETERS.len()];
    query.pairs().find_map(|(name, _)| {
        let index = SIGNATURE_PARAMETERS
            .iter()
            .position(|known| known.eq_ignore_ascii_case(name))?;
        std::mem::replace(&mut seen[index], true).then_some(SIGNATURE_PARAMETERS[index])
    })
}

fn is_presigned(query: &Query) -> bool {
    query.pairs().any(|(name, _)| {
        PRESIGNED
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
    })
}

fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    headers::list_items(headers, CONNECTION).any(|option| option.eq_ignore_ascii_case("upgrade"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn verdict(method: &Method, uri: &str, headers: &[(&'static str, &'static str)]) -> bool {
        let uri: Uri = uri.parse().unwrap();
        let query = Query::parse(uri.query()).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        match refuse_ambiguous(method, &uri, &map, &query) {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error.code, ErrorCode::InvalidRequest);
                false
            }
        }
    }

    const HOST_ONLY: (&str, &str) = ("host", "localhost");

    #[test]
    fn ordinary_heads_pass() {
        for (uri, headers) in [
            ("/bucket/key?acl", vec![HOST_ONLY]),
            (
                "/b/k",
                vec![
                    HOST_ONLY,
                    ("content-length", "1"),
                    ("authorization", "AWS4"),
                ],
            ),
            ("/b/k", vec![HOST_ONLY, ("transfer-encoding", "chunked")]),
            ("/b/k", vec![HOST_ONLY, ("transfer-encoding", " Chunked")]),
            // `classify` refuses repeated parameters other than the signature's.
            ("/b/k?prefix=a&prefix=b&X-Amz-Date=1", vec![HOST_ONLY]),
            ("/b/k?X-Amz-Signature=1&X-Amz-Date=2", vec![HOST_ONLY]),
            ("http://localhost/b/k", vec![HOST_ONLY]),
            ("HTTPS://LOCALHOST:443/b/k", vec![HOST_ONLY]),
            ("http://h/b/k", vec![("host", "h:80")]),
            ("http://h:9000/b/k", vec![("host", "H:9000")]),
            (
                "/b/k",
                vec![
                    HOST_ONLY,
                    ("connection", "keep-alive"),
                    ("x-amz-meta-a", "1"),
                    ("x-amz-meta-a", "2"),
                ],
            ),
        ] {
            assert!(verdict(&Method::PUT, uri, &headers), "{uri} {headers:?}");
        }
    }

    #[test]
    fn heads_with_two_readings_are_refused() {
        for (uri, headers) in [
            ("http://other/b/k", vec![HOST_ONLY]),
            ("http://localhost:81/b/k", vec![HOST_ONLY]),
            ("http://localhost:443/b/k", vec![HOST_ONLY]),
            ("http://user@localhost/b/k", vec![HOST_ONLY]),
            ("ftp://localhost/b/k", vec![HOST_ONLY]),
            ("http://localhost/b/k", vec![]),
            ("/b/k", vec![]),
            ("/b/k", vec![HOST_ONLY, HOST_ONLY]),
            (
                "/b/k",
                vec![HOST_ONLY, ("content-length", "1"), ("content-length", "1")],
            ),
            (
                "/b/k",
                vec![
                    HOST_ONLY,
                    ("content-length", "1"),
                    ("transfer-encoding", "chunked"),
                ],
            ),
            (
                "/b/k",
                vec![
                    HOST_ONLY,
                    ("transfer-encoding", "chunked"),
                    ("transfer-encoding", "gzip"),
                ],
            ),
            (
                "/b/k",
                vec![HOST_ONLY, ("authorization", "a"), ("authorization", "b")],
            ),
            (
                "/b/k",
                vec![HOST_ONLY, ("x-amz-date", "a"), ("x-amz-date", "b")],
            ),
            (
                "/b/k",
                vec![HOST_ONLY, ("transfer-encoding", "gzip, chunked")],
            ),
            ("/b/k", vec![HOST_ONLY, ("transfer-encoding", "identity")]),
            ("/b/k?Expires=1&a=b&expires=2", vec![HOST_ONLY]),
            ("/b/k", vec![HOST_ONLY, ("upgrade", "h2c")]),
            ("/b/k", vec![HOST_ONLY, ("connection", "close, Upgrade")]),
            ("/b/k?X-Amz-Signature=1&x-amz-signature=2", vec![HOST_ONLY]),
            ("/b/k?X-Amz-Date=1&X-Amz-%44ate=2", vec![HOST_ONLY]),
            (
                "/b/k?x-amz-signature=1",
                vec![HOST_ONLY, ("authorization", "AWS4")],
            ),
            (
                "/b/k?AWSAccessKeyId=1",
                vec![HOST_ONLY, ("authorization", "AWS4")],
            ),
        ] {
            assert!(!verdict(&Method::PUT, uri, &headers), "{uri} {headers:?}");
        }
    }

    #[test]
    fn a_request_has_at_most_512_headers() {
        let uri: Uri = "/b/k".parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("localhost"));
        for _ in 1..512 {
            headers.append("x-amz-meta-a", HeaderValue::from_static("1"));
        }
        let judge =
            |headers: &HeaderMap| refuse_ambiguous(&Method::GET, &uri, headers, &Query::default());
        assert_eq!(judge(&headers), Ok(()));
        headers.append("x-amz-meta-a", HeaderValue::from_static("1"));
        let refused = judge(&headers).unwrap_err();
        assert_eq!(refused.code, ErrorCode::RequestHeaderSectionTooLarge);
    }

    #[test]
    fn connect_is_refused() {
        assert!(!verdict(&Method::CONNECT, "localhost:443", &[HOST_ONLY]));
        assert!(!verdict(&Method::CONNECT, "/b/k", &[HOST_ONLY]));
    }
}
