//! Traces are sent by OTLP over HTTP. The suite in `e2e` reads them with OpenTelemetry's own
//! messages.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::harness::{ClientRequest, Proxy};

/// Accepts one request, responds with a status line, and returns the request's bytes.
async fn collector(status: &'static str) -> (String, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let taken = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !is_whole(&request) {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
        }
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        request
    });
    (format!("http://{address}"), taken)
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, _)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.parse::<usize>().unwrap())
    });
    request.len() == head.len() + 4 + length.unwrap()
}

async fn traced(endpoint: &str) -> Proxy {
    Proxy::builder()
        .environment("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .environment(
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer%20token,x-tenant=one",
        )
        .file("[listen]\ndrain_delay = \"0s\"")
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_are_posted_to_the_collector_with_its_headers_and_without_object_keys() {
    let (endpoint, taken) = collector("200 OK").await;
    let proxy = traced(&endpoint).await;
    proxy.create_bucket("bucket").await;
    proxy.put("/bucket/a-secret-name", "plaintext").await;
    proxy.stop().await;
    let request = taken.await.unwrap();
    let text = String::from_utf8_lossy(&request);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("POST /v1/traces HTTP/1.1"));
    let lines: Vec<_> = lines.map(str::to_ascii_lowercase).collect();
    for expected in [
        "content-type: application/x-protobuf",
        "authorization: bearer token",
        "x-tenant: one",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{lines:?}");
    }
    assert!(body.contains("S3.PutObject") && body.contains("s3proxy.request_id"));
    // Protobuf stores strings uncompressed, so a search of the bytes finds them.
    assert!(!body.contains("a-secret-name"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_refuses_or_is_away_fails_no_request() {
    let (refusing, taken) = collector("401 Unauthorized").await;
    for endpoint in [refusing.as_str(), "http://127.0.0.1:1"] {
        let proxy = traced(endpoint).await;
        proxy.create_bucket("bucket").await;
        proxy.put("/bucket/key", "plaintext").await;
        let read = proxy.send(ClientRequest::get("/bucket/key")).await;
        assert_eq!(read.expect(200).text(), "plaintext");
        proxy.stop().await;
    }
    assert!(!taken.await.unwrap().is_empty(), "it was asked");
}
