//! Signature Version 2, for old clients that the operator names.
//!
//! [`parse`] finds a Version 2 signature in the `Authorization` header or the query;
//! [`SignedRequest::verify`] decides, given the secret that belongs to the access key id, and
//! [`SignedPolicy`] does the same for a form. As in [`sigv4`](crate::sigv4), path and query are
//! those of the request line, byte for byte, and signatures are compared in constant time.
//!
//! Version 2 is weaker than Version 4, and the caller asks for an explicit permission: the MAC is
//! HMAC-SHA1 under the secret itself, nothing in it vouches for the body but a `Content-MD5` that
//! the client chose to send, and it covers neither `Host` nor most query parameters. This module
//! makes up for the last point: a parameter outside the signature is accepted only if the request
//! would grant at least as much without it ([`string_to_sign`]).
//!
//! Absent: signing, and `aws-chunked` bodies, which only Version 4 defines.

use std::fmt;

use http::header::{AUTHORIZATION, DATE};
use http::{HeaderMap, Method};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

mod error;
mod key;
mod policy;
mod string_to_sign;
#[cfg(test)]
mod tests;

pub use error::SigV2Error;
pub use policy::SignedPolicy;

use key::{Signature, SigningKey};
use string_to_sign::Resources;

use crate::headers::AMZ_DATE;
use crate::name::BucketName;
use crate::percent::Plus;
use crate::query::Query;
use crate::sigv4::authorization::{self, trimmed};
use crate::sigv4::canonical_request::{decode, pairs};
use crate::sigv4::payload_mode;
use crate::sigv4::timestamp::Timestamp;
use crate::sigv4::verify::{CLOCK_SKEW, host};
use crate::sigv4::{PayloadMode, SecretAccessKey, SigV4Error};

/// The longest that a presigned request may live, as in Version 4.
const LONGEST_LIFE: Duration = Duration::days(7);

/// A request's Version 2 signature as sent, not yet verified.
pub struct SignedRequest {
    access_key_id: String,
    /// `None` where the text is no signature; it verifies under no key.
    signature: Option<Signature>,
    session_token: Option<Zeroizing<String>>,
    validity: Validity,
}

/// How long a signature is good for.
enum Validity {
    /// 15 minutes around the time in the headers.
    Header,
    /// Until a time in seconds since 1970, as sent.
    Presigned { expires: String },
}

/// The parts of a request that Version 2 signs.
#[derive(Clone, Copy)]
pub struct RequestParts<'r> {
    /// The method of the request line.
    pub method: &'r Method,
    /// The path of the request line.
    pub raw_path: &'r str,
    /// The query of the request line.
    pub raw_query: Option<&'r str>,
    /// All headers.
    pub headers: &'r HeaderMap,
    /// The bucket, where `Host` names it (virtual-host style).
    pub bucket_in_host: Option<&'r BucketName>,
}

/// Reads the Version 2 signature of a request; `None` where it has none. `raw_query` is the query
/// exactly as on the request line.
pub fn parse(
    raw_query: Option<&str>,
    headers: &HeaderMap,
) -> Result<Option<SignedRequest>, SigV2Error> {
    let parameters = QueryParameters::collect(raw_query)?;
    let in_header = header_parameters(headers);
    let mut request = match (in_header, parameters.is_signed()) {
        (None, false) => return Ok(None),
        (Some(text), false) => SignedRequest::from_header(text)?,
        (None, true) if !headers.contains_key(AUTHORIZATION) => parameters.request()?,
        (None | Some(_), true) => return Err(SigV4Error::SeveralMechanisms.into()),
    };
    if parameters.has_version_4 {
        return Err(SigV4Error::SeveralMechanisms.into());
    }
    let in_header = authorization::session_token(headers)?;
    request.session_token = match (parameters.security_token, in_header) {
        (Some(in_query), Some(in_header)) if in_query != in_header => {
            return Err(SigV2Error::TwoTokens);
        }
        (in_query, in_header) => in_query.or(in_header),
    };
    Ok(Some(request))
}

