//! Verification of Signature Version 4: authenticates the sender and the integrity of a request.
//!
//! [`parse`] finds the authentication in the `Authorization` header or the query and parses it
//! completely. [`SignedRequest::verify`] then checks it with the secret of the access key ID, which
//! the caller looks up in between. The caller also passes the current time, and path and query
//! exactly as on the request line: a parsed URL may have lost the bytes that were signed.
//!
//! Signatures are compared in constant time, and no computed signature is ever shown.
//!
//! Absent: signing (the program's own requests are signed by AWS's crate), Version 4A, which is
//! recognised only to be refused, Version 2 ([`sigv2`](crate::sigv2)), and the lookup of keys.

use std::fmt;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use zeroize::Zeroizing;

pub(crate) mod authorization;
pub(crate) mod canonical_request;
mod credential_scope;
mod error;
pub(crate) mod payload_mode;
mod post_policy;
mod presigned;
mod signing_key;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod timestamp;
pub(crate) mod verify;

pub use credential_scope::{Credential, CredentialFault, CredentialScope};
pub use error::SigV4Error;
pub use payload_mode::PayloadMode;
pub use post_policy::SignedPolicy;
pub use signing_key::{SecretAccessKey, Signature, SigningKey};
pub use verify::Verified;

use timestamp::Timestamp;

/// Authentication of a request.
#[derive(Debug)]
pub enum Authentication {
    /// The request is not signed.
    Anonymous,
    /// The request is signed. Nothing in it is trusted before it is verified.
    Signed(Box<SignedRequest>),
}

/// Position of the signature in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In the `Authorization` header.
    Header,
    /// In the query.
    Presigned,
}

/// Parsed authentication of a request, not yet verified.
pub struct SignedRequest {
    credential: Credential,
    timestamp: Timestamp,
    validity: Validity,
    signed_headers: Vec<HeaderName>,
    signature: Signature,
    session_token: Option<Zeroizing<String>>,
    payload: PayloadMode,
    /// Value of `x-amz-content-sha256` as signed, for the canonical request.
    payload_text: String,
}

/// Period in which a signature is valid.
#[derive(Clone, Copy)]
enum Validity {
    Header,
    Presigned { expires_seconds: u32 },
}

/// Parses the authentication of a request. `raw_query` is the query exactly as on the request line.
pub fn parse(raw_query: Option<&str>, headers: &HeaderMap) -> Result<Authentication, SigV4Error> {
    // Both places are examined, so that a signature in the query cannot hide beside a header.
    let query = presigned::PresignedParameters::collect(raw_query)?;
    let in_query = query.is_version_4() || query.is_version_2();
    let signed = match (headers.contains_key(AUTHORIZATION), in_query) {
        (false, false) => return Ok(Authentication::Anonymous),
        (true, true) => return Err(SigV4Error::SeveralMechanisms),
        (true, false) => authorization::parse(headers)?,
        (false, true) if query.is_version_4() => query.parse(headers)?,
        (false, true) => return Err(SigV4Error::UnsupportedVersion("Signature Version 2")),
    };
    Ok(Authentication::Signed(Box::new(signed)))
}

impl SignedRequest {
    /// Access key ID that the request claims.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        &self.credential.access_key_id
    }

    /// Date and region for which the signing key has to be derived.
    #[must_use]
    pub fn scope(&self) -> &CredentialScope {
        &self.credential.scope
    }

    /// The client's session token. Compare it in constant time, and do not forward it.
    #[must_use]
    pub fn session_token(&self) -> Option<&str> {
        self.session_token.as_ref().map(|token| token.as_str())
    }

    /// Framing of the body, and how it is authenticated.
    #[must_use]
    pub fn payload(&self) -> &PayloadMode {
        &self.payload
    }

    /// Position of the signature.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match self.validity {
            Validity::Header => Mode::Header,
            Validity::Presigned { .. } => Mode::Presigned,
        }
    }
}

impl fmt::Debug for SignedRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SignedRequest")
            .field("mode", &self.mode())
            .field("access_key_id", &self.access_key_id())
            .finish_non_exhaustive()
    }
}
