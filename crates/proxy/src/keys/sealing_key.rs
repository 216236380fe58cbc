//! The key that seals one new object.

use std::sync::Arc;

use s3proxy_envelope::dek::{Binding, Dek, WrappedDek};
use s3proxy_envelope::kek::Kek;

/// A KEK in memory, which wraps one object's data key. No further call to a service is needed.
pub(crate) struct SealingKey {
    pub(super) key_name: Arc<str>,
    pub(super) kek: Arc<Kek>,
    /// Ciphertext of the KEK, for a key at a service.
    pub(super) encrypted_kek: Option<Arc<[u8]>>,
}

/// A data key wrapped for an envelope.
pub(crate) struct WrappedKey {
    pub(crate) key_name: String,
    pub(crate) dek: WrappedDek,
    pub(crate) encrypted_kek: Option<Vec<u8>>,
}

impl SealingKey {
    /// Wraps a new object's data key.
    pub(crate) fn wrap(&self, dek: &Dek, binding: &Binding) -> WrappedKey {
        WrappedKey {
            key_name: self.key_name.to_string(),
            dek: dek.wrap(&self.kek, binding),
            encrypted_kek: self.encrypted_kek.as_ref().map(|bytes| bytes.to_vec()),
        }
    }
}
