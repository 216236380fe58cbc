//! The outgoing signature (Signature Version 4, S3's variant), through the `aws-sigv4` crate.
//!
//! The signed headers are `Host`, `Content-Type`, `Content-MD5` and every `x-amz-*` header, and
//! none that a machine on the way may change. The path is signed as it will be sent: without a
//! second encoding, without normalisation. The payload's hash is always sent as
//! `x-amz-content-sha256`.
//!
//! `UNSIGNED-PAYLOAD` is used for streams over plain HTTP, too. Servers accept it there (presigned
//! uploads always use it); only SDKs prefer hashing without TLS, to detect changes on the way.
//! Sealed data detects them itself when it is read.
//!
//! The signing key is derived for each request: four HMACs, negligible next to hashing the
//! canonical request. The crate logs the signed data at trace level, so logging must keep its
//! target above that.
//!
//! Bytes outside ASCII in a signed header: a canonical request is text, and services differ in how
//! they read it. AWS takes each byte for a Latin-1 character and signs that text's UTF-8 (its
//! guide "Working with object metadata" shows the effect); everything else compares bytes. The
//! crate signs text only, so other backends get UTF-8 and nothing else. White space
//! other than spaces was replaced before (`white_space`).

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};

use super::address::ServiceTarget;
use super::error::BackendError;
use super::settings::Endpoint;
use crate::net::with_causes;

/// The signature's statement about the body.
#[derive(Clone, Copy)]
pub(super) enum PayloadHash<'a> {
    /// Lower-case hex of the SHA-256 of the sent bytes.
    Sha256(&'a str),
    Unsigned,
    /// Unsigned, with the checksum in a trailer.
    UnsignedWithTrailer,
}

/// Adds `Authorization` and the headers that belong to it; every other header must be present
/// already.
pub(super) fn sign_request(
    method: &Method,
    uri: &Uri,
    headers: &mut HeaderMap,
    payload: PayloadHash<'_>,
    credentials: &Credentials,
    target: &ServiceTarget,
    time: SystemTime,
) -> Result<(), BackendError> {
    if !is_signable(time) {
        return Err(BackendError::Settings(
            "this machine's clock is outside the years 1970 to 9999, which a signature cannot \
             express; set it"
                .to_owned(),
        ));
    }
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(&target.region)
        .name("s3")
        .time(time)
        .settings(s3_settings())
        .build()
        .expect("every parameter is given")
        .into();
    let body = match payload {
        PayloadHash::Sha256(hex) => SignableBody::Precomputed(hex.to_owned()),
        PayloadHash::Unsigned => SignableBody::UnsignedPayload,
        PayloadHash::UnsignedWithTrailer => SignableBody::StreamingUnsignedPayloadTrailer,
    };
    let signed = signed_headers(headers, &target.endpoint)?;
    let signed = signed.iter().map(|(name, text)| (*name, text.as_ref()));
    let signable = SignableRequest::new(method.as_str(), uri.to_string(), signed, body)
        .map_err(|error| unsignable(&error))?;
    let (instructions, _signature) = sign(signable, &params)
        .map_err(|error| unsignable(&error))?
        .into_parts();
    for header in instructions.into_parts().0 {
        let mut value = HeaderValue::from_str(header.value())
            .expect("the signer makes headers of visible ASCII");
        value.set_sensitive(header.sensitive());
        headers.insert(HeaderName::from_static(header.name()), value);
    }
    Ok(())
}

/// Returns whether the time can be signed: the signer writes the year with four digits, and panics
/// on any other.
fn is_signable(time: SystemTime) -> bool {
    const YEAR_9999_ENDS: Duration = Duration::from_secs(253_402_300_799);
    time.duration_since(UNIX_EPOCH)
        .is_ok_and(|since| since <= YEAR_9999_ENDS)
}

fn s3_settings() -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings
}

fn signed_headers<'a>(
    headers: &'a HeaderMap,
    endpoint: &Endpoint,
) -> Result<Vec<(&'a str, Cow<'a, str>)>, BackendError> {
    headers
        .iter()
        .filter(|(name, _)| is_signed(name))
        .map(|(name, value)| match canonical_text(value, endpoint) {
            Some(text) => Ok((name.as_str(), text)),
            None => Err(BackendError::Request(format!(
                "header {name} is not UTF-8 and cannot be signed; encode it as UTF-8 or ASCII"
            ))),
        })
        .collect()
}

fn canonical_text<'a>(value: &'a HeaderValue, endpoint: &Endpoint) -> Option<Cow<'a, str>> {
    let bytes = value.as_bytes();
    if endpoint.is_aws() && !bytes.is_ascii() {
        return Some(bytes.iter().copied().map(char::from).collect());
    }
    std::str::from_utf8(bytes).ok().map(Cow::Borrowed)
}

/// Returns whether the signature covers this header.
pub(super) fn is_signed(name: &HeaderName) -> bool {
    name == HOST
        || name == CONTENT_TYPE
        || name == "content-md5"
        || name.as_str().starts_with("x-amz-")
}

fn unsignable(error: &(dyn std::error::Error + 'static)) -> BackendError {
    BackendError::Request(format!("the signer refused it: {}", with_causes(error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::settings::Scheme;

    fn text(host: &str, bytes: &[u8]) -> Option<String> {
        let endpoint = Endpoint {
            scheme: Scheme::Https,
            host: host.to_owned(),
            port: None,
        };
        let value = HeaderValue::from_bytes(bytes).unwrap();
        canonical_text(&value, &endpoint).map(Cow::into_owned)
    }

    #[test]
    fn times_that_a_signature_cannot_express_are_refused() {
        let target = ServiceTarget {
            endpoint: Endpoint {
                scheme: Scheme::Https,
                host: "storage.example".to_owned(),
                port: None,
            },
            addressing: crate::backend::Addressing::Path,
            region: "eu-west-1".to_owned(),
        };
        let keys = Credentials::new("AKIDEXAMPLE", "secret", None, None, "tests");
        let sign_at = |time| {
            let uri = Uri::from_static("https://storage.example/b/k");
            let payload = PayloadHash::Unsigned;
            let mut headers = HeaderMap::new();
            sign_request(
                &Method::GET,
                &uri,
                &mut headers,
                payload,
                &keys,
                &target,
                time,
            )
        };
        // The last second of the year 9999: the date has four digits for the year.
        let end = UNIX_EPOCH + Duration::from_secs(253_402_300_799);
        for time in [UNIX_EPOCH, end] {
            sign_at(time).unwrap();
        }
        let second = Duration::from_secs(1);
        for time in [UNIX_EPOCH - second, end + second, end + 1000 * second] {
            assert!(matches!(sign_at(time), Err(BackendError::Settings(_))));
        }
    }

    #[test]
    fn aws_reads_latin_1_and_others_read_bytes() {
        let aws = "s3.eu-west-1.amazonaws.com";
        let other = "storage.example";
        for (host, bytes, expected) in [
            (aws, &b"abc"[..], Some("abc")),
            (aws, "\u{fc}".as_bytes(), Some("\u{c3}\u{bc}")),
            (aws, b"\xfc", Some("\u{fc}")),
            (other, b"abc", Some("abc")),
            (other, "\u{fc}".as_bytes(), Some("\u{fc}")),
            (other, b"\xfc", None),
        ] {
            assert_eq!(text(host, bytes).as_deref(), expected, "{host} {bytes:?}");
        }
    }
}
