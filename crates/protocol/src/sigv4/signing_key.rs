//! Secret access keys, signing keys derived from them for one day and region, and signatures.
//!
//! The secrets have no `Debug`, no equality and no serialisation. The crypto library wipes the HMAC
//! state in a [`SigningKey`] when it is dropped. Signatures are compared only by the library's
//! constant-time verification. A verified one leaves this module only as the link to the next
//! chunk.

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::hex;

/// A client's secret access key, wiped when dropped.
pub struct SecretAccessKey(Zeroizing<String>);

impl SecretAccessKey {
    /// Takes ownership of the secret.
    #[must_use]
    pub fn new(secret: String) -> Self {
        Self(Zeroizing::new(secret))
    }

    /// The secret, as key of the HMAC that Version 2 signs with.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Signing key for one date, one region and the service `s3` (AWS General Reference, "Derive a
/// signing key"). Caching it for the day saves four HMACs per request.
#[derive(Clone)]
pub struct SigningKey(hmac::Key);

impl SigningKey {
    /// Derives the key for `date` (`YYYYMMDD`) and `region`.
    #[must_use]
    pub fn derive(secret: &SecretAccessKey, date: &str, region: &str) -> Self {
        // Full capacity from the beginning: growing would leave an unwiped copy of the secret.
        let mut initial = Zeroizing::new(Vec::with_capacity(4 + secret.0.len()));
        initial.extend_from_slice(b"AWS4");
        initial.extend_from_slice(secret.0.as_bytes());
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, &initial);
        for step in [date, region, "s3", "aws4_request"] {
            let mut derived = Zeroizing::new([0; 32]);
            hmac::sign_to_buffer(&key, step.as_bytes(), derived.as_mut_slice())
                .expect("an HMAC-SHA256 tag has 32 bytes");
            key = hmac::Key::new(hmac::HMAC_SHA256, derived.as_slice());
        }
        Self(key)
    }

    /// Checks `signature` over `string_to_sign` in constant time. Also used for POST policies,
    /// whose string to sign is the policy in Base64.
    #[must_use]
    pub fn verifies(&self, string_to_sign: &[u8], signature: &Signature) -> bool {
        hmac::verify(&self.0, string_to_sign, &signature.0).is_ok()
    }
}

/// A signature sent by a client: 32 bytes, or 64 lower-case hexadecimal digits as text.
#[derive(Clone)]
pub struct Signature([u8; 32]);

impl Signature {
    /// Parses 64 lower-case hexadecimal digits; `None` for any other text.
    #[must_use]
    pub fn from_hex(text: &[u8]) -> Option<Self> {
        hex::decode_lower(text).map(Self)
    }

    /// The signature as text for the next chunk's string to sign.
    pub(crate) fn to_hex(&self) -> String {
        hex::encode(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_verifies_under_its_own_key_date_and_region_only() {
        let secret = SecretAccessKey::new("secret".to_owned());
        let key = SigningKey::derive(&secret, "20130524", "us-east-1");
        let signature = Signature(hmac::sign(&key.0, b"text").as_ref().try_into().unwrap());
        assert!(key.verifies(b"text", &signature));
        assert!(!key.verifies(b"texT", &signature));
        for (date, region) in [("20130525", "us-east-1"), ("20130524", "us-east-2")] {
            assert!(!SigningKey::derive(&secret, date, region).verifies(b"text", &signature));
        }
        let other = SecretAccessKey::new("Secret".to_owned());
        assert!(!SigningKey::derive(&other, "20130524", "us-east-1").verifies(b"text", &signature));
    }
}
