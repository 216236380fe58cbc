//! PostObject: upload by a browser's form.
//!
//! The policy has been checked, and the fields are the headers of a PutObject. The file remains: it
//! is sealed and stored like the body of a PutObject, followed by the response that the form asked
//! for.
//!
//! The exact length of a file has to be known before it can stream, but the length of the form
//! leaves open whether a line break follows the closing delimiter. Small files are held, and both
//! endings are accepted. For large ones the line break is expected, since browsers send it, and the
//! form is refused at its end if it is missing.
//!
//! The backend sees a PUT, and would apply its CORS rules for PUT to the page's origin. The proxy
//! therefore sends a preflight of its own, to learn the rules for POST.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, ETAG, LOCATION};
use http::{HeaderValue, Response, StatusCode};
use s3proxy_protocol::header_rules;
use s3proxy_protocol::headers;
use s3proxy_protocol::payload::PayloadExpectation;
use s3proxy_protocol::post::{FileBounds, FileDecoder, LengthRange, PostError, SuccessAction};
use s3proxy_protocol::xml::post_response::{PostResponse, post_response};

use crate::auth::PostedForm;
use crate::body::inbound::Inbound;
use crate::body::outbound::ResponseBody;
use crate::failure::Outcome;
use crate::operations::Job;
use crate::operations::put_object::{self, Upload};
use crate::operations::request_body::BodySlot;

/// Seals the form's file and stores it.
pub(crate) async fn post_object(
    job: &Job<'_>,
    body: &mut BodySlot,
) -> Outcome<Response<ResponseBody>> {
    let form = body.form.take();
    let form = form.expect("the gate lets in no form whose fields were not read");
    let expected = expected_length(form.bounds, form.range, job.call.store.held_body_bytes)
        .map_err(|error| error.s3_error())?;
    // A held file is checked when its length is known.
    put_object::check_configured_length(job, expected.exactly().unwrap_or_default())?;
    put_object::check_length(expected.at_most())?;
    let headers = &job.request.headers;
    let expectation = PayloadExpectation::from_headers(headers, &job.request.payload)
        .map_err(|error| error.s3_error())?;
    let checksum = expectation
        .known_checksum()
        .map(|(algorithm, value)| (algorithm, value.clone()));
    let outgoing = put_object::outgoing_headers(job)?;
    let PostedForm {
        boundary,
        range,
        first,
        success,
        location,
        bounds: _,
    } = form;
    let upload = Upload {
        inbound: Inbound::form(
            body.take().incoming,
            first,
            FileDecoder::new(&boundary, expected.exactly(), range),
            expectation.verifier(),
            job.services.patience.clone(),
            Arc::clone(&job.record.received),
        ),
        length: expected.at_most(),
        checksum,
    };
    let stored = put_object::store(job, upload, outgoing).await?;
    Ok(answer_to_form(job, &stored, &success, &location))
}

/// Length of the file, as far as it is known before it is read, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExpectedLength {
    /// The file is held, and measured once it arrived: fields and an epilogue may follow it.
    AtMost(u64),
    Exactly(u64),
}

impl ExpectedLength {
    fn at_most(self) -> u64 {
        match self {
            Self::AtMost(length) | Self::Exactly(length) => length,
        }
    }

    fn exactly(self) -> Option<u64> {
        match self {
            Self::AtMost(_) => None,
            Self::Exactly(length) => Some(length),
        }
    }
}

/// Determines the length, and refuses one that the policy cannot allow before the file is read.
fn expected_length(
    bounds: FileBounds,
    range: LengthRange,
    held_body_bytes: u64,
) -> Result<ExpectedLength, PostError> {
    let longest = bounds.without_line_break;
    range.check_shortest(longest)?;
    if longest <= held_body_bytes {
        return Ok(ExpectedLength::AtMost(longest));
    }
    let length = bounds.with_line_break.unwrap_or(longest);
    range.check(length)?;
    Ok(ExpectedLength::Exactly(length))
}

/// Turns the response to PutObject into the one that the form asked for.
fn answer_to_form(
    job: &Job<'_>,
    stored: &Response<ResponseBody>,
    success: &SuccessAction,
    location: &str,
) -> Response<ResponseBody> {
    let (bucket, object_key) = (job.bucket().as_str(), job.object().key.as_str());
    let mut headers = stored.headers().clone();
    // Of a PUT that no page sent; the page sent a POST.
    header_rules::remove_cors(&mut headers);
    let etag = headers::text(&headers, ETAG).unwrap_or_default().to_owned();
    let mut content = ResponseBody::empty();
    let (status, location) = match success {
        SuccessAction::Redirect(target) => {
            let url = target.with_result(bucket, object_key, &etag);
            (StatusCode::SEE_OTHER, url)
        }
        SuccessAction::Status(status) => {
            if *status == StatusCode::CREATED {
                let xml = HeaderValue::from_static("application/xml");
                headers.insert(CONTENT_TYPE, xml);
                content = ResponseBody::held(post_response(&PostResponse {
                    location,
                    bucket,
                    key: object_key,
                    etag: &etag,
                }));
            }
            (*status, location.to_owned())
        }
    };
    if let Ok(location) = HeaderValue::try_from(location) {
        headers.insert(LOCATION, location);
    }
    let mut response = Response::new(content);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELD: u64 = 1000;

    fn bounds(length: u64) -> FileBounds {
        FileBounds {
            with_line_break: length.checked_sub(2),
            without_line_break: length,
        }
    }

    #[test]
    fn small_files_are_held_and_large_ones_end_in_a_line_break() {
        for (longest, expected) in [
            (0, ExpectedLength::AtMost(0)),
            (HELD, ExpectedLength::AtMost(HELD)),
            (HELD + 1, ExpectedLength::Exactly(HELD - 1)),
        ] {
            let any = LengthRange::ANY;
            assert_eq!(expected_length(bounds(longest), any, HELD), Ok(expected));
        }
    }

    #[test]
    fn what_the_policy_cannot_allow_is_refused_at_once() {
        let range = LengthRange::new(10, 2000);
        for (longest, expected) in [
            (9, Err(PostError::TooSmall(10))),
            (10, Ok(ExpectedLength::AtMost(10))),
            (2002, Ok(ExpectedLength::Exactly(2000))),
            (2003, Err(PostError::TooLarge(2000))),
        ] {
            assert_eq!(expected_length(bounds(longest), range, HELD), expected);
        }
        // Most of it may stand behind the file.
        let small = LengthRange::new(0, 5);
        assert_eq!(
            expected_length(bounds(8), small, HELD),
            Ok(ExpectedLength::AtMost(8))
        );
        let large = LengthRange::new(2000, 3000);
        assert_eq!(
            expected_length(bounds(2001), large, HELD),
            Err(PostError::TooSmall(2000))
        );
    }
}
