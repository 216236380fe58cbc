//! The share of an object's plaintext that a response delivers: all of it, a range, or a part.
//!
//! A part goes by the number that it was uploaded under, gaps included, as in S3. Below 5 MiB that
//! number is not stored: the one part of such an upload is part 1, and so is an object that no
//! upload made.

use http::HeaderValue;
use s3proxy_envelope::layout::PlaintextRange;
use s3proxy_envelope::multipart::{PartNumber, Seal};
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::range::ByteRange;

use crate::failure::{Failure, Outcome};

/// Portion of the object that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestedPortion {
    Whole,
    Range(ByteRange),
    Part(PartNumber),
}

impl RequestedPortion {
    /// Refuses a range that begins beyond the plaintext.
    pub(crate) fn check(self, length: u64) -> Outcome<()> {
        match self {
            Self::Whole | Self::Part(_) => Ok(()),
            Self::Range(range) => match range.resolve(length) {
                Ok(_) => Ok(()),
                Err(_) => Err(Failure::Range(length)),
            },
        }
    }
}

/// How an object is made of parts.
#[derive(Clone, Copy)]
pub(crate) enum PartStructure<'a> {
    /// Not made by a multipart upload: `partNumber=1` is the whole object.
    None,
    /// A multipart upload below 5 MiB, which can have only one part.
    One,
    Listed(&'a Seal),
}

impl PartStructure<'_> {
    /// Number of parts, for `x-amz-mp-parts-count`.
    pub(crate) fn count(self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::One => Some(1),
            Self::Listed(seal) => Some(seal.frames().len()),
        }
    }
}

/// Portion of the plaintext in the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    Whole,
    Range(PlaintextRange),
    /// A part's bytes (`None` if it is empty), and the number of parts.
    Part(Option<PlaintextRange>, Option<usize>),
}

impl Delivery {
    /// Resolves a request against an object of `length` plaintext bytes.
    pub(crate) fn resolve(
        requested: RequestedPortion,
        length: u64,
        parts: PartStructure<'_>,
    ) -> Outcome<Self> {
        match requested {
            RequestedPortion::Whole => Ok(Self::Whole),
            RequestedPortion::Range(range) => {
                let range = range.resolve(length).map_err(|_| Failure::Range(length))?;
                let range = PlaintextRange::new(range.first, range.last);
                Ok(Self::Range(range.expect("a resolved range is in order")))
            }
            RequestedPortion::Part(number) => {
                let range = match (parts, number.get()) {
                    // An empty object has no last byte, and so no range.
                    (PartStructure::None | PartStructure::One, 1) => length
                        .checked_sub(1)
                        .and_then(|last| PlaintextRange::new(0, last)),
                    (PartStructure::Listed(seal), _) => part_range(seal, number)?,
                    (PartStructure::None | PartStructure::One, _) => return Err(no_such_part()),
                };
                Ok(Self::Part(range, parts.count()))
            }
        }
    }

    /// Bytes of the response, unless they are the whole object.
    pub(crate) fn range(self, length: u64) -> Option<PlaintextRange> {
        match self {
            Self::Whole => None,
            Self::Range(range) => Some(range),
            // An only part is the whole object, which is read without a range.
            Self::Part(range, _) => range.filter(|range| range.last - range.first + 1 < length),
        }
    }

    /// Number of plaintext bytes in the response.
    pub(crate) fn bytes(self, length: u64) -> u64 {
        match self {
            Self::Whole => length,
            Self::Range(range) | Self::Part(Some(range), _) => range.last - range.first + 1,
            Self::Part(None, _) => 0,
        }
    }
}

/// The bytes of a part; none where it is empty.
fn part_range(seal: &Seal, number: PartNumber) -> Outcome<Option<PlaintextRange>> {
    match part_index(seal, number) {
        Some(_) => Ok(seal.part_range(number)),
        None => Err(no_such_part()),
    }
}

/// Position of a part among those of its object, from 0.
pub(crate) fn part_index(seal: &Seal, number: PartNumber) -> Option<usize> {
    seal.frames().position(|frame| frame.number() == number)
}

fn no_such_part() -> Failure {
    Failure::Refused(S3Error::new(
        ErrorCode::InvalidPartNumber,
        "The requested partnumber is not satisfiable",
    ))
}

/// Makes a header value of digits and separators.
pub(crate) fn header_value(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).expect("digits and separators are a header value")
}

#[cfg(test)]
mod tests {
    use s3proxy_envelope::layout::PlaintextLength;
    use s3proxy_envelope::multipart::{Frame, Mark, SealFields, SealedPart};

    use super::*;

    const FIVE_MIB: u64 = 5 * 1024 * 1024;

    fn seal() -> Seal {
        let part = |(number, length)| SealedPart {
            frame: Frame::new(PartNumber::new(number).unwrap(), PlaintextLength(length)).unwrap(),
            mark: Mark::UNKNOWN,
            checksum: Vec::new(),
        };
        let parts = [(3, FIVE_MIB), (7, FIVE_MIB + 1), (10_000, 0)].map(part);
        Seal::new(SealFields::default(), &parts).unwrap()
    }

    fn delivered(
        requested: RequestedPortion,
        length: u64,
        parts: PartStructure<'_>,
    ) -> Result<Delivery, String> {
        Delivery::resolve(requested, length, parts).map_err(|failure| failure.to_string())
    }

    fn part(number: u16) -> RequestedPortion {
        RequestedPortion::Part(PartNumber::new(number).unwrap())
    }

    #[test]
    fn parts_go_by_the_numbers_that_they_were_uploaded_under() {
        let seal = seal();
        let (parts, length) = (PartStructure::Listed(&seal), seal.length().0);
        for (number, range) in [
            (3, PlaintextRange::new(0, FIVE_MIB - 1)),
            (7, PlaintextRange::new(FIVE_MIB, 2 * FIVE_MIB)),
            (10_000, None),
        ] {
            let delivery = delivered(part(number), length, parts);
            assert_eq!(delivery, Ok(Delivery::Part(range, Some(3))));
        }
        for number in [1, 2, 4, 9999] {
            let refused = delivered(part(number), length, parts).unwrap_err();
            assert!(refused.starts_with("InvalidPartNumber"), "{refused}");
        }
    }

    #[test]
    fn what_is_one_message_is_part_one() {
        for (parts, count) in [(PartStructure::None, None), (PartStructure::One, Some(1))] {
            let all = PlaintextRange::new(0, 99);
            let delivery = delivered(part(1), 100, parts).unwrap();
            assert_eq!(delivery, Delivery::Part(all, count));
            assert_eq!((delivery.range(100), delivery.bytes(100)), (None, 100));
            assert!(delivered(part(2), 100, parts).is_err());
            let empty = delivered(part(1), 0, parts).unwrap();
            assert_eq!((empty.range(0), empty.bytes(0)), (None, 0));
        }
    }
}
