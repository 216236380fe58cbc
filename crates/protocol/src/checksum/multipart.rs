//! Checksums of multipart objects from those of their parts.
//!
//! S3 knows two kinds. A full-object one is that of the whole content, and follows from the parts'
//! where the algorithm is a CRC. A composite one is the checksum of the parts' raw checksums, one
//! behind the other; texts append `-` and the number of parts to it, which is left to the caller.

use std::fmt;

use super::polynomial::Polynomial;
use super::{ChecksumAlgorithm, ChecksumValue, Checksummer};

/// What a multipart object's checksum is about: `x-amz-checksum-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChecksumType {
    /// All of the content.
    FullObject,
    /// The checksums of the parts.
    Composite,
}

impl ChecksumType {
    /// The name as `x-amz-checksum-type` and XML have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }

    /// The type of a name such as `FULL_OBJECT`, in any case, as S3 reads it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::FullObject, Self::Composite]
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(name))
    }

    /// The type that an upload gets which names only the algorithm.
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
/// in bytes. None for other algorithms than CRCs, which parts do not determine, and where a value is
/// not the algorithm's.
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
    // That of no content is zero for each of the three.
    let mut whole = 0;
    // Most parts of an upload are of one length.
    let (mut last_length, mut shift) = (0, polynomial.shift(0));
    for (part, length) in parts {
        if part.as_bytes().len() != algorithm.length() {
            return None;
        }
        if length != last_length {
            (last_length, shift) = (length, polynomial.shift(length));
        }
        whole = polynomial.multiply(whole, shift) ^ number(part);
    }
    let bytes = whole.to_be_bytes();
    ChecksumValue::from_bytes(algorithm, &bytes[bytes.len() - algorithm.length()..])
}

/// The composite checksum of parts' checksums, in their order.
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

fn number(crc: &ChecksumValue) -> u64 {
    crc.as_bytes()
        .iter()
        .fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests;
