//! Requests that are sent again, and requests that never are.

use std::time::Duration;

use http::{HeaderValue, Method, StatusCode};

use super::signature::assert_signed;
use super::support::{
    SECRET_KEY, Server, backend_at, backend_with, get, held, put, response, settings, streamed,
    text,
};
use crate::backend::{Request, RequestBody};

/// A server that returns `status` for the first request and 200 for the others.
async fn failing_once(status: &'static str) -> Server {
    Server::start(move |number, _| match number {
        0 => response(status, &[], "<Error/>"),
        _ => response("200 OK", &[], "body"),
    })
    .await
}

async fn requests_for(status: &'static str, request: Request) -> (StatusCode, usize) {
    let server = failing_once(status).await;
    let backend = backend_at(server.address).await;
    let response = backend.send(request).await.unwrap();
    for seen in server.seen() {
        assert_signed(&seen, SECRET_KEY);
    }
    (response.status(), server.seen().len())
}

fn conditional_put() -> Request {
    let mut request = put("k", held("content"));
    request
        .headers
        .insert("if-none-match", HeaderValue::from_static("*"));
    request
}

#[tokio::test]
async fn responses_that_call_for_a_retry_get_one() {
    let ok = (StatusCode::OK, 2);
    for status in [
        "500 Internal Server Error",
        "502 Bad Gateway",
        "503 Slow Down",
        "504 Gateway Timeout",
        "429 Too Many Requests",
    ] {
        assert_eq!(requests_for(status, get("k")).await, ok, "{status}");
        let write = put("k", held("content"));
        assert_eq!(requests_for(status, write).await, ok, "{status}");
    }
}

#[tokio::test]
async fn final_responses_are_passed_on_at_once() {
    for status in [
        "404 Not Found",
        "403 Forbidden",
        "412 Failed",
        "501 Not Implemented",
    ] {
        let (status, requests) = requests_for(status, get("k")).await;
        assert_ne!(status, StatusCode::OK);
        assert_eq!(requests, 1, "{status}");
    }
}

#[tokio::test]
async fn a_stream_is_never_sent_twice() {
    let request = put("k", streamed(7, &["content"], None));
    assert_eq!(
        requests_for("503 Slow Down", request).await,
        (StatusCode::SERVICE_UNAVAILABLE, 1)
    );
}

#[tokio::test]
async fn a_conditional_write_is_retried_only_if_it_cannot_have_been_executed() {
    // 503 says that nothing was done.
    assert_eq!(
        requests_for("503 Slow Down", conditional_put()).await,
        (StatusCode::OK, 2)
    );
    assert_eq!(
        requests_for("500 Internal Server Error", conditional_put()).await,
        (StatusCode::INTERNAL_SERVER_ERROR, 1)
    );
}

#[tokio::test]
async fn the_last_response_is_passed_on_when_attempts_run_out() {
    let server = Server::start(|number, _| {
        response(
            "503 Slow Down",
            &[("x-amz-request-id", &number.to_string())],
            "later",
        )
    })
    .await;
    let backend = backend_at(server.address).await;
    let response = backend.send(get("k")).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    // Requests are numbered from 0, so this is the third.
    assert_eq!(response.headers()["x-amz-request-id"], "2");
    assert_eq!(text(response).await.unwrap(), "later");
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn all_requests_share_one_budget() {
    let server = Server::start(|_, _| response("503 Slow Down", &[], "")).await;
    let mut settings = settings(server.address);
    settings.retry.budget = 3;
    let backend = backend_with(settings).await;
    for _ in 0..4 {
        backend.send(get("k")).await.unwrap();
    }
    // Four first attempts, and three repetitions that the budget allows.
    assert_eq!(server.seen().len(), 4 + 3);
}

#[tokio::test]
async fn retry_after_is_waited_for_within_the_longest_pause() {
    let server = Server::start(|number, _| match number {
        0 => response("503 Slow Down", &[("Retry-After", "600")], ""),
        _ => response("200 OK", &[], ""),
    })
    .await;
    let mut settings = settings(server.address);
    // The server asks for ten minutes; the longest pause limits them.
    settings.retry.max_delay = Duration::from_millis(150);
    let backend = backend_with(settings).await;
    let started = std::time::Instant::now();
    backend.send(get("k")).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn a_post_without_body_is_repeated() {
    let mut request = Request::new(Method::POST, Some("bucket"), Some("k"));
    // At worst, a repeated CreateMultipartUpload leaves an unused upload.
    request.query = vec![("uploads".to_owned(), None)];
    request.body = RequestBody::Empty;
    assert_eq!(
        requests_for("500 Internal Server Error", request).await,
        (StatusCode::OK, 2)
    );
}
