//! State of an upload in progress: its hash, which names the state object, and the state itself.
//!
//! The state is a CBOR map: 1 = the envelope as sent with `CreateMultipartUpload`, 2 = the sealed
//! fields, bound to the upload id: 1 checksum algorithm, 2 checksum type, 3 headers that later
//! requests need; 32, 33, 34 = bucket, object key and upload id, in the clear. The envelope comes
//! first, since its key opens the rest.
//!
//! The name of the upload is not sealed: the data-encryption key is bound to the object key, so
//! only a reader that knows the key already could open it. The hash in the name of the state object
//! proves it instead.
//!
//! Invariants: a state opens only for the upload that it was made for.
//! Absent: where states are stored and when they are swept.

use crate::names::{BucketStr, KeyStr, UploadIdStr};
use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256};
use thiserror::Error;
use zeroize::Zeroize;

use super::part::PartNumber;
use crate::{
    cbor::{CborError, Fields, MapWriter},
    dek::Dek,
    header::{Envelope, EnvelopeError},
    message::{self, OpenError},
};

const CONTEXT: &[u8] = b"s3proxy/v1/state\0";
const HASH_BYTES: usize = 20;
const KEY_ENVELOPE: u64 = 1;
const KEY_SEALED: u64 = 2;
const KEY_BUCKET: u64 = 32;
const KEY_OBJECT_KEY: u64 = 33;
const KEY_UPLOAD_ID: u64 = 34;
const KEY_CHECKSUM_ALGORITHM: u64 = 1;
const KEY_CHECKSUM_TYPE: u64 = 2;
const KEY_HEADERS: u64 = 3;

/// Name of an upload: 20 bytes of SHA-256 over bucket, object key and upload id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UploadHash([u8; HASH_BYTES]);

impl UploadHash {
    /// Hashes the names of an upload. Neither buckets nor keys contain NUL, which separates them.
    #[must_use]
    pub fn new(bucket: BucketStr<'_>, key: KeyStr<'_>, upload_id: UploadIdStr<'_>) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(bucket.0.as_bytes());
        context.update(&[0]);
        context.update(key.0.as_bytes());
        context.update(&[0]);
        context.update(upload_id.0.as_bytes());
        let digest = context.finish();
        Self::from_slice(&digest.as_ref()[..HASH_BYTES]).expect("20 bytes")
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Returns the 20 bytes, as in a seal.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }

    /// Returns lower-case unpadded base32 (RFC 4648): the name of the upload's folder.
    #[must_use]
    pub fn id(&self) -> String {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        // 20 bytes are four groups of 40 bits, eight digits each: no padding is ever needed.
        let mut id = String::with_capacity(HASH_BYTES / 5 * 8);
        for group in self.0.chunks_exact(5) {
            let bits = group
                .iter()
                .fold(0_u64, |bits, octet| bits << 8 | u64::from(*octet));
            for digit in (0..8).rev() {
                let index = usize::try_from(bits >> (5 * digit) & 31).expect("below 32");
                id.push(char::from(ALPHABET[index]));
            }
        }
        id
    }

    /// Returns the object key of the upload's state, under the configured prefix.
    #[must_use]
    pub fn state_key(&self, prefix: &str) -> String {
        format!("{prefix}uploads/{}/state", self.id())
    }

    /// Returns the object key of a staged part, under the configured prefix.
    #[must_use]
    pub fn part_key(&self, prefix: &str, number: PartNumber) -> String {
        format!("{prefix}uploads/{}/part-{}", self.id(), number.get())
    }
}

/// A multipart upload, as requests name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadName {
    /// Bucket of the object that the upload will make.
    pub bucket: String,
    /// Key of the object that the upload will make.
    pub object_key: String,
    /// Upload id of the backend.
    pub upload_id: String,
}

impl UploadName {
    /// Returns the hash of the upload.
    #[must_use]
    pub fn hash(&self) -> UploadHash {
        UploadHash::new(
            BucketStr(&self.bucket),
            KeyStr(&self.object_key),
            UploadIdStr(&self.upload_id),
        )
    }
}

