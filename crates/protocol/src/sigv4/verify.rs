//! Verification of a signed request.
//!
//! The checks are, in order: time, signed headers, signature. [`Verified`] is created only for a
//! valid signature, and only it can check the signatures of chunks.

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

/// A request with a valid signature: the start of the chain of its chunks' signatures.
pub struct Verified {
    key: SigningKey,
    timestamp: String,
    scope: String,
    signature: Signature,
}

impl Verified {
    /// Checks the next signature of the chain (S3 API Reference, "Transferring Payload in Multiple
    /// Chunks"). If it is valid, the next link has to refer to it. `algorithm` and `digests` are
    /// the first and last lines of the string to sign.
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
    /// Verifies the request with the client's secret. Errors as for
    /// [`SignedRequest::verify_with_key`].
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

    /// Verifies the request with a key derived for the date and region of [`SignedRequest::scope`].
    ///
    /// `raw_path` and `raw_query` are exactly as on the request line. Errors:
    /// [`SigV4Error::TooSkewed`], [`SigV4Error::NotYetValid`], [`SigV4Error::Expired`],
    /// [`SigV4Error::UnsignedHeader`], [`SigV4Error::MissingSignedHeader`],
    /// [`SigV4Error::InvalidUri`], [`SigV4Error::SignatureMismatch`].
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
        // Up to eight combinations, but one for most requests: a second spelling exists only if it
        // differs. The canonical ones come first.
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
        // Negative if the request's time is in the future.
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

    /// Checks that all headers that must be signed are signed, and that all signed headers are
    /// present.
    ///
    /// Anybody on the way could add an unsigned `x-amz-*` header and change the meaning of the
    /// request. `CloudFront` legitimately adds `x-amz-cf-id`.
    ///
    /// In the canonical request, an absent header looks like an empty one. Unless its absence is
    /// refused, anybody on the way could remove an empty signed header (such as `if-none-match` or
    /// `x-amz-meta-*`).
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
    // A cut may split a character, hence the lossy conversion.
    String::from_utf8_lossy(&host[..host.len().min(255)]).into_owned()
}
