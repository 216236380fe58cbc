//! `Range` headers, resolved against the length of the plaintext, and `Content-Range` in both
//! directions.
//!
//! Follows S3: a single range is served; for several ranges the response is the whole object; a
//! header that is not a byte range is ignored. A range that begins after the end, or a suffix of
//! length zero, is `InvalidRange`. The range of UploadPartCopy is stricter: both ends are required,
//! and inside the source.
//!
//! Lengths and offsets are those of the plaintext; this crate does not know stored lengths.

use std::fmt;

use crate::error::{ErrorCode, S3Error};

/// One range of a request, not yet resolved (RFC 9110, section 14.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// `first-last` or `first-`.
    First {
        /// Offset of the first byte.
        first: u64,
        /// Offset of the last byte (inclusive); `None` for the end of the object.
        last: Option<u64>,
    },
    /// `-length`: the last bytes of the object.
    Suffix {
        /// Number of bytes.
        length: u64,
    },
}

/// Parsed `Range` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeRequest {
    /// No header.
    None,
    /// One range.
    Single(ByteRange),
    /// Several ranges: the response is the whole object.
    Many,
    /// Not a byte range: the header is ignored.
    Invalid,
}

/// A range inside an object, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SatisfiableRange {
    /// Offset of the first byte.
    pub first: u64,
    /// Offset of the last byte, at least `first`.
    pub last: u64,
}

impl SatisfiableRange {
    /// Number of bytes, at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub fn len(&self) -> u64 {
        self.last - self.first + 1
    }
}

impl RangeRequest {
    /// Parses the value of the `Range` header.
    #[must_use]
    pub fn parse(value: Option<&str>) -> Self {
        let Some(value) = value else {
            return Self::None;
        };
        let Some((unit, ranges)) = value.trim().split_once('=') else {
            return Self::Invalid;
        };
        if !unit.eq_ignore_ascii_case("bytes") {
            return Self::Invalid;
        }
        let mut ranges = ranges.split(',').map(|range| parse_range(range.trim()));
        match (ranges.next().flatten(), ranges.next()) {
            (None, _) => Self::Invalid,
            (Some(range), None) => Self::Single(range),
            (Some(_), Some(second)) => {
                // One malformed range makes the whole header invalid (RFC 9110, section 14.2).
                if second.is_some() && ranges.all(|range| range.is_some()) {
                    Self::Many
                } else {
                    Self::Invalid
                }
            }
        }
    }
}

impl ByteRange {
    /// Resolves the range for an object of `length` bytes.
    ///
    /// Fails with `InvalidRange` if the object has no byte in the range.
    pub fn resolve(self, length: u64) -> Result<SatisfiableRange, S3Error> {
        // An empty object has no satisfiable range, not even `bytes=0-`.
        let end = length.checked_sub(1).ok_or_else(invalid_range)?;
        match self {
            Self::First { first, .. } if first > end => Err(invalid_range()),
            Self::First { first, last } => Ok(SatisfiableRange {
                first,
                last: last.map_or(end, |last| last.min(end)),
            }),
            Self::Suffix { length: 0 } => Err(invalid_range()),
            Self::Suffix { length: wanted } => Ok(SatisfiableRange {
                first: length.saturating_sub(wanted),
                last: end,
            }),
        }
    }
}

fn parse_range(text: &str) -> Option<ByteRange> {
    let (first, last) = text.split_once('-')?;
    match (first, last) {
        ("", length) => Some(ByteRange::Suffix {
            length: number(length)?,
        }),
        (first, "") => Some(ByteRange::First {
            first: number(first)?,
            last: None,
        }),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(ByteRange::First {
                first,
                last: Some(last),
            })
        }
    }
}

/// Parses digits only. Numbers beyond 64 bits saturate: no object is that long.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

fn invalid_range() -> S3Error {
    S3Error::new(
        ErrorCode::InvalidRange,
        "The requested range is not satisfiable.",
    )
}

/// A `Content-Range` header (RFC 9110, section 14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentRange {
    /// `bytes first-last/total`; the total may be unknown (`*`).
    Satisfied {
        /// Range of the bytes in the body.
        range: SatisfiableRange,
        /// Length of the whole object; `None` if unknown.
        total: Option<u64>,
    },
    /// `bytes */total`, in responses with status 416.
    Unsatisfied {
        /// Length of the whole object.
        total: u64,
    },
}

impl ContentRange {
    /// Parses the header's value; `None` if it is malformed or contradictory.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        // A saturated number is not exact, so it is refused here.
        let exact = |digits: &str| number(digits).filter(|number| *number != u64::MAX);
        let (range, total) = value
            .trim()
            .strip_prefix("bytes ")?
            .trim()
            .split_once('/')?;
        if range == "*" {
            let total = exact(total)?;
            return Some(Self::Unsatisfied { total });
        }
        let (first, last) = range.split_once('-')?;
        let (first, last) = (exact(first)?, exact(last)?);
        let total = match total {
            "*" => None,
            digits => Some(exact(digits)?),
        };
        let consistent = first <= last && total.is_none_or(|total| last < total);
        consistent.then_some(Self::Satisfied {
            range: SatisfiableRange { first, last },
            total,
        })
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Satisfied { range, total } => {
                write!(formatter, "bytes {}-{}/", range.first, range.last)?;
                match total {
                    Some(total) => write!(formatter, "{total}"),
                    None => formatter.write_str("*"),
                }
            }
            Self::Unsatisfied { total } => write!(formatter, "bytes */{total}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn first(first: u64, last: Option<u64>) -> RangeRequest {
        RangeRequest::Single(ByteRange::First { first, last })
    }

