//! Entry points for fuzz targets: destinations of redirects and refusals. Not in the program.

use http::{HeaderMap, StatusCode};

use super::address::ServiceTarget;
use super::redirect;
use super::settings::{Addressing, Endpoint, Scheme};

/// A backend as requests are sent to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Whether HTTPS is used.
    pub is_https: bool,
    /// Name or address, IPv6 without brackets.
    pub host: String,
    /// Port, if it is not the scheme's default.
    pub port: Option<u16>,
    /// Whether buckets are part of the host name.
    pub is_virtual_host: bool,
    /// Region for signatures.
    pub region: String,
}

impl Service {
    /// Returns the port of connections.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.target().endpoint.effective_port()
    }

    /// Returns the URI of an object there, or the text of the error.
    pub fn locate(&self, bucket: Option<&str>, key: &str) -> Result<String, String> {
        let location = self.target().locate(bucket, Some(key), &[]);
        let location = location.map_err(|error| error.to_string())?;
        Ok(location.uri.to_string())
    }

    fn target(&self) -> ServiceTarget {
        let scheme = if self.is_https {
            Scheme::Https
        } else {
            Scheme::Http
        };
        let addressing = if self.is_virtual_host {
            Addressing::VirtualHost
        } else {
            Addressing::Path
        };
        ServiceTarget {
            endpoint: Endpoint {
                scheme,
                host: self.host.clone(),
                port: self.port,
            },
            addressing,
            region: self.region.clone(),
        }
    }
}

impl From<ServiceTarget> for Service {
    fn from(target: ServiceTarget) -> Self {
        Self {
            is_https: target.endpoint.scheme == Scheme::Https,
            host: target.endpoint.host,
            port: target.endpoint.port,
            is_virtual_host: target.addressing == Addressing::VirtualHost,
            region: target.region,
        }
    }
}

/// Returns the service that a redirect leads to, if it may be followed.
#[must_use]
pub fn redirected(
    from: &Service,
    bucket: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
) -> Option<Service> {
    let target = redirect::target(&from.target(), bucket, headers, body);
    target.ok().map(Service::from)
}

/// Returns the same service in the region that a refusal names.
#[must_use]
pub fn other_region(
    from: &Service,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> Option<Service> {
    redirect::other_region(&from.target(), status, headers, body).map(Service::from)
}
