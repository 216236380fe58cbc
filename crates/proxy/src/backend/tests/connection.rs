//! Connections that requests use, and failures to connect.

use std::time::Duration;

use http::StatusCode;
use tokio::net::TcpListener;

use super::support::{
    Reply, Server, backend_at, backend_with, get, held, put, response, settings, streamed, text,
};
use crate::backend::{BackendError, Phase};

#[tokio::test]
async fn requests_in_a_row_share_a_connection() {
    let server = Server::start(|_, _| response("200 OK", &[], "body")).await;
    let backend = backend_at(server.address).await;
    for _ in 0..3 {
        let response = backend.send(get("k")).await.unwrap();
        assert_eq!(text(response).await.unwrap(), "body");
    }
    let connections: Vec<_> = server.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0, 0]);
}

#[tokio::test]
async fn a_connection_past_its_age_serves_no_further_request() {
    let server = Server::start(|_, _| response("200 OK", &[], "body")).await;
    let mut settings = settings(server.address);
    // Every connection is too old for a second request.
    settings.connection_max_age = Duration::from_nanos(1);
    let backend = backend_with(settings).await;
    for _ in 0..3 {
        text(backend.send(get("k")).await.unwrap()).await.unwrap();
    }
    let connections: Vec<_> = server.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 1, 2]);
}

/// A server that reads the second request and closes, as one does whose idle timeout just expired.
async fn closing_on_second_request() -> Server {
    Server::start(|number, _| match number {
        1 => Reply::Close,
        _ => response("200 OK", &[], "body"),
    })
    .await
}

#[tokio::test]
async fn a_read_lost_to_a_closing_connection_is_sent_again() {
    let server = closing_on_second_request().await;
    let backend = backend_at(server.address).await;
    for _ in 0..2 {
        text(backend.send(get("k")).await.unwrap()).await.unwrap();
    }
    let connections: Vec<_> = server.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0, 1]);
}

#[tokio::test]
async fn a_held_write_lost_to_a_closing_connection_is_sent_again() {
    let server = closing_on_second_request().await;
    let backend = backend_at(server.address).await;
    text(backend.send(get("k")).await.unwrap()).await.unwrap();
    let response = backend.send(put("k", held("content"))).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let bodies: Vec<_> = server.seen()[1..]
        .iter()
        .map(|seen| seen.body.clone())
        .collect();
    assert_eq!(bodies, [b"content", b"content"]);
}

#[tokio::test]
async fn a_stream_lost_to_a_closing_connection_is_not_sent_again() {
    let server = closing_on_second_request().await;
    let backend = backend_at(server.address).await;
    text(backend.send(get("k")).await.unwrap()).await.unwrap();
    let error = backend
        .send(put("k", streamed(7, &["content"], None)))
        .await
        .err()
        .unwrap();
    assert!(matches!(error, BackendError::Broken { .. }), "{error}");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn ipv6_endpoints_are_reached_and_named_in_brackets() {
    let server = Server::start_on("[::1]:0", |_, _| response("200 OK", &[], "six")).await;
    let backend = backend_at(server.address).await;
    let response = backend.send(get("k")).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "six");
    let host = format!("[::1]:{}", server.address.port());
    assert_eq!(server.seen()[0].header("host"), host);
}

#[tokio::test]
async fn an_endpoint_without_a_listener_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // The system rarely hands out a port again so soon.
    drop(listener);
    let backend = backend_at(address).await;
    let error = backend.send(get("k")).await.err().unwrap();
    assert!(matches!(error, BackendError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
    backend.probe().await.unwrap_err();
}

#[tokio::test]
async fn any_response_to_a_probe_counts_and_there_is_one_attempt() {
    let server = Server::start(|_, _| response("503 Service Unavailable", &[], "")).await;
    backend_at(server.address).await.probe().await.unwrap();
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!((&*seen[0].method, &*seen[0].target), ("HEAD", "/"));
    assert!(!seen[0].header("authorization").is_empty());
}

#[tokio::test]
async fn a_silent_server_runs_into_the_response_timeout() {
    let server = Server::start(|_, _| Reply::RespondAndHang(Vec::new())).await;
    let mut settings = settings(server.address);
    // Shorter than the other limit: it must not count any more after the connection is made.
    settings.connect_timeout = Duration::from_millis(50);
    settings.response_timeout = Duration::from_millis(100);
    settings.retry.attempts = 1;
    let error = backend_with(settings)
        .await
        .send(get("k"))
        .await
        .err()
        .unwrap();
    assert!(
        matches!(
            error,
            BackendError::Timeout {
                phase: Phase::AwaitingResponse,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn requests_run_side_by_side() {
    let server = Server::start(|_, seen| response("200 OK", &[], &seen.target)).await;
    let backend = backend_at(server.address).await;
    let tasks = (0..32).map(|number| {
        let backend = backend.clone();
        tokio::spawn(async move {
            let response = backend.send(get(&number.to_string())).await.unwrap();
            assert_eq!(text(response).await.unwrap(), format!("/bucket/{number}"));
        })
    });
    for outcome in futures_util::future::join_all(tasks).await {
        outcome.unwrap();
    }
    assert_eq!(server.seen().len(), 32);
}