    #[test]
    fn reads_what_clients_send() {
        let huge = "9".repeat(40);
        for (value, expected) in [
            ("bytes=0-0", first(0, Some(0))),
            ("bytes=5-", first(5, None)),
            ("Bytes=5-9", first(5, Some(9))),
            ("bytes= 5-9 ", first(5, Some(9))),
            (
                "bytes=-7",
                RangeRequest::Single(ByteRange::Suffix { length: 7 }),
            ),
            ("bytes=0-1,4-5", RangeRequest::Many),
            ("bytes=0-1, -5, 7-", RangeRequest::Many),
            ("bytes=9-5", RangeRequest::Invalid),
            ("bytes=-", RangeRequest::Invalid),
            ("bytes=", RangeRequest::Invalid),
            ("bytes=a-b", RangeRequest::Invalid),
            ("bytes=+1-2", RangeRequest::Invalid),
            ("bytes=1--2", RangeRequest::Invalid),
            ("bytes=0-1,x", RangeRequest::Invalid),
            ("items=0-1", RangeRequest::Invalid),
            ("bytes", RangeRequest::Invalid),
            ("", RangeRequest::Invalid),
        ] {
            assert_eq!(RangeRequest::parse(Some(value)), expected, "{value}");
        }
        assert_eq!(RangeRequest::parse(None), RangeRequest::None);
        assert_eq!(
            RangeRequest::parse(Some(&format!("bytes=0-{huge}"))),
            first(0, Some(u64::MAX))
        );
    }

    /// The slice of an object that a header asks for; `None` for the whole object.
    fn resolved(request: RangeRequest, length: u64) -> Result<Option<SatisfiableRange>, S3Error> {
        match request {
            RangeRequest::None | RangeRequest::Many | RangeRequest::Invalid => Ok(None),
            RangeRequest::Single(range) => range.resolve(length).map(Some),
        }
    }

    #[test]
    fn resolves_against_the_length() {
        for (value, length, expected) in [
            ("bytes=0-0", 1, Some((0, 0))),
            ("bytes=0-99", 10, Some((0, 9))),
            ("bytes=9-", 10, Some((9, 9))),
            ("bytes=-3", 10, Some((7, 9))),
            ("bytes=-30", 10, Some((0, 9))),
            ("bytes=0-1,3-4", 10, None),
            ("nonsense", 10, None),
            ("nonsense", 0, None),
        ] {
            let found = resolved(RangeRequest::parse(Some(value)), length).unwrap();
            assert_eq!(
                found.map(|range| (range.first, range.last)),
                expected,
                "{value}"
            );
        }
    }

    #[test]
    fn refuses_a_range_without_a_byte() {
        for (value, length) in [
            ("bytes=10-", 10),
            ("bytes=-0", 10),
            ("bytes=0-", 0),
            ("bytes=-1", 0),
        ] {
            let error = resolved(RangeRequest::parse(Some(value)), length).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidRange, "{value} of {length}");
        }
    }

    #[test]
    fn content_range_reads_back_what_it_writes() {
        for value in ["bytes 0-9/10", "bytes 5-5/*", "bytes */10", "bytes */0"] {
            assert_eq!(ContentRange::parse(value).unwrap().to_string(), value);
        }
    }

    #[test]
    fn content_range_refuses_contradictions() {
        for value in [
            "bytes 5-4/10",
            "bytes 0-10/10",
            "bytes */*",
            "bytes 0-9",
            "0-9/10",
            "bytes -9/10",
            "bytes 0-/10",
            "bytes 0-18446744073709551615/*",
            "bytes 0-99999999999999999999/*",
        ] {
            assert_eq!(ContentRange::parse(value), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn a_resolved_range_is_the_slice_that_was_asked_for(
            length in 0_u64..200,
            start in 0_u64..250,
            extra in 0_u64..250,
        ) {
            let bytes: Vec<u64> = (0..length).collect();
            let closed = RangeRequest::parse(Some(&format!("bytes={start}-{}", start + extra)));
            let wanted: Vec<u64> = bytes.iter().copied().filter(|at| (start..=start + extra).contains(at)).collect();
            check(&bytes, closed, &wanted)?;
            let suffix = RangeRequest::parse(Some(&format!("bytes=-{extra}")));
            let wanted: Vec<u64> = bytes.iter().copied().filter(|at| at + extra >= length).collect();
            check(&bytes, suffix, &wanted)?;
        }
    }

    fn check(bytes: &[u64], request: RangeRequest, wanted: &[u64]) -> Result<(), TestCaseError> {
        match resolved(request, bytes.len() as u64) {
            Ok(range) => {
                let range = range.expect("one range was asked for");
                let (from, to) = (range.first, range.last);
                let found: Vec<u64> = bytes
                    .iter()
                    .copied()
                    .filter(|at| (from..=to).contains(at))
                    .collect();
                prop_assert_eq!(found.as_slice(), wanted);
                prop_assert_eq!(range.len(), wanted.len() as u64);
            }
            Err(_) => prop_assert!(wanted.is_empty()),
        }
        Ok(())
    }
}
