//! The five checksum algorithms of S3's `x-amz-checksum-*` headers.
//!
//! Values are raw digests; Base64 is only their spelling in headers and XML. CRCs are in network
//! byte order. `multipart` derives the checksum of an object from those of its parts; the caller
//! appends the `-N` of a composite one. Content-MD5 is not covered: it is no `x-amz-checksum`.

use std::fmt;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm;
use http::HeaderName;

mod multipart;
mod polynomial;

pub use multipart::{ChecksumType, combine_crc, composite};

/// Checksum algorithm of an `x-amz-checksum-*` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChecksumAlgorithm {
    /// CRC-32 (ISO-HDLC), 4 bytes.
    Crc32,
    /// CRC-32C (iSCSI), 4 bytes.
    Crc32c,
    /// SHA-1, 20 bytes.
    Sha1,
    /// SHA-256, 32 bytes.
    Sha256,
    /// CRC-64/NVME, 8 bytes.
    Crc64Nvme,
}

impl ChecksumAlgorithm {
    /// All algorithms.
    pub const ALL: [Self; 5] = [
        Self::Crc32,
        Self::Crc32c,
        Self::Sha1,
        Self::Sha256,
        Self::Crc64Nvme,
    ];

    /// Name as used in `x-amz-checksum-algorithm`, `x-amz-sdk-checksum-algorithm` and XML.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Crc64Nvme => "CRC64NVME",
        }
    }

    /// Name of the header or trailer that carries a checksum of this algorithm.
    #[must_use]
    pub fn header_name(self) -> HeaderName {
        HeaderName::from_static(match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
        })
    }

    /// Length of the raw digest in bytes.
    #[must_use]
    pub fn length(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// Parses an algorithm name such as `CRC32C`, ignoring case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(name))
    }

    /// The algorithm of a checksum header or trailer such as `x-amz-checksum-crc32c`.
    #[must_use]
    pub fn from_header_name(name: &HeaderName) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.header_name() == name)
    }
}

impl fmt::Display for ChecksumAlgorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A raw digest whose length matches its algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChecksumValue(Vec<u8>);

impl ChecksumValue {
    /// Creates a value from raw bytes. `None` if their number does not match the algorithm.
    #[must_use]
    pub fn from_bytes(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Option<Self> {
        (bytes.len() == algorithm.length()).then(|| Self(bytes.to_vec()))
    }

    /// Parses a header value: strict, padded Base64 of exactly the algorithm's length.
    #[must_use]
    pub fn from_base64(algorithm: ChecksumAlgorithm, text: &[u8]) -> Option<Self> {
        let bytes = STANDARD.decode(text).ok()?;
        Self::from_bytes(algorithm, &bytes)
    }

    /// Base64, as in headers and XML.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.0)
    }

