//! From the `Host` header and the raw path to bucket and key.
//!
//! Path style and virtual-host style. The path is split at slashes while it is still encoded, then
//! each part is decoded once; nothing is normalised, so `//`, `.` and `..` are parts of keys. A
//! `Host` never selects a backend unless [`AwsNames::Listed`] says that clients reach the proxy by
//! DNS redirection, and then only a name of [`AwsEndpoint`]'s closed list does. A host that is
//! neither such a name, nor a configured domain or under one, nor `localhost`, nor an IP address
//! is refused: the request was meant for somebody else.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::aws_endpoint::AwsEndpoint;
use crate::error::{ErrorCode, S3Error};
use crate::name::{BucketName, ObjectKey};
use crate::percent::{self, Plus};

/// Whether AWS's own S3 names select an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AwsNames {
    /// A backend is configured: AWS's names mean nothing here.
    Refused,
    /// No backend is configured: the endpoint of the name is the backend.
    Listed,
}

/// Which hosts the proxy answers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRules {
    /// Domains of the proxy itself: `domain` is path style, `bucket.domain` virtual-host style.
    pub virtual_host_domains: Vec<String>,
    /// Whether AWS's names are answered to as well.
    pub aws_names: AwsNames,
}

/// Where the bucket's name stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressingStyle {
    /// In the path, `/bucket/key`; also where no bucket is named.
    Path,
    /// In the host, `bucket.domain`.
    VirtualHost,
}

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Where the bucket's name stood.
    pub style: AddressingStyle,
    /// The bucket; without one the request is about the service (ListBuckets).
    pub bucket: Option<BucketName>,
    /// The key; only ever with a bucket.
    pub key: Option<ObjectKey>,
    /// The endpoint that the host named, under [`AwsNames::Listed`].
    pub aws_endpoint: Option<AwsEndpoint>,
}

/// Reads bucket and key from the `Host` header and the path as it stood on the request line.
///
/// Refuses with `InvalidRequest` a host that is not the proxy's, with `InvalidURI` a path that
/// does not decode, with `InvalidBucketName` and `KeyTooLongError` what their names say.
pub fn address(rules: &HostRules, host: &str, raw_path: &str) -> Result<Address, S3Error> {
    let Host {
        bucket,
        aws_endpoint,
    } = resolve_host(rules, host)?;
    let Some(path) = raw_path.strip_prefix('/') else {
        return Err(S3Error::new(
            ErrorCode::InvalidURI,
            "Couldn't parse the specified URI: a path must begin with '/'.",
        ));
    };
    let (style, bucket, raw_key) = match bucket {
        Some(bucket) => (AddressingStyle::VirtualHost, Some(bucket), path),
        None if path.is_empty() => (AddressingStyle::Path, None, ""),
        None => {
            let (segment, key) = path.split_once('/').unwrap_or((path, ""));
            let bucket = BucketName::new(percent::decode(segment, Plus::Literal)?)?;
            (AddressingStyle::Path, Some(bucket), key)
        }
    };
    let key = match raw_key {
        "" => None,
        raw => Some(ObjectKey::new(percent::decode(raw, Plus::Literal)?)?),
    };
    Ok(Address {
        style,
        bucket,
        key,
        aws_endpoint,
    })
}

struct Host {
    bucket: Option<BucketName>,
    aws_endpoint: Option<AwsEndpoint>,
}

fn resolve_host(rules: &HostRules, host: &str) -> Result<Host, S3Error> {
    let name = host_name(host).ok_or_else(unknown_host)?;
    let path_style = Host {
        bucket: None,
        aws_endpoint: None,
    };
    // A domain counts before the rest, so that `localhost` may be one of them.
    for domain in &rules.virtual_host_domains {
        let bucket = match strip_domain(&name, domain) {
            None => continue,
            Some("") => None,
            Some(bucket) => Some(BucketName::new(bucket)?),
        };
        return Ok(Host {
            bucket,
            aws_endpoint: None,
        });
    }
    if name == "localhost" || is_ip_address(&name) {
        return Ok(path_style);
    }
    match (rules.aws_names, AwsEndpoint::find(&name)) {
        (AwsNames::Listed, Some((endpoint, bucket))) => Ok(Host {
            bucket: bucket.map(BucketName::new).transpose()?,
            aws_endpoint: Some(endpoint),
        }),
        (AwsNames::Listed, None) | (AwsNames::Refused, _) => Err(unknown_host()),
    }
}

