//! Cobblestone-256: the chunked encryption of `c2sp.org/chunked-encryption`, with AES-256-GCM and
//! HKDF-Expand-SHA-512. A message is `salt (24) || commitment (32) || chunks`.
//!
//! Nonces never repeat: key and base nonce of a message are derived from the data-encryption key, a
//! fresh random salt of 24 bytes and the context. Within a message the nonce is the base nonce XOR
//! the chunk number, and a sealer only counts upwards and is consumed by its last chunk. No caller
//! can choose salt, nonce or chunk number. Two messages share a key only if 192-bit random salts
//! collide under one data-encryption key.
//!
//! Invariants: the commitment is compared before any chunk is opened; the last chunk is shorter
//! than the others, so a message cut at a chunk border has no valid end.
//! Absent: messages of unknown length (S3 always announces the length) and other ciphers.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, Tag, UnboundKey},
    constant_time::verify_slices_are_equal,
};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    dek::Dek,
    derive::{hkdf_expand, random},
    layout::{
        CHUNK_BYTES, PlaintextLength, chunk_length, chunk_of, message_length,
        message_plaintext_length,
    },
};

/// Length of a salt in bytes.
pub const SALT_BYTES: usize = 24;
/// Length of a commitment in bytes.
pub const COMMITMENT_BYTES: usize = 32;
/// Length in bytes of the salt and commitment at the start of every message.
pub const HEAD_BYTES: usize = SALT_BYTES + COMMITMENT_BYTES;
/// Length of an AES-GCM tag in bytes.
pub const TAG_BYTES: usize = 16;

const LABEL: &[u8] = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0";
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;

/// Why stored bytes could not be opened. All variants except `RangeBeyondEnd` mean that the stored
/// data differs from the data that was written, or that the key is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OpenError {
    /// No plaintext has a stored form of this length.
    #[error("no object of this format has a stored length of {0} bytes: it was cut or extended")]
    Length(u64),
    /// Wrong data-encryption key, length or kind of message, or a changed head.
    #[error("the commitment does not fit: other data key, other length, or changed head")]
    Commitment,
    /// The body does not start with the head that the envelope names.
    #[error("the body's head is not the envelope's: body and envelope are of different objects")]
    Head,
    /// The chunk with this number is not authentic at its position.
    #[error("chunk {0} is not authentic at its position")]
    Chunk(u64),
    /// The commitment of the part with this number does not start with the mark in the seal.
    #[error("part {0} is not the one that the seal names")]
    Mark(u16),
    /// The padding has bytes other than zero.
    #[error("the padding is not all zeros")]
    Padding,
    /// There are more bytes than the object has.
    #[error("there are bytes behind the end of the object")]
    Trailing,
    /// There are fewer bytes than the object has.
    #[error("the stored bytes end before the object does")]
    Truncated,
    /// The caller requested a range beyond the plaintext of this length.
    #[error("the range ends beyond the plaintext of {0} bytes, or before it starts")]
    RangeBeyondEnd(u64),
}

/// Salt and commitment of a message. Not secret: every message starts with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageHead([u8; HEAD_BYTES]);

impl MessageHead {
    /// Builds a head from exactly 56 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Returns the 56 bytes of the head.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; HEAD_BYTES] {
        &self.0
    }

    pub(crate) fn salt(&self) -> &[u8] {
        &self.0[..SALT_BYTES]
    }

    pub(crate) fn commitment(&self) -> &[u8] {
        &self.0[SALT_BYTES..]
    }
}

/// Salt that was not used before.
pub(crate) struct Salt([u8; SALT_BYTES]);

impl Salt {
    pub(crate) fn fresh() -> Self {
        Self(random())
    }

    #[cfg(test)]
    pub(crate) fn fixed(bytes: &[u8]) -> Self {
        Self(bytes.try_into().unwrap())
    }
}

/// Key and base nonce of one message: opens or seals its chunks, in any order.
pub(crate) struct MessageCipher {
    key: LessSafeKey,
    base_nonce: [u8; NONCE_BYTES],
}

impl MessageCipher {
    /// Derives the cipher of a new message; the head precedes the message's chunks.
    pub(crate) fn create(dek: &Dek, salt: &Salt, context: &[u8]) -> (Self, MessageHead) {
        let (cipher, commitment) = Self::derive(dek, &salt.0, context);
        let mut head = [0; HEAD_BYTES];
        head[..SALT_BYTES].copy_from_slice(&salt.0);
        head[SALT_BYTES..].copy_from_slice(&commitment);
        (cipher, MessageHead(head))
    }

