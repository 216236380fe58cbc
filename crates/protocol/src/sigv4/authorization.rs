//! Authentication by the `Authorization` header.
//!
//! `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`: three parameters, each exactly
//! once, in any order. The body's digest or mode and the time have headers of their own.

use http::header::{AUTHORIZATION, DATE};
use http::{HeaderMap, HeaderName};
use zeroize::Zeroizing;

use super::credential_scope::Credential;
use super::error::SigV4Error;
use super::payload_mode::{self, PayloadMode};
use super::signing_key::Signature;
use super::timestamp::Timestamp;
use super::{SignedRequest, Validity};
use crate::headers::{AMZ_DATE, SECURITY_TOKEN, UnclearHeader, single_text};

/// Name of the algorithm in the header, the query and the string to sign.
pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

const SHAPE: SigV4Error = SigV4Error::HeaderMalformed(
    "it must read AWS4-HMAC-SHA256 Credential=..., SignedHeaders=..., Signature=...",
);

/// Parses the authentication in a request's headers.
pub(super) fn parse(headers: &HeaderMap) -> Result<SignedRequest, SigV4Error> {
    let parameters = HeaderParameters::parse(algorithm_parameters(headers)?)?;
    let credential =
        Credential::parse(parameters.credential).map_err(SigV4Error::HeaderMalformed)?;
    let timestamp = timestamp(headers)?;
    if credential.scope.date() != timestamp.date() {
        return Err(SigV4Error::HeaderMalformed(
            "the credential's date must be that of x-amz-date",
        ));
    }
    let content_sha256 = payload_mode::single(headers)?.ok_or(SigV4Error::MissingContentSha256)?;
    let payload = PayloadMode::parse(content_sha256)?;
    Ok(SignedRequest {
        credential,
        timestamp,
        validity: Validity::Header,
        signed_headers: signed_headers(parameters.signed_headers).ok_or(
            SigV4Error::HeaderMalformed("SignedHeaders must be distinct lower-case header names"),
        )?,
        signature: Signature::from_hex(parameters.signature.as_bytes()).ok_or(
            SigV4Error::HeaderMalformed("Signature must be 64 lower-case hexadecimal digits"),
        )?,
        session_token: session_token(headers)?,
        payload,
        // `PayloadMode` accepts ASCII only, so the conversion loses nothing.
        payload_text: String::from_utf8_lossy(content_sha256).into_owned(),
    })
}

/// Returns the parameters in `Authorization`, after `AWS4-HMAC-SHA256`.
fn algorithm_parameters(headers: &HeaderMap) -> Result<&str, SigV4Error> {
    let value = trimmed(headers, &AUTHORIZATION)
        .map_err(|_| SigV4Error::HeaderMalformed("it must be sent once, as ASCII text"))?
        .ok_or(SHAPE)?;
    let (scheme, parameters) = value.split_once([' ', '\t']).unwrap_or((value, ""));
    match scheme {
        ALGORITHM => Ok(parameters),
        "AWS" => Err(SigV4Error::UnsupportedVersion("Signature Version 2")),
        "AWS4-ECDSA-P256-SHA256" => Err(SigV4Error::UnsupportedVersion("Signature Version 4A")),
        _ => Err(SigV4Error::UnknownAuthorization),
    }
}

struct HeaderParameters<'a> {
    credential: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

impl<'a> HeaderParameters<'a> {
    fn parse(text: &'a str) -> Result<Self, SigV4Error> {
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for parameter in text.split(',') {
            let (name, value) = parameter.trim_ascii().split_once('=').ok_or(SHAPE)?;
            let slot = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => return Err(SHAPE),
            };
            if slot.replace(value).is_some() {
                return Err(SigV4Error::HeaderMalformed(
                    "Credential, SignedHeaders and Signature must be given once each",
                ));
            }
        }
        Ok(Self {
            credential: credential.ok_or(SHAPE)?,
            signed_headers: signed_headers.ok_or(SHAPE)?,
            signature: signature.ok_or(SHAPE)?,
        })
    }
}

/// Parses `SignedHeaders` and sorts it, as the canonical request requires. `None` if a name is
/// repeated, invalid or not in lower case.
pub(super) fn signed_headers(text: &str) -> Option<Vec<HeaderName>> {
    let mut names = text
        .split(';')
        .map(|name| {
            // `HeaderName` converts to lower case, but the client signed the list in its own
            // spelling.
            let lower_case = !name.bytes().any(|byte| byte.is_ascii_uppercase());
            HeaderName::from_bytes(name.as_bytes())
                .ok()
                .filter(|_| lower_case)
        })
        .collect::<Option<Vec<_>>>()?;
    // Clients differ in their sort order, so the order sent is not checked.
    names.sort_unstable_by(|left, right| left.as_str().cmp(right.as_str()));
    let distinct = names.windows(2).all(|pair| pair[0] != pair[1]);
    distinct.then_some(names)
}

/// The client's session token, where one came in a header.
pub(crate) fn session_token(headers: &HeaderMap) -> Result<Option<Zeroizing<String>>, SigV4Error> {
    let token = trimmed(headers, &SECURITY_TOKEN).map_err(|_| {
        SigV4Error::HeaderMalformed("x-amz-security-token must be sent once, as ASCII text")
    })?;
    Ok(token.map(|token| Zeroizing::new(token.to_owned())))
}

/// Time of the request from `x-amz-date`, or else from `Date`.
fn timestamp(headers: &HeaderMap) -> Result<Timestamp, SigV4Error> {
    let amz_date = trimmed(headers, &AMZ_DATE).map_err(|_| SigV4Error::MissingDate)?;
    if let Some(text) = amz_date {
        return Timestamp::from_basic(text).ok_or(SigV4Error::MissingDate);
    }
    trimmed(headers, &DATE)
        .map_err(|_| SigV4Error::MissingDate)?
        .and_then(Timestamp::from_date_header)
        .ok_or(SigV4Error::MissingDate)
}

/// The only value of a header, trimmed.
pub(crate) fn trimmed<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a str>, UnclearHeader> {
    Ok(single_text(headers, name)?.map(str::trim_ascii))
}
