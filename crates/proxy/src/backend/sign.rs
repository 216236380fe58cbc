//! The outgoing signature (Signature Version 4, S3's variant), through the `aws-sigv4` crate.
//!
//! Signed are `Host`, `Content-Type`, `Content-MD5` and every `x-amz-*` header, nothing that a
//! machine on the way may change. The path is taken as it will be sent: no second encoding, no
//! normalisation. The payload's hash always goes along as `x-amz-content-sha256`.
//!
//! `UNSIGNED-PAYLOAD` is used for streams over plain HTTP too. Servers accept it there (presigned
//! uploads always use it); it is SDKs that prefer hashing without TLS, to notice changes on the
//! way. Sealed data notices them by itself when it is read.
//!
//! The signing key is derived for each request: four HMACs, lost beside hashing the canonical
//! request. The crate logs what it signs at trace level, so logging must keep its target above
//! that. A signed header with bytes outside visible ASCII is refused: the crate cannot sign it.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};

use super::error::{BackendError, with_causes};

/// What the signature says about the body.
#[derive(Clone, Copy)]
pub(super) enum PayloadHash<'a> {
    /// Lower-case hex of the SHA-256 of the bytes sent.
    Sha256(&'a str),
    Unsigned,
    /// Its checksum follows it.
    UnsignedWithTrailer,
}

/// Adds `Authorization` and what belongs to it; every other header must be there already.
pub(super) fn sign_request(
    method: &Method,
    uri: &Uri,
    headers: &mut HeaderMap,
    payload: PayloadHash<'_>,
    credentials: &Credentials,
    region: &str,
    time: SystemTime,
) -> Result<(), BackendError> {
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
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
    let signable = SignableRequest::new(
        method.as_str(),
        uri.to_string(),
        signed_headers(headers)?.into_iter(),
        body,
    )
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

fn s3_settings() -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings
}

fn signed_headers(headers: &HeaderMap) -> Result<Vec<(&str, &str)>, BackendError> {
    headers
        .iter()
        .filter(|(name, _)| is_signed(name))
        .map(|(name, value)| match value.to_str() {
            Ok(value) => Ok((name.as_str(), value)),
            Err(_) => Err(BackendError::Request(format!(
                "header {name} has bytes outside visible ASCII; encode them"
            ))),
        })
        .collect()
}

fn is_signed(name: &HeaderName) -> bool {
    name == HOST
        || name == CONTENT_TYPE
        || name == "content-md5"
        || name.as_str().starts_with("x-amz-")
}

fn unsignable(error: &(dyn std::error::Error + 'static)) -> BackendError {
    BackendError::Request(format!("the signer refused it: {}", with_causes(error)))
}
