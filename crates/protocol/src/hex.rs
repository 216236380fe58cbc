//! Hexadecimal text. Lower case is the only spelling in Signature Version 4.
//!
//! AWS compares signatures as text, so upper-case digits in a signature are refused here too.
//! Digests of bodies are accepted in either case, because only their value is compared.

/// Encodes `bytes` in lower-case digits.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 0x0f)]));
    }
    text
}

/// Decodes 32 bytes from exactly 64 lower-case digits.
pub(crate) fn decode_lower(text: &[u8]) -> Option<[u8; 32]> {
    if text.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    decode(text)
}

/// Decodes 32 bytes from exactly 64 digits of either case.
pub(crate) fn decode(text: &[u8]) -> Option<[u8; 32]> {
    if text.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Value of one hexadecimal digit.
pub(crate) fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        b'A'..=b'F' => Some(character - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded() {
        let bytes: [u8; 32] = std::array::from_fn(|index| u8::try_from(index * 8 + 3).unwrap());
        assert_eq!(decode_lower(encode(&bytes).as_bytes()), Some(bytes));
    }

    #[test]
    fn upper_case_is_read_only_where_the_value_alone_counts() {
        let upper = "AB".repeat(32);
        assert_eq!(decode(upper.as_bytes()), Some([0xab; 32]));
        assert_eq!(decode_lower(upper.as_bytes()), None);
    }

    #[test]
    fn other_lengths_and_characters_are_refused() {
        for text in ["", "ab", &"a".repeat(63), &"a".repeat(66), &"g".repeat(64)] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
    }
}
