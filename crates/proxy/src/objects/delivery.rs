//! The share of an object's plaintext that a response delivers: all of it, a range, or a part.
//!
//! A part goes by the number that it was uploaded under, gaps included, as in S3. Below 5 MiB that
//! number is not stored: the one part of such an upload is part 1, and so is an object that no
//! upload made.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use s3proxy_envelope::layout::PlaintextRange;
use s3proxy_envelope::multipart::{PartNumber, Seal};
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::range::{ByteRange, RangeRequest};

use super::{Job, Outcome};
use crate::body::outbound::ResponseBody;
use crate::respond::Failure;

/// Portion of the object that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Whole,
    Range(ByteRange),
    Part(PartNumber),
}

impl Asked {
    /// Reads `Range` and `partNumber`. As in S3, an invalid range means the whole object, as do
    /// several ranges.
    pub(super) fn of(job: &Job<'_>) -> Result<Self, S3Error> {
        let text = job.request.headers.get(header::RANGE);
        let range = match RangeRequest::parse(text.and_then(|value| value.to_str().ok())) {
            RangeRequest::Single(range) => Some(range),
            RangeRequest::None | RangeRequest::Many | RangeRequest::Invalid => None,
        };
        match (job.request.query.get("partNumber"), range) {
            (Some(_), Some(_)) => Err(S3Error::new(
                ErrorCode::InvalidRequest,
                "Cannot specify both Range header and partNumber query parameter",
            )),
            (Some(number), None) => parse_part_number(number).map(Self::Part),
            (None, Some(range)) => Ok(Self::Range(range)),
            (None, None) => Ok(Self::Whole),
        }
    }

    /// Refuses a range that begins beyond the plaintext.
    pub(super) fn check(self, length: u64) -> Outcome<()> {
        match self {
            Self::Whole | Self::Part(_) => Ok(()),
            Self::Range(range) => match range.resolve(length) {
                Ok(_) => Ok(()),
                Err(_) => Err(Failure::Range(length)),
            },
        }
    }
}

fn parse_part_number(text: &str) -> Result<PartNumber, S3Error> {
    let number = text.parse().ok().and_then(PartNumber::new);
    number.ok_or_else(|| {
        S3Error::new(
            ErrorCode::InvalidArgument,
            "Part number must be an integer between 1 and 10000, inclusive",
        )
    })
}

/// Parts that an object has.
#[derive(Clone, Copy)]
pub(super) enum Parts<'a> {
    /// Not made by a multipart upload: `partNumber=1` is the whole object.
    None,
    /// A multipart upload below 5 MiB, which can have only one part.
    One,
    Listed(&'a Seal),
}

impl Parts<'_> {
    /// Number of parts, for `x-amz-mp-parts-count`.
    pub(super) fn count(self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::One => Some(1),
            Self::Listed(seal) => Some(seal.frames().len()),
        }
    }
}

/// Portion of the plaintext in the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    Whole,
    Range(PlaintextRange),
    /// A part's bytes (`None` if it is empty), and the number of parts.
    Part(Option<PlaintextRange>, Option<usize>),
}

impl Delivery {
    /// Resolves a request against an object of `length` plaintext bytes.
    pub(super) fn of(asked: Asked, length: u64, parts: Parts<'_>) -> Outcome<Self> {
        match asked {
            Asked::Whole => Ok(Self::Whole),
            Asked::Range(range) => {
                let range = range.resolve(length).map_err(|_| Failure::Range(length))?;
                let range = PlaintextRange::new(range.first, range.last);
                Ok(Self::Range(range.expect("a resolved range is in order")))
            }
            Asked::Part(number) => {
                let range = match (parts, number.get()) {
                    // An empty object has no last byte, and so no range.
                    (Parts::None | Parts::One, 1) => length
                        .checked_sub(1)
                        .and_then(|last| PlaintextRange::new(0, last)),
                    (Parts::Listed(seal), _) => part_range(seal, number)?,
                    (Parts::None | Parts::One, _) => return Err(no_such_part()),
                };
                Ok(Self::Part(range, parts.count()))
            }
        }
    }

    /// Bytes of the response, unless they are the whole object.
    pub(super) fn range(self, length: u64) -> Option<PlaintextRange> {
        match self {
            Self::Whole => None,
            Self::Range(range) => Some(range),
            // An only part is the whole object, which is read without a range.
            Self::Part(range, _) => range.filter(|range| range.last - range.first + 1 < length),
        }
    }

