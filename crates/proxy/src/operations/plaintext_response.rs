//! Answers to reads in plaintext terms: the portion that a client requests, and the response with
//! it.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use s3proxy_envelope::multipart::PartNumber;
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::range::RangeRequest;

use super::Job;
use crate::body::outbound::ResponseBody;
use crate::objects::delivery::{Delivery, RequestedPortion, header_value};

/// Whether the client requests checksums.
pub(super) fn wants_checksum(job: &Job<'_>) -> bool {
    job.request
        .headers
        .get("x-amz-checksum-mode")
        .is_some_and(|mode| mode.as_bytes().eq_ignore_ascii_case(b"ENABLED"))
}

/// Reads `Range` and `partNumber`. As in S3, an invalid range means the whole object, as do
/// several ranges.
pub(super) fn requested_portion(job: &Job<'_>) -> Result<RequestedPortion, S3Error> {
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
        (Some(number), None) => parse_part_number(number).map(RequestedPortion::Part),
        (None, Some(range)) => Ok(RequestedPortion::Range(range)),
        (None, None) => Ok(RequestedPortion::Whole),
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
    *response.status_mut() = status(delivery);
    *response.headers_mut() = headers;
    response
}

/// Status of the response. An empty part has no `Content-Range`, and so no 206 (RFC 9110,
/// section 15.3.7).
fn status(delivery: Delivery) -> StatusCode {
    match delivery {
        Delivery::Whole | Delivery::Part(None, _) => StatusCode::OK,
        Delivery::Range(_) | Delivery::Part(Some(_), _) => StatusCode::PARTIAL_CONTENT,
    }
}

#[cfg(test)]
mod tests {
    use s3proxy_envelope::layout::PlaintextRange;

    use super::*;

    #[test]
    fn a_response_names_its_bytes_and_the_length_of_the_object() {
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
            let response = respond(HeaderMap::new(), delivery, 20, ResponseBody::empty());
            let text = |name| {
                response
                    .headers()
                    .get(name)
                    .map(|value| value.to_str().unwrap())
            };
            assert_eq!(response.status(), status);
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
