//! HMAC-SHA1 under the secret access key: the key and the signature of Version 2.
//!
//! Signatures are only ever compared through the library's constant-time verification.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::sigv4::SecretAccessKey;

pub(super) struct SigningKey(hmac::Key);

impl SigningKey {
    pub(super) fn new(secret: &SecretAccessKey) -> Self {
        let algorithm = hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY;
        Self(hmac::Key::new(algorithm, secret.as_bytes()))
    }

    /// Whether `signature` is this key's over `string_to_sign`, in constant time.
    pub(super) fn verifies(&self, string_to_sign: &[u8], signature: &Signature) -> bool {
        hmac::verify(&self.0, string_to_sign, &signature.0).is_ok()
    }
}

/// A signature that a client sent: 20 bytes in Base64.
pub(super) struct Signature([u8; 20]);

impl Signature {
    pub(super) fn from_base64(text: &str) -> Option<Self> {
        STANDARD.decode(text).ok()?.try_into().ok().map(Self)
    }
}
