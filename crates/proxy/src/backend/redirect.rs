//! Destination of a redirect, if it may be followed at all.
//!
//! The backend is not trusted with the destination of our requests: a hostile response could make
//! the proxy send sealed data, or a signed request, to any machine that it can reach. A redirect is
//! followed only inside the domain of the original service: for AWS to S3's own regional names
//! under the same suffix, for others to the same name or a name below it; with the same scheme and
//! port. Only host and region are taken from it; path and query stay our own.
//!
//! A refusal that names another region for the signature changes only that region.

use http::header::{HeaderMap, LOCATION};
use http::uri::Authority;
use http::{StatusCode, Uri};
use s3proxy_protocol::headers;

use super::address::ServiceTarget;
use super::error_body::element;
use super::settings::{Addressing, Endpoint};

/// Lifetime of a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permanence {
    Once,
    Permanent,
}

/// Returns the lifetime of a redirect with this status; `None` if the status is no redirect.
pub(super) fn permanence_of(status: StatusCode) -> Option<Permanence> {
    match status {
        StatusCode::MOVED_PERMANENTLY | StatusCode::PERMANENT_REDIRECT => {
            Some(Permanence::Permanent)
        }
        StatusCode::FOUND | StatusCode::TEMPORARY_REDIRECT => Some(Permanence::Once),
        _ => None,
    }
}

