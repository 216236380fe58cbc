//! What of an object's plaintext an answer delivers: all of it, a range, or a part.
//!
//! Parts are counted from 1 in the order of the object, as `x-amz-mp-parts-count` counts them, and
//! not by the numbers that they were uploaded under: S3 allows gaps between those, and clients that
//! download part by part ask for 1 up to the count.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use s3proxy_envelope::layout::PlaintextRange;
use s3proxy_envelope::multipart::{PartNumber, Seal};
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::range::{ByteRange, RangeRequest};

use super::{Job, Outcome};
use crate::body::outbound::ResponseBody;
use crate::respond::Failure;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Whole,
    Range(ByteRange),
    /// Counted from 1.
    Part(PartNumber),
}

impl Asked {
    /// Malformed and multiple ranges mean the whole object, as S3 has it.
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

/// Which parts an object has.
#[derive(Clone, Copy)]
pub(super) enum Parts<'a> {
    /// Not made by a multipart upload: all of it stands for part 1.
    None,
    /// A multipart upload below 5 MiB, which can have one part only.
    One,
    Listed(&'a Seal),
}

impl Parts<'_> {
    /// `x-amz-mp-parts-count`.
    pub(super) fn count(self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::One => Some(1),
            Self::Listed(seal) => Some(seal.frames().len()),
        }
    }
}

/// What of the plaintext goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    Whole,
    Range(PlaintextRange),
    /// A part, and how many there are.
    Part(Option<PlaintextRange>, Option<usize>),
}

impl Delivery {
    /// What a request asks of an object of `length` plaintext bytes.
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
                    (Parts::None | Parts::One, 1) => length
                        .checked_sub(1)
                        .and_then(|last| PlaintextRange::new(0, last)),
                    (Parts::Listed(seal), number) => part_range(seal, number)?,
                    (Parts::None | Parts::One, _) => return Err(no_such_part()),
                };
                Ok(Self::Part(range, parts.count()))
            }
        }
    }

    /// The bytes that go out, where they are less than all.
    pub(super) fn range(self, length: u64) -> Option<PlaintextRange> {
        match self {
            Self::Whole => None,
            Self::Range(range) => Some(range),
            Self::Part(range, _) => range.filter(|range| range.last - range.first + 1 < length),
        }
    }

    /// How many bytes go out.
    pub(super) fn bytes(self, length: u64) -> u64 {
        match self {
            Self::Whole => length,
            Self::Range(range) | Self::Part(Some(range), _) => range.last - range.first + 1,
            Self::Part(None, _) => 0,
        }
    }

    /// An empty part has no `Content-Range`, and so no 206 (RFC 9110, section 15.3.7).
    fn status(self) -> StatusCode {
        match self {
            Self::Whole | Self::Part(None, _) => StatusCode::OK,
            Self::Range(_) | Self::Part(Some(_), _) => StatusCode::PARTIAL_CONTENT,
        }
    }
}

/// The bytes of a part, counted from 1; none where it is empty.
fn part_range(seal: &Seal, number: u16) -> Outcome<Option<PlaintextRange>> {
    let index = usize::from(number) - 1;
    let frame = seal.frames().nth(index).ok_or_else(no_such_part)?;
    Ok(seal.part_range(frame.number()))
}

fn no_such_part() -> Failure {
    Failure::Refused(S3Error::new(
        ErrorCode::InvalidPartNumber,
        "The requested partnumber is not satisfiable",
    ))
}

/// The answer, in plaintext terms and always with a length.
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

/// A header value of digits and separators.
pub(super) fn header_value(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).expect("digits and separators are a header value")
}