    /// Number of plaintext bytes in the response.
    pub(super) fn bytes(self, length: u64) -> u64 {
        match self {
            Self::Whole => length,
            Self::Range(range) | Self::Part(Some(range), _) => range.last - range.first + 1,
            Self::Part(None, _) => 0,
        }
    }

    /// Status of the response. An empty part has no `Content-Range`, and so no 206 (RFC 9110,
    /// section 15.3.7).
    fn status(self) -> StatusCode {
        match self {
            Self::Whole | Self::Part(None, _) => StatusCode::OK,
            Self::Range(_) | Self::Part(Some(_), _) => StatusCode::PARTIAL_CONTENT,
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
pub(super) fn part_index(seal: &Seal, number: PartNumber) -> Option<usize> {
    seal.frames().position(|frame| frame.number() == number)
}

fn no_such_part() -> Failure {
    Failure::Refused(S3Error::new(
        ErrorCode::InvalidPartNumber,
        "The requested partnumber is not satisfiable",
    ))
}

/// Response in plaintext terms, always with a length.
pub(super) fn respond(
    mut headers: HeaderMap,
    delivery: Delivery,
    length: u64,
    body: ResponseBody,
) -> Response<ResponseBody> {
    headers.insert(header::CONTENT_LENGTH, delivery.bytes(length).into());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Delivery::Range(range) | Delivery::Part(Some(range), _) = delivery {
        let range = format!("bytes {}-{}/{length}", range.first, range.last);
        headers.insert(header::CONTENT_RANGE, header_value(&range));
    }
    if let Delivery::Part(_, Some(count)) = delivery {
        headers.insert("x-amz-mp-parts-count", count.into());
    }
    let mut response = Response::new(body);
    *response.status_mut() = delivery.status();
    *response.headers_mut() = headers;
    response
}

/// Makes a header value of digits and separators.
pub(super) fn header_value(text: &str) -> HeaderValue {
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

    fn delivered(asked: Asked, length: u64, parts: Parts<'_>) -> Result<Delivery, String> {
        Delivery::of(asked, length, parts).map_err(|failure| failure.to_string())
    }

    fn part(number: u16) -> Asked {
        Asked::Part(PartNumber::new(number).unwrap())
    }

    #[test]
    fn parts_go_by_the_numbers_that_they_were_uploaded_under() {
        let seal = seal();
        let (parts, length) = (Parts::Listed(&seal), seal.length().0);
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
        for (parts, count) in [(Parts::None, None), (Parts::One, Some(1))] {
            let all = PlaintextRange::new(0, 99);
            let delivery = delivered(part(1), 100, parts).unwrap();
            assert_eq!(delivery, Delivery::Part(all, count));
            assert_eq!((delivery.range(100), delivery.bytes(100)), (None, 100));
            assert!(delivered(part(2), 100, parts).is_err());
            let empty = delivered(part(1), 0, parts).unwrap();
            assert_eq!((empty.status(), empty.bytes(0)), (StatusCode::OK, 0));
        }
    }

    #[test]
    fn an_answer_says_which_bytes_of_how_many_it_has() {
        let range = PlaintextRange::new(5, 9);
        for (delivery, status, content_range, count) in [
            (Delivery::Whole, 200, None, None),
            (
                Delivery::Range(range.unwrap()),
                206,
                Some("bytes 5-9/20"),
                None,
            ),
            (
                Delivery::Part(range, Some(3)),
                206,
                Some("bytes 5-9/20"),
                Some("3"),
            ),
            (Delivery::Part(None, Some(3)), 200, None, Some("3")),
        ] {
            let answer = respond(HeaderMap::new(), delivery, 20, ResponseBody::empty());
            let text = |name| {
                answer
                    .headers()
                    .get(name)
                    .map(|value| value.to_str().unwrap())
            };
            assert_eq!(answer.status(), status);
            assert_eq!(text("content-range"), content_range);
            assert_eq!(text("x-amz-mp-parts-count"), count);
            assert_eq!(
                text("content-length"),
                Some(&*delivery.bytes(20).to_string())
            );
        }
    }

    #[test]
    fn part_numbers_are_integers_from_1_to_10000() {
        for text in ["", "0", "-1", "10001", "1.0", "x", " 1"] {
            assert!(parse_part_number(text).is_err(), "{text:?}");
        }
        assert_eq!(parse_part_number("10000"), Ok(PartNumber::MAX));
    }
}
