//! Signature Version 4, verified: who sends a request, and that nobody changed it.
//!
//! [`parse`] finds the authentication in the `Authorization` header or the query and reads all of
//! it; [`SignedRequest::verify`] then decides, given the secret that belongs to the access key id.
//! Between the two the caller looks the secret up. The time is passed in, and the path and query are
//! those of the request line, byte for byte: a parsed URL would already have lost what was signed.
//!
//! Signatures are compared in constant time, and nothing computed here is ever shown.
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
pub(crate) mod hex;
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

/// Whether a request says who sends it.
#[derive(Debug)]
pub enum Authentication {
    /// It does not.
    Anonymous,
    /// It does; nothing of it is believed before it is verified.
    Signed(Box<SignedRequest>),
}

/// Where a request carries its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In the `Authorization` header.
    Header,
    /// In the query.
    Presigned,
}

/// A request's authentication as sent, not yet verified.
pub struct SignedRequest {
    credential: Credential,
    timestamp: Timestamp,
    validity: Validity,
    signed_headers: Vec<HeaderName>,
    signature: Signature,
    session_token: Option<Zeroizing<String>>,
    payload: PayloadMode,
    payload_text: String,
}

/// How long a signature is good for.
#[derive(Clone, Copy)]
enum Validity {
    Header,
    Presigned { expires_seconds: u32 },
}

/// Reads the authentication of a request. `raw_query` is the query exactly as on the request line.
pub fn parse(raw_query: Option<&str>, headers: &HeaderMap) -> Result<Authentication, SigV4Error> {
    let query = presigned::Parameters::collect(raw_query)?;
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
    /// Whose signature it claims to be.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        &self.credential.access_key_id
    }

    /// The date and region that the signing key has to be derived for.
    #[must_use]
    pub fn scope(&self) -> &CredentialScope {
        &self.credential.scope
    }

    /// The session token that came along; to be compared in constant time, never forwarded.
    #[must_use]
    pub fn session_token(&self) -> Option<&str> {
        self.session_token.as_ref().map(|token| token.as_str())
    }

    /// How the body is framed and what vouches for it.
    #[must_use]
    pub fn payload(&self) -> &PayloadMode {
        &self.payload
    }

    /// Where the signature stands.
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