fn unknown_host() -> S3Error {
    S3Error::new(
        ErrorCode::InvalidRequest,
        "The Host header names no host that this server answers to: it must be a configured \
         virtual-host domain or a bucket under one, 'localhost', or an IP address.",
    )
}

/// The host in lower case without its port; `None` where it is not `name` or `name:port`.
fn host_name(host: &str) -> Option<String> {
    let name = match host.rsplit_once(':') {
        // The last colon of an IPv6 address without port is inside the brackets.
        Some((_, tail)) if tail.ends_with(']') => host,
        Some((name, port)) => {
            port.parse::<u16>().ok()?;
            port.bytes()
                .all(|byte| byte.is_ascii_digit())
                .then_some(name)?
        }
        None => host,
    };
    Some(name.to_ascii_lowercase())
}

/// What stands before `domain` and its dot in `name`, nothing where it is the domain itself;
/// `None` where it is another domain.
fn strip_domain<'name>(name: &'name str, domain: &str) -> Option<&'name str> {
    let start = name.len().checked_sub(domain.len())?;
    let tail = name.get(start..)?;
    if domain.is_empty() || !tail.eq_ignore_ascii_case(domain) {
        return None;
    }
    match &name[..start] {
        "" => Some(""),
        before => before.strip_suffix('.').filter(|bucket| !bucket.is_empty()),
    }
}