    /// Derives the cipher of a stored message and checks the commitment.
    pub(crate) fn open(dek: &Dek, head: &MessageHead, context: &[u8]) -> Result<Self, OpenError> {
        let (cipher, commitment) = Self::derive(dek, head.salt(), context);
        verify_slices_are_equal(&commitment, head.commitment())
            .map_err(|_| OpenError::Commitment)?;
        Ok(cipher)
    }

    /// Encrypts a chunk in place; the returned tag follows it.
    pub(crate) fn seal_chunk(&self, index: u64, chunk: &mut [u8]) -> Tag {
        self.key
            .seal_in_place_separate_tag(self.nonce(index), Aad::empty(), chunk)
            .expect("a chunk is far below AES-GCM's limit")
    }

    /// Decrypts `sealed` (chunk and tag) into `plaintext`, which is 16 bytes shorter. After an
    /// error the contents of `plaintext` are undefined and must not be released.
    pub(crate) fn open_chunk(
        &self,
        index: u64,
        sealed: &[u8],
        plaintext: &mut [u8],
    ) -> Result<(), OpenError> {
        // Fewer bytes than a tag split into an empty ciphertext, which fails to open.
        let (ciphertext, tag) = sealed.split_at(sealed.len().saturating_sub(TAG_BYTES));
        self.key
            .open_separate_gather(self.nonce(index), Aad::empty(), ciphertext, tag, plaintext)
            .map_err(|_| OpenError::Chunk(index))
    }

    fn derive(dek: &Dek, salt: &[u8], context: &[u8]) -> (Self, [u8; COMMITMENT_BYTES]) {
        // One derivation for all three, so that the commitment commits to the key in use.
        let mut okm = Zeroizing::new([0; KEY_BYTES + NONCE_BYTES + COMMITMENT_BYTES]);
        hkdf_expand(dek.as_bytes(), &[LABEL, salt, context], &mut okm[..]);
        let (key, rest) = okm.split_at(KEY_BYTES);
        let (nonce, commitment) = rest.split_at(NONCE_BYTES);
        let key = UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes 32 bytes");
        let cipher = Self {
            key: LessSafeKey::new(key),
            base_nonce: nonce.try_into().expect("split at 12 bytes"),
        };
        let commitment = commitment.try_into().expect("32 bytes are left");
        (cipher, commitment)
    }

    /// Returns the nonce of a chunk. The chunk number stays below 2^35, since lengths are bounded
    /// by `MAX_PLAINTEXT`.
    fn nonce(&self, index: u64) -> Nonce {
        let mut nonce = self.base_nonce;
        // The number enters as 64 bits, big-endian, at the end of the 96-bit nonce.
        for (octet, counter) in nonce[4..].iter_mut().zip(index.to_be_bytes()) {
            *octet ^= counter;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Seals a short message in one call, under a fresh salt.
#[must_use]
pub fn seal(dek: &Dek, context: &[u8], plaintext: &[u8]) -> Vec<u8> {
    seal_with(dek, &Salt::fresh(), context, plaintext)
}

pub(crate) fn seal_with(dek: &Dek, salt: &Salt, context: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let (cipher, head) = MessageCipher::create(dek, salt, context);
    let length = PlaintextLength(plaintext.len() as u64);
    let capacity = usize::try_from(message_length(length)).expect("as long as what is in memory");
    let mut message = Vec::with_capacity(capacity);
    message.extend_from_slice(head.as_bytes());
    for index in 0..=chunk_of(length.0) {
        let (start, from) = (message.len(), chunk_start(index));
        message.extend_from_slice(&plaintext[from..from + chunk_length(length, index)]);
        let tag = cipher.seal_chunk(index, &mut message[start..]);
        message.extend_from_slice(tag.as_ref());
    }
    message
}

/// Opens a short message that is held whole. The plaintext may be secret, so it is zeroized.
pub fn open(dek: &Dek, context: &[u8], message: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let length = message_plaintext_length(message.len() as u64)
        .ok_or(OpenError::Length(message.len() as u64))?;
    let (head, mut sealed) = message.split_at(HEAD_BYTES);
    let head = MessageHead::from_slice(head).expect("split at 56 bytes");
    let cipher = MessageCipher::open(dek, &head, context)?;
    let size = usize::try_from(length.0).expect("shorter than the message");
    let mut plaintext = Zeroizing::new(vec![0; size]);
    // Inclusive: a message whose length is a multiple of the chunk size ends with an empty chunk.
    for index in 0..=chunk_of(length.0) {
        let (from, bytes) = (chunk_start(index), chunk_length(length, index));
        let (chunk, rest) = sealed.split_at(bytes + TAG_BYTES);
        cipher.open_chunk(index, chunk, &mut plaintext[from..from + bytes])?;
        sealed = rest;
    }
    Ok(plaintext)
}

fn chunk_start(index: u64) -> usize {
    usize::try_from(index).expect("an index into what is in memory") * CHUNK_BYTES
}
