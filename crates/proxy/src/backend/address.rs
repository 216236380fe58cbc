//! Conversion of bucket, key and query to the bytes of the request line.
//!
//! Keys arrive decoded and are encoded exactly once, by the rule of the signature (RFC 3986
//! unreserved characters and `/` stay, every other byte becomes `%XX` in upper case). The same
//! `Uri` is sent and signed, so the two can never differ. Nothing is normalised: `//`, `..` and
//! `%2F` in a key are that key's bytes.

use http::Uri;

use super::error::BackendError;
use super::settings::{Addressing, Endpoint, Scheme};

/// A service, with its addressing style and the region for its signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServiceTarget {
    pub(super) endpoint: Endpoint,
    pub(super) addressing: Addressing,
    pub(super) region: String,
}

/// Destination of one request.
#[derive(Debug, Clone)]
pub(super) struct RequestLocation {
    pub(super) uri: Uri,
    /// Authority as in the `Host` header.
    pub(super) authority: String,
}

impl ServiceTarget {
    pub(super) fn locate(
        &self,
        bucket: Option<&str>,
        key: Option<&str>,
        query: &[(String, Option<String>)],
    ) -> Result<RequestLocation, BackendError> {
        let mut authority = self.endpoint.authority();
        let mut path = String::from("/");
        match bucket {
            Some(bucket) if self.is_host_label(bucket) => {
                authority = format!("{bucket}.{authority}");
            }
            Some(bucket) => {
                // A slash in the name must not lead to another bucket.
                encode(bucket, Slash::Encoded, &mut path);
                if key.is_some() {
                    path.push('/');
                }
            }
            None => {}
        }
        if let Some(key) = key {
            encode(key, Slash::Literal, &mut path);
        }
        let scheme = self.endpoint.scheme.as_str();
        let uri = format!("{scheme}://{authority}{path}{}", query_text(query));
        let uri = Uri::try_from(uri).map_err(|error| {
            BackendError::Request(format!("bucket, key and query do not form a URI: {error}"))
        })?;
        Ok(RequestLocation { uri, authority })
    }

    fn is_host_label(&self, bucket: &str) -> bool {
        match self.addressing {
            Addressing::Path => return false,
            Addressing::VirtualHost => {}
        }
        // A wildcard certificate covers only one label.
        let dots_allowed = match self.endpoint.scheme {
            Scheme::Http => true,
            Scheme::Https => false,
        };
        let bytes = bucket.as_bytes();
        let at_edge = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        !self.endpoint.is_address()
            && (3..=63).contains(&bytes.len())
            && bytes.first().is_some_and(at_edge)
            && bytes.last().is_some_and(at_edge)
            && bytes
                .iter()
                .all(|byte| at_edge(byte) || *byte == b'-' || (*byte == b'.' && dots_allowed))
    }
}

#[derive(Clone, Copy)]
enum Slash {
    Literal,
    Encoded,
}

fn query_text(query: &[(String, Option<String>)]) -> String {
    let mut text = String::new();
    for (name, value) in query {
        text.push(if text.is_empty() { '?' } else { '&' });
        encode(name, Slash::Encoded, &mut text);
        if let Some(value) = value {
            text.push('=');
            encode(value, Slash::Encoded, &mut text);
        }
    }
    text
}

fn encode(text: &str, slash: Slash, into: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        let literal = match (byte, slash) {
            (b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~', _)
            | (b'/', Slash::Literal) => true,
            (_, Slash::Literal | Slash::Encoded) => false,
        };
        if literal {
            into.push(char::from(byte));
        } else {
            into.push('%');
            into.push(char::from(HEX[usize::from(byte >> 4)]));
            into.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(scheme: Scheme, host: &str, addressing: Addressing) -> ServiceTarget {
        ServiceTarget {
            endpoint: Endpoint {
                scheme,
                host: host.to_owned(),
                port: None,
            },
            addressing,
            region: "eu-west-1".to_owned(),
        }
    }

    #[test]
    fn every_byte_of_a_key_is_encoded_once_and_nothing_is_normalised() {
        let target = target(Scheme::Https, "s3.example", Addressing::Path);
        for (key, path) in [
            ("a//b", "/bucket/a//b"),
            ("/leading", "/bucket//leading"),
            ("../x/./y", "/bucket/../x/./y"),
            ("%2F", "/bucket/%252F"),
            ("a+b c", "/bucket/a%2Bb%20c"),
            ("ü?#\u{1f600}", "/bucket/%C3%BC%3F%23%F0%9F%98%80"),
            ("\u{1}\n~*'()", "/bucket/%01%0A~%2A%27%28%29"),
            ("", "/bucket/"),
        ] {
            let location = target.locate(Some("bucket"), Some(key), &[]).unwrap();
            assert_eq!(location.uri.path(), path, "key {key:?}");
        }
    }

    #[test]
    fn query_values_keep_their_absence() {
        let query = [
            ("uploads".to_owned(), None),
            ("prefix".to_owned(), Some("a/b +&=".to_owned())),
            ("delimiter".to_owned(), Some(String::new())),
        ];
        let location = target(Scheme::Http, "s3.example", Addressing::Path)
            .locate(Some("bucket"), None, &query)
            .unwrap();
        assert_eq!(
            location.uri.path_and_query().unwrap().as_str(),
            "/bucket?uploads&prefix=a%2Fb%20%2B%26%3D&delimiter="
        );
    }

    #[test]
    fn virtual_host_style_is_used_where_the_bucket_can_be_a_label() {
        for (scheme, host, bucket, authority, path) in [
            (
                Scheme::Https,
                "s3.example",
                "bucket",
                "bucket.s3.example",
                "//k",
            ),
            // A wildcard certificate does not cover a bucket name with a dot.
            (Scheme::Https, "s3.example", "a.b", "s3.example", "/a.b//k"),
            (Scheme::Http, "s3.example", "a.b", "a.b.s3.example", "//k"),
            (
                Scheme::Https,
                "s3.example",
                "Upper",
                "s3.example",
                "/Upper//k",
            ),
            (Scheme::Https, "s3.example", "a_b", "s3.example", "/a_b//k"),
            (
                Scheme::Http,
                "127.0.0.1",
                "bucket",
                "127.0.0.1",
                "/bucket//k",
            ),
            (Scheme::Http, "::1", "bucket", "[::1]", "/bucket//k"),
        ] {
            let location = target(scheme, host, Addressing::VirtualHost)
                .locate(Some(bucket), Some("/k"), &[])
                .unwrap();
            assert_eq!(location.authority, authority, "bucket {bucket}");
            assert_eq!(location.uri.path(), path, "bucket {bucket}");
        }
    }

    #[test]
    fn default_ports_are_left_out_of_the_host() {
        let mut target = target(Scheme::Https, "s3.example", Addressing::Path);
        target.endpoint.port = Some(443);
        assert_eq!(
            target.locate(None, None, &[]).unwrap().authority,
            "s3.example"
        );
        target.endpoint.port = Some(8443);
        let location = target.locate(None, None, &[]).unwrap();
        assert_eq!(location.authority, "s3.example:8443");
        assert_eq!(location.uri, "https://s3.example:8443/");
    }
}