fn is_ip_address(name: &str) -> bool {
    let bracketed = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match bracketed {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => name.parse::<Ipv4Addr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(domains: &[&str], aws_names: AwsNames) -> HostRules {
        HostRules {
            virtual_host_domains: domains.iter().map(ToString::to_string).collect(),
            aws_names,
        }
    }

    fn parts(address: &Address) -> (AddressingStyle, Option<&str>, Option<&str>) {
        (
            address.style,
            address.bucket.as_ref().map(BucketName::as_str),
            address.key.as_ref().map(ObjectKey::as_str),
        )
    }

    #[test]
    fn splits_a_path_without_normalising_it() {
        let rules = rules(&[], AwsNames::Refused);
        for (path, bucket, key) in [
            ("/", None, None),
            ("/bucket", Some("bucket"), None),
            ("/bucket/", Some("bucket"), None),
            ("/bucket/key", Some("bucket"), Some("key")),
            ("/bucket//key", Some("bucket"), Some("/key")),
            ("/bucket/a//b/", Some("bucket"), Some("a//b/")),
            ("/bucket/../x", Some("bucket"), Some("../x")),
            ("/bucket/a%2Fb+c%2B%20", Some("bucket"), Some("a/b+c+ ")),
            ("/bucket/%252F", Some("bucket"), Some("%2F")),
            ("/bucket/%F0%9F%98%80", Some("bucket"), Some("😀")),
            ("/b%75cket/k", Some("bucket"), Some("k")),
        ] {
            let found = address(&rules, "127.0.0.1:4433", path).unwrap();
            assert_eq!(
                parts(&found),
                (AddressingStyle::Path, bucket, key),
                "{path}"
            );
        }
    }

    #[test]
    fn takes_the_bucket_from_the_host_under_a_configured_domain() {
        let rules = rules(&["S3.example.org", "localhost"], AwsNames::Refused);
        for (host, path, style, bucket, key) in [
            (
                "s3.example.org",
                "/bucket/k",
                AddressingStyle::Path,
                "bucket",
                "k",
            ),
            (
                "bucket.s3.example.org",
                "/k",
                AddressingStyle::VirtualHost,
                "bucket",
                "k",
            ),
            (
                "BUCKET.s3.Example.org:8443",
                "//k",
                AddressingStyle::VirtualHost,
                "bucket",
                "/k",
            ),
            (
                "my.dotted.bucket.s3.example.org",
                "/k",
                AddressingStyle::VirtualHost,
                "my.dotted.bucket",
                "k",
            ),
            (
                "bucket.localhost:1",
                "/a/b",
                AddressingStyle::VirtualHost,
                "bucket",
                "a/b",
            ),
            (
                "localhost",
                "/bucket/a",
                AddressingStyle::Path,
                "bucket",
                "a",
            ),
        ] {
            let found = address(&rules, host, path).unwrap();
            assert_eq!(parts(&found), (style, Some(bucket), Some(key)), "{host}");
        }
    }

    #[test]
    fn a_virtual_host_without_a_key_is_about_the_bucket() {
        let rules = rules(&["s3.example.org"], AwsNames::Refused);
        let found = address(&rules, "bucket.s3.example.org", "/").unwrap();
        assert_eq!(
            parts(&found),
            (AddressingStyle::VirtualHost, Some("bucket"), None)
        );
    }

    #[test]
    fn refuses_hosts_that_are_not_the_proxys() {
        let rules = rules(&["s3.example.org"], AwsNames::Refused);
        for host in [
            "",
            "example.org",
            "evils3.example.org",
            "s3.example.org.evil.net",
            "bucket.localhost",
            "s3.eu-west-1.amazonaws.com",
            "127.1",
            "[::1",
            "::1",
            "localhost:",
            "localhost:+1",
            "localhost:99999",
            "localhost:80:80",
            "user@localhost",
        ] {
            let error = address(&rules, host, "/bucket/k").unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidRequest, "{host}");
        }
    }

    #[test]
    fn answers_to_addresses_of_both_families() {
        let rules = rules(&[], AwsNames::Refused);
        for host in [
            "127.0.0.1",
            "127.0.0.1:80",
            "[::1]",
            "[::1]:4433",
            "LOCALHOST:1",
        ] {
            assert!(address(&rules, host, "/bucket").is_ok(), "{host}");
        }
    }

    #[test]
    fn takes_region_and_endpoint_from_a_listed_aws_name() {
        let rules = rules(&[], AwsNames::Listed);
        for (host, region, endpoint, bucket) in [
            (
                "s3.eu-west-1.amazonaws.com",
                "eu-west-1",
                "s3.eu-west-1.amazonaws.com",
                None,
            ),
            (
                "b.cket.s3.dualstack.eu-west-1.amazonaws.com:443",
                "eu-west-1",
                "s3.dualstack.eu-west-1.amazonaws.com",
                Some("b.cket"),
            ),
            (
                "bucket.S3-fips.us-east-2.amazonaws.com",
                "us-east-2",
                "s3-fips.us-east-2.amazonaws.com",
                Some("bucket"),
            ),
            (
                "bucket.s3.amazonaws.com",
                "us-east-1",
                "s3.amazonaws.com",
                Some("bucket"),
            ),
            (
                "bucket.s3.cn-north-1.amazonaws.com.cn",
                "cn-north-1",
                "s3.cn-north-1.amazonaws.com.cn",
                Some("bucket"),
            ),
        ] {
            let found = address(&rules, host, "/").unwrap();
            let aws = found.aws_endpoint.unwrap();
            assert_eq!((aws.region(), aws.host().as_str()), (region, endpoint));
            assert_eq!(
                found.bucket.as_ref().map(BucketName::as_str),
                bucket,
                "{host}"
            );
        }
        assert!(address(&rules, "b.s3-accelerate.amazonaws.com", "/").is_err());
    }

    #[test]
    fn refuses_paths_that_name_nothing() {
        let rules = rules(&[], AwsNames::Refused);
        for (path, code) in [
            ("", ErrorCode::InvalidURI),
            ("*", ErrorCode::InvalidURI),
            ("/bucket/%zz", ErrorCode::InvalidURI),
            ("/bucket/%FF", ErrorCode::InvalidURI),
            ("//key", ErrorCode::InvalidBucketName),
            ("/a%2Fb/key", ErrorCode::InvalidBucketName),
            ("/../key", ErrorCode::InvalidBucketName),
        ] {
            let error = address(&rules, "localhost", path).unwrap_err();
            assert_eq!(error.code, code, "{path}");
        }
    }
}
