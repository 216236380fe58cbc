//! HKDF-Expand-SHA-512, the only key derivation of the format.
//!
//! There is no Extract step, because every input key is already uniformly random. Labels are part
//! of the format and frozen.

use aws_lc_rs::hkdf::{HKDF_SHA512, KeyType, Prk};

struct OutputLength(usize);

impl KeyType for OutputLength {
    fn len(&self) -> usize {
        self.0
    }
}

/// Fills `output` (at most 255 * 64 bytes) from `key` and the concatenation of `info`.
pub(crate) fn hkdf_expand(key: &[u8], info: &[&[u8]], output: &mut [u8]) {
    Prk::new_less_safe(HKDF_SHA512, key)
        .expand(info, OutputLength(output.len()))
        .and_then(|okm| okm.fill(output))
        .expect("every output of the format is far below HKDF's limit");
}

/// Returns fresh bytes from the system's random generator.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's random generator works");
    bytes
}
