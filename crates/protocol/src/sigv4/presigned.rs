//! Authentication by query parameters: presigned requests.
//!
//! All six parameters are required, each exactly once. Their names are recognised in any case, so
//! that a second spelling cannot evade the check for duplicates. The body is unsigned unless
//! `x-amz-content-sha256`, as a parameter or as a (signed) header, states otherwise.

use http::HeaderMap;
use zeroize::Zeroizing;

use super::authorization::{ALGORITHM, session_token, signed_headers};
use super::canonical_request::{decode, pairs};
use super::credential_scope::Credential;
use super::error::SigV4Error;
use super::payload_mode::{self, PayloadMode};
use super::signing_key::Signature;
use super::timestamp::Timestamp;
use super::{SignedRequest, Validity};
use crate::percent::Plus;

/// Maximum validity of a presigned request: seven days.
const LONGEST_EXPIRY_SECONDS: u32 = 7 * 24 * 60 * 60;

/// Authentication parameters of a query, decoded.
#[derive(Default)]
pub(super) struct PresignedParameters {
    algorithm: Option<String>,
    credential: Option<String>,
    date: Option<String>,
    expires: Option<String>,
    signed_headers: Option<String>,
    signature: Option<String>,
    security_token: Option<Zeroizing<String>>,
    content_sha256: Option<String>,
    version_2_key: Option<()>,
    version_2_signature: Option<()>,
}

impl PresignedParameters {
    /// Collects the parameters. A duplicate is always an error.
    pub(super) fn collect(raw_query: Option<&str>) -> Result<Self, SigV4Error> {
        let mut parameters = Self::default();
        for (name, value) in pairs(raw_query) {
            let name = decode(name, Plus::Space)?.to_ascii_lowercase();
            let slot = match name.as_slice() {
                b"x-amz-algorithm" => &mut parameters.algorithm,
                b"x-amz-credential" => &mut parameters.credential,
                b"x-amz-date" => &mut parameters.date,
                b"x-amz-expires" => &mut parameters.expires,
                b"x-amz-signedheaders" => &mut parameters.signed_headers,
                b"x-amz-signature" => &mut parameters.signature,
                b"x-amz-content-sha256" => &mut parameters.content_sha256,
                b"x-amz-security-token" => {
                    let token = Zeroizing::new(text(value)?);
                    once(parameters.security_token.replace(token).is_none())?;
                    continue;
                }
                b"awsaccesskeyid" => {
                    parameters.version_2_key = Some(());
                    continue;
                }
                b"signature" => {
                    parameters.version_2_signature = Some(());
                    continue;
                }
                _ => continue,
            };
            once(slot.replace(text(value)?).is_none())?;
        }
        Ok(parameters)
    }

    /// Whether any parameter of Signature Version 4 is present.
    pub(super) fn is_version_4(&self) -> bool {
        [
            &self.algorithm,
            &self.credential,
            &self.date,
            &self.expires,
            &self.signed_headers,
            &self.signature,
        ]
        .into_iter()
        .any(Option::is_some)
    }

    /// Whether the query authenticates with Signature Version 2. Both parameters are required:
    /// alone, they are ordinary names.
    pub(super) fn is_version_2(&self) -> bool {
        self.version_2_key.is_some() && self.version_2_signature.is_some()
    }

    /// Parses the authentication of a presigned request.
    pub(super) fn parse(self, headers: &HeaderMap) -> Result<SignedRequest, SigV4Error> {
        check_algorithm(&required(self.algorithm)?)?;
        let credential =
            Credential::parse(&required(self.credential)?).map_err(SigV4Error::QueryMalformed)?;
        let timestamp = Timestamp::from_basic(&required(self.date)?).ok_or(
            SigV4Error::QueryMalformed("X-Amz-Date must be in the form YYYYMMDD'T'HHMMSS'Z'"),
        )?;
        if credential.scope.date() != timestamp.date() {
            return Err(SigV4Error::QueryMalformed(
                "the credential's date must be that of X-Amz-Date",
            ));
        }
        let expires_seconds = expiry(&required(self.expires)?)?;
        let names = required(self.signed_headers)?;
        let signature = required(self.signature)?;
        let (payload, payload_text) = payload(self.content_sha256, headers)?;
        Ok(SignedRequest {
            credential,
            timestamp,
            validity: Validity::Presigned { expires_seconds },
            signed_headers: signed_headers(&names).ok_or(SigV4Error::QueryMalformed(
                "X-Amz-SignedHeaders must be distinct lower-case header names",
            ))?,
            signature: Signature::from_hex(signature.as_bytes()).ok_or(
                SigV4Error::QueryMalformed(
                    "X-Amz-Signature must be 64 lower-case hexadecimal digits",
                ),
            )?,
            // Presigning SDKs put the token in the query; a signed header is valid too.
            session_token: match self.security_token {
                Some(token) => Some(token),
                None => session_token(headers)?,
            },
            payload,
            payload_text,
        })
    }
}

fn required(parameter: Option<String>) -> Result<String, SigV4Error> {
    parameter.ok_or(SigV4Error::QueryMalformed(
        "X-Amz-Algorithm, X-Amz-Credential, X-Amz-Date, X-Amz-Expires, X-Amz-SignedHeaders and \
         X-Amz-Signature are required together",
    ))
}

fn check_algorithm(algorithm: &str) -> Result<(), SigV4Error> {
    match algorithm {
        ALGORITHM => Ok(()),
        "AWS4-ECDSA-P256-SHA256" => Err(SigV4Error::UnsupportedVersion("Signature Version 4A")),
        _ => Err(SigV4Error::QueryMalformed(
            "X-Amz-Algorithm must be AWS4-HMAC-SHA256",
        )),
    }
}

fn once(first: bool) -> Result<(), SigV4Error> {
    if first {
        Ok(())
    } else {
        Err(SigV4Error::QueryMalformed(
            "each X-Amz- parameter must be given once",
        ))
    }
}

fn text(value: &str) -> Result<String, SigV4Error> {
    String::from_utf8(decode(value, Plus::Space)?)
        .map_err(|_| SigV4Error::QueryMalformed("the X-Amz- parameters must be UTF-8"))
}

fn expiry(text: &str) -> Result<u32, SigV4Error> {
    // `parse` accepts a leading `+`, so the digits are checked separately.
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
        .filter(|&seconds| seconds <= LONGEST_EXPIRY_SECONDS)
        .ok_or(SigV4Error::QueryMalformed(
            "X-Amz-Expires must be a number of seconds, 604800 (seven days) at most",
        ))
}

/// Determines how the body is authenticated, with the text that was signed for it.
fn payload(
    parameter: Option<String>,
    headers: &HeaderMap,
) -> Result<(PayloadMode, String), SigV4Error> {
    let header = payload_mode::single(headers)?;
    // Both are allowed if they agree: nothing shows which of two texts was signed.
    let text = match (parameter, header) {
        (Some(parameter), Some(header)) if parameter.as_bytes() != header => {
            return Err(SigV4Error::InvalidContentSha256);
        }
        (Some(parameter), _) => parameter,
        (None, Some(header)) => String::from_utf8_lossy(header).into_owned(),
        (None, None) => "UNSIGNED-PAYLOAD".to_owned(),
    };
    Ok((PayloadMode::parse(text.as_bytes())?, text))
}
