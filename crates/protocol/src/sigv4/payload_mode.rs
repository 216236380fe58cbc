//! `x-amz-content-sha256`: framing of a request's body, and how it is authenticated.
//!
//! This header, not Content-Encoding, decides whether a body is decoded as `aws-chunked`.

use http::HeaderMap;

use super::error::SigV4Error;
use crate::hex;

/// Name of the header, and of the query parameter that presigned requests may use instead.
pub(crate) const CONTENT_SHA256: &str = "x-amz-content-sha256";

/// Framing of a body, and how it is authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PayloadMode {
    /// Plain bytes that the signature does not cover.
    Unsigned,
    /// Plain bytes with this SHA-256 digest.
    Sha256([u8; 32]),
    /// `aws-chunked` with a signature per chunk.
    SignedChunks,
    /// `aws-chunked` with a signature per chunk and one for the trailers.
    SignedChunksTrailer,
    /// `aws-chunked` with trailers, without signatures.
    UnsignedChunksTrailer,
}

impl PayloadMode {
    /// Parses the value of `x-amz-content-sha256`. Errors: [`SigV4Error::UnsupportedChunks`],
    /// [`SigV4Error::InvalidContentSha256`].
    pub fn parse(value: &[u8]) -> Result<Self, SigV4Error> {
        match value {
            b"UNSIGNED-PAYLOAD" => Ok(Self::Unsigned),
            b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Ok(Self::SignedChunks),
            b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Ok(Self::SignedChunksTrailer),
            b"STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Ok(Self::UnsignedChunksTrailer),
            b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"
            | b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER" => {
                Err(SigV4Error::UnsupportedChunks)
            }
            digest => hex::decode(digest)
                .map(Self::Sha256)
                .ok_or(SigV4Error::InvalidContentSha256),
        }
    }

    /// The mode of a request whose signature is not checked: an anonymous one, or any under `auth =
    /// none`. Without the header, the body is plain bytes.
    pub fn of_unauthenticated(headers: &HeaderMap) -> Result<Self, SigV4Error> {
        match single(headers)? {
            Some(value) => Self::parse(value),
            None => Ok(Self::Unsigned),
        }
    }

    /// Whether the body is framed as `aws-chunked`.
    #[must_use]
    pub fn is_chunked(&self) -> bool {
        match self {
            Self::Unsigned | Self::Sha256(_) => false,
            Self::SignedChunks | Self::SignedChunksTrailer | Self::UnsignedChunksTrailer => true,
        }
    }

    /// Whether trailers follow the last chunk.
    #[must_use]
    pub fn has_trailers(&self) -> bool {
        match self {
            Self::Unsigned | Self::Sha256(_) | Self::SignedChunks => false,
            Self::SignedChunksTrailer | Self::UnsignedChunksTrailer => true,
        }
    }
}

/// The header's value; two of them would let two readers see two framings.
pub(crate) fn single(headers: &HeaderMap) -> Result<Option<&[u8]>, SigV4Error> {
    let mut values = headers.get_all(CONTENT_SHA256).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => Ok(Some(value.as_bytes().trim_ascii())),
        (Some(_), Some(_)) => Err(SigV4Error::InvalidContentSha256),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_digests_are_told_apart() {
        for (value, mode) in [
            ("UNSIGNED-PAYLOAD", Ok(PayloadMode::Unsigned)),
            (
                "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
                Ok(PayloadMode::SignedChunks),
            ),
            (
                "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER",
                Err(SigV4Error::UnsupportedChunks),
            ),
            ("unsigned-payload", Err(SigV4Error::InvalidContentSha256)),
            ("", Err(SigV4Error::InvalidContentSha256)),
            (&"0f".repeat(32), Ok(PayloadMode::Sha256([0x0f; 32]))),
            (&"0f".repeat(31), Err(SigV4Error::InvalidContentSha256)),
        ] {
            assert_eq!(PayloadMode::parse(value.as_bytes()), mode, "{value}");
        }
    }

    #[test]
    fn two_statements_about_the_body_are_refused() {
        let mut headers = HeaderMap::new();
        assert_eq!(
            PayloadMode::of_unauthenticated(&headers),
            Ok(PayloadMode::Unsigned)
        );
        headers.append(CONTENT_SHA256, "UNSIGNED-PAYLOAD".parse().unwrap());
        headers.append(CONTENT_SHA256, "UNSIGNED-PAYLOAD".parse().unwrap());
        assert_eq!(
            PayloadMode::of_unauthenticated(&headers),
            Err(SigV4Error::InvalidContentSha256)
        );
    }
}
