//! Parses the `Host` header and the raw path into a bucket and an object key.
//!
//! Path-style and virtual-host-style requests are supported. The path is split at slashes while it
//! is still encoded, and each part is then decoded once. Nothing is normalised, so `//`, `.` and
//! `..` are parts of keys.
//!
//! With a configured backend, requests for any host are served. Under a virtual-host domain, the
//! backend's own host name or one of AWS's S3 names, the label before the domain is the bucket;
//! every other host is path style. The signature covers `Host`, so a request that was signed for
//! another server fails verification. Without a backend (clients reach the proxy by DNS
//! redirection) the host selects the endpoint, and only names on [`AwsEndpoint`]'s closed list are
//! accepted.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::aws_endpoint::{self, AwsEndpoint};
use crate::error::{ErrorCode, S3Error};
use crate::name::{BucketName, ObjectKey};
use crate::percent::{self, Plus};
use crate::quote;

/// How the endpoint for a request is selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointSelection {
    /// By the configuration: every request goes to one backend.
    Configured,
    /// By the AWS name in `Host`.
    ByHost,
}

/// The hosts that the proxy serves, and how each is interpreted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRules {
    /// Virtual-host domains in lower case: `domain` itself is path style, `bucket.domain` is
    /// virtual-host style. If several domains match a host, the longest one is used.
    pub virtual_host_domains: Vec<String>,
    /// Allowed host names in lower case; an empty list allows every name. IP addresses and
    /// `localhost` are always allowed: no foreign DNS server can point them at the proxy (DNS
    /// rebinding).
    pub names: Vec<String>,
    /// How the endpoint is selected.
    pub selection: EndpointSelection,
}

/// Position of the bucket name in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressingStyle {
    /// In the path, `/bucket/key`. Requests without a bucket count as path style too.
    Path,
    /// In the host, `bucket.domain`.
    VirtualHost,
}

/// Bucket and key that a request addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Position of the bucket name.
    pub style: AddressingStyle,
    /// Bucket name. A request without one addresses the service (ListBuckets).
    pub bucket: Option<BucketName>,
    /// Object key, present only together with a bucket.
    pub key: Option<ObjectKey>,
    /// Endpoint that the host selected, only under [`EndpointSelection::ByHost`].
    pub aws_endpoint: Option<AwsEndpoint>,
}

impl Address {
    /// The bucket, where `Host` named it.
    #[must_use]
    pub fn bucket_in_host(&self) -> Option<&BucketName> {
        match self.style {
            AddressingStyle::VirtualHost => self.bucket.as_ref(),
            AddressingStyle::Path => None,
        }
    }
}

