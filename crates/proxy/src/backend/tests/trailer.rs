//! Streams with a checksum in a trailer, as they are on the wire.

use http::HeaderValue;

use super::signature::assert_signed;
use super::support::{
    SECRET_KEY, Seen, Server, backend_at, backend_with, get, held, put, response, settings,
    streamed,
};
use crate::backend::{Integrity, Request};

async fn sent(integrity: Integrity, request: Request) -> Seen {
    let server = Server::start(|_, _| response("200 OK", &[], "")).await;
    let mut settings = settings(server.address);
    settings.integrity = integrity;
    let backend = backend_with(settings).await;
    backend.send(request).await.unwrap();
    let seen = server.seen().pop().unwrap();
    assert!(seen.complete);
    assert_signed(&seen, SECRET_KEY);
    seen
}

fn stream() -> Request {
    put("k", streamed(9, &["1234", "", "56789"], None))
}

#[tokio::test]
async fn a_stream_is_followed_by_the_checksum_of_its_bytes() {
    let mut request = stream();
    for (name, value) in [
        ("content-encoding", "gzip"),
        // What the client said of its own framing must not reach the backend.
        ("x-amz-trailer", "x-amz-checksum-sha256"),
        ("x-amz-decoded-content-length", "1"),
    ] {
        let value = HeaderValue::from_static(value);
        request.headers.insert(name, value);
    }
    let seen = sent(Integrity::Trailer, request).await;
    for (name, value) in [
        ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        ("content-encoding", "aws-chunked,gzip"),
        ("x-amz-decoded-content-length", "9"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
        ("content-length", "50"),
        ("transfer-encoding", ""),
        ("content-md5", ""),
    ] {
        assert_eq!(seen.header(name), value, "{name}");
    }
    assert_eq!(
        String::from_utf8(seen.body).unwrap(),
        "9\r\n123456789\r\n0\r\nx-amz-checksum-crc32:y/Q5Jg==\r\n\r\n"
    );
}

#[tokio::test]
async fn uploads_under_object_lock_have_a_checksum_unless_it_is_forbidden() {
    for (integrity, length) in [
        (Integrity::Auto, "50"),
        (Integrity::Trailer, "50"),
        (Integrity::Unsigned, "9"),
    ] {
        let mut request = stream();
        let mode = HeaderValue::from_static("GOVERNANCE");
        request.headers.insert("x-amz-object-lock-mode", mode);
        let seen = sent(integrity, request).await;
        assert_eq!(seen.header("content-length"), length, "{integrity:?}");
    }
}

#[tokio::test]
async fn parts_and_held_bodies_are_never_followed_by_a_checksum() {
    let mut part = stream();
    for (name, value) in [("partNumber", "2"), ("uploadId", "u")] {
        part.query.push((name.to_owned(), Some(value.to_owned())));
    }
    for request in [
        part,
        put("k", held("123456789")),
        put("k", streamed(0, &[], None)),
    ] {
        let seen = sent(Integrity::Trailer, request).await;
        assert_eq!(seen.header("content-encoding"), "");
        assert_eq!(seen.header("x-amz-trailer"), "");
        assert!(seen.body.is_empty() || seen.body == b"123456789");
    }
}

#[tokio::test]
async fn a_framing_that_the_server_stored_as_a_coding_is_not_passed_on() {
    for (stored, expected) in [
        ("aws-chunked", None),
        ("aws-chunked,gzip", Some("gzip")),
        ("gzip", Some("gzip")),
    ] {
        let coding = ("Content-Encoding", stored);
        let server = Server::start(move |_, _| response("200 OK", &[coding], "content")).await;
        let backend = backend_at(server.address).await;
        let response = backend.send(get("k")).await.unwrap();
        let found = response.headers().get("content-encoding").cloned();
        assert_eq!(found, expected.map(HeaderValue::from_static), "{stored}");
    }
}
