//! AES-256-GCM-SIV (RFC 8452), split into steps, so that a message can be processed in pieces.
//!
//! The counter of each piece is computed from its position, so pieces may be opened in any order,
//! and a message may use all 2^32 blocks that the RFC allows. Opening needs the tag beforehand,
//! since the tag is the initial counter.

use aes::Aes256;
use aes::cipher::{Array, BlockCipherEncrypt, InnerIvInit, KeyInit, StreamCipher};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use ctr::cipher::StreamCipherCoreWrapper;
use ctr::{CtrCore, flavors::Ctr32LE};
use polyval::{Polyval, universal_hash::UniversalHash};
use zeroize::Zeroizing;

use super::{LegacyDek, LegacyError, NONCE_BYTES, TAG_BYTES};

/// Length in bytes of an AES block and of a POLYVAL block.
pub(super) const AES_BLOCK_BYTES: u64 = 16;

/// Derived keys of one message, with its nonce and its tag.
pub(super) struct SivMessage {
    cipher: Aes256,
    authentication_key: Zeroizing<[u8; 16]>,
    nonce: [u8; NONCE_BYTES],
    tag: [u8; TAG_BYTES],
}

impl SivMessage {
    /// Derives the keys (RFC 8452, section 4, `derive_keys`).
    pub(super) fn new(dek: &LegacyDek, nonce: [u8; NONCE_BYTES], tag: [u8; TAG_BYTES]) -> Self {
        let generating = Aes256::new(dek.as_bytes().into());
        let mut keys = Zeroizing::new([0; 48]);
        // Six blocks, of which the first half is used: two make the authentication key, four the
        // encryption key.
        for (counter, half) in (0_u32..).zip(keys.chunks_exact_mut(8)) {
            let mut block = Zeroizing::new([0; 16]);
            block[..4].copy_from_slice(&counter.to_le_bytes());
            block[4..].copy_from_slice(&nonce);
            generating.encrypt_block((&mut *block).into());
            half.copy_from_slice(&block[..8]);
        }
        let mut authentication_key = Zeroizing::new([0; 16]);
        authentication_key.copy_from_slice(&keys[..16]);
        let encryption_key = keys[16..].try_into().expect("two halves of 16 bytes");
        Self {
            cipher: Aes256::new(encryption_key),
            authentication_key,
            nonce,
            tag,
        }
    }

    /// Encrypts or decrypts `data` in place. `position` is its plaintext position, a multiple of
    /// 16.
    pub(super) fn apply(&self, position: u64, data: &mut [u8]) {
        // RFC 8452, section 4: the initial counter block is the tag with its highest bit set; the
        // first 32 bits count, little-endian, and wrap.
        let mut counter = self.tag;
        counter[15] |= 0x80;
        let [a, b, c, d] = [counter[0], counter[1], counter[2], counter[3]];
        let blocks = position / AES_BLOCK_BYTES % (1 << 32);
        let blocks = u32::try_from(blocks).expect("less than 2^32");
        let first = u32::from_le_bytes([a, b, c, d]).wrapping_add(blocks);
        counter[..4].copy_from_slice(&first.to_le_bytes());
        let core = CtrCore::<_, Ctr32LE>::inner_iv_init(self.cipher.clone(), &counter.into());
        StreamCipherCoreWrapper::from_core(core).apply_keystream(data);
    }

    /// Begins the authentication of a plaintext.
    pub(super) fn hash(&self, associated_data: &[u8]) -> SivHash {
        let key = Array::from(*self.authentication_key);
        let mut polyval = Polyval::new(&key);
        polyval.update_padded(associated_data);
        SivHash {
            polyval,
            associated_bytes: associated_data.len() as u64,
            plaintext_bytes: 0,
        }
    }

    /// Checks, in constant time, that the tag belongs to the hashed plaintext.
    pub(super) fn verify(&self, hash: SivHash) -> Result<(), LegacyError> {
        verify_slices_are_equal(&*self.tag_of(hash), &self.tag)
            .map_err(|_| LegacyError::NotAuthentic)
    }

    pub(super) fn tag_of(&self, hash: SivHash) -> Zeroizing<[u8; TAG_BYTES]> {
        let mut tag = Zeroizing::new(hash.finish());
        for (byte, nonce) in tag.iter_mut().zip(self.nonce) {
            *byte ^= nonce;
        }
        // RFC 8452, section 4: the highest bit is cleared, so that it cannot equal a counter block.
        tag[15] &= 0x7f;
        self.cipher.encrypt_block((&mut *tag).into());
        tag
    }

    #[cfg(test)]
    pub(super) fn set_tag(&mut self, tag: [u8; TAG_BYTES]) {
        self.tag = tag;
    }
}

/// POLYVAL over the associated data, the plaintext and their lengths.
pub(super) struct SivHash {
    polyval: Polyval,
    associated_bytes: u64,
    plaintext_bytes: u64,
}

impl SivHash {
    /// Hashes plaintext. Every piece except the last consists of whole blocks of 16 bytes.
    pub(super) fn update(&mut self, plaintext: &[u8]) {
        // After a partial block `update_padded` would put zeros inside the message.
        debug_assert!(self.plaintext_bytes.is_multiple_of(AES_BLOCK_BYTES));
        self.polyval.update_padded(plaintext);
        self.plaintext_bytes += plaintext.len() as u64;
    }

    fn finish(mut self) -> [u8; 16] {
        // The lengths are counted in bits.
        let mut lengths = [0; 16];
        lengths[..8].copy_from_slice(&(self.associated_bytes * 8).to_le_bytes());
        lengths[8..].copy_from_slice(&(self.plaintext_bytes * 8).to_le_bytes());
        self.polyval.update(&[lengths.into()]);
        self.polyval.finalize().into()
    }
}
