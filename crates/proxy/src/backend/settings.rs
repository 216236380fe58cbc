//! Settings of the backend client: the backend's address, the way to it, and timeouts.
//!
//! These types belong to this module, so that nothing here knows how configuration is written; the
//! program maps its configuration to them once. Every field is already valid: a host is a name or
//! an address without brackets, durations are not zero.
//!
//! Absent on purpose: defaults (configuration has them, with their documentation) and credentials
//! (they change while the program runs, see `credentials`).

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

const AWS_SUFFIXES: [&str; 3] = [".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu"];

/// All settings of the backend that stay the same while the program runs.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) endpoint: Endpoint,
    pub(crate) region: String,
    pub(crate) addressing: Addressing,
    /// PEM file with the only trusted roots; `None` for the system's.
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) client_certificate: Option<ClientCertificate>,
    pub(crate) outbound_proxy: OutboundProxy,
    /// Timeout of name look-up, TCP, an outbound proxy's tunnel and TLS together.
    pub(crate) connect_timeout: Duration,
    /// Timeout from the request's last byte to the head of the response.
    pub(crate) response_timeout: Duration,
    /// Longest silence inside a body, in either direction.
    pub(crate) body_timeout: Duration,
    /// Time after which an idle connection is closed; must be below the server's own timeout.
    pub(crate) connection_idle: Duration,
    /// Age from which a connection serves no further request, so that a change in DNS takes effect.
    pub(crate) connection_max_age: Duration,
    pub(crate) max_idle_connections: usize,
    pub(crate) retry: RetrySettings,
    pub(crate) integrity: Integrity,
}

/// Scheme, host and port of an S3 service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Endpoint {
    pub(crate) scheme: Scheme,
    /// Name or address; IPv6 without brackets.
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scheme {
    Http,
    Https,
}

/// Whether the bucket is the first segment of the path or the first label of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Addressing {
    Path,
    /// Buckets that cannot be a host label, and backends with an IP address, get path style.
    VirtualHost,
}

/// PEM files of the certificate that the proxy shows to the backend.
#[derive(Debug, Clone)]
pub(crate) struct ClientCertificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// HTTP proxy between this program and an `https` backend.
///
/// A plain `http` backend is always reached directly.
#[derive(Clone)]
pub(crate) enum OutboundProxy {
    /// `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` (either case), as curl reads them.
    Environment,
    #[cfg(test)]
    Direct,
    #[cfg(test)]
    Explicit {
        https_proxy: String,
        no_proxy: String,
    },
}

/// Whether streams, which cannot be hashed before they are sent, have a checksum in a trailer.
///
/// Parts never do; held bodies need none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Integrity {
    /// With a trailer on AWS, and elsewhere for uploads under object lock.
    Auto,
    Trailer,
    Unsigned,
}

/// Number and pace of retries.
#[derive(Debug, Clone)]
pub(crate) struct RetrySettings {
    /// Number of attempts, including the first; 1 never retries.
    pub(crate) attempts: u32,
    /// Longest first pause; each further one is at most twice as long.
    pub(crate) base_delay: Duration,
    /// Longest pause, whatever `Retry-After` says.
    pub(crate) max_delay: Duration,
    /// Number of retries, over all requests, that may be spent before successful requests refill
    /// it.
    pub(crate) budget: u32,
}

impl Scheme {
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// Returns the port that URLs of this scheme leave out.
    pub(super) fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

impl Endpoint {
    /// Returns the port that connections use.
    pub(super) fn effective_port(&self) -> u16 {
        self.port.unwrap_or_else(|| self.scheme.default_port())
    }

    /// Returns whether the host is an IP address, not a name.
    pub(super) fn is_address(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok()
    }

    /// Returns whether this is one of AWS's own names.
    pub(super) fn is_aws(&self) -> bool {
        self.aws_suffix().is_some()
    }

    /// Returns the domain of the host's AWS partition, with its leading dot.
    pub(super) fn aws_suffix(&self) -> Option<&'static str> {
        AWS_SUFFIXES
            .into_iter()
            .find(|suffix| self.host.ends_with(suffix))
    }

    /// Returns host and port as in the `Host` header: brackets around IPv6, no default port.
    pub(super) fn authority(&self) -> String {
        let host = match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(_)) => format!("[{}]", self.host),
            Ok(IpAddr::V4(_)) | Err(_) => self.host.clone(),
        };
        match self.port {
            Some(port) if port != self.scheme.default_port() => format!("{host}:{port}"),
            Some(_) | None => host,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}

/// Omits the URL of an outbound proxy, which may contain a password.
impl fmt::Debug for OutboundProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OutboundProxy::Environment => "Environment",
            #[cfg(test)]
            OutboundProxy::Direct => "Direct",
            #[cfg(test)]
            OutboundProxy::Explicit { .. } => "Explicit { .. }",
        })
    }
}