/// Reads bucket and key from the `Host` header and the path as it stood on the request line.
///
/// Errors: `InvalidRequest` if the host is malformed or not served, `InvalidURI` if the path cannot
/// be decoded, and the errors of [`BucketName::new`] and [`ObjectKey::new`] for the decoded names.
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
            // Split before decoding: an encoded slash (`%2F`) must not end the bucket's name.
            let (segment, key) = path.split_once('/').unwrap_or((path, ""));
            let bucket = BucketName::new(percent::decode(segment, Plus::Literal)?)?;
            (AddressingStyle::Path, Some(bucket), key)
        }
    };
    let key = match raw_key {
        // `/bucket/` addresses the bucket, exactly as `/bucket` does.
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

/// Bucket and endpoint that a host names.
struct Host {
    bucket: Option<BucketName>,
    aws_endpoint: Option<AwsEndpoint>,
}

impl Host {
    const PATH_STYLE: Self = Self {
        bucket: None,
        aws_endpoint: None,
    };
}

fn resolve_host(rules: &HostRules, host: &str) -> Result<Host, S3Error> {
    let name = host_name(host).ok_or_else(|| malformed(host))?;
    let name = name.as_str();
    // Domains take precedence over all other rules, so that `localhost` can be one of them.
    match labels_before_domain(&rules.virtual_host_domains, name) {
        None => {}
        Some("") => return Ok(Host::PATH_STYLE),
        Some(bucket) => {
            return Ok(Host {
                bucket: Some(BucketName::new(bucket)?),
                aws_endpoint: None,
            });
        }
    }
    if name == "localhost" || is_ip_address(name) {
        return Ok(Host::PATH_STYLE);
    }
    // The allow list is checked before the AWS names: once it is set, it limits those too.
    let is_listed = rules.names.iter().any(|listed| listed == name);
    if !rules.names.is_empty() && !is_listed {
        return Err(not_listed(host));
    }
    if let Some((endpoint, bucket)) = AwsEndpoint::find(name) {
        return Ok(Host {
            bucket: bucket.map(BucketName::new).transpose()?,
            aws_endpoint: (rules.selection == EndpointSelection::ByHost).then_some(endpoint),
        });
    }
    match rules.selection {
        EndpointSelection::ByHost => Err(no_endpoint(host)),
        // Such a name includes a bucket too, but by the rules of another service.
        EndpointSelection::Configured if aws_endpoint::is_other_s3_service(name) => {
            Err(other_service(host))
        }
        EndpointSelection::Configured => Ok(Host::PATH_STYLE),
    }
}

fn refused(message: String) -> S3Error {
    S3Error::new(ErrorCode::InvalidRequest, message)
}

fn malformed(host: &str) -> S3Error {
    let host = quote::quoted(host);
    refused(format!(
        "The Host header must be a host name or an address, with or without a port, not {host}."
    ))
}

fn not_listed(host: &str) -> S3Error {
    let host = quote::quoted(host);
    refused(format!(
        "This proxy does not answer to the host {host}; use one of listen.hosts, or add it there."
    ))
}

fn no_endpoint(host: &str) -> S3Error {
    let host = quote::quoted(host);
    refused(format!(
        "This proxy has no backend, so the host selects one of AWS's endpoints, and {host} is none of \
         them; set backend.host (S3PROXY_HOST) to serve any host from one backend."
    ))
}

fn other_service(host: &str) -> S3Error {
    let host = quote::quoted(host);
    refused(format!(
        "The host {host} belongs to another AWS service than S3's plain API (an access point, \
         acceleration, S3 Express or a region that is not known); use a regional S3 name."
    ))
}

/// Returns the host in lower case, without its port and without one trailing dot. `None` if it is
/// not a valid `host[:port]` (RFC 3986, section 3.2.2).
fn host_name(host: &str) -> Option<String> {
    let name = match host.rsplit_once(':') {
        // In an IPv6 address without a port, the last colon is inside the brackets.
        Some((_, tail)) if tail.ends_with(']') => host,
        Some((name, port)) => {
            // `parse` accepts a leading `+`, so the digits are checked separately.
            port.parse::<u16>().ok()?;
            port.bytes()
                .all(|byte| byte.is_ascii_digit())
                .then_some(name)?
        }
        None => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_name = !name.is_empty() && name.bytes().all(is_name_byte);
    (is_name || is_ip_address(name)).then(|| name.to_ascii_lowercase())
}

/// Bytes of a registered name (RFC 3986, section 3.2.2), except percent-encoding, which DNS names
/// never contain.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

/// Returns the labels of `name` before the longest matching domain; empty if the name is that
/// domain, `None` if no domain matches.
fn labels_before_domain<'name>(domains: &[String], name: &'name str) -> Option<&'name str> {
    let found = domains
        .iter()
        .filter_map(|domain| strip_domain(name, domain));
    // The longest domain leaves the shortest rest.
    found.min_by_key(|labels| labels.len())
}

