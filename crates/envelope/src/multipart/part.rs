//! Parts: their number, frame, mark, and the `ETag` that carries the mark through clients.

use std::fmt::Write as _;

use crate::{
    layout::{MAX_PLAINTEXT, PlaintextLength},
    message::MessageHead,
};

const CONTEXT: &[u8; 16] = b"s3proxy/v1/part\0";
const MARK_BYTES: usize = 8;
const CHECKSUM_PREFIX_BYTES: usize = 4;

/// Part number, 1 to 10000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartNumber(u16);

impl PartNumber {
    /// Lowest part number of S3.
    pub const MIN: Self = Self(1);
    /// Highest part number of S3.
    pub const MAX: Self = Self(10_000);

    /// Returns `None` outside 1 to 10000.
    #[must_use]
    pub fn new(number: u16) -> Option<Self> {
        (1..=Self::MAX.0).contains(&number).then_some(Self(number))
    }

    /// Returns the part number as an integer.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

/// Number and plaintext length of a part, to which its message is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    number: PartNumber,
    length: PlaintextLength,
}

impl Frame {
    /// Length of the encoded frame in bytes.
    pub const BYTES: usize = 8;

    /// Returns `None` for a length that does not fit six bytes.
    #[must_use]
    pub fn new(number: PartNumber, length: PlaintextLength) -> Option<Self> {
        (length <= MAX_PLAINTEXT).then_some(Self { number, length })
    }

    /// Returns the number of the part.
    #[must_use]
    pub fn number(self) -> PartNumber {
        self.number
    }

    /// Returns the plaintext length of the part.
    #[must_use]
    pub fn length(self) -> PlaintextLength {
        self.length
    }

    /// Encodes number (2 bytes) and length (6 bytes), big-endian. Frozen.
    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        // The length has six bytes at most, so the upper two of its eight are free for the number.
        let mut bytes = self.length.0.to_be_bytes();
        bytes[..2].copy_from_slice(&self.number.0.to_be_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: [u8; Self::BYTES]) -> Option<Self> {
        let number = PartNumber::new(u16::from_be_bytes([bytes[0], bytes[1]]))?;
        let length = u64::from_be_bytes(bytes) & MAX_PLAINTEXT.0;
        Self::new(number, PlaintextLength(length))
    }

    /// Returns the context of the part's message. Frozen.
    pub(crate) fn context(self) -> [u8; 24] {
        let mut context = [0; 24];
        context[..16].copy_from_slice(CONTEXT);
        context[16..].copy_from_slice(&self.to_bytes());
        context
    }
}

/// The first 8 bytes of a part's commitment; zeros where nobody kept it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark([u8; MARK_BYTES]);

impl Mark {
    /// Mark of a part whose commitment is unknown; matches every part.
    pub const UNKNOWN: Self = Self([0; MARK_BYTES]);

    /// Returns the mark of a part with this head.
    #[must_use]
    pub fn of(head: &MessageHead) -> Self {
        let mut mark = [0; MARK_BYTES];
        mark.copy_from_slice(&head.commitment()[..MARK_BYTES]);
        Self(mark)
    }

    /// Returns whether a part with this head matches the mark.
    #[must_use]
    pub fn fits(self, head: &MessageHead) -> bool {
        self == Self::UNKNOWN || self == Self::of(head)
    }

    pub(crate) fn from_bytes(bytes: [u8; MARK_BYTES]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; MARK_BYTES] {
        &self.0
    }
}

/// The proxy's suffix of a part's `ETag`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartTag {
    /// Suffix from the response to the upload of the part.
    Marked {
        /// Mark of the part.
        mark: Mark,
        /// First 4 bytes of the part's checksum; zeros if it has none.
        checksum: [u8; CHECKSUM_PREFIX_BYTES],
    },
    /// Suffix from a listing, where marks are unknown.
    Listed,
}

impl PartTag {
    /// Returns the mark for the seal.
    #[must_use]
    pub fn mark(self) -> Mark {
        match self {
            Self::Marked { mark, .. } => mark,
            Self::Listed => Mark::UNKNOWN,
        }
    }
}

/// `ETag` of a part as clients see it, without quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartEtag {
    /// `ETag` of the part as the backend returned it, without quotes.
    pub backend: String,
    /// Suffix that the proxy added.
    pub tag: PartTag,
}

impl PartEtag {
    /// How much of a part's checksum it carries at most.
    pub const CHECKSUM_BYTES: usize = CHECKSUM_PREFIX_BYTES;

