//! The ten checksums that S3 knows for object content.
//!
//! Values are raw digests here; Base64 is only how headers and XML spell them. CRCs and XXH digests
//! are in network byte order, which for XXH is its specification's canonical form. What the
//! checksums of parts say about their whole is in `multipart`; the `-N` after a composite one is
//! spelling, and the caller's. Absent: Content-MD5, which is no `x-amz-checksum`.

use std::fmt;
use std::hash::Hasher as _;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm;
use http::HeaderName;
use md5::{Digest as _, Md5};
use twox_hash::{XxHash3_64, XxHash3_128, XxHash64};

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
    /// SHA-512, 64 bytes.
    Sha512,
    /// MD5, 16 bytes.
    Md5,
    /// XXH64 with the seed 0, 8 bytes.
    XxHash64,
    /// XXH3 of 64 bits with the seed 0, 8 bytes.
    XxHash3,
    /// XXH3 of 128 bits with the seed 0, 16 bytes.
    XxHash128,
}

impl ChecksumAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 10] = [
        Self::Crc32,
        Self::Crc32c,
        Self::Sha1,
        Self::Sha256,
        Self::Crc64Nvme,
        Self::Sha512,
        Self::Md5,
        Self::XxHash64,
        Self::XxHash3,
        Self::XxHash128,
    ];

    /// Every name, for messages.
    pub const NAMES: &str = "CRC32, CRC32C, CRC64NVME, MD5, SHA1, SHA256, SHA512, XXHASH128, \
                             XXHASH3, XXHASH64";

    /// The name as `x-amz-checksum-algorithm`, `x-amz-sdk-checksum-algorithm` and XML have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha512 => "SHA512",
            Self::Md5 => "MD5",
            Self::XxHash64 => "XXHASH64",
            Self::XxHash3 => "XXHASH3",
            Self::XxHash128 => "XXHASH128",
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
            Self::Sha512 => "x-amz-checksum-sha512",
            Self::Md5 => "x-amz-checksum-md5",
            Self::XxHash64 => "x-amz-checksum-xxhash64",
            Self::XxHash3 => "x-amz-checksum-xxhash3",
            Self::XxHash128 => "x-amz-checksum-xxhash128",
        })
    }

    /// Length of the raw digest in bytes.
    #[must_use]
    pub fn length(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme | Self::XxHash64 | Self::XxHash3 => 8,
            Self::Md5 | Self::XxHash128 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
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
pub struct Checksummer(ChecksumState);

enum ChecksumState {
    Crc32(crc_fast::Digest),
    Crc64(crc_fast::Digest),
    Sha(digest::Context),
    Md5(Md5),
    // Boxed: the states of XXH are several times as long as the others.
    XxHash64(Box<XxHash64>),
    XxHash3(Box<XxHash3_64>),
    XxHash128(Box<XxHash3_128>),
}

impl Checksummer {
    /// Creates a checksummer that has seen no content.
    #[must_use]
    pub fn new(algorithm: ChecksumAlgorithm) -> Self {
        Self(match algorithm {
            ChecksumAlgorithm::Crc32 => {
                ChecksumState::Crc32(crc_fast::Digest::new(CrcAlgorithm::Crc32IsoHdlc))
            }
            ChecksumAlgorithm::Crc32c => {
                ChecksumState::Crc32(crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi))
            }
            ChecksumAlgorithm::Crc64Nvme => {
                ChecksumState::Crc64(crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme))
            }
            ChecksumAlgorithm::Sha1 => {
                ChecksumState::Sha(digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY))
            }
            ChecksumAlgorithm::Sha256 => ChecksumState::Sha(digest::Context::new(&digest::SHA256)),
            ChecksumAlgorithm::Sha512 => ChecksumState::Sha(digest::Context::new(&digest::SHA512)),
            ChecksumAlgorithm::Md5 => ChecksumState::Md5(Md5::new()),
            ChecksumAlgorithm::XxHash64 => {
                ChecksumState::XxHash64(Box::new(XxHash64::with_seed(0)))
            }
            ChecksumAlgorithm::XxHash3 => ChecksumState::XxHash3(Box::new(XxHash3_64::new())),
            ChecksumAlgorithm::XxHash128 => ChecksumState::XxHash128(Box::new(XxHash3_128::new())),
        })
    }

    /// Adds the next piece of content.
    pub fn update(&mut self, content: &[u8]) {
        match &mut self.0 {
            ChecksumState::Crc32(digest) | ChecksumState::Crc64(digest) => digest.update(content),
            ChecksumState::Sha(hasher) => hasher.update(content),
            ChecksumState::Md5(hasher) => hasher.update(content),
            ChecksumState::XxHash64(hasher) => hasher.write(content),
            ChecksumState::XxHash3(hasher) => hasher.write(content),
            ChecksumState::XxHash128(hasher) => hasher.write(content),
        }
    }

    /// Returns the checksum of all the content.
    #[must_use]
    pub fn finish(self) -> ChecksumValue {
        ChecksumValue(match self.0 {
            // crc-fast returns every CRC as a `u64`.
            ChecksumState::Crc32(digest) => u32::try_from(digest.finalize())
                .expect("a CRC-32 has 32 bits")
                .to_be_bytes()
                .to_vec(),
            ChecksumState::Crc64(digest) => digest.finalize().to_be_bytes().to_vec(),
            ChecksumState::Sha(hasher) => hasher.finish().as_ref().to_vec(),
            ChecksumState::Md5(hasher) => hasher.finalize().to_vec(),
            ChecksumState::XxHash64(hasher) => hasher.finish().to_be_bytes().to_vec(),
            ChecksumState::XxHash3(hasher) => hasher.finish().to_be_bytes().to_vec(),
            ChecksumState::XxHash128(hasher) => hasher.finish_128().to_be_bytes().to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    fn checksum(algorithm: ChecksumAlgorithm, content: &[u8]) -> ChecksumValue {
        let mut checksummer = Checksummer::new(algorithm);
        checksummer.update(content);
        checksummer.finish()
    }

    /// The check values of the CRC catalogue; the digests of "abc" in FIPS 180 and RFC 1321; and
    /// the XXH digests that the AWS Common Runtime computes, which SDKs send.
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
            (
                ChecksumAlgorithm::Sha512,
                "abc",
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                 2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            ),
            (
                ChecksumAlgorithm::Md5,
                "abc",
                "900150983cd24fb0d6963f7d28e17f72",
            ),
            (ChecksumAlgorithm::XxHash64, "", "ef46db3751d8e999"),
            (ChecksumAlgorithm::XxHash64, "abc", "44bc2cf5ad770999"),
            (ChecksumAlgorithm::XxHash3, "", "2d06800538d394c2"),
            (ChecksumAlgorithm::XxHash3, "123456789", "72dcb18b67a17dff"),
            (
                ChecksumAlgorithm::XxHash128,
                "",
                "99aa06d3014798d86001c324468d497f",
            ),
            (
                ChecksumAlgorithm::XxHash128,
                "abc",
                "06b05ab6733a618578af5f94892f3950",
            ),
        ] {
            let value = checksum(algorithm, content.as_bytes());
            assert_eq!(hex::encode(value.as_bytes()), expected, "{algorithm}");
            assert_eq!(value.as_bytes().len(), algorithm.length());
        }
    }

    /// Long content goes another way through XXH3 than short content. As the AWS Common Runtime
    /// computes them.
    #[test]
    fn digests_of_long_content_come_out() {
        let content: Vec<u8> = (0..=250_u8).cycle().take(10_000).collect();
        for (algorithm, expected) in [
            (ChecksumAlgorithm::XxHash64, "b3dba2084c8288c4"),
            (ChecksumAlgorithm::XxHash3, "1cb3abee1c2fc1c4"),
            (
                ChecksumAlgorithm::XxHash128,
                "89dec82a789965e61cb3abee1c2fc1c4",
            ),
        ] {
            let value = checksum(algorithm, &content);
            assert_eq!(hex::encode(value.as_bytes()), expected, "{algorithm}");
        }
    }

    #[test]
    fn messages_name_every_algorithm() {
        let mut names = ChecksumAlgorithm::ALL.map(ChecksumAlgorithm::as_str);
        names.sort_unstable();
        assert_eq!(ChecksumAlgorithm::NAMES, names.join(", "));
    }

    /// The trailer of AWS's example of a chunked upload.
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
        assert_eq!(ChecksumAlgorithm::from_name("SHA3"), None);
    }
}
