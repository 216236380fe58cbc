//! More connections than connection slots, most of them from clients without a request.

use std::net::{IpAddr, Ipv4Addr};

use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::{ClientRequest, PATIENCE, Proxy};

const PLACES: usize = 16;

const FEW_PLACES: &str = "[listen]\nmax_connections = 16";

/// The address of the clients without a request.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

async fn connect(proxy: &Proxy, from: IpAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(proxy.address()).await.unwrap()
}

/// Opens connections and sends `bytes` on each.
async fn connections(proxy: &Proxy, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    let mut all = Vec::new();
    for _ in 0..count {
        let mut stream = connect(proxy, ELSEWHERE).await;
        // The proxy may already have closed this connection to make room.
        let _ = stream.write_all(bytes).await;
        all.push(stream);
    }
    all
}

async fn proxy_with(settings: &str) -> Proxy {
    let proxy = Proxy::builder().file(settings).start().await;
    proxy.create_bucket("bucket").await;
    proxy.put("/bucket/key", "content").await;
    proxy
}

async fn is_served(proxy: &Proxy) {
    for _ in 0..PLACES {
        let answer = proxy.send(ClientRequest::get("/bucket/key")).await;
        assert_eq!(answer.expect(200).text(), "content");
    }
    let health = proxy.send_unsigned(ClientRequest::get("/healthz")).await;
    assert_eq!(health.expect(200).text(), "ok\n");
}

/// Waits until the proxy has closed a connection.
async fn closed(stream: &mut TcpStream) {
    let end = async {
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ = stream.read_to_end(&mut rest).await;
    };
    tokio::time::timeout(PATIENCE / 3, end).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_make_way_for_clients_that_sign() {
    let proxy = proxy_with(FEW_PLACES).await;
    let mut idle = connections(&proxy, 2 * PLACES, b"").await;
    is_served(&proxy).await;
    closed(&mut idle[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_ask_without_a_signature_make_way_too() {
    let proxy = proxy_with(FEW_PLACES).await;
    let mut all = connections(
        &proxy,
        PLACES,
        b"GET /bucket/key HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    )
    .await;
    for stream in &mut all {
        let mut status = [0; 12];
        if stream.read_exact(&mut status).await.is_ok() {
            assert_eq!(&status, b"HTTP/1.1 403");
        }
    }
    is_served(&proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_heads_and_forms_make_way() {
    let proxy = proxy_with(FEW_PLACES).await;
    let form = b"POST /bucket HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100000\r\n\
        content-type: multipart/form-data; boundary=b\r\n\r\n--b\r\n";
    let mut held = connections(&proxy, PLACES, b"GET /bucket/key HTTP/1.1\r\nx-y: ").await;
    held.extend(connections(&proxy, PLACES, form).await);
    is_served(&proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_nobody_signed_have_a_memory_of_their_own() {
    let proxy = proxy_with("[listen]\nmax_connections = 400").await;
    let head = [b"GET /", [b'x'; 15_000].as_slice()].concat();
    // About 3 MiB of heads, while 1.2 MiB are allowed.
    let mut all = connections(&proxy, 300, &head).await;
    closed(&mut all[0]).await;
    is_served(&proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_of_more_than_16_kib_is_refused() {
    let proxy = proxy_with("").await;
    let long = "x".repeat(16 * 1024);
    let request = ClientRequest::get("/bucket/key").header("x-long", long);
    let answer = proxy.send_unsigned(request).await;
    assert_eq!(answer.status(), 431);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_stay_as_long_as_there_is_room() {
    let proxy = proxy_with(FEW_PLACES).await;
    let mut idle = connections(&proxy, PLACES / 2, b"").await;
    is_served(&proxy).await;
    for stream in &mut idle {
        let unsigned = b"GET /bucket/key HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
        stream.write_all(unsigned).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 403");
    }
}

/// One address may use seven eighths of the 256 slots for bodies of refused requests.
#[tokio::test(flavor = "multi_thread")]
async fn few_bodies_of_refused_requests_are_awaited() {
    let proxy = proxy_with("").await;
    let head = b"PUT /bucket/key HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 4\r\n\r\nb";
    let mut all = connections(&proxy, 240, head).await;
    // Shorter than the body timeout, so the response is not caused by that.
    let answers = tokio::time::timeout(PATIENCE / 10, async {
        loop {
            // The scheduler decides which connections came last.
            for stream in &mut all {
                if stream.peek(&mut [0]).now_or_never().is_some() {
                    let mut answer = String::new();
                    stream.read_to_string(&mut answer).await.unwrap();
                    return answer;
                }
            }
            tokio::task::yield_now().await;
        }
    });
    let answer = answers.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");

    // A connection within the limit is read to the end of its body, and stays open.
    let awaited = all.iter_mut().rev();
    let mut awaited = awaited.filter(|stream| stream.peek(&mut [0]).now_or_never().is_none());
    let awaited = awaited.next().unwrap();
    awaited.write_all(b"ody").await.unwrap();
    let mut answer = [0; 1024];
    let length = awaited.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(!answer.contains("connection: close\r\n"), "{answer}");
}
