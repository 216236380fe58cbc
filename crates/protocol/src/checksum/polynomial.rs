//! CRC arithmetic on polynomials: shifts a CRC past the content that follows it.
//!
//! The CRC of some content followed by `n` bytes is the product of the content's CRC and x^8n,
//! modulo the algorithm's polynomial. Everything is bit-reversed, as S3's three CRCs are: the
//! coefficient of x^0 is the highest bit. Their initial value and final exclusive-or are equal and
//! cancel out.
//!
//! crc-fast can combine CRCs too, with matrices, but for the 10,000 parts that an upload may have
//! this blocked a thread for seconds. The multiplication below takes milliseconds for any lengths.

/// Generator polynomial of a CRC.
#[derive(Debug, Clone, Copy)]
pub(super) struct Polynomial {
    /// Coefficients in reversed bit order, without the highest power.
    reversed: u64,
    /// Width of the CRC in bits.
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

    /// Multiplies two polynomials of a lower degree, modulo this one.
    pub(super) fn multiply(self, one: u64, other: u64) -> u64 {
        let mut product = 0;
        let mut multiple = other;
        for power in 0..self.degree {
            // Bits from the highest down: in reversed order the highest bit is x^0.
            if one >> (self.degree - 1 - power) & 1 == 1 {
                product ^= multiple;
            }
            // Multiply by x. The bit shifted out was the highest power, so it is reduced.
            multiple = multiple >> 1 ^ if multiple & 1 == 1 { self.reversed } else { 0 };
        }
        product
    }

    /// Computes x^8n modulo this polynomial, for content of `n` bytes.
    pub(super) fn shift(self, bytes: u64) -> u64 {
        // Square and multiply, starting from x^0 (the neutral element) and x^8 (one byte).
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
