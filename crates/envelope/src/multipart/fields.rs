//! The map at the start of a seal: checksums of the whole object, and the upload that made it.
//!
//! Keys 1 and 4 have the meaning that they have in the private map of an envelope. Unknown
//! algorithms of part checksums are refused, since they determine the length of the entries.

use std::collections::BTreeMap;

use super::{seal::SealListError, upload::UploadHash};
use crate::cbor::{CborError, Fields, MapWriter};

const KEY_CHECKSUMS: u64 = 1;
const KEY_UPLOAD_HASH: u64 = 3;
const KEY_CHECKSUM_TYPE: u64 = 4;
const KEY_PART_CHECKSUM: u64 = 5;

/// Algorithm of the parts' checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChecksumAlgorithm {
    /// CRC-32.
    Crc32,
    /// CRC-32C.
    Crc32c,
    /// CRC-64/NVME.
    Crc64nvme,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl ChecksumAlgorithm {
    const ALL: [Self; 5] = [
        Self::Crc32,
        Self::Crc32c,
        Self::Crc64nvme,
        Self::Sha1,
        Self::Sha256,
    ];

    /// Returns the name as in `x-amz-checksum-algorithm`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// Returns the algorithm with this upper-case name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// Returns the length of the raw checksum in bytes.
    #[must_use]
    pub fn length(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

/// Fields of a seal about the whole object.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SealFields {
    /// Raw checksums of the whole object, by upper-case algorithm (composite ones without `-N`).
    pub checksums: BTreeMap<String, Vec<u8>>,
    /// Hash of the upload that made the object.
    pub upload_hash: Option<UploadHash>,
    /// Value of `x-amz-checksum-type`.
    pub checksum_type: Option<String>,
    /// Algorithm of the parts' checksums; `None` if the parts have none.
    pub part_checksum: Option<ChecksumAlgorithm>,
}

impl SealFields {
    pub(super) fn encode(&self) -> Vec<u8> {
        let hash = self.upload_hash.as_ref().map(|hash| &hash.as_bytes()[..]);
        MapWriter::default()
            .byte_map(KEY_CHECKSUMS, &self.checksums)
            .bytes(KEY_UPLOAD_HASH, hash)
            .text(KEY_CHECKSUM_TYPE, self.checksum_type.as_deref())
            .text(
                KEY_PART_CHECKSUM,
                self.part_checksum.map(ChecksumAlgorithm::name),
            )
            .finish()
    }

    pub(super) fn parse(map: &[u8]) -> Result<Self, SealListError> {
        let mut fields = Fields::parse(map)?;
        let hash = fields.bytes(KEY_UPLOAD_HASH)?;
        let algorithm = fields.text(KEY_PART_CHECKSUM)?;
        let parsed = Self {
            checksums: fields.byte_map(KEY_CHECKSUMS)?,
            upload_hash: hash
                .map(|hash| {
                    UploadHash::from_slice(&hash).ok_or(CborError::WrongValue(KEY_UPLOAD_HASH))
                })
                .transpose()?,
            checksum_type: fields.text(KEY_CHECKSUM_TYPE)?,
            part_checksum: algorithm
                .map(|name| ChecksumAlgorithm::from_name(&name).ok_or(SealListError::Algorithm))
                .transpose()?,
        };
        fields.finish()?;
        Ok(parsed)
    }

    pub(super) fn checksum_bytes(&self) -> usize {
        self.part_checksum.map_or(0, ChecksumAlgorithm::length)
    }
}