/// A query without the parameters that a Version 2 signature adds to it. Presigning SDKs repeat
/// `Content-Type` and `Content-MD5` among them; the signature is over the headers of these names.
#[must_use]
pub fn without_signature(query: Query) -> Query {
    let is_signed = query.pairs().any(|(name, _)| {
        matches!(
            Parameter::of(name),
            Some(Parameter::AccessKeyId | Parameter::Signature)
        )
    });
    if !is_signed {
        return query;
    }
    query.without(|name| {
        Parameter::of(name).is_some()
            || ["content-md5", "content-type"]
                .iter()
                .any(|repeated| repeated.eq_ignore_ascii_case(name))
    })
}

/// The text after the scheme `AWS`.
fn header_parameters(headers: &HeaderMap) -> Option<&str> {
    let value = trimmed(headers, &AUTHORIZATION).ok()??;
    let (scheme, parameters) = value.split_once([' ', '\t']).unwrap_or((value, ""));
    (scheme == "AWS").then(|| parameters.trim_ascii())
}

/// A query parameter of the signature.
enum Parameter {
    AccessKeyId,
    Signature,
    Expires,
}

impl Parameter {
    /// Recognises a name in any case, so that a second spelling of one cannot hide.
    fn of(name: &str) -> Option<Self> {
        match name {
            name if name.eq_ignore_ascii_case("AWSAccessKeyId") => Some(Self::AccessKeyId),
            name if name.eq_ignore_ascii_case("Signature") => Some(Self::Signature),
            name if name.eq_ignore_ascii_case("Expires") => Some(Self::Expires),
            _ => None,
        }
    }
}

/// The query's authentication parameters, decoded.
#[derive(Default)]
struct QueryParameters {
    access_key_id: Option<String>,
    signature: Option<String>,
    expires: Option<String>,
    security_token: Option<Zeroizing<String>>,
    has_version_4: bool,
}

impl QueryParameters {
    fn collect(raw_query: Option<&str>) -> Result<Self, SigV2Error> {
        let mut parameters = Self::default();
        for (name, value) in pairs(raw_query) {
            let name = decode(name, Plus::Space)?.to_ascii_lowercase();
            let first = match name.as_slice() {
                b"awsaccesskeyid" => parameters.access_key_id.replace(text(value)?).is_none(),
                b"signature" => parameters.signature.replace(text(value)?).is_none(),
                b"expires" => parameters.expires.replace(text(value)?).is_none(),
                b"x-amz-security-token" => {
                    let token = Zeroizing::new(text(value)?);
                    parameters.security_token.replace(token).is_none()
                }
                b"x-amz-algorithm"
                | b"x-amz-credential"
                | b"x-amz-date"
                | b"x-amz-expires"
                | b"x-amz-signedheaders"
                | b"x-amz-signature"
                | b"x-amz-content-sha256" => {
                    parameters.has_version_4 = true;
                    true
                }
                _ => true,
            };
            if !first {
                return Err(SigV2Error::QueryMalformed(
                    "each parameter of the signature must be given once",
                ));
            }
        }
        Ok(parameters)
    }

    fn is_signed(&self) -> bool {
        self.access_key_id.is_some() || self.signature.is_some()
    }

    fn request(&self) -> Result<SignedRequest, SigV2Error> {
        match (&self.access_key_id, &self.signature, &self.expires) {
            (Some(access_key_id), Some(signature), Some(expires)) => Ok(SignedRequest {
                access_key_id: access_key_id.clone(),
                signature: Signature::from_base64(signature),
                session_token: None,
                validity: Validity::Presigned {
                    expires: expires.clone(),
                },
            }),
            _ => Err(SigV2Error::QueryMalformed(
                "AWSAccessKeyId, Signature and Expires are required together",
            )),
        }
    }
}

fn text(value: &str) -> Result<String, SigV2Error> {
    String::from_utf8(decode(value, Plus::Space)?)
        .map_err(|_| SigV2Error::QueryMalformed("the parameters of the signature must be UTF-8"))
}