/// Returns the target in place of `from`, or the reason why there is none.
pub(super) fn target(
    from: &ServiceTarget,
    bucket: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<ServiceTarget, String> {
    let region = headers::text(headers, headers::BUCKET_REGION).filter(|region| is_region(region));
    let mut target = match named_authority(from, headers, body)? {
        Some(authority) => inside_domain(from, bucket, &authority)?,
        None => regional(from, region),
    };
    // The region counts even if the host stays the same.
    if let Some(region) = region {
        region.clone_into(&mut target.region);
    }
    // Following it would never end.
    if target == *from {
        return Err("it leads back to the same endpoint".to_owned());
    }
    Ok(target)
}

/// Returns the same service with the region that a refusal demands for the signature.
pub(super) fn other_region(
    from: &ServiceTarget,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> Option<ServiceTarget> {
    if status != StatusCode::BAD_REQUEST {
        return None;
    }
    let region = match element(body, "Code") {
        Some("AuthorizationHeaderMalformed") => element(body, "Region"),
        Some(_) => None,
        // A response to HEAD has only headers.
        None => headers::text(headers, headers::BUCKET_REGION),
    };
    let region = region.filter(|region| is_region(region) && *region != from.region)?;
    Some(ServiceTarget {
        region: region.to_owned(),
        ..from.clone()
    })
}

fn named_authority(
    from: &ServiceTarget,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Option<Authority>, String> {
    if let Some(location) = headers.get(LOCATION) {
        let location = Uri::try_from(location.as_bytes())
            .map_err(|error| format!("invalid Location: {error}"))?;
        return match (location.scheme_str(), location.authority()) {
            (_, None) => Ok(None),
            (Some(scheme), _) if scheme != from.endpoint.scheme.as_str() => Err(format!(
                "it changes the scheme from {} to {scheme}",
                from.endpoint.scheme.as_str()
            )),
            (_, Some(authority)) => Ok(Some(authority.clone())),
        };
    }
    element(body, "Endpoint")
        .map(|endpoint| {
            endpoint
                .parse()
                .map_err(|error| format!("invalid Endpoint: {error}"))
        })
        .transpose()
}

fn inside_domain(
    from: &ServiceTarget,
    bucket: Option<&str>,
    authority: &Authority,
) -> Result<ServiceTarget, String> {
    let host = authority.host().trim_matches(['[', ']']);
    let endpoint = Endpoint {
        port: authority.port_u16(),
        host: host.to_ascii_lowercase(),
        ..from.endpoint.clone()
    };
    if authority.as_str().contains('@')
        || endpoint.effective_port() != from.endpoint.effective_port()
    {
        return Err(format!("{authority} has another port, or a user name"));
    }
    // A host that begins with the bucket means virtual-host style.
    let without_bucket = bucket
        .and_then(|bucket| endpoint.host.strip_prefix(bucket)?.strip_prefix('.'))
        .filter(|rest| is_allowed(&from.endpoint, rest))
        .map(str::to_owned);
    let (host, addressing) = match without_bucket {
        Some(rest) => (rest, Addressing::VirtualHost),
        None if is_allowed(&from.endpoint, &endpoint.host) => {
            (endpoint.host.clone(), Addressing::Path)
        }
        None => {
            return Err(format!(
                "{host} is outside the domain of {}",
                from.endpoint.host
            ));
        }
    };
    Ok(ServiceTarget {
        endpoint: Endpoint { host, ..endpoint },
        addressing,
        region: from.region.clone(),
    })
}

fn is_allowed(from: &Endpoint, host: &str) -> bool {
    if let Some(suffix) = from.aws_suffix() {
        return host
            .strip_suffix(suffix)
            .is_some_and(|labels| is_s3_name(&labels.split('.').collect::<Vec<_>>()));
    }
    let below = || {
        host.strip_suffix(from.host.as_str())
            .is_some_and(|rest| rest.ends_with('.'))
    };
    host == from.host || (!from.is_address() && below())
}

/// Returns whether the labels before the suffix are S3's own, not those of a machine or another
/// service.
fn is_s3_name(labels: &[&str]) -> bool {
    match labels {
        ["s3"] => true,
        [first] => first.strip_prefix("s3-").is_some_and(is_aws_region),
        ["s3" | "s3-fips", region] | ["s3" | "s3-fips", "dualstack", region] => {
            is_aws_region(region)
        }
        _ => false,
    }
}

/// Returns whether this is a region such as `eu-west-1` or `us-gov-east-1`: a short word first, a
/// number last.
fn is_aws_region(text: &str) -> bool {
    let mut parts = text.split('-').rev();
    let number = parts.next().unwrap_or_default();
    let words: Vec<_> = parts.collect();
    words.len() >= 2
        && words.last().is_some_and(|area| area.len() <= 4)
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && words
            .iter()
            .all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
}

fn is_region(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Returns the service in another region, if a response names only the region (as for HEAD).
fn regional(from: &ServiceTarget, region: Option<&str>) -> ServiceTarget {
    let mut target = from.clone();
    let Some(suffix) = from.endpoint.aws_suffix() else {
        return target;
    };
    let Some(region) = region.filter(|region| is_aws_region(region)) else {
        return target;
    };
    let labels: Vec<_> = from.endpoint.host[..from.endpoint.host.len() - suffix.len()]
        .split('.')
        .collect();
    let service = match labels.first() {
        Some(&"s3-fips") => "s3-fips",
        Some(_) | None => "s3",
    };
    let dualstack = if labels.contains(&"dualstack") {
        ".dualstack"
    } else {
        ""
    };
    target.endpoint.host = format!("{service}{dualstack}.{region}{suffix}");
    target
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::settings::Scheme;
    use http::HeaderValue;

    fn from(host: &str) -> ServiceTarget {
        ServiceTarget {
            endpoint: Endpoint {
                scheme: Scheme::Https,
                host: host.to_owned(),
                port: None,
            },
            addressing: Addressing::Path,
            region: "us-east-1".to_owned(),
        }
    }

    fn follow(host: &str, location: &str, region: &str) -> Result<ServiceTarget, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in [("location", location), ("x-amz-bucket-region", region)] {
            if !value.is_empty() {
                headers.insert(name, HeaderValue::from_str(value).unwrap());
            }
        }
        target(&from(host), Some("bucket"), &headers, b"")
    }

    #[test]
    fn aws_redirects_stay_on_regional_s3_names() {
        let aws = "s3.amazonaws.com";
        for (location, host, addressing) in [
            (
                "https://bucket.s3.eu-west-1.amazonaws.com/k",
                "s3.eu-west-1.amazonaws.com",
                Addressing::VirtualHost,
            ),
            (
                "https://s3-eu-west-1.amazonaws.com/bucket/k",
                "s3-eu-west-1.amazonaws.com",
                Addressing::Path,
            ),
            (
                "https://s3.dualstack.eu-west-1.amazonaws.com",
                "s3.dualstack.eu-west-1.amazonaws.com",
                Addressing::Path,
            ),
        ] {
            let target = follow(aws, location, "eu-west-1").unwrap();
            assert_eq!(target.endpoint.host, host);
            assert_eq!(target.addressing, addressing, "{location}");
            assert_eq!(target.region, "eu-west-1");
        }
        for location in [
            // Anybody can have a host below amazonaws.com, so the domain alone proves nothing.
            "https://ec2-1-2-3-4.eu-west-1.compute.amazonaws.com/",
            "https://s3.evil.example/",
            "https://evils3.eu-west-1.amazonaws.com/",
            // A host of another bucket.
            "https://other.s3.eu-west-1.amazonaws.com/",
            // This host serves websites, and knows no signatures.
            "https://s3-website-eu-west-1.amazonaws.com/",
            "https://s3.eu-west-1.amazonaws.com.evil.example/",
            // Another partition of AWS, with other credentials.
            "https://s3.eu-west-1.amazonaws.com.cn/",
            "https://s3.eu-west-1.amazonaws.com:8443/",
            "https://user@s3.eu-west-1.amazonaws.com/",
            "http://s3.eu-west-1.amazonaws.com/",
            "https://169.254.169.254/",
        ] {
            follow(aws, location, "").expect_err(location);
        }
    }

    #[test]
    fn other_backends_redirect_below_their_own_name_only() {
        let own = "storage.example";
        let target = follow(own, "https://bucket.storage.example/", "").unwrap();
        assert_eq!(target.endpoint.host, own);
        assert_eq!(target.addressing, Addressing::VirtualHost);
        let target = follow(own, "https://zone2.storage.example/bucket", "").unwrap();
        assert_eq!(target.endpoint.host, "zone2.storage.example");
        for location in [
            "https://otherstorage.example/",
            "https://example/",
            "https://storage.example.evil.example/",
            // The host that sent the redirect.
            "https://storage.example/bucket/k",
        ] {
            follow(own, location, "").expect_err(location);
        }
        follow("10.0.0.1", "https://1.10.0.0.1/", "").expect_err("below an address");
    }

    #[test]
    fn a_region_alone_names_the_regional_host() {
        let target = follow("s3.amazonaws.com", "", "eu-west-1").unwrap();
        assert_eq!(target.endpoint.host, "s3.eu-west-1.amazonaws.com");
        let target = follow("s3.dualstack.us-east-1.amazonaws.com", "", "eu-west-1").unwrap();
        assert_eq!(target.endpoint.host, "s3.dualstack.eu-west-1.amazonaws.com");
        let target = follow("storage.example", "", "zone-b").unwrap();
        assert_eq!(target.endpoint.host, "storage.example");
        assert_eq!(target.region, "zone-b");
        follow("s3.amazonaws.com", "", "evil.example/").expect_err("not a region");
    }

    #[test]
    fn the_endpoint_element_counts_where_there_is_no_location() {
        let body = b"<Error><Code>PermanentRedirect</Code><Endpoint>bucket.s3.eu-west-1.amazonaws.com</Endpoint></Error>";
        let target = target(
            &from("s3.amazonaws.com"),
            Some("bucket"),
            &HeaderMap::new(),
            body,
        );
        assert_eq!(target.unwrap().endpoint.host, "s3.eu-west-1.amazonaws.com");
    }
}
