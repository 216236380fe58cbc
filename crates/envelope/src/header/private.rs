//! The private map: checksums of the plaintext and sealed user metadata, inside the envelope.
//!
//! It is sealed under the object's data key for the same binding as the wrapped key, so it cannot
//! be moved to another object. A copy to another key seals it again.
//! Absent: any limit on its size; what S3's metadata leaves is the caller's to check.

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

/// Why a private map did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PrivateMapError {
    /// Not authentic for this object.
    #[error("the sealed metadata is not authentic: {0}")]
    Open(#[from] OpenError),
    /// Authentic, but not a map of this version.
    #[error("the sealed metadata is damaged: {0}")]
    Cbor(#[from] CborError),
}

/// What the proxy keeps beside an object and shows to nobody but clients.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PrivateMap {
    /// Raw checksums of the plaintext, by algorithm as in `x-amz-checksum-<name>`, upper case.
    pub checksums: BTreeMap<String, Vec<u8>>,
    /// Sealed user metadata, by lower-case name.
    pub user_metadata: BTreeMap<String, Vec<u8>>,
    /// `x-amz-checksum-type`.
    pub checksum_type: Option<String>,
}

impl PrivateMap {
    /// Whether there is nothing to keep, and so no need for the flag.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The sealed map, for [`Envelope::private`](super::Envelope).
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

    /// Opens a sealed map; `binding` must be the envelope's.
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
