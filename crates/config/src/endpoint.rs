//! The backend's address, as users write it: `host`, `host:port`, `http(s)://host[:port]`.
//!
//! Only scheme, host and port exist here. A path, a query or a credential in the address is
//! refused: the proxy could not honour it. The default scheme is HTTPS.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::str::FromStr;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A DNS name in lower case.
    Name(String),
    Address(IpAddr),
}

/// Scheme, host and port of one S3 server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    pub scheme: Scheme,
    pub host: Host,
    pub port: u16,
}

impl ServerAddress {
    /// Returns the value of the Host header: an IPv6 address in brackets, the port only if it is
    /// not the scheme's default.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = self.host.to_string();
        if self.port == self.scheme.default_port() {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }

    /// Parses an address of a service other than S3: plain HTTP unless it says `https`, and at
    /// `port` unless it names one.
    pub(crate) fn of_service(text: &str, port: fn(Scheme) -> u16) -> Result<Self, AddressError> {
        let with_scheme = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let mut address = with_scheme.parse::<Self>()?;
        // A default port that is written out counts as named, too.
        let names_port = address.port != address.scheme.default_port()
            || with_scheme.ends_with(&format!(":{}", address.port));
        if !names_port {
            address.port = port(address.scheme);
        }
        Ok(address)
    }
}

/// Displays the name, or the address as in a URI (IPv6 in brackets).
impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl std::fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}

/// Why an address is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("it contains white space or quotes; remove them")]
    Stray,
    #[error("the scheme is neither http nor https")]
    Scheme,
    #[error("it must not contain a path or query")]
    Path,
    #[error("it must not contain a credential")]
    Credential,
    #[error("an IPv6 address must be in brackets")]
    Brackets,
    #[error("the port is not a number from 1 to 65535")]
    Port,
    #[error("the host is neither a DNS name nor an IP address")]
    Host,
}

impl FromStr for ServerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        // Usually left over from a shell script or a compose file.
        if text.contains(|c: char| c.is_whitespace() || "\"'`".contains(c)) {
            return Err(AddressError::Stray);
        }
        let (scheme, rest) = match text.split_once("://") {
            None => (Scheme::Https, text),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
            Some(_) => return Err(AddressError::Scheme),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains('@') {
            return Err(AddressError::Credential);
        }
        if authority.contains(['/', '?', '#']) {
            return Err(AddressError::Path);
        }
        let (host, port) = host_and_port(authority)?;
        let port = match port {
            None => scheme.default_port(),
            Some(port) => port
                .parse::<NonZeroU16>()
                .map_err(|_| AddressError::Port)?
                .get(),
        };
        Ok(Self { scheme, host, port })
    }
}

fn host_and_port(authority: &str) -> Result<(Host, Option<&str>), AddressError> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or(AddressError::Brackets)?;
        let address: Ipv6Addr = address.parse().map_err(|_| AddressError::Host)?;
        let port = match port {
            "" => None,
            port => Some(port.strip_prefix(':').ok_or(AddressError::Port)?),
        };
        return Ok((Host::Address(IpAddr::V6(address)), port));
    }
    let (host, port) = match authority.split_once(':') {
        None => (authority, None),
        // More than one colon: an IPv6 address without brackets.
        Some((_, port)) if port.contains(':') => return Err(AddressError::Brackets),
        Some((host, port)) => (host, Some(port)),
    };
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok((Host::Address(IpAddr::V4(address)), port));
    }
    let name = dns_name(host).ok_or(AddressError::Host)?;
    Ok((Host::Name(name), port))
}

/// Returns a valid DNS name in lower case. Underscores are allowed, as in names of container
/// networks. A last label of digits only is refused, since it would be a mistyped IPv4 address.
pub(crate) fn dns_name(text: &str) -> Option<String> {
    let label_is_valid = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next()?;
    let valid = text.len() <= 253
        && text.split('.').all(label_is_valid)
        && !last.bytes().all(|b| b.is_ascii_digit());
    valid.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        text.parse::<ServerAddress>().unwrap().to_string()
    }

    #[test]
    fn every_accepted_form_has_one_meaning() {
        assert_eq!(shown("s3.example.com"), "https://s3.example.com");
        assert_eq!(shown("S3.Example.com:9000"), "https://s3.example.com:9000");
        assert_eq!(shown("http://seaweedfs:8333/"), "http://seaweedfs:8333");
        assert_eq!(
            shown("https://s3.example.com:443"),
            "https://s3.example.com"
        );
        assert_eq!(shown("http://127.0.0.1"), "http://127.0.0.1");
        assert_eq!(shown("[::1]"), "https://[::1]");
        assert_eq!(
            shown("http://[2001:db8::1]:9000"),
            "http://[2001:db8::1]:9000"
        );
    }

    #[test]
    fn what_could_not_be_honoured_is_refused() {
        let refusal = |text: &str| text.parse::<ServerAddress>().unwrap_err();
        assert_eq!(refusal("ftp://host"), AddressError::Scheme);
        assert_eq!(refusal("https://host/bucket"), AddressError::Path);
        assert_eq!(refusal("https://host?x"), AddressError::Path);
        assert_eq!(refusal("https://user:word@host"), AddressError::Credential);
        assert_eq!(refusal("::1"), AddressError::Brackets);
        assert_eq!(refusal("[::1"), AddressError::Brackets);
        assert_eq!(refusal("host:0"), AddressError::Port);
        assert_eq!(refusal("host:70000"), AddressError::Port);
        assert_eq!(refusal("[::1]9000"), AddressError::Port);
        assert_eq!(refusal(""), AddressError::Host);
        assert_eq!(refusal("-host"), AddressError::Host);
        assert_eq!(refusal("two words"), AddressError::Stray);
        assert_eq!(refusal("'host'"), AddressError::Stray);
        assert_eq!(refusal("10.0.0.300"), AddressError::Host);
    }
}