    /// For the answer to `UploadPart`: `checksum` is the part's raw checksum, if it has one.
    #[must_use]
    pub fn marked(backend: &str, head: &MessageHead, checksum: Option<&[u8]>) -> Self {
        // A part without a checksum keeps zeros.
        let mut prefix = [0; CHECKSUM_PREFIX_BYTES];
        for (octet, known) in prefix.iter_mut().zip(checksum.unwrap_or_default()) {
            *octet = *known;
        }
        let tag = PartTag::Marked {
            mark: Mark::of(head),
            checksum: prefix,
        };
        Self {
            backend: backend.to_owned(),
            tag,
        }
    }

    /// Makes the `ETag` for a response to `ListParts`.
    #[must_use]
    pub fn listed(backend: &str) -> Self {
        Self {
            backend: backend.to_owned(),
            tag: PartTag::Listed,
        }
    }

    /// Returns the text for clients, without quotes.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = format!("{}-", self.backend);
        match self.tag {
            PartTag::Listed => text.push('0'),
            PartTag::Marked { mark, checksum } => {
                for octet in mark.0.iter().chain(&checksum) {
                    write!(text, "{octet:02x}").expect("writing to a String cannot fail");
                }
            }
        }
        text
    }

    /// Parses an `ETag` that a client sent, without quotes; `None` if no sealed part has this form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // From the right: the backend's own ETag may contain a hyphen.
        let (backend, suffix) = text.rsplit_once('-')?;
        if backend.is_empty() {
            return None;
        }
        if suffix == "0" {
            return Some(Self::listed(backend));
        }
        let bytes = lower_hex::<{ MARK_BYTES + CHECKSUM_PREFIX_BYTES }>(suffix)?;
        let (mark, checksum) = bytes.split_at(MARK_BYTES);
        let tag = PartTag::Marked {
            mark: Mark(mark.try_into().expect("split at 8 bytes")),
            checksum: checksum.try_into().expect("4 bytes are left"),
        };
        Some(Self {
            backend: backend.to_owned(),
            tag,
        })
    }
}

fn lower_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (octet, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *octet = lower_hex_digit(pair[0])? << 4 | lower_hex_digit(pair[1])?;
    }
    Some(bytes)
}

fn lower_hex_digit(digit: u8) -> Option<u8> {
    // Upper case is refused, so that an ETag has only one text form.
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::HEAD_BYTES;

    fn head() -> MessageHead {
        let bytes: Vec<u8> = (0..56).collect();
        assert_eq!(bytes.len(), HEAD_BYTES);
        MessageHead::from_slice(&bytes).unwrap()
    }

    #[test]
    fn part_etags_carry_mark_and_checksum_and_read_back() {
        let etag = PartEtag::marked("abc-1", &head(), Some(&[0xde, 0xad, 0xbe, 0xef, 0xff]));
        assert_eq!(etag.encode(), "abc-1-18191a1b1c1d1e1fdeadbeef");
        assert_eq!(PartEtag::parse(&etag.encode()), Some(etag.clone()));
        assert_eq!(etag.tag.mark(), Mark::of(&head()));
        let plain = PartEtag::marked("abc", &head(), None);
        assert_eq!(plain.encode(), "abc-18191a1b1c1d1e1f00000000");
    }

    #[test]
    fn listed_part_etags_have_no_mark() {
        let etag = PartEtag::listed("abc");
        assert_eq!(etag.encode(), "abc-0");
        assert_eq!(PartEtag::parse("abc-0"), Some(etag.clone()));
        assert_eq!(etag.tag.mark(), Mark::UNKNOWN);
    }

    #[test]
    fn other_texts_are_no_part_etags() {
        for text in [
            "",
            "abc",
            "-0",
            "abc-",
            "abc-1",
            "abc-00",
            "abc-18191a1b1c1d1e1f0000000",
        ] {
            assert_eq!(PartEtag::parse(text), None, "{text}");
        }
        assert_eq!(PartEtag::parse("abc-18191A1B1C1D1E1F00000000"), None);
    }

    #[test]
    fn frames_refuse_numbers_and_lengths_that_do_not_exist() {
        assert!(PartNumber::new(0).is_none() && PartNumber::new(10_001).is_none());
        let one = PartNumber::new(1).unwrap();
        assert!(Frame::new(one, PlaintextLength(MAX_PLAINTEXT.0 + 1)).is_none());
        let frame = Frame::new(PartNumber::MAX, MAX_PLAINTEXT).unwrap();
        assert_eq!(frame.to_bytes(), [0x27, 0x10, 255, 255, 255, 255, 255, 255]);
        assert_eq!(Frame::from_bytes(frame.to_bytes()), Some(frame));
        assert_eq!(Frame::from_bytes([0; 8]), None);
        assert_eq!(Frame::from_bytes([0x27, 0x11, 0, 0, 0, 0, 0, 1]), None);
    }
}
