//! The private map: checksums of the plaintext and sealed user metadata, inside the envelope.
//!
//! The map is sealed under the object's data-encryption key for the same binding as the wrapped
//! key, so it cannot be moved to another object. A copy to another object key seals it again.
//! Absent: a limit on its size; the caller checks how much of S3's metadata limit is left.

use std::{collections::BTreeMap, fmt};

use thiserror::Error;

use crate::{
    cbor::{CborError, Fields, MapWriter},
    dek::{Binding, Dek},
    message::{self, OpenError, Salt},
};

const CONTEXT: &[u8] = b"s3proxy/v1/private\0";
const KEY_CHECKSUMS: u64 = 1;
const KEY_USER_METADATA: u64 = 2;
const KEY_CHECKSUM_TYPE: u64 = 4;

/// Why a private map could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PrivateMapError {
    /// The map is not authentic for this object.
    #[error("the sealed metadata is not authentic: {0}")]
    Open(#[from] OpenError),
    /// The map is authentic, but not one of this version.
    #[error("the sealed metadata is damaged: {0}")]
    Cbor(#[from] CborError),
}

/// Data about an object that only clients may see, kept sealed in its envelope.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PrivateMap {
    /// Raw checksums of the plaintext, by upper-case algorithm name as in `x-amz-checksum-<name>`.
    pub checksums: BTreeMap<String, Vec<u8>>,
    /// Sealed user metadata, by lower-case header name.
    pub user_metadata: BTreeMap<String, Vec<u8>>,
    /// Value of `x-amz-checksum-type`.
    pub checksum_type: Option<String>,
}

impl PrivateMap {
    /// Returns whether the map is empty, in which case the envelope needs neither map nor flag.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Seals the map for [`Envelope::private`](super::Envelope).
    #[must_use]
    pub fn seal(&self, dek: &Dek, binding: &Binding) -> Vec<u8> {
        self.seal_with(dek, &Salt::fresh(), binding)
    }

    pub(crate) fn seal_with(&self, dek: &Dek, salt: &Salt, binding: &Binding) -> Vec<u8> {
        let map = MapWriter::default()
            .byte_map(KEY_CHECKSUMS, &self.checksums)
            .byte_map(KEY_USER_METADATA, &self.user_metadata)
            .text(KEY_CHECKSUM_TYPE, self.checksum_type.as_deref())
            .finish();
        message::seal_with(dek, salt, &context(binding), &map)
    }

    /// Opens a sealed map. `binding` must be the one of its envelope.
    pub fn open(dek: &Dek, binding: &Binding, sealed: &[u8]) -> Result<Self, PrivateMapError> {
        let map = message::open(dek, &context(binding), sealed)?;
        let mut fields = Fields::parse(&map)?;
        let private = Self {
            checksums: fields.byte_map(KEY_CHECKSUMS)?,
            user_metadata: fields.byte_map(KEY_USER_METADATA)?,
            checksum_type: fields.text(KEY_CHECKSUM_TYPE)?,
        };
        fields.finish()?;
        Ok(private)
    }
}

impl fmt::Debug for PrivateMap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PrivateMap")
            .field("checksums", &self.checksums.len())
            .field("user_metadata", &self.user_metadata.len())
            .finish_non_exhaustive()
    }
}

fn context(binding: &Binding) -> Vec<u8> {
    [CONTEXT, binding.as_bytes()].concat()
}
