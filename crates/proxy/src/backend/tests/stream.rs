//! Streamed bodies: complete to the backend only if they are.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::StatusCode;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::support::{
    Server, backend_at, backend_with, head_and, put, response, settings, streamed, text,
};
use crate::backend::error::BodyStreamError;
use crate::backend::{BackendError, BodyStream, Integrity, Phase, RequestBody};

async fn refused_stream(body: RequestBody) -> (BackendError, Server) {
    let server = Server::start(|_, _| response("200 OK", &[], "")).await;
    let backend = backend_at(server.address).await;
    let error = backend.send(put("k", body)).await.err().unwrap();
    (error, server)
}

/// Sends `first`, then `rest` once the server has `first`; returns the error and the received body.
async fn broken_off(
    integrity: Integrity,
    length: u64,
    first: &'static [u8],
    rest: &'static [Result<&'static str, &'static str>],
) -> (BackendError, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (arrived, arrival) = tokio::sync::oneshot::channel();
    let receiving = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut received = Vec::new();
        while !received.ends_with(first) {
            socket.read_buf(&mut received).await.unwrap();
        }
        arrived.send(()).unwrap();
        // A reset is as good an end as any.
        let _ = socket.read_to_end(&mut received).await;
        let end = received
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        received.split_off(end + 4)
    });
    let waiting = stream::once(async move {
        arrival.await.unwrap();
        Ok(Frame::data(Bytes::new()))
    });
    let rest = rest.iter().map(|frame| match frame {
        Ok(text) => Ok(Frame::data(Bytes::from_static(text.as_bytes()))),
        Err(text) => Err(BodyStreamError::from(*text)),
    });
    let frames = stream::iter([Ok(Frame::data(Bytes::from_static(first)))])
        .chain(waiting)
        .chain(stream::iter(rest));
    let body = BodyStream::new(StreamBody::new(frames));
    let request = put("k", RequestBody::Stream { length, body });
    let mut settings = settings(address);
    settings.integrity = integrity;
    let backend = backend_with(settings).await;
    let error = backend.send(request).await.err().unwrap();
    (error, receiving.await.unwrap())
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_incomplete_to_the_backend() {
    let endings: [&[Result<&str, &str>]; 5] = [
        &[Err("the client is gone")],
        // The length is right, and the error comes after the last byte.
        &[Ok("second"), Err("bad digest")],
        &[],
        // Longer than announced, in a frame of its own and in one frame.
        &[Ok("second"), Ok("third")],
        &[Ok("secondthird")],
    ];
    for (integrity, wire) in [
        (Integrity::Unsigned, &b"first "[..]),
        (Integrity::Trailer, b"c\r\nfirst "),
    ] {
        for rest in endings {
            let (error, received) = broken_off(integrity, 12, b"first ", rest).await;
            assert!(matches!(error, BackendError::RequestBody(_)), "{error}");
            assert_eq!(received, wire, "{integrity:?} {rest:?}");
        }
    }
}

#[tokio::test]
async fn the_cause_of_a_broken_stream_comes_back() {
    let (error, _) = refused_stream(streamed(3, &["abc"], Some("bad digest"))).await;
    let BackendError::RequestBody(cause) = error else {
        panic!("{error}");
    };
    assert_eq!(cause.to_string(), "bad digest");
}

#[tokio::test]
async fn an_empty_stream_with_an_error_reaches_no_backend() {
    let (error, server) = refused_stream(streamed(0, &[], Some("bad digest"))).await;
    assert!(matches!(error, BackendError::RequestBody(_)), "{error}");
    // HTTP would not poll an empty body, and so not notice the error.
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn streams_of_any_framing_arrive_whole() {
    let server = Server::start(|_, _| response("200 OK", &[], "")).await;
    let backend = backend_at(server.address).await;
    for frames in [
        &["content"][..],
        &["", "con", "", "tent", ""],
        &["c", "ontent"],
    ] {
        let request = put("k", streamed(7, frames, None));
        let response = backend.send(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let seen = server.seen().pop().unwrap();
        assert!(seen.complete);
        assert_eq!(seen.body, b"content");
    }
    let response = backend
        .send(put("k", streamed(0, &[], None)))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_backend_that_stops_reading_runs_into_the_body_timeout() {
    let (server, listener) = Server::bind("127.0.0.1:0", |_, _| response("200 OK", &[], "")).await;
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.read_u8().await.unwrap();
        std::future::pending::<()>().await;
    });
    let mut settings = settings(server.address);
    settings.body_timeout = Duration::from_millis(200);
    // More than the socket buffers hold, so that the writes must wait.
    let (body, _source) = endless();
    let request = put("k", body);
    let started = Instant::now();
    let error = backend_with(settings)
        .await
        .send(request)
        .await
        .err()
        .unwrap();
    assert!(
        matches!(
            error,
            BackendError::Timeout {
                phase: Phase::SendingBody,
                ..
            }
        ),
        "{error}"
    );
    assert!(started.elapsed() < Duration::from_secs(10));
}

/// Makes an endless stream, and a second owner of its data.
fn endless() -> (RequestBody, Arc<Bytes>) {
    let frame = Arc::new(Bytes::from(vec![0; 64 * 1024]));
    let source = frame.clone();
    let frames = stream::repeat_with(move || Ok::<_, Infallible>(Frame::data((*source).clone())));
    let body = BodyStream::new(StreamBody::new(frames).map_err(|never| match never {}));
    let length = 1 << 40;
    (RequestBody::Stream { length, body }, frame)
}

#[tokio::test]
async fn a_stream_refused_under_way_ends_there_and_the_response_is_complete() {
    let (server, listener) = Server::bind("127.0.0.1:0", |_, _| response("200 OK", &[], "")).await;
    let serving = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut received = vec![0; 256 * 1024];
        socket.read_exact(&mut received).await.unwrap();
        let refusal = head_and("507 Full", &[], 8, "<Error/>");
        socket.write_all(&refusal).await.unwrap();
        // Ends when the client closes or resets the connection.
        while let Ok(1..) = socket.read(&mut received).await {}
    });
    let backend = backend_at(server.address).await;
    let (body, source) = endless();
    let response = backend.send(put("k", body)).await.unwrap();
    assert_eq!(response.status(), StatusCode::INSUFFICIENT_STORAGE);
    assert_eq!(text(response).await.unwrap(), "<Error/>");
    tokio::time::timeout(Duration::from_secs(20), serving)
        .await
        .expect("the connection must end")
        .unwrap();
    // The stream is dropped with its data; nobody goes on reading it.
    assert_eq!(Arc::strong_count(&source), 1);
}

#[tokio::test]
async fn a_slow_source_does_not_count_against_the_backend() {
    let server = Server::start(|_, _| response("200 OK", &[], "")).await;
    let mut settings = settings(server.address);
    settings.body_timeout = Duration::from_millis(20);
    settings.response_timeout = Duration::from_secs(20);
    let slow = stream::unfold(0, |sent| async move {
        if sent == 2 {
            return None;
        }
        // The pause is the subject of the test: five times the body timeout.
        tokio::time::sleep(Duration::from_millis(100)).await;
        Some((Ok(Frame::data(Bytes::from_static(b"half"))), sent + 1))
    });
    let body = BodyStream::new(StreamBody::new(slow));
    let request = put("k", RequestBody::Stream { length: 8, body });
    let response = backend_with(settings).await.send(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(server.seen()[0].body, b"halfhalf");
}