/// Why a state could not be opened. Clients get `NoSuchUpload` in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UploadStateError {
    /// The state is not a map of this version.
    #[error("the state of the upload is damaged: {0}")]
    Cbor(#[from] CborError),
    /// The envelope in the state does not parse.
    #[error("the state of the upload has a bad envelope: {0}")]
    Envelope(#[from] EnvelopeError),
    /// The sealed fields are not authentic for this upload.
    #[error("the state of the upload is not authentic: {0}")]
    Open(#[from] OpenError),
}

/// Facts about an upload that its later requests need.
#[derive(Default, PartialEq, Eq)]
pub struct UploadState {
    /// `x-amz-checksum-algorithm` of `CreateMultipartUpload`.
    pub checksum_algorithm: Option<String>,
    /// `x-amz-checksum-type` of `CreateMultipartUpload`.
    pub checksum_type: Option<String>,
    /// Headers, by lower-case name. The client's SSE-C key may be among them, so values are
    /// zeroized on drop.
    pub headers: BTreeMap<String, Vec<u8>>,
}

impl UploadState {
    /// Returns the state object for this upload.
    #[must_use]
    pub fn seal(&self, dek: &Dek, envelope: &Envelope, upload: &UploadName) -> Vec<u8> {
        let mut map = MapWriter::default()
            .text(KEY_CHECKSUM_ALGORITHM, self.checksum_algorithm.as_deref())
            .text(KEY_CHECKSUM_TYPE, self.checksum_type.as_deref())
            .byte_map(KEY_HEADERS, &self.headers)
            .finish();
        let sealed = message::seal(dek, &context(&upload.upload_id), &map);
        // The encoded map contains the headers' values in the clear.
        map.zeroize();
        MapWriter::default()
            .text(KEY_ENVELOPE, Some(&envelope.encode()))
            .bytes(KEY_SEALED, Some(&sealed))
            .text(KEY_BUCKET, Some(&upload.bucket))
            .text(KEY_OBJECT_KEY, Some(&upload.object_key))
            .text(KEY_UPLOAD_ID, Some(&upload.upload_id))
            .finish()
    }
}

impl Drop for UploadState {
    fn drop(&mut self) {
        self.headers.values_mut().for_each(Zeroize::zeroize);
    }
}

/// A state object that was read; the key in its envelope opens the sealed fields.
pub struct SealedUploadState {
    /// Envelope of the object that the upload will make.
    pub envelope: Envelope,
    /// Upload as the state names it. Compare its hash with the name of the state object before
    /// relying on it. States of earlier versions have none.
    pub upload: Option<UploadName>,
    sealed: Vec<u8>,
}

impl SealedUploadState {
    /// Parses a state object.
    pub fn parse(bytes: &[u8]) -> Result<Self, UploadStateError> {
        let mut fields = Fields::parse(bytes)?;
        let envelope = fields
            .text(KEY_ENVELOPE)?
            .ok_or(CborError::Missing(KEY_ENVELOPE))?;
        let sealed = fields
            .bytes(KEY_SEALED)?
            .ok_or(CborError::Missing(KEY_SEALED))?;
        let bucket = fields.text(KEY_BUCKET)?;
        let object_key = fields.text(KEY_OBJECT_KEY)?;
        let upload_id = fields.text(KEY_UPLOAD_ID)?;
        fields.finish()?;
        // The three names are optional keys from 32 on; only together they name an upload.
        let upload = match (bucket, object_key, upload_id) {
            (Some(bucket), Some(object_key), Some(upload_id)) => Some(UploadName {
                bucket,
                object_key,
                upload_id,
            }),
            _ => None,
        };
        Ok(Self {
            envelope: Envelope::parse(&envelope)?,
            upload,
            sealed,
        })
    }

    /// Opens the sealed fields with the envelope's key, for the requested upload.
    pub fn open(&self, dek: &Dek, upload_id: &str) -> Result<UploadState, UploadStateError> {
        let map = message::open(dek, &context(upload_id), &self.sealed)?;
        let mut fields = Fields::parse(&map)?;
        let state = UploadState {
            checksum_algorithm: fields.text(KEY_CHECKSUM_ALGORITHM)?,
            checksum_type: fields.text(KEY_CHECKSUM_TYPE)?,
            headers: fields.byte_map(KEY_HEADERS)?,
        };
        fields.finish()?;
        Ok(state)
    }
}

fn context(upload_id: &str) -> Vec<u8> {
    [CONTEXT, upload_id.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dek::Binding,
        header::{Flags, Layout},
        kek::Kek,
    };

    fn envelope(dek: &Dek) -> Envelope {
        let kek = Kek::generate();
        let binding = Binding::new(
            Layout::Multipart,
            Flags::KEY_BOUND,
            BucketStr("b"),
            KeyStr("k"),
        );
        Envelope {
            layout: Layout::Multipart,
            key_name: kek.local_name(),
            wrapped_dek: dek.wrap(&kek, &binding),
            head: None,
            flags: Flags::KEY_BOUND,
            private: None,
            encrypted_kek: None,
        }
    }

    fn upload_1() -> UploadName {
        UploadName {
            bucket: "b".to_owned(),
            object_key: "k".to_owned(),
            upload_id: "upload-1".to_owned(),
        }
    }

    #[test]
    fn a_state_names_its_upload_and_those_of_earlier_versions_name_none() {
        let dek = Dek::generate();
        let envelope = envelope(&dek);
        let bytes = UploadState::default().seal(&dek, &envelope, &upload_1());
        let sealed = SealedUploadState::parse(&bytes).unwrap();
        assert_eq!(sealed.upload, Some(upload_1()));
        assert_eq!(
            upload_1().hash(),
            UploadHash::new(BucketStr("b"), KeyStr("k"), UploadIdStr("upload-1"))
        );
        // As earlier versions wrote it: without the name of the upload.
        let older = MapWriter::default()
            .text(KEY_ENVELOPE, Some(&envelope.encode()))
            .bytes(KEY_SEALED, Some(&sealed.sealed))
            .finish();
        let older = SealedUploadState::parse(&older).unwrap();
        assert_eq!(older.upload, None);
        assert!(older.open(&dek, "upload-1").is_ok());
    }

    #[test]
    fn a_state_opens_for_its_own_upload_only() {
        let dek = Dek::generate();
        let state = UploadState {
            checksum_algorithm: Some("CRC32".to_owned()),
            checksum_type: Some("FULL_OBJECT".to_owned()),
            headers: BTreeMap::from([("x-amz-a".to_owned(), b"v".to_vec())]),
        };
        let bytes = state.seal(&dek, &envelope(&dek), &upload_1());
        let sealed = SealedUploadState::parse(&bytes).unwrap();
        assert!(sealed.open(&dek, "upload-1").ok() == Some(state));
        assert!(sealed.open(&dek, "upload-2").is_err());
        assert!(sealed.open(&Dek::generate(), "upload-1").is_err());
    }

    #[test]
    fn any_flipped_byte_of_a_state_is_refused_or_changes_the_key_to_unwrap() {
        let dek = Dek::generate();
        let envelope = envelope(&dek);
        let bytes = UploadState::default().seal(&dek, &envelope, &upload_1());
        for position in 0..bytes.len() {
            let mut forged = bytes.clone();
            forged[position] ^= 1;
            let Ok(sealed) = SealedUploadState::parse(&forged) else {
                continue;
            };
            let opens = sealed.open(&dek, "upload-1").is_ok();
            // The names are not sealed: the hash in the object's key shows a change in them.
            let is_other = sealed.envelope != envelope || sealed.upload != Some(upload_1());
            assert!(!opens || is_other, "{position}");
        }
    }

    #[test]
    fn the_id_of_an_upload_is_base32_of_its_hash() {
        let hash = UploadHash(*b"0123456789abcdefghij");
        assert_eq!(hash.id(), "gaytemzugu3doobzmfrggzdfmztwq2lk");
        assert_eq!(
            hash.state_key(".s3proxy/"),
            ".s3proxy/uploads/gaytemzugu3doobzmfrggzdfmztwq2lk/state"
        );
        let seven = PartNumber::new(7).unwrap();
        assert!(hash.part_key("p/", seven).ends_with("/part-7"));
        assert!(hash.part_key("p/", seven).starts_with("p/uploads/"));
    }

    #[test]
    fn the_hash_depends_on_each_of_bucket_key_and_upload() {
        let hash = UploadHash::new(BucketStr("b"), KeyStr("k"), UploadIdStr("u"));
        for other in [("c", "k", "u"), ("b", "l", "u"), ("b", "k", "v")] {
            assert_ne!(
                hash,
                UploadHash::new(BucketStr(other.0), KeyStr(other.1), UploadIdStr(other.2))
            );
        }
    }
}