/// Returns the labels of `name` before `domain`; empty if the name is the domain, `None` if the
/// domain does not match.
fn strip_domain<'name>(name: &'name str, domain: &str) -> Option<&'name str> {
    let start = name.len().checked_sub(domain.len())?;
    let tail = name.get(start..)?;
    if domain.is_empty() || !tail.eq_ignore_ascii_case(domain) {
        return None;
    }
    match &name[..start] {
        // Requiring the dot keeps `evil-example.com` out of the domain `example.com`.
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

    fn rules(domains: &[&str], selection: EndpointSelection) -> HostRules {
        HostRules {
            virtual_host_domains: domains.iter().map(ToString::to_string).collect(),
            names: Vec::new(),
            selection,
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
        let rules = rules(&[], EndpointSelection::Configured);
        for (path, bucket, key) in [
            ("/", None, None),
            ("/bucket", Some("bucket"), None),
            ("/bucket/", Some("bucket"), None),
            ("/bucket/key", Some("bucket"), Some("key")),
            ("/bucket//key", Some("bucket"), Some("/key")),
            ("/bucket/a//b/", Some("bucket"), Some("a//b/")),
            ("/bucket/../x", Some("bucket"), Some("../x")),
            ("/bucket/a%2Fb+c%2B%20", Some("bucket"), Some("a/b+c+ ")),
            // Decoded once, so the encoded percent sign stays.
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
        let rules = rules(
            &["S3.example.org", "localhost"],
            EndpointSelection::Configured,
        );
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
        let rules = rules(&["s3.example.org"], EndpointSelection::Configured);
        let found = address(&rules, "bucket.s3.example.org", "/").unwrap();
        assert_eq!(
            parts(&found),
            (AddressingStyle::VirtualHost, Some("bucket"), None)
        );
    }

    #[test]
    fn every_name_is_path_style_where_a_backend_is_configured() {
        let rules = rules(&["s3.example.org"], EndpointSelection::Configured);
        for host in [
            "s3proxy",
            "s3proxy:4433",
            "s3proxy.ns.svc.cluster.local",
            "s3proxy.ns.svc.cluster.local.:4433",
            "example.org",
            // The domain without a dot before it, or not at the end of the host.
            "evils3.example.org",
            "s3.example.org.evil.net",
            "bucket.localhost",
            "under_score",
            // Not in the dotted form with four numbers, so this is a name.
            "127.1",
            "xn--bcher-kva.example",
            "ec2-192-0-2-1.eu-west-1.compute.amazonaws.com",
        ] {
            let found = address(&rules, host, "/bucket/k").unwrap();
            let expected = (AddressingStyle::Path, Some("bucket"), Some("k"));
            assert_eq!(parts(&found), expected, "{host}");
            assert_eq!(found.aws_endpoint, None, "{host}");
        }
    }

    #[test]
    fn hosts_that_are_no_hosts_are_refused() {
        for selection in [EndpointSelection::Configured, EndpointSelection::ByHost] {
            let rules = rules(&["s3.example.org"], selection);
            for host in [
                "",
                ".",
                ":80",
                "[::1",
                "::1",
                "localhost:",
                "localhost:+1",
                "localhost:99999",
                "localhost:80:80",
                "user@localhost",
                "a b",
                "a/b",
                "a?b",
                "b\u{fc}cher",
            ] {
                let error = address(&rules, host, "/bucket/k").unwrap_err();
                assert_eq!(error.code, ErrorCode::InvalidRequest, "{host}");
            }
        }
    }

    #[test]
    fn the_longest_domain_counts_and_one_trailing_dot_does_not() {
        let domains = ["example.org", "s3.example.org"];
        let rules = rules(&domains, EndpointSelection::Configured);
        for (host, bucket) in [
            ("bucket.s3.example.org.", Some("bucket")),
            ("bucket.example.org.:443", Some("bucket")),
            ("s3.example.org.", None),
            ("example.org", None),
        ] {
            let found = address(&rules, host, "/").unwrap();
            let found = found.bucket.as_ref().map(BucketName::as_str);
            assert_eq!(found, bucket, "{host}");
        }
    }

    #[test]
    fn listed_names_keep_others_out() {
        let rules = HostRules {
            names: vec!["s3proxy".to_owned()],
            ..rules(&["s3.example.org"], EndpointSelection::Configured)
        };
        for host in [
            "s3proxy:4433",
            "S3Proxy.",
            "bucket.s3.example.org",
            "localhost",
            "[::1]:1",
            "192.0.2.1",
        ] {
            assert!(address(&rules, host, "/bucket").is_ok(), "{host}");
        }
        // A name rebound to the proxy, a listed name with a bucket, and an AWS name.
        for host in ["rebound.example", "x.s3proxy", "s3.eu-west-1.amazonaws.com"] {
            let error = address(&rules, host, "/bucket").unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidRequest, "{host}");
            assert!(error.message.contains(host), "{}", error.message);
            assert!(error.message.contains("listen.hosts"), "{}", error.message);
        }
    }

    #[test]
    fn aws_names_name_buckets_at_any_backend_and_those_of_other_services_do_not() {
        let rules = rules(&[], EndpointSelection::Configured);
        let found = address(&rules, "bucket.s3.eu-west-1.amazonaws.com", "/k").unwrap();
        let expected = (AddressingStyle::VirtualHost, Some("bucket"), Some("k"));
        assert_eq!(parts(&found), expected);
        assert_eq!(found.aws_endpoint, None);
        for host in [
            "b.s3-accelerate.amazonaws.com",
            "ap-1234.s3-accesspoint.eu-west-1.amazonaws.com",
            "b--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com",
            "b.s3.nowhere-1.amazonaws.com",
            "b.s3-website.cn-north-1.amazonaws.com.cn",
        ] {
            let error = address(&rules, host, "/k").unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidRequest, "{host}");
        }
    }

    #[test]
    fn without_a_backend_a_host_has_to_be_an_endpoint() {
        let rules = rules(&["s3.example.org"], EndpointSelection::ByHost);
        for host in ["s3proxy", "s3.example.net", "b.s3-accelerate.amazonaws.com"] {
            let error = address(&rules, host, "/bucket").unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidRequest, "{host}");
            assert!(error.message.contains("S3PROXY_HOST"), "{}", error.message);
        }
        assert!(address(&rules, "s3.example.org", "/bucket").is_ok());
    }

    #[test]
    fn answers_to_addresses_of_both_families() {
        let rules = rules(&[], EndpointSelection::Configured);
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
        let rules = rules(&[], EndpointSelection::ByHost);
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
        let rules = rules(&[], EndpointSelection::Configured);
        for (path, code) in [
            ("", ErrorCode::InvalidURI),
            ("*", ErrorCode::InvalidURI),
            ("/bucket/%zz", ErrorCode::InvalidURI),
            ("/bucket/%FF", ErrorCode::InvalidURI),
            ("//key", ErrorCode::InvalidBucketName),
            // An encoded slash is part of the segment.
            ("/a%2Fb/key", ErrorCode::InvalidBucketName),
            ("/../key", ErrorCode::InvalidBucketName),
        ] {
            let error = address(&rules, "localhost", path).unwrap_err();
            assert_eq!(error.code, code, "{path}");
        }
    }
}
