//! AWS's published examples, requests signed by AWS's own signer, and requests that must be
//! refused.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use time::OffsetDateTime;

use super::{Authentication, SecretAccessKey, SigV4Error, SignedRequest, Verified, parse};

mod cross_check;
pub(crate) mod examples;
mod refusals;

/// A request as sent.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) headers: HeaderMap,
}

impl Request {
    pub(crate) fn new(method: Method, target: &str, headers: &[(&str, &str)]) -> Self {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let mut request = Self {
            method,
            path: path.to_owned(),
            query,
            headers: HeaderMap::new(),
        };
        for (name, value) in headers {
            request.append(name, value);
        }
        request
    }

    pub(crate) fn append(&mut self, name: &str, value: &str) {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        self.headers
            .append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }

    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        self.headers.insert(name, value);
    }

    pub(crate) fn parse(&self) -> Result<SignedRequest, SigV4Error> {
        match parse(self.query.as_deref(), &self.headers)? {
            Authentication::Signed(request) => Ok(*request),
            Authentication::Anonymous => panic!("the request is signed"),
        }
    }

    /// Parses, looks up the secret and verifies. Only the access key of AWS's examples is known.
    pub(crate) fn verify(&self, now: OffsetDateTime) -> Result<Verified, SigV4Error> {
        let signed = self.parse()?;
        let secret = if signed.access_key_id() == examples::ACCESS_KEY_ID {
            examples::SECRET
        } else {
            "that of another access key"
        };
        signed.verify(
            &SecretAccessKey::new(secret.to_owned()),
            &self.method,
            &self.path,
            self.query.as_deref(),
            &self.headers,
            now,
        )
    }
}
