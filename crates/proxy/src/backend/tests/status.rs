//! A response has a status that S3 defines for the request, or it is an error.

use http::{HeaderValue, Method, header};

use super::support::{Server, backend_at, get, response};
use crate::backend::{BackendError, Request};

/// Returns the status that is passed on, or the one that was refused.
async fn outcome(line: &'static str, request: Request) -> Result<u16, u16> {
    let server = Server::start(move |_, _| response(line, &[], "")).await;
    match backend_at(server.address).await.send(request).await {
        Ok(response) => Ok(response.status().as_u16()),
        Err(BackendError::Status { status, .. }) => Err(status),
        Err(error) => panic!("{line}: {error}"),
    }
}

#[tokio::test]
async fn a_success_that_s3_does_not_define_for_the_request_is_an_error() {
    for (line, status) in [
        ("201 Created", 201),
        ("202 Accepted", 202),
        ("203 Non-Authoritative Information", 203),
        ("204 No Content", 204),
        ("205 Reset Content", 205),
        // For a request without a range.
        ("206 Partial Content", 206),
        ("207 Multi-Status", 207),
        ("226 IM Used", 226),
        ("299 Whatever", 299),
        ("300 Multiple Choices", 300),
        ("303 See Other", 303),
        ("304 Not Modified", 304),
        ("399 Whatever", 399),
        ("600 Whatever", 600),
        ("999 Whatever", 999),
    ] {
        assert_eq!(outcome(line, get("k")).await, Err(status));
    }
    assert_eq!(outcome("200 OK", get("k")).await, Ok(200));
    assert_eq!(outcome("404 Not Found", get("k")).await, Ok(404));
    let deletion = || Request::new(Method::DELETE, Some("bucket"), Some("k"));
    assert_eq!(outcome("204 No Content", deletion()).await, Ok(204));
    assert_eq!(outcome("202 Accepted", deletion()).await, Err(202));
}

#[tokio::test]
async fn a_206_and_a_304_are_accepted_if_requested() {
    let with = |name, value| {
        let mut request = get("k");
        request
            .headers
            .insert(name, HeaderValue::from_static(value));
        request
    };
    let ranged = with(header::RANGE, "bytes=0-1");
    assert_eq!(outcome("206 Partial Content", ranged).await, Ok(206));
    let conditional = with(header::IF_NONE_MATCH, "\"e\"");
    assert_eq!(outcome("304 Not Modified", conditional).await, Ok(304));
}
