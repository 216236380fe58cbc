//! What of an object's plaintext an answer delivers: all of it, a range, or a part.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use s3proxy_envelope::layout::PlaintextRange;
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::range::ByteRange;

use super::{Job, Outcome};
use crate::body::outbound::ResponseBody;
use crate::respond::Failure;

/// What of the plaintext goes out.
pub(super) struct Delivery {
    status: StatusCode,
    /// `None`: all of it.
    pub(super) range: Option<PlaintextRange>,
}

impl Delivery {
    /// What the request asks of an object of `length` plaintext bytes.
    pub(super) fn of(job: &Job<'_>, requested: Option<ByteRange>, length: u64) -> Outcome<Self> {
        if let Some(part) = job.request.query.get("partNumber") {
            return Self::of_part(part, length);
        }
        let Some(range) = requested else {
            return Ok(Self {
                status: StatusCode::OK,
                range: None,
            });
        };
        let range = range.resolve(length).map_err(|_| Failure::Range(length))?;
        Ok(Self {
            status: StatusCode::PARTIAL_CONTENT,
            range: PlaintextRange::new(range.first, range.last),
        })
    }

    /// An object that no multipart upload made has one part.
    fn of_part(part: &str, length: u64) -> Outcome<Self> {
        if part != "1" {
            return Err(Failure::Refused(S3Error::new(
                ErrorCode::InvalidPartNumber,
                "The requested partnumber is not satisfiable",
            )));
        }
        let status = if length == 0 {
            StatusCode::OK
        } else {
            StatusCode::PARTIAL_CONTENT
        };
        Ok(Self {
            status,
            range: None,
        })
    }

    /// How many bytes go out.
    pub(super) fn bytes(&self, length: u64) -> u64 {
        self.range
            .map_or(length, |range| range.last - range.first + 1)
    }

    fn content_range(&self, length: u64) -> Option<String> {
        let (first, last) = match (self.status, self.range) {
            (_, Some(range)) => (range.first, range.last),
            (StatusCode::PARTIAL_CONTENT, None) => (0, length - 1),
            (_, None) => return None,
        };
        Some(format!("bytes {first}-{last}/{length}"))
    }
}

/// The answer, in plaintext terms and always with a length.
pub(super) fn respond(
    mut headers: HeaderMap,
    delivery: &Delivery,
    length: u64,
    body: ResponseBody,
) -> Response<ResponseBody> {
    headers.insert(header::CONTENT_LENGTH, delivery.bytes(length).into());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(range) = delivery.content_range(length) {
        headers.insert(header::CONTENT_RANGE, header_value(&range));
    }
    let mut response = Response::new(body);
    *response.status_mut() = delivery.status;
    *response.headers_mut() = headers;
    response
}

/// A header value of digits and separators.
pub(super) fn header_value(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).expect("digits and separators are a header value")
}
