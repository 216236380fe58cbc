//! The memory for bodies, with clients that announce much and send little.

use std::time::Duration;

use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::harness::{ClientRequest, Credential, PATIENCE, Proxy};

const MIB: usize = 1024 * 1024;

/// The minimum of the setting.
const SMALL_MEMORY: &str = "[limits]\nbody_memory = \"4 MiB\"";

/// Well below the time after which a request that waits for memory is told to slow down.
const SOON: Duration = Duration::from_secs(8);

/// A request whose announced body never arrives, or only in part.
struct Announced(TcpStream);

impl Announced {
    /// Sends the head; the client waits for 100 Continue.
    async fn begin(
        proxy: &Proxy,
        credential: &Credential,
        (method, target): (Method, &str),
        length: usize,
    ) -> Self {
        let request = ClientRequest::new(method, target)
            .header("expect", "100-continue")
            .payload("UNSIGNED-PAYLOAD")
            .signed(credential, &proxy.host());
        let head = String::from_utf8(request.to_bytes(&proxy.host())).unwrap();
        let length = format!("content-length: {length}\r\n");
        let head = head.replace("content-length: 0\r\n", &length);
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        Self(stream)
    }

    /// The next status that the proxy sends.
    async fn status(&mut self) -> u16 {
        let read = async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.0.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            head["HTTP/1.1 ".len()..][..3].parse().unwrap()
        };
        tokio::time::timeout(PATIENCE, read).await.unwrap()
    }

    /// Sends a number of bytes after 100 Continue.
    async fn go_on(&mut self, bytes: usize) {
        assert_eq!(self.status().await, 100);
        self.0.write_all(&vec![b'x'; bytes]).await.unwrap();
    }
}

async fn announced(
    proxy: &Proxy,
    credential: &Credential,
    request: (Method, &str),
    (length, sent): (usize, usize),
) -> Announced {
    let mut one = Announced::begin(proxy, credential, request, length).await;
    one.go_on(sent).await;
    one
}

async fn proxy_with(settings: &str) -> Proxy {
    let proxy = Proxy::builder()
        .file(SMALL_MEMORY)
        .file(settings)
        .start()
        .await;
    proxy.create_bucket("bucket").await;
    proxy
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_announced_and_do_not_come_take_no_memory() {
    let proxy = proxy_with("[backend]\noperations = [\"PutBucketCors\"]").await;
    let mut held = Vec::new();
    for (method, target) in [
        (Method::POST, "/bucket?delete="),
        (Method::PUT, "/bucket?cors="),
        (Method::PUT, "/bucket/held"),
    ] {
        for _ in 0..8 {
            let request = (method.clone(), target);
            held.push(announced(&proxy, proxy.owner(), request, (MIB, 1)).await);
        }
    }
    let started = Instant::now();
    proxy.put("/bucket/other", vec![b'x'; MIB]).await;
    let answer = proxy.send(ClientRequest::get("/bucket/other")).await;
    assert_eq!(answer.expect(200).body.len(), MIB);
    assert!(started.elapsed() < SOON);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_announced_and_do_not_come_take_no_memory() {
    let proxy = proxy_with("").await;
    let mut held = Vec::new();
    for _ in 0..24 {
        let request = (Method::PUT, "/bucket/large");
        held.push(announced(&proxy, proxy.owner(), request, (64 * MIB, 0)).await);
    }
    let started = Instant::now();
    proxy.put("/bucket/other", vec![b'x'; 2 * MIB]).await;
    assert!(started.elapsed() < SOON);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_requests_pass_large_ones_that_wait_for_memory() {
    let proxy = proxy_with("").await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let request = (Method::POST, "/bucket?delete=");
        // Each takes half of the memory, and none finishes.
        held.push(announced(&proxy, proxy.owner(), request, (MIB, MIB / 2)).await);
    }
    let started = Instant::now();
    proxy.put("/bucket/small", "small").await;
    assert!(started.elapsed() < SOON);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_parts_is_not_read_for_an_upload_that_does_not_exist() {
    let proxy = proxy_with("").await;
    let request = (Method::POST, "/bucket/key?uploadId=none");
    let mut one = Announced::begin(&proxy, proxy.owner(), request, 8 * MIB).await;
    assert_eq!(one.status().await, 404);
}

const TWO_CLIENTS: &str = r#"
[[clients.known]]
name = "first"
access_key_id = "first"
secret_access_key = "first-secret"
[[clients.known]]
name = "second"
access_key_id = "second"
secret_access_key = "second-secret"
[[clients.known.grants]]
operations = ["read", "write", "delete", "list"]
buckets = ["other"]
"#;

fn clients() -> (Credential, Credential) {
    (
        Credential::new("first", "first-secret"),
        Credential::new("second", "second-secret"),
    )
}

async fn proxy_for_two() -> Proxy {
    let proxy = Proxy::builder()
        .file(SMALL_MEMORY)
        .file(TWO_CLIENTS)
        .start()
        .await;
    for bucket in ["bucket", "other"] {
        let request = ClientRequest::new(Method::PUT, format!("/{bucket}"));
        proxy.send_as(&clients().0, request).await.expect(200);
    }
    proxy
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_not_read_for_a_client_that_may_delete_nothing_there() {
    let proxy = proxy_for_two().await;
    let request = (Method::POST, "/bucket?delete=");
    let mut one = Announced::begin(&proxy, &clients().1, request, MIB).await;
    assert_eq!(one.status().await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_cannot_take_the_memory_of_all() {
    let proxy = proxy_for_two().await;
    let (first, second) = clients();
    let mut held = Vec::new();
    for _ in 0..32 {
        let request = (Method::PUT, "/other/large");
        held.push(announced(&proxy, &second, request, (64 * MIB, 1)).await);
    }
    let started = Instant::now();
    let put = ClientRequest::put("/bucket/key", vec![b'x'; 64 * 1024]);
    proxy.send_as(&first, put).await.expect(200);
    let get = ClientRequest::get("/bucket/key");
    proxy.send_as(&first, get).await.expect(200);
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_soon_loses_its_memory_to_those_who_wait() {
    let proxy = proxy_with("").await;
    let mut held = Vec::new();
    for _ in 0..16 {
        let request = (Method::PUT, "/bucket/large");
        held.push(announced(&proxy, proxy.owner(), request, (64 * MIB, 1)).await);
    }
    let started = Instant::now();
    proxy.put("/bucket/other", vec![b'x'; 2 * MIB]).await;
    assert!(started.elapsed() < SOON);
}
