//! A service that panics, with the real listener in front of it.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::response_tracking::TrackedBody;
use super::*;
use crate::body::budget::BodyBudget;

/// Service that panics if the path says so.
struct Fragile;

impl Serve for Fragile {
    async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
        _: SocketAddr,
    ) -> Response<ResponseBody> {
        assert_ne!(request.uri().path(), "/panic", "a test's own");
        Response::new(ResponseBody::held("whole"))
    }
}

fn start() -> (SocketAddr, Arc<PanicWatch>, impl Sized) {
    let listener = bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let budget = BodyBudget::new(1 << 20);
    let panics = Arc::new(PanicWatch::default());
    let wait = Duration::from_secs(30);
    let generation = ServiceGeneration {
        service: Arc::new(Fragile),
        panics: Arc::clone(&panics),
        limits: ConnectionLimits {
            header_bytes: 16 * 1024,
            connections: 8,
            idle_timeout: wait,
            header_timeout: wait,
            patience: PaceLimits {
                silence: wait,
                least_rate: None,
                pressure: Arc::clone(budget.pressure()),
            },
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::ZERO,
        },
        trusted: Arc::new(TrustedProxies::new(Vec::new())),
    };
    let (current, generation) = watch::channel(Arc::new(generation));
    let server = Server::new(listener, None, generation, Arc::default());
    let serving = tokio::spawn(server.run(std::future::pending()));
    (address, panics, (current, serving))
}

async fn exchange(to: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
}

#[tokio::test]
async fn a_panic_is_an_internal_error_and_takes_nothing_else_along() {
    let (address, panics, _server) = start();
    // More than enough for the liveness probe to fail.
    for _ in 0..20 {
        let answer = exchange(address, "GET /panic HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert!(answer.contains("<Code>InternalError</Code>"), "{answer}");
    }
    assert!(panics.is_failing());
    let answer = exchange(address, &get("/")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with("whole"), "{answer}");
    assert!(!panics.is_failing(), "what was served shows that it works");
}

/// Body that yields these pieces, and then panics or ends.
struct Broken {
    pieces: Vec<&'static str>,
    panics: bool,
}

impl Body for Broken {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.pop();
        assert!(piece.is_some() || !self.panics, "a test's own");
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece.into()))))
    }
}

#[tokio::test]
async fn a_panic_while_a_body_is_made_breaks_it_off() {
    use http_body_util::BodyExt;

    for panics in [false, true] {
        let watch = Arc::new(PanicWatch::default());
        let body = Broken {
            pieces: vec!["b", "a"],
            panics,
        };
        let serving = Activity::default().begin();
        let mut body = TrackedBody::new(body, serving, Arc::clone(&watch), true);
        let mut got = String::new();
        let mut broken = false;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => got += std::str::from_utf8(frame.data_ref().unwrap()).unwrap(),
                Err(_) => broken = true,
            }
        }
        assert_eq!((got.as_str(), broken), ("ab", panics));
    }
}
