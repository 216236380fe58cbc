//! 32 secret bytes at one address.
//!
//! Moving a value leaves its old bytes behind unwiped: in stack frames, in futures, in structures
//! that grow. So the bytes are on the heap, only their address moves, and they are wiped in place.
//!
//! Absent: copies inside the cryptographic library while it works; the library wipes those itself.

use aws_lc_rs::rand;
use zeroize::Zeroizing;

pub(crate) const SECRET_BYTES: usize = 32;

/// A secret that is wiped on drop and cannot be printed, compared or cloned.
pub(crate) struct Secret(Box<Zeroizing<[u8; SECRET_BYTES]>>);

impl Secret {
    pub(crate) fn zero() -> Self {
        Self(Box::default())
    }

    /// Returns fresh bytes from the system's random generator.
    pub(crate) fn random() -> Self {
        let mut secret = Self::zero();
        rand::fill(&mut secret.as_mut()[..]).expect("the system's random generator works");
        secret
    }

    /// Copies exactly 32 bytes; `None` for any other length.
    pub(crate) fn copy_of(bytes: &[u8]) -> Option<Self> {
        let mut secret = Self::zero();
        if bytes.len() != SECRET_BYTES {
            return None;
        }
        secret.as_mut().copy_from_slice(bytes);
        Some(secret)
    }

    pub(crate) fn as_array(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    pub(crate) fn as_mut(&mut self) -> &mut [u8; SECRET_BYTES] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use crate::dek::Dek;
    use crate::kek::Kek;
    use crate::legacy::{LegacyDek, LegacyKek};

    #[test]
    fn a_key_that_is_moved_moves_its_address_only() {
        let address = size_of::<usize>();
        assert_eq!(size_of::<Dek>(), address);
        assert_eq!(size_of::<Kek>(), address);
        assert_eq!(size_of::<LegacyDek>(), address);
        assert_eq!(size_of::<LegacyKek>(), address);
    }
}