impl SignedRequest {
    fn from_header(text: &str) -> Result<Self, SigV2Error> {
        let (access_key_id, signature) = text.split_once(':').ok_or(SigV2Error::HeaderMalformed)?;
        Ok(Self {
            access_key_id: access_key_id.to_owned(),
            signature: Signature::from_base64(signature),
            session_token: None,
            validity: Validity::Header,
        })
    }

    /// Whose signature it claims to be.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The session token that came along; to be compared in constant time, never forwarded.
    #[must_use]
    pub fn session_token(&self) -> Option<&str> {
        self.session_token.as_ref().map(|token| token.as_str())
    }

    /// Verifies the request with the client's secret, and says how its body is framed.
    pub fn verify(
        &self,
        secret: &SecretAccessKey,
        request: RequestParts<'_>,
        now: OffsetDateTime,
    ) -> Result<PayloadMode, SigV2Error> {
        let date = self.date(request.headers, now)?;
        let payload = payload(request.headers)?;
        let head = string_to_sign::head(request, date)?;
        let resources = Resources::of(request)?;
        let key = SigningKey::new(secret);
        let verifies = |resource: &String| {
            let string_to_sign = [&head[..], resource.as_bytes()].concat();
            self.signature
                .as_ref()
                .is_some_and(|signature| key.verifies(&string_to_sign, signature))
        };
        if resources.complete().any(verifies) {
            return Ok(payload);
        }
        // Only to say what is wrong: the client signed less than the request asks for.
        match resources.uncovered() {
            Some(uncovered) if uncovered.resources.iter().any(verifies) => {
                Err(SigV2Error::Uncovered(uncovered.parameter.clone()))
            }
            Some(_) | None => Err(SigV4Error::SignatureMismatch {
                host: host(request.headers),
            }
            .into()),
        }
    }

    /// The line of the string to sign for the date, where the clock allows the request.
    fn date<'s>(
        &'s self,
        headers: &'s HeaderMap,
        now: OffsetDateTime,
    ) -> Result<&'s str, SigV2Error> {
        match &self.validity {
            Validity::Header => header_date(headers, now),
            Validity::Presigned { expires } => {
                let ends = expiry(expires)?;
                if now > ends {
                    return Err(SigV4Error::Expired.into());
                }
                if ends - now > LONGEST_LIFE + CLOCK_SKEW {
                    return Err(SigV2Error::QueryMalformed(
                        "Expires must be at most 604800 seconds (seven days) ahead",
                    ));
                }
                Ok(expires)
            }
        }
    }
}

/// `Date`, or an empty line where `x-amz-date` takes its place: that is signed among the headers.
fn header_date(headers: &HeaderMap, now: OffsetDateTime) -> Result<&str, SigV2Error> {
    let read = |name| trimmed(headers, name).map_err(|_| SigV4Error::MissingDate);
    let (text, line) = match (read(&AMZ_DATE)?, read(&DATE)?) {
        (Some(text), _) => (text, ""),
        (None, Some(text)) => (text, text),
        (None, None) => return Err(SigV4Error::MissingDate.into()),
    };
    let time = Timestamp::from_date_header(text).ok_or(SigV4Error::MissingDate)?;
    let ahead = time.instant() - now;
    if ahead.abs() > CLOCK_SKEW {
        return Err(SigV4Error::TooSkewed {
            ahead: ahead.whole_seconds(),
        }
        .into());
    }
    Ok(line)
}

fn expiry(text: &str) -> Result<OffsetDateTime, SigV2Error> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .ok_or(SigV2Error::QueryMalformed(
            "Expires must be a time in seconds since 1970",
        ))
}

/// Nothing in the signature speaks of the body. A digest that is sent all the same is checked.
fn payload(headers: &HeaderMap) -> Result<PayloadMode, SigV2Error> {
    let mode = match payload_mode::single(headers)? {
        Some(value) => PayloadMode::parse(value)?,
        None => PayloadMode::Unsigned,
    };
    if mode.is_chunked() {
        return Err(SigV2Error::Chunks);
    }
    Ok(mode)
}

impl fmt::Debug for SignedRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SignedRequest")
            .field("access_key_id", &self.access_key_id())
            .finish_non_exhaustive()
    }
}
