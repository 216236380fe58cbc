//! Tests against an S3 server that checks signatures, named by the environment.
//!
//! `S3PROXY_TEST_ENDPOINT` (`127.0.0.1:8333`, plain HTTP), `S3PROXY_TEST_ACCESS_KEY` and
//! `S3PROXY_TEST_SECRET_KEY`; run with `--ignored`.

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Method, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use super::support::{get, held, put, settings, streamed, text};
use crate::backend::{Backend, BodyStream, Credentials, Integrity, Request, RequestBody};

async fn live_backend(integrity: Integrity) -> Backend {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let keys = Credentials::fixed(
        &variable("S3PROXY_TEST_ACCESS_KEY"),
        &variable("S3PROXY_TEST_SECRET_KEY"),
        None,
    )
    .await
    .unwrap();
    let mut settings = settings(variable("S3PROXY_TEST_ENDPOINT").parse().unwrap());
    settings.region = "us-east-1".to_owned();
    settings.integrity = integrity;
    Backend::new(settings, keys).unwrap()
}

fn in_bucket(bucket: &str, mut request: Request) -> Request {
    request.bucket = Some(bucket.to_owned());
    request
}

async fn expect(backend: &Backend, request: Request, status: StatusCode) -> String {
    let line = format!("{} {:?} {:?}", request.method, request.key, request.query);
    let response = backend.send(request).await.unwrap();
    let found = response.status();
    let body = text(response).await.unwrap();
    assert_eq!(found, status, "{line}: {body}");
    body
}

async fn create_bucket(backend: &Backend, bucket: &str) {
    let create = Request::new(Method::PUT, Some(bucket), None);
    let created = backend.send(create).await.unwrap().status();
    assert!(
        matches!(created, StatusCode::OK | StatusCode::CONFLICT),
        "{created}"
    );
}

#[tokio::test]
#[ignore = "needs an S3 server: e2e/tests/backends/test_backend_client.py starts one"]
async fn a_server_that_checks_signatures_takes_every_kind_of_request() {
    let backend = live_backend(Integrity::Unsigned).await;
    backend.probe().await.unwrap();
    let bucket = "backend-client-test";
    create_bucket(&backend, bucket).await;
    for key in [
        "plain",
        "a b+c",
        "%2F%25",
        "ü/\u{1f600}",
        "x'()*!~",
        "a=b&c?d#e",
    ] {
        for body in [held("content"), streamed(7, &["con", "tent"], None)] {
            let mut write = in_bucket(bucket, put(key, body));
            write
                .headers
                .insert("x-amz-meta-name", "two  words".parse().unwrap());
            let umlauts = HeaderValue::from_bytes("Gr\u{fc}\u{df}e".as_bytes()).unwrap();
            write.headers.insert("x-amz-meta-umlauts", umlauts);
            write
                .headers
                .insert("content-type", "text/plain".parse().unwrap());
            expect(&backend, write, StatusCode::OK).await;
            let read = in_bucket(bucket, get(key));
            assert_eq!(expect(&backend, read, StatusCode::OK).await, "content");
        }
        let mut list = Request::new(Method::GET, Some(bucket), None);
        list.query = vec![
            ("list-type".to_owned(), Some("2".to_owned())),
            ("prefix".to_owned(), Some(key.to_owned())),
        ];
        let listing = expect(&backend, list, StatusCode::OK).await;
        assert!(listing.contains("<Size>7</Size>"), "{listing}");
        let delete = Request::new(Method::DELETE, Some(bucket), Some(key));
        expect(&backend, delete, StatusCode::NO_CONTENT).await;
    }
    let empty = in_bucket(bucket, put("empty", RequestBody::Empty));
    expect(&backend, empty, StatusCode::OK).await;
    let mut start = Request::new(Method::POST, Some(bucket), Some("parts"));
    start.query = vec![("uploads".to_owned(), None)];
    let started = expect(&backend, start, StatusCode::OK).await;
    assert!(started.contains("<UploadId>"), "{started}");
}

#[tokio::test]
#[ignore = "needs an S3 server: e2e/tests/backends/test_backend_client.py starts one"]
async fn a_body_with_a_trailer_is_stored_without_its_framing() {
    let backend = live_backend(Integrity::Trailer).await;
    let bucket = "backend-client-test";
    create_bucket(&backend, bucket).await;
    let content: Vec<u8> = (0..=250).cycle().take(300_000).collect();
    // Pieces longer than a chunk, shorter, and of its length.
    for (coding, pieces) in [(None, 300_000), (Some("gzip"), 10_000), (None, 65_536)] {
        let frames: Vec<_> = content
            .chunks(pieces)
            .map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))))
            .collect();
        let body = BodyStream::new(StreamBody::new(stream::iter(frames)));
        let length = content.len() as u64;
        let mut write = in_bucket(bucket, put("trailed", RequestBody::Stream { length, body }));
        if let Some(coding) = coding {
            let coding = HeaderValue::from_static(coding);
            write.headers.insert("content-encoding", coding);
        }
        expect(&backend, write, StatusCode::OK).await;
        let read = in_bucket(bucket, get("trailed"));
        let response = backend.send(read).await.unwrap();
        let found = response.headers().get("content-encoding").cloned();
        assert_eq!(found, coding.map(HeaderValue::from_static));
        let stored = response.into_body().collect().await.unwrap().to_bytes();
        assert!(stored == content, "{} bytes", stored.len());
    }
}
