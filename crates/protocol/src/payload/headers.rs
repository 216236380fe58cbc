//! Strict parsing of headers that state a length or a digest of the body.
//!
//! A header that is repeated or malformed is an error: if it were ignored, content would be stored
//! unchecked although the client asked for a check.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::PayloadError;
use crate::checksum::{ChecksumAlgorithm, ChecksumValue};
use crate::headers::{CONTENT_MD5, SDK_CHECKSUM_ALGORITHM, TRAILER, single_text, value_text};
use crate::sigv4::PayloadMode;

const CHECKSUM_PREFIX: &str = "x-amz-checksum-";

/// Parses the value of a checksum header or trailer.
pub(super) fn checksum_value(
    name: HeaderName,
    algorithm: ChecksumAlgorithm,
    value: &HeaderValue,
) -> Result<(ChecksumAlgorithm, ChecksumValue), PayloadError> {
    ChecksumValue::from_base64(algorithm, value.as_bytes().trim_ascii())
        .map(|value| (algorithm, value))
        .ok_or(PayloadError::InvalidChecksum(name, algorithm))
}

/// Returns the checksum in the headers, if any.
pub(super) fn header_checksum(
    headers: &HeaderMap,
) -> Result<Option<(ChecksumAlgorithm, ChecksumValue)>, PayloadError> {
    let mut found = None;
    for (name, value) in headers {
        match name.as_str().strip_prefix(CHECKSUM_PREFIX) {
            // These three describe how checksums are used and carry no value.
            None | Some("algorithm" | "mode" | "type") => {}
            Some(_) => {
                let algorithm = ChecksumAlgorithm::from_header_name(name)
                    .ok_or_else(|| PayloadError::UnknownChecksum(name.clone()))?;
                let checksum = checksum_value(name.clone(), algorithm, value)?;
                if found.replace(checksum).is_some() {
                    return Err(PayloadError::SeveralChecksums);
                }
            }
        }
    }
    Ok(found)
}

/// Returns the algorithm of the checksum that `x-amz-trailer` announces, if any.
pub(super) fn trailer_checksum(
    headers: &HeaderMap,
    mode: &PayloadMode,
) -> Result<Option<ChecksumAlgorithm>, PayloadError> {
    let mut found = None;
    for value in headers.get_all(TRAILER) {
        for name in value.as_bytes().split(|&byte| byte == b',') {
            let algorithm = HeaderName::from_bytes(name.trim_ascii())
                .ok()
                .as_ref()
                .and_then(ChecksumAlgorithm::from_header_name)
                .ok_or(PayloadError::UnsupportedTrailer)?;
            if found.replace(algorithm).is_some() {
                return Err(PayloadError::SeveralChecksums);
            }
        }
    }
    if found.is_some() && !mode.has_trailers() {
        return Err(PayloadError::TrailerWithoutChunks);
    }
    Ok(found)
}

/// Checks that `x-amz-sdk-checksum-algorithm`, if present, matches the checksum that is sent.
pub(super) fn check_sdk_algorithm(
    headers: &HeaderMap,
    sent: Option<ChecksumAlgorithm>,
) -> Result<(), PayloadError> {
    for value in headers.get_all(SDK_CHECKSUM_ALGORITHM) {
        let named = value_text(value)
            .and_then(|name| ChecksumAlgorithm::from_name(name.trim_ascii()))
            .ok_or(PayloadError::InvalidSdkAlgorithm)?;
        if sent != Some(named) {
            return Err(PayloadError::SdkAlgorithmMismatch);
        }
    }
    Ok(())
}

/// Parses `Content-MD5` (RFC 1864).
pub(super) fn content_md5(headers: &HeaderMap) -> Result<Option<[u8; 16]>, PayloadError> {
    let mut values = headers.get_all(CONTENT_MD5).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => STANDARD
            .decode(value.as_bytes().trim_ascii())
            .ok()
            .and_then(|digest| digest.try_into().ok())
            .map(Some)
            .ok_or(PayloadError::InvalidContentMd5),
        (Some(_), Some(_)) => Err(PayloadError::InvalidContentMd5),
    }
}

/// Parses a length in bytes.
pub(super) fn length(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, PayloadError> {
    let invalid = || PayloadError::InvalidLength(name.clone());
    let Some(text) = single_text(headers, name).map_err(|_| invalid())? else {
        return Ok(None);
    };
    // Rust's parser also accepts a leading `+`.
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let length = is_number.then(|| text.parse().ok()).flatten();
    length.map(Some).ok_or_else(invalid)
}
