//! The mark that identifies requests of s3proxy, so that one that loops back is recognised.
//!
//! Every request to the backend carries it, outside the signature; S3 servers ignore unknown
//! headers. A client request with the mark came from another proxy, or from this one: then the
//! backend's address leads back here, and without the mark one request would loop until memory is
//! exhausted.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Header of the mark. Its value is random, so that it reveals nothing but which proxy sent the
/// request.
pub(crate) const HOP: HeaderName = HeaderName::from_static("x-s3proxy-hop");

const BYTES: usize = 8;

/// A proxy that a request has passed through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forwarder {
    ThisProxy,
    AnotherProxy,
}

/// Mark of one backend client.
pub(super) struct LoopMark(HeaderValue);

impl LoopMark {
    pub(super) fn new() -> Self {
        let mut bytes = [0; BYTES];
        aws_lc_rs::rand::fill(&mut bytes).expect("the system's generator works");
        let text = format!("{:016x}", u64::from_be_bytes(bytes));
        Self(HeaderValue::try_from(text).expect("hexadecimal is a header value"))
    }

    /// Sets the mark on an outgoing request.
    pub(super) fn put_on(&self, headers: &mut HeaderMap) {
        headers.insert(HOP, self.0.clone());
    }

    /// Returns the proxy that sent a request with these headers; `None` for a client's own request.
    pub(super) fn forwarder(&self, headers: &HeaderMap) -> Option<Forwarder> {
        let mut marks = headers.get_all(HOP).iter().peekable();
        marks.peek()?;
        // A request may have passed through several proxies.
        Some(if marks.any(|mark| *mark == self.0) {
            Forwarder::ThisProxy
        } else {
            Forwarder::AnotherProxy
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_recognised_and_distinguished_from_another() {
        let (own, other) = (LoopMark::new(), LoopMark::new());
        let mut headers = HeaderMap::new();
        assert_eq!(own.forwarder(&headers), None);
        other.put_on(&mut headers);
        assert_eq!(own.forwarder(&headers), Some(Forwarder::AnotherProxy));
        headers.append(HOP, own.0.clone());
        assert_eq!(own.forwarder(&headers), Some(Forwarder::ThisProxy));
    }
}