    /// The raw digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Computes a checksum incrementally, as content streams through.
pub struct Checksummer(State);

enum State {
    Crc32(crc_fast::Digest),
    Crc64(crc_fast::Digest),
    Sha(digest::Context),
}

impl Checksummer {
    /// Creates a checksummer that has seen no content.
    #[must_use]
    pub fn new(algorithm: ChecksumAlgorithm) -> Self {
        Self(match algorithm {
            ChecksumAlgorithm::Crc32 => {
                State::Crc32(crc_fast::Digest::new(CrcAlgorithm::Crc32IsoHdlc))
            }
            ChecksumAlgorithm::Crc32c => {
                State::Crc32(crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi))
            }
            ChecksumAlgorithm::Crc64Nvme => {
                State::Crc64(crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme))
            }
            ChecksumAlgorithm::Sha1 => {
                State::Sha(digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY))
            }
            ChecksumAlgorithm::Sha256 => State::Sha(digest::Context::new(&digest::SHA256)),
        })
    }

    /// Adds the next piece of content.
    pub fn update(&mut self, content: &[u8]) {
        match &mut self.0 {
            State::Crc32(digest) | State::Crc64(digest) => digest.update(content),
            State::Sha(hasher) => hasher.update(content),
        }
    }

    /// Returns the checksum of all the content.
    #[must_use]
    pub fn finish(self) -> ChecksumValue {
        ChecksumValue(match self.0 {
            // crc-fast returns every CRC as a `u64`.
            State::Crc32(digest) => u32::try_from(digest.finalize())
                .expect("a CRC-32 has 32 bits")
                .to_be_bytes()
                .to_vec(),
            State::Crc64(digest) => digest.finalize().to_be_bytes().to_vec(),
            State::Sha(hasher) => hasher.finish().as_ref().to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sigv4::hex;

    fn checksum(algorithm: ChecksumAlgorithm, content: &[u8]) -> ChecksumValue {
        let mut checksummer = Checksummer::new(algorithm);
        checksummer.update(content);
        checksummer.finish()
    }

    /// Check values from the CRC catalogue, and the FIPS 180 digests of "abc".
    #[test]
    fn published_check_values_come_out() {
        for (algorithm, content, expected) in [
            (ChecksumAlgorithm::Crc32, "123456789", "cbf43926"),
            (ChecksumAlgorithm::Crc32c, "123456789", "e3069283"),
            (
                ChecksumAlgorithm::Crc64Nvme,
                "123456789",
                "ae8b14860a799888",
            ),
            (
                ChecksumAlgorithm::Sha1,
                "abc",
                "a9993e364706816aba3e25717850c26c9cd0d89d",
            ),
            (
                ChecksumAlgorithm::Sha256,
                "abc",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
        ] {
            let value = checksum(algorithm, content.as_bytes());
            assert_eq!(hex::encode(value.as_bytes()), expected, "{algorithm}");
            assert_eq!(value.as_bytes().len(), algorithm.length());
        }
    }

    /// Trailer from AWS's example of a chunked upload.
    #[test]
    fn the_published_trailer_comes_out() {
        let value = checksum(ChecksumAlgorithm::Crc32c, &vec![b'a'; 66_560]);
        assert_eq!(value.to_base64(), "sOO8/Q==");
    }

    #[test]
    fn pieces_give_the_checksum_of_the_whole() {
        let content: Vec<u8> = (0..=255_u8).cycle().take(10_000).collect();
        for algorithm in ChecksumAlgorithm::ALL {
            let mut checksummer = Checksummer::new(algorithm);
            for piece in content.chunks(77) {
                checksummer.update(piece);
            }
            assert_eq!(checksummer.finish(), checksum(algorithm, &content));
        }
    }

    #[test]
    fn base64_is_read_strictly() {
        let algorithm = ChecksumAlgorithm::Crc32;
        let value = ChecksumValue::from_base64(algorithm, b"y/Q5Jg==").unwrap();
        assert_eq!(value.as_bytes(), [0xcb, 0xf4, 0x39, 0x26]);
        assert_eq!(value.to_base64(), "y/Q5Jg==");
        for text in [
            "",
            "y/Q5Jg",
            // The URL-safe alphabet, and unused bits that are not zero.
            "y_Q5Jg==",
            "y/Q5Jh==",
            "y/Q5Jg== ",
            "y/Q5JgA=",
        ] {
            let refused = ChecksumValue::from_base64(algorithm, text.as_bytes());
            assert_eq!(refused, None, "{text}");
        }
    }

    #[test]
    fn names_and_headers_lead_back_to_their_algorithm() {
        for algorithm in ChecksumAlgorithm::ALL {
            let name = algorithm.as_str();
            assert_eq!(ChecksumAlgorithm::from_name(name), Some(algorithm));
            assert_eq!(
                ChecksumAlgorithm::from_name(&name.to_lowercase()),
                Some(algorithm)
            );
            assert_eq!(
                ChecksumAlgorithm::from_header_name(&algorithm.header_name()),
                Some(algorithm)
            );
        }
        assert_eq!(ChecksumAlgorithm::from_name("MD5"), None);
    }
}
