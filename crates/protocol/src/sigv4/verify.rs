//! The decision whether a signed request is whose it says it is.
//!
//! Time first, then what has to be signed, then the signature. Only [`Verified`], which nothing but
//! a good signature makes, can check the signatures of chunks.

use http::header::HOST;
use http::{HeaderMap, HeaderName, Method};
use time::{Duration, OffsetDateTime};

use super::authorization::ALGORITHM;
use super::canonical_request;
use super::error::SigV4Error;
use super::signing_key::{SecretAccessKey, Signature, SigningKey};
use super::{SignedRequest, Validity};

/// How far apart the client's clock and ours may be.
pub(crate) const CLOCK_SKEW: Duration = Duration::minutes(15);

/// A request with a good signature, and what the signatures of its chunks are chained to.
pub struct Verified {
    key: SigningKey,
    timestamp: String,
    scope: String,
    signature: Signature,
}

impl Verified {
    /// Checks the next signature of the chain (S3 API Reference, "Transferring Payload in Multiple
    /// Chunks") and makes it the one that the next link names. `algorithm` and `digests` are the
    /// lines around what every link has in common.
    pub(crate) fn extend(&mut self, algorithm: &str, digests: &str, signature: Signature) -> bool {
        let string_to_sign = format!(
            "{algorithm}\n{}\n{}\n{}\n{digests}",
            self.timestamp,
            self.scope,
            self.signature.to_hex()
        );
        let good = self.key.verifies(string_to_sign.as_bytes(), &signature);
        if good {
            self.signature = signature;
        }
        good
    }
}

impl SignedRequest {
    /// Verifies the request with the client's secret.
    pub fn verify(
        &self,
        secret: &SecretAccessKey,
        method: &Method,
        raw_path: &str,
        raw_query: Option<&str>,
        headers: &HeaderMap,
        now: OffsetDateTime,
    ) -> Result<Verified, SigV4Error> {
        let scope = self.scope();
        let key = SigningKey::derive(secret, scope.date(), scope.region());
        self.verify_with_key(&key, method, raw_path, raw_query, headers, now)
    }

    /// Verifies the request with a key that the caller derived for the date and region of
    /// [`SignedRequest::scope`].
    pub fn verify_with_key(
        &self,
        key: &SigningKey,
        method: &Method,
        raw_path: &str,
        raw_query: Option<&str>,
        headers: &HeaderMap,
        now: OffsetDateTime,
    ) -> Result<Verified, SigV4Error> {
        self.check_time(now)?;
        self.check_signed_headers(headers)?;
        let paths = canonical_request::path(raw_path)?;
        let queries = canonical_request::query(raw_query)?;
        let header_parts =
            canonical_request::header_part(headers, &self.signed_headers, &self.payload_text);
        for path in paths.iter() {
            for query in queries.iter() {
                for header_part in header_parts.iter() {
                    let hash = canonical_request::hash(method, path, query, header_part);
                    if key.verifies(self.string_to_sign(&hash).as_bytes(), &self.signature) {
                        return Ok(self.verified(key));
                    }
                }
            }
        }
        Err(SigV4Error::SignatureMismatch {
            host: host(headers),
        })
    }

    fn verified(&self, key: &SigningKey) -> Verified {
        Verified {
            key: key.clone(),
            timestamp: self.timestamp.as_str().to_owned(),
            scope: self.scope().as_str().to_owned(),
            signature: self.signature.clone(),
        }
    }

    fn check_time(&self, now: OffsetDateTime) -> Result<(), SigV4Error> {
        // Negative where the request comes from the future.
        let age = now - self.timestamp.instant();
        match self.validity {
            Validity::Header if age.abs() > CLOCK_SKEW => Err(SigV4Error::TooSkewed {
                ahead: -age.whole_seconds(),
            }),
            Validity::Presigned { .. } if -age > CLOCK_SKEW => Err(SigV4Error::NotYetValid),
            Validity::Presigned { expires_seconds }
                if age > Duration::seconds(i64::from(expires_seconds)) =>
            {
                Err(SigV4Error::Expired)
            }
            Validity::Header | Validity::Presigned { .. } => Ok(()),
        }
    }

    /// An unsigned `x-amz-*` header could have been added by anybody on the way, and would change
    /// what the request does. `CloudFront` adds `x-amz-cf-id` on the way.
    ///
    /// A signed header that is absent would count as empty in the canonical request, so that anybody
    /// could remove an empty one (such as `if-none-match` or `x-amz-meta-*`) on the way.
    fn check_signed_headers(&self, headers: &HeaderMap) -> Result<(), SigV4Error> {
        if !self.signed_headers.contains(&HOST) {
            return Err(SigV4Error::UnsignedHeader(HOST.as_str().to_owned()));
        }
        let is_absent = |name: &&HeaderName| !headers.contains_key(*name);
        if let Some(name) = self.signed_headers.iter().find(is_absent) {
            return Err(SigV4Error::MissingSignedHeader(name.as_str().to_owned()));
        }
        let unsigned = headers.keys().find(|name| {
            name.as_str().starts_with("x-amz-")
                && name.as_str() != "x-amz-cf-id"
                && !self.signed_headers.contains(name)
        });
        match unsigned {
            Some(name) => Err(SigV4Error::UnsignedHeader(name.as_str().to_owned())),
            None => Ok(()),
        }
    }

    fn string_to_sign(&self, canonical_request_hash: &str) -> String {
        format!(
            "{ALGORITHM}\n{}\n{}\n{canonical_request_hash}",
            self.timestamp.as_str(),
            self.scope().as_str()
        )
    }
}

/// The Host seen, short enough for a message.
pub(crate) fn host(headers: &HeaderMap) -> String {
    let host = headers
        .get(HOST)
        .map_or(b"".as_slice(), http::HeaderValue::as_bytes);
    String::from_utf8_lossy(&host[..host.len().min(255)]).into_owned()
}
