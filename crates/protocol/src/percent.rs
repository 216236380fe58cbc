//! Percent-encoding as S3 uses it: requests are decoded once, and encoded once for the backend.
//!
//! The encoder is that of S3's signature (`UriEncode`): every byte except the unreserved ones
//! becomes `%XX` in upper case, so the text that is sent is the text that is signed. The decoder
//! refuses text that could not be encoded back: a truncated or malformed escape, and bytes that are
//! not UTF-8. Path segments, `.` and `..`, and repeated slashes have no meaning here: names are
//! never normalised.

use crate::error::{ErrorCode, S3Error};
use crate::hex;

/// Meaning of `+` in encoded text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plus {
    /// A plus sign, as in a path.
    Literal,
    /// A space, as in a query and in the keys of a listing with `encoding-type=url`.
    Space,
}

/// Reason for which encoded text could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PercentError {
    /// A `%` is not followed by two hexadecimal digits.
    #[error("a '%' must be followed by two hexadecimal digits; a literal '%' is written %25")]
    Escape,
    /// The decoded bytes are not UTF-8.
    #[error("the percent-decoded bytes must be UTF-8")]
    NotUtf8,
}

impl From<PercentError> for S3Error {
    fn from(error: PercentError) -> Self {
        Self::new(
            ErrorCode::InvalidURI,
            format!("Couldn't parse the specified URI: {error}."),
        )
    }
}

/// Decodes `%XX` once. Fails if an escape is malformed or the result is not UTF-8.
pub fn decode(encoded: &str, plus: Plus) -> Result<String, PercentError> {
    let bytes = decode_bytes(encoded, plus)?;
    // Checked only at the end: one character may be split over several escapes.
    String::from_utf8(bytes).map_err(|_| PercentError::NotUtf8)
}

/// Decodes `%XX` once, to any bytes. Fails if an escape is malformed.
pub(crate) fn decode_bytes(encoded: &str, plus: Plus) -> Result<Vec<u8>, PercentError> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match (byte, plus) {
            (b'%', _) => {
                let high = rest.next().and_then(hex::digit);
                let low = rest.next().and_then(hex::digit);
                match (high, low) {
                    (Some(high), Some(low)) => high << 4 | low,
                    (None, _) | (_, None) => return Err(PercentError::Escape),
                }
            }
            (b'+', Plus::Space) => b' ',
            (byte, _) => byte,
        });
    }
    Ok(bytes)
}

/// Encodes a path: every byte except `A-Za-z0-9-._~` and `/`.
#[must_use]
pub fn encode_path(path: impl AsRef<[u8]>) -> String {
    encode(path.as_ref(), |byte| byte == b'/')
}

/// Encodes a name or value of a query: every byte except `A-Za-z0-9-._~`.
#[must_use]
pub fn encode_component(text: impl AsRef<[u8]>) -> String {
    encode(text.as_ref(), |_| false)
}

fn encode(bytes: &[u8], literal: impl Fn(u8) -> bool) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(bytes.len() + bytes.len() / 4);
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || literal(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(char::from(DIGITS[usize::from(byte >> 4)]));
            encoded.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decodes_once_and_only_once() {
        assert_eq!(decode("a%252Fb", Plus::Literal).as_deref(), Ok("a%2Fb"));
        assert_eq!(decode("%2f%2F", Plus::Literal).as_deref(), Ok("//"));
    }

    #[test]
    fn a_plus_is_a_space_in_a_query_only() {
        assert_eq!(decode("a+b%2B", Plus::Literal).as_deref(), Ok("a+b+"));
        assert_eq!(decode("a+b%2B", Plus::Space).as_deref(), Ok("a b+"));
    }

    #[test]
    fn refuses_malformed_escapes_and_bytes_that_are_not_text() {
        for cut in ["%", "%4", "a%zz", "%4g", "%-1", "%+1", "% 1"] {
            assert_eq!(
                decode(cut, Plus::Literal),
                Err(PercentError::Escape),
                "{cut}"
            );
        }
        for bytes in ["%FF", "%C3", "%ED%A0%80", "%C0%AF"] {
            assert_eq!(
                decode(bytes, Plus::Literal),
                Err(PercentError::NotUtf8),
                "{bytes}"
            );
        }
    }

    #[test]
    fn encodes_what_a_signature_encodes() {
        assert_eq!(
            encode_path("a//b/../é +~_-.:@"),
            "a//b/../%C3%A9%20%2B~_-.%3A%40"
        );
        assert_eq!(encode_component("a/b=c"), "a%2Fb%3Dc");
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(text in any::<String>()) {
            prop_assert_eq!(decode(&encode_path(&text), Plus::Literal), Ok(text.clone()));
            prop_assert_eq!(decode(&encode_component(&text), Plus::Space), Ok(text));
        }
    }
}
