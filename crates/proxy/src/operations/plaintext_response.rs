//! Answers to reads in plaintext terms: the portion that a client requests, and the response with
//! it.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use s3proxy_protocol::headers::{CHECKSUM_MODE, PARTS_COUNT};

use super::Job;
use crate::body::outbound::ResponseBody;
use crate::objects::delivery::{Delivery, header_value};

/// Whether the client requests checksums.
pub(super) fn wants_checksum(job: &Job<'_>) -> bool {
    job.request
        .headers
        .get(CHECKSUM_MODE)
        .is_some_and(|mode| mode.as_bytes().eq_ignore_ascii_case(b"ENABLED"))
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
        headers.insert(PARTS_COUNT, count.into());
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
    use s3proxy_protocol::headers;

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
            let text = |name| headers::text(response.headers(), name);
            assert_eq!(response.status(), status);
            assert_eq!(text("content-range"), content_range);
            assert_eq!(text("x-amz-mp-parts-count"), count);
            assert_eq!(
                text("content-length"),
                Some(&*delivery.bytes(20).to_string())
            );
        }
    }
}
