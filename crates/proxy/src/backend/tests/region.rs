//! The region from a refusal is used once, and remembered for the bucket.

use http::{Method, StatusCode};

use super::signature::assert_signed;
use super::support::{
    Reply, SECRET_KEY, Seen, Server, backend_at, get, held, put, response, streamed, text,
};
use crate::backend::{Backend, Request};

fn malformed(region: &str) -> Reply {
    let text = format!(
        "<Error><Code>AuthorizationHeaderMalformed</Code><Region>{region}</Region></Error>"
    );
    response("400 Bad Request", &[], &text)
}

/// A server that accepts signatures for `us-west-2` only, and says so.
async fn in_us_west(refuse: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> (Server, Backend) {
    let server = Server::start(move |_, seen| {
        if seen.header("authorization").contains("/us-west-2/s3/") {
            response("200 OK", &[], "here")
        } else {
            refuse(seen)
        }
    })
    .await;
    let backend = backend_at(server.address).await;
    (server, backend)
}

#[tokio::test]
async fn a_request_for_another_region_is_signed_again_once_per_bucket() {
    let (server, backend) = in_us_west(|_| malformed("us-west-2")).await;
    for request in [put("k", held("content")), get("k")] {
        let response = backend.send(request).await.unwrap();
        assert_eq!(text(response).await.unwrap(), "here");
    }
    let seen = server.seen();
    // The second request used the right region at once.
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[1].body, b"content");
    for seen in seen {
        assert_signed(&seen, SECRET_KEY);
    }
}

#[tokio::test]
async fn the_region_in_a_response_to_head_counts() {
    let region = ("x-amz-bucket-region", "us-west-2");
    let (server, backend) = in_us_west(move |_| response("400 Bad Request", &[region], "")).await;
    let request = Request::new(Method::HEAD, Some("bucket"), None);
    let response = backend.send(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_stream_that_was_sent_teaches_the_region_to_the_next_request() {
    let (server, backend) = in_us_west(|_| malformed("us-west-2")).await;
    for status in [StatusCode::BAD_REQUEST, StatusCode::OK] {
        let request = put("k", streamed(7, &["content"], None));
        let response = backend.send(request).await.unwrap();
        assert_eq!(response.status(), status);
    }
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_region_is_corrected_only_once_for_a_request() {
    let server = Server::start(|number, _| malformed(&format!("region-{number}"))).await;
    let backend = backend_at(server.address).await;
    let response = backend.send(get("k")).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn other_refusals_and_the_current_region_are_passed_on() {
    let region = ("x-amz-bucket-region", "us-west-2");
    let invalid = "<Error><Code>InvalidArgument</Code><Region>us-west-2</Region></Error>";
    for refusal in [
        response("400 Bad Request", &[region], invalid),
        // The region of the refused signature, and a text that is no region.
        malformed("eu-west-1"),
        malformed("no region"),
    ] {
        let Reply::Respond(bytes) = refusal else {
            panic!("a refusal is a response");
        };
        let (server, backend) = in_us_west(move |_| Reply::Respond(bytes.clone())).await;
        let response = backend.send(get("k")).await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(server.seen().len(), 1);
    }
}
