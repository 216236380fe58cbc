//! Arithmetic of CRCs as polynomials, for shifting one past content that follows.
//!
//! A CRC of content with `n` bytes behind it is the product of the CRC and x^8n, modulo the
//! algorithm's polynomial. Everything is bit-reversed, as the three CRCs of S3 are: the coefficient
//! of x^0 is the highest bit. Their initial value and final exclusive-or are equal, and cancel out.
//!
//! crc-fast combines too, with matrices: for the 10,000 parts that an upload may have, that held a
//! thread for seconds. This way it is milliseconds, whatever the lengths.

/// The polynomial of a CRC.
#[derive(Debug, Clone, Copy)]
pub(super) struct Polynomial {
    /// Bit-reversed, without the highest power.
    reversed: u64,
    degree: u32,
}

impl Polynomial {
    pub(super) const CRC32: Self = Self {
        reversed: 0xEDB8_8320,
        degree: 32,
    };
    pub(super) const CRC32C: Self = Self {
        reversed: 0x82F6_3B78,
        degree: 32,
    };
    pub(super) const CRC64NVME: Self = Self {
        reversed: 0x9A6C_9329_AC4B_C9B5,
        degree: 64,
    };

    /// The product of two polynomials below this one's degree, modulo this.
    pub(super) fn multiply(self, one: u64, other: u64) -> u64 {
        let mut product = 0;
        let mut multiple = other;
        for power in 0..self.degree {
            if one >> (self.degree - 1 - power) & 1 == 1 {
                product ^= multiple;
            }
            multiple = multiple >> 1 ^ if multiple & 1 == 1 { self.reversed } else { 0 };
        }
        product
    }

    /// x^8n for content of `n` bytes, modulo this.
    pub(super) fn shift(self, bytes: u64) -> u64 {
        let mut shift = 1 << (self.degree - 1);
        let mut square = shift >> 8;
        let mut left = bytes;
        while left > 0 {
            if left & 1 == 1 {
                shift = self.multiply(shift, square);
            }
            square = self.multiply(square, square);
            left >>= 1;
        }
        shift
    }
}
