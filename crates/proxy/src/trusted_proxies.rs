//! The client's address if a load balancer forwards its requests.

use std::net::IpAddr;

use http::HeaderMap;
use http::uri::Scheme;
use ipnet::IpNet;
use s3proxy_protocol::headers;

/// Peers whose `X-Forwarded-For` and PROXY protocol are trusted.
pub(crate) struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    pub(crate) fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Returns the address that a request came from: the peer itself or, behind trusted proxies,
    /// the nearest address in `X-Forwarded-For` that is none of them. For logs, and for the limits
    /// of unlisted clients: no permission depends on it.
    pub(crate) fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        // From the right: every proxy appends, so the left end may be a client's invention.
        let forwarded = headers.get_all("x-forwarded-for").iter().rev();
        let mut nearest = peer;
        for value in forwarded {
            // A value that is not text makes the ones before it unreliable, too.
            let Some(text) = headers::value_text(value) else {
                break;
            };
            for address in text.rsplit(',').map(str::trim) {
                let Ok(address) = address.parse::<IpAddr>() else {
                    return nearest;
                };
                nearest = address.to_canonical();
                if !self.trusts(nearest) {
                    return nearest;
                }
            }
        }
        nearest
    }

    /// Returns the scheme that the client used, if a trusted proxy names it.
    pub(crate) fn client_scheme(&self, peer: IpAddr, headers: &HeaderMap) -> Option<Scheme> {
        if !self.trusts(peer.to_canonical()) {
            return None;
        }
        match headers::text(headers, "x-forwarded-proto")? {
            "https" => Some(Scheme::HTTPS),
            "http" => Some(Scheme::HTTP),
            _ => None,
        }
    }

    /// Returns whether `address` is a trusted proxy.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(peer: &str, forwarded: &str) -> String {
        let trusted = TrustedProxies::new(vec!["10.0.0.0/8".parse().expect("a network")]);
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", forwarded.parse().expect("a value"));
        let peer = peer.parse().expect("an address");
        trusted.client_address(peer, &headers).to_string()
    }

    #[test]
    fn only_trusted_proxies_say_what_scheme_the_client_used() {
        let trusted = TrustedProxies::new(vec!["10.0.0.0/8".parse().expect("a network")]);
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-proto", "https".parse().expect("a value"));
        let scheme = |peer: &str| {
            let peer = peer.parse().expect("an address");
            trusted.client_scheme(peer, &headers)
        };
        assert_eq!(scheme("10.0.0.1"), Some(Scheme::HTTPS));
        assert_eq!(scheme("192.0.2.1"), None);
    }

    #[test]
    fn a_stranger_cannot_name_another_address() {
        assert_eq!(from("192.0.2.1", "198.51.100.7"), "192.0.2.1");
    }

    #[test]
    fn behind_trusted_proxies_the_nearest_stranger_counts() {
        assert_eq!(
            from("10.0.0.1", "1.1.1.1, 198.51.100.7, 10.0.0.2"),
            "198.51.100.7"
        );
        assert_eq!(from("10.0.0.1", "garbage"), "10.0.0.1");
    }
}
