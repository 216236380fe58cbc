//! Redirects are followed once, inside the backend's domain, and permanent ones remembered.

use http::StatusCode;

use super::signature::assert_signed;
use super::support::{
    Reply, SECRET_KEY, Server, backend_at, get, held, put, response, streamed, text,
};
use crate::backend::BackendError;

/// A server that redirects requests to another region.
async fn in_region(status: &'static str, region: &'static str) -> Server {
    Server::start(move |_, seen| {
        if seen
            .header("authorization")
            .contains(&format!("/{region}/s3/"))
        {
            response("200 OK", &[], "here")
        } else {
            response(status, &[("x-amz-bucket-region", region)], "<Error/>")
        }
    })
    .await
}

#[tokio::test]
async fn a_redirected_request_is_signed_for_the_other_region() {
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let server = in_region(status, "us-west-2").await;
        let backend = backend_at(server.address).await;
        let response = backend.send(put("k", held("content"))).await.unwrap();
        assert_eq!(text(response).await.unwrap(), "here");
        let seen = server.seen();
        assert_eq!(seen.len(), 2, "{status}");
        assert_eq!(seen[1].body, b"content");
        assert_signed(&seen[1], SECRET_KEY);
    }
}

#[tokio::test]
async fn permanent_redirects_are_remembered_and_temporary_ones_are_not() {
    // Of two requests, only the first is redirected, or both are.
    for (status, requests) in [("301 Moved Permanently", 3), ("307 Temporary Redirect", 4)] {
        let server = in_region(status, "us-west-2").await;
        let backend = backend_at(server.address).await;
        for _ in 0..2 {
            let response = backend.send(get("k")).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
        }
        assert_eq!(server.seen().len(), requests, "{status}");
    }
}

async fn refused(script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> (String, usize) {
    let server = Server::start(move |number, _| script(number)).await;
    let backend = backend_at(server.address).await;
    let error = backend.send(get("k")).await.err().unwrap();
    assert!(matches!(error, BackendError::Redirect { .. }), "{error}");
    (error.to_string(), server.seen().len())
}

#[tokio::test]
async fn redirects_out_of_the_domain_are_refused() {
    let (text, requests) = refused(|_| {
        // Clouds hand out credentials at this address.
        let location = ("Location", "http://169.254.169.254/latest");
        response("307 Temporary Redirect", &[location], "")
    })
    .await;
    assert!(text.contains("169.254.169.254 has another port"), "{text}");
    assert_eq!(requests, 1);
}

#[tokio::test]
async fn a_second_redirect_in_a_row_is_refused() {
    let (_, requests) = refused(|number| {
        let region = format!("region-{number}");
        response(
            "307 Temporary Redirect",
            &[("x-amz-bucket-region", &region)],
            "",
        )
    })
    .await;
    assert_eq!(requests, 2);
}

#[tokio::test]
async fn a_redirect_to_the_same_place_is_refused() {
    let (_, requests) = refused(|_| response("307 Temporary Redirect", &[], "")).await;
    assert_eq!(requests, 1);
}

#[tokio::test]
async fn a_stream_that_was_sent_is_not_redirected() {
    let server = in_region("307 Temporary Redirect", "us-west-2").await;
    let backend = backend_at(server.address).await;
    let request = put("k", streamed(7, &["content"], None));
    let error = backend.send(request).await.err().unwrap();
    assert!(matches!(error, BackendError::Redirect { .. }), "{error}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn not_modified_is_no_redirect() {
    let not_modified = b"HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\n\r\n";
    let server = Server::start(|_, _| Reply::Respond(not_modified.to_vec())).await;
    let mut request = get("k");
    let known = http::HeaderValue::from_static("\"e\"");
    request.headers.insert(http::header::IF_NONE_MATCH, known);
    let backend = backend_at(server.address).await;
    let response = backend.send(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
}
