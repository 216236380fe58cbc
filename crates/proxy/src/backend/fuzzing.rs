//! Entries for fuzz targets: where redirects and refusals lead. Not in the program.

use http::{HeaderMap, StatusCode};

use super::address::Target;
use super::redirect;
use super::settings::{Addressing, Endpoint, Scheme};

/// A backend as requests are sent to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Whether it is asked by HTTPS.
    pub is_https: bool,
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    /// The port, where it is not the scheme's own.
    pub port: Option<u16>,
    /// Whether buckets stand in the host's name.
    pub is_virtual_host: bool,
    /// The region that signatures name.
    pub region: String,
}

impl Service {
    /// The port that connections go to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.target().endpoint.effective_port()
    }

    /// The URI of an object there, or the error's text.
    pub fn locate(&self, bucket: Option<&str>, key: &str) -> Result<String, String> {
        let location = self.target().locate(bucket, Some(key), &[]);
        let location = location.map_err(|error| error.to_string())?;
        Ok(location.uri.to_string())
    }

    fn target(&self) -> Target {
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
        Target {
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

impl From<Target> for Service {
    fn from(target: Target) -> Self {
        Self {
            is_https: target.endpoint.scheme == Scheme::Https,
            host: target.endpoint.host,
            port: target.endpoint.port,
            is_virtual_host: target.addressing == Addressing::VirtualHost,
            region: target.region,
        }
    }
}

/// The service that a redirect leads to, if it may be followed.
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

/// The same service in the region that a refusal names.
#[must_use]
pub fn other_region(
    from: &Service,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> Option<Service> {
    redirect::other_region(&from.target(), status, headers, body).map(Service::from)
}
