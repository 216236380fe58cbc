//! The `Range` header of a GET, in the three forms that S3 supports (RFC 9110, section 14.1.2).
//!
//! Several ranges, other units and malformed text mean the whole object, as in S3.

use std::ops::RangeInclusive;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum RequestedRange {
    Whole,
    /// First and last byte, both inside the object.
    Part(RangeInclusive<u64>),
    /// The range contains no byte of the object: 416.
    Unsatisfiable,
}

impl RequestedRange {
    pub(super) fn parse(header: &str, length: u64) -> Self {
        let Some((first, last)) = header
            .strip_prefix("bytes=")
            .and_then(|range| range.split_once('-'))
        else {
            return Self::Whole;
        };
        let number = |text: &str| text.parse::<u64>().ok();
        // A suffix range counts from the end; one longer than the object means all of it.
        let (first, last) = match (first, number(first), last, number(last)) {
            ("", _, _, Some(suffix)) => (length.saturating_sub(suffix), length),
            (_, Some(first), "", _) => (first, length),
            (_, Some(first), _, Some(last)) if first <= last => (first, last),
            _ => return Self::Whole,
        };
        if first >= length {
            return Self::Unsatisfiable;
        }
        Self::Part(first..=last.min(length - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::RequestedRange::{Part, Unsatisfiable, Whole};
    use super::*;

    #[test]
    fn every_form_selects_the_bytes_that_s3_would() {
        for (header, length, wanted) in [
            ("bytes=0-0", 10, Part(0..=0)),
            ("bytes=2-5", 10, Part(2..=5)),
            ("bytes=2-99", 10, Part(2..=9)),
            ("bytes=9-", 10, Part(9..=9)),
            ("bytes=-3", 10, Part(7..=9)),
            ("bytes=-99", 10, Part(0..=9)),
            ("bytes=10-", 10, Unsatisfiable),
            ("bytes=-0", 10, Unsatisfiable),
            ("bytes=0-1", 0, Unsatisfiable),
            ("bytes=5-2", 10, Whole),
            ("bytes=0-1,3-4", 10, Whole),
            ("bytes=-", 10, Whole),
            ("lines=0-1", 10, Whole),
        ] {
            assert_eq!(
                RequestedRange::parse(header, length),
                wanted,
                "{header} of {length}"
            );
        }
    }
}
