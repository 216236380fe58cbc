//! The family of the backend's server software, recognised by the headers of its responses.
//!
//! Few things depend on it, and each is harmless with a server of another family. A response
//! without a known sign means `Other` until a later one has a sign: a gateway in front of the
//! server may have sent the first.

use std::sync::atomic::{AtomicU8, Ordering};

use http::header::SERVER;
use http::{HeaderMap, Method, header};
use s3proxy_protocol::headers;

/// A family of S3 servers that needs special care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// Ceph's gateway. At least up to version 16 it compares the ETag in a condition of a PUT as
    /// text, so an ETag in quotes never matches.
    Ceph,
    Minio,
    /// SeaweedFS. At least up to version 4.48, in buckets with versions, it checks the condition of
    /// a PUT and writes in two steps: of two writes at the same time, the conditional one can win
    /// although its condition no longer holds.
    SeaweedFs,
    Other,
}

/// The family as far as it is known; none before the first response.
#[derive(Default)]
pub(super) struct KnownFamily(AtomicU8);

impl KnownFamily {
    pub(super) fn get(&self) -> Option<Family> {
        match self.0.load(Ordering::Relaxed) {
            1 => Some(Family::Other),
            2 => Some(Family::Ceph),
            3 => Some(Family::Minio),
            4 => Some(Family::SeaweedFs),
            _ => None,
        }
    }

    /// Learns from the headers of a response.
    pub(super) fn learn(&self, headers: &HeaderMap) {
        match recognised(headers) {
            Some(Family::Ceph) => self.0.store(2, Ordering::Relaxed),
            Some(Family::Minio) => self.0.store(3, Ordering::Relaxed),
            Some(Family::SeaweedFs) => self.0.store(4, Ordering::Relaxed),
            // Never overwrites a known family: see the module documentation.
            Some(Family::Other) | None => {
                self.0.fetch_max(1, Ordering::Relaxed);
            }
        }
    }
}

fn recognised(response: &HeaderMap) -> Option<Family> {
    let server = headers::text(response, SERVER).unwrap_or_default();
    if server.starts_with("MinIO") {
        Some(Family::Minio)
    } else if server.starts_with("SeaweedFS") {
        Some(Family::SeaweedFs)
    } else if server.starts_with("Ceph")
        || headers::text(response, headers::REQUEST_ID).is_some_and(is_of_ceph)
    {
        Some(Family::Ceph)
    } else {
        None
    }
}

/// Returns whether this is a transaction id of Ceph: `tx`, 21 digits, and three more groups. (Those
/// of Swift have one.)
fn is_of_ceph(request_id: &str) -> bool {
    let Some(rest) = request_id.strip_prefix("tx") else {
        return false;
    };
    let is_hex = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut groups = rest.splitn(4, '-');
    let first = groups
        .next()
        .is_some_and(|group| group.len() == 21 && is_hex(group));
    first
        && groups.next().is_some_and(is_hex)
        && groups.next().is_some_and(is_hex)
        && groups.next().is_some()
}

/// Returns whether the request is a write whose condition names an ETag in quotes.
pub(super) fn has_quoted_condition(method: &Method, headers: &HeaderMap) -> bool {
    let is_quoted = |name| {
        headers
            .get(name)
            .is_some_and(|value| value.as_bytes().starts_with(b"\""))
    };
    ![Method::GET, Method::HEAD].contains(method)
        && (is_quoted(header::IF_MATCH) || is_quoted(header::IF_NONE_MATCH))
}

/// Removes the quotes from the ETag in the condition of a write.
pub(super) fn unquote_conditions(headers: &mut HeaderMap) {
    for name in [header::IF_MATCH, header::IF_NONE_MATCH] {
        let unquoted = headers.get(&name).and_then(|value| {
            let inner = value.as_bytes().strip_prefix(b"\"")?.strip_suffix(b"\"")?;
            // In a list, which S3 does not allow here, quotes stand between the ETags, too.
            let is_one = !inner.contains(&b'"');
            is_one.then(|| http::HeaderValue::from_bytes(inner).ok())?
        });
        if let Some(unquoted) = unquoted {
            headers.insert(name, unquoted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response_headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(
            http::HeaderName::from_static(name),
            http::HeaderValue::from_static(value),
        )])
    }

    #[test]
    fn a_family_is_recognised_by_its_headers() {
        for (name, value, family) in [
            ("server", "MinIO", Family::Minio),
            (
                "server",
                "MinIO/RELEASE.2024-01-01T00-00-00Z",
                Family::Minio,
            ),
            ("server", "SeaweedFS 8000GB 4.48", Family::SeaweedFs),
            ("server", "Ceph Object Gateway (squid)", Family::Ceph),
            (
                "x-amz-request-id",
                "tx000000000000000000001-00674b0c11-1033-default",
                Family::Ceph,
            ),
            (
                "x-amz-request-id",
                "tx0000000000000000000a1-00674b0c11-a-eu-west",
                Family::Ceph,
            ),
            // Swift's.
            (
                "x-amz-request-id",
                "tx000000000000000000001-00674b0c11",
                Family::Other,
            ),
            ("x-amz-request-id", "17A9F0", Family::Other),
            ("x-amz-request-id", "txyz-1-2-3", Family::Other),
            ("server", "AmazonS3", Family::Other),
            ("date", "x", Family::Other),
        ] {
            let known = KnownFamily::default();
            assert_eq!(known.get(), None);
            known.learn(&response_headers(name, value));
            assert_eq!(known.get(), Some(family), "{name}: {value}");
            // A gateway in front of the backend responds.
            known.learn(&response_headers("server", "nginx"));
            assert_eq!(known.get(), Some(family), "{name}: {value}");
        }
    }

    #[test]
    fn one_etag_loses_its_quotes_and_nothing_else_does() {
        for (value, unquoted) in [
            ("\"abc-2\"", "abc-2"),
            ("*", "*"),
            ("abc", "abc"),
            ("\"a\", \"b\"", "\"a\", \"b\""),
            ("\"", "\""),
            ("W/\"a\"", "W/\"a\""),
        ] {
            for name in ["if-match", "if-none-match"] {
                let mut headers = response_headers(name, value);
                unquote_conditions(&mut headers);
                assert_eq!(headers[name], unquoted, "{value}");
            }
        }
    }
}
