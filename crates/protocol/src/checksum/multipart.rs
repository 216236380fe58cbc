//! Derives the checksum of a multipart object from the checksums of its parts.
//!
//! S3 has two kinds. A full-object checksum covers the whole content; for CRCs it can be computed
//! from the parts' checksums. A composite checksum is the checksum of the parts' concatenated raw
//! checksums. S3 appends `-` and the number of parts to its text, which is left to the caller.

use std::fmt;

use super::polynomial::Polynomial;
use super::{ChecksumAlgorithm, ChecksumValue, Checksummer};

/// Coverage of a multipart object's checksum: `x-amz-checksum-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChecksumType {
    /// Checksum of the whole content.
    FullObject,
    /// Checksum of the parts' checksums.
    Composite,
}

impl ChecksumType {
    /// Name as used in `x-amz-checksum-type` and XML.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }

    /// Parses a type name such as `FULL_OBJECT`, ignoring case as S3 does.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::FullObject, Self::Composite]
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(name))
    }

    /// Default type for an upload that names only an algorithm (S3 API Reference,
    /// `CreateMultipartUpload`).
    #[must_use]
    pub fn default_for(algorithm: ChecksumAlgorithm) -> Self {
        match algorithm {
            ChecksumAlgorithm::Crc64Nvme => Self::FullObject,
            ChecksumAlgorithm::Crc32
            | ChecksumAlgorithm::Crc32c
            | ChecksumAlgorithm::Sha1
            | ChecksumAlgorithm::Sha256
            | ChecksumAlgorithm::Sha512
            | ChecksumAlgorithm::Md5
            | ChecksumAlgorithm::XxHash64
            | ChecksumAlgorithm::XxHash3
            | ChecksumAlgorithm::XxHash128 => Self::Composite,
        }
    }

    /// Whether S3 has the type for the algorithm of an upload in parts: a checksum of all content
    /// must follow from those of the parts, which only a CRC's does.
    #[must_use]
    pub fn is_valid_for(self, algorithm: ChecksumAlgorithm) -> bool {
        match algorithm {
            ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c => true,
            ChecksumAlgorithm::Crc64Nvme => self == Self::FullObject,
            ChecksumAlgorithm::Sha1
            | ChecksumAlgorithm::Sha256
            | ChecksumAlgorithm::Sha512
            | ChecksumAlgorithm::Md5
            | ChecksumAlgorithm::XxHash64
            | ChecksumAlgorithm::XxHash3
            | ChecksumAlgorithm::XxHash128 => self == Self::Composite,
        }
    }
}

impl fmt::Display for ChecksumType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The checksum of all content from those of its parts, in their order, each with its part's length
/// in bytes. None for other algorithms than CRCs, which parts do not determine, and where a value
/// is not the algorithm's.
#[must_use]
pub fn combine_crc<'parts>(
    algorithm: ChecksumAlgorithm,
    parts: impl Iterator<Item = (&'parts ChecksumValue, u64)>,
) -> Option<ChecksumValue> {
    let polynomial = match algorithm {
        ChecksumAlgorithm::Crc32 => Polynomial::CRC32,
        ChecksumAlgorithm::Crc32c => Polynomial::CRC32C,
        ChecksumAlgorithm::Crc64Nvme => Polynomial::CRC64NVME,
        ChecksumAlgorithm::Sha1
        | ChecksumAlgorithm::Sha256
        | ChecksumAlgorithm::Sha512
        | ChecksumAlgorithm::Md5
        | ChecksumAlgorithm::XxHash64
        | ChecksumAlgorithm::XxHash3
        | ChecksumAlgorithm::XxHash128 => return None,
    };
    // The CRC of no content is zero for all three algorithms.
    let mut whole = 0;
    // Most parts of an upload have the same length, so the last shift is kept.
    let (mut last_length, mut shift) = (0, polynomial.shift(0));
    for (part, length) in parts {
        if part.as_bytes().len() != algorithm.length() {
            return None;
        }
        if length != last_length {
            (last_length, shift) = (length, polynomial.shift(length));
        }
        // Shift the CRC of the content so far past this part, then add the part's own.
        whole = polynomial.multiply(whole, shift) ^ number(part);
    }
    let bytes = whole.to_be_bytes();
    // A CRC of 32 bits is in the last 4 of the 8 bytes.
    ChecksumValue::from_bytes(algorithm, &bytes[bytes.len() - algorithm.length()..])
}

/// Computes the composite checksum of the parts' checksums, in order.
#[must_use]
pub fn composite<'parts>(
    algorithm: ChecksumAlgorithm,
    parts: impl Iterator<Item = &'parts ChecksumValue>,
) -> ChecksumValue {
    let mut checksummer = Checksummer::new(algorithm);
    for part in parts {
        checksummer.update(part.as_bytes());
    }
    checksummer.finish()
}

/// Reads a CRC in network byte order.
fn number(crc: &ChecksumValue) -> u64 {
    crc.as_bytes()
        .iter()
        .fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests;
