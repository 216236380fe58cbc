//! Renewal of credentials: in time, once for all requests, and when the backend rejects them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use http::StatusCode;

use super::signature::assert_signed;
use super::support::{SECRET_KEY, Server, backend_at, get, put, response, settings, streamed};
use crate::backend::{Backend, BackendError, Credentials};

/// Provider of the access keys `KEY0`, `KEY1` and so on.
#[derive(Debug, Clone)]
struct Rotating {
    fetched: Arc<AtomicUsize>,
    valid_for: Duration,
    /// Number of the fetch from which all fail.
    fails_from: usize,
}

impl Rotating {
    fn new(valid_for: Duration) -> Self {
        Rotating {
            fetched: Arc::default(),
            valid_for,
            fails_from: usize::MAX,
        }
    }

    async fn credentials(&self) -> Credentials {
        let provider = SharedCredentialsProvider::new(self.clone());
        Credentials::from_provider(provider).await.unwrap()
    }

    async fn fetch(&self) -> provider::Result {
        let number = self.fetched.fetch_add(1, Ordering::SeqCst);
        // So that requests which come at the same time meet a fetch under way.
        tokio::task::yield_now().await;
        if number >= self.fails_from {
            return Err(CredentialsError::not_loaded("the source is closed"));
        }
        let expiry = SystemTime::now() + self.valid_for;
        let key = format!("KEY{number}");
        Ok(Keys::new(key, SECRET_KEY, None, Some(expiry), "test"))
    }
}

impl ProvideCredentials for Rotating {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.fetch())
    }
}

const HOUR: Duration = Duration::from_hours(1);
// Still valid, but within the time in which they are renewed.
const AGEING: Duration = Duration::from_mins(1);
const EXPIRED: Duration = Duration::ZERO;

async fn rejecting_key_0(code: &'static str) -> Server {
    Server::start(move |_, seen| {
        if seen.header("authorization").contains("KEY0/") {
            response(
                "400 Bad Request",
                &[],
                &format!("<Error><Code>{code}</Code></Error>"),
            )
        } else {
            response("200 OK", &[], "")
        }
    })
    .await
}

#[tokio::test]
async fn rejected_credentials_are_renewed_and_the_request_repeated() {
    for code in ["ExpiredToken", "InvalidToken"] {
        let server = rejecting_key_0(code).await;
        let rotating = Rotating::new(HOUR);
        let backend = Backend::new(settings(server.address), rotating.credentials().await).unwrap();
        let response = backend.send(get("k")).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(rotating.fetched.load(Ordering::SeqCst), 2);
        assert_signed(&server.seen()[1], SECRET_KEY);
    }
}

#[tokio::test]
async fn requests_rejected_together_share_one_renewal() {
    let server = rejecting_key_0("ExpiredToken").await;
    let rotating = Rotating::new(HOUR);
    let backend = Backend::new(settings(server.address), rotating.credentials().await).unwrap();
    let sending = (0..10).map(|_| backend.send(get("k")));
    for response in futures_util::future::join_all(sending).await {
        assert_eq!(response.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(server.seen().len(), 20, "all must have been rejected");
    // The first fetch was at the start.
    assert_eq!(rotating.fetched.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_stream_with_rejected_credentials_is_not_retried_and_the_response_is_complete() {
    let server = rejecting_key_0("ExpiredToken").await;
    let keys = Rotating::new(HOUR).credentials().await;
    let backend = Backend::new(settings(server.address), keys).unwrap();
    let request = put("k", streamed(7, &["content"], None));
    let response = backend.send(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let text = super::support::text(response).await.unwrap();
    assert_eq!(text, "<Error><Code>ExpiredToken</Code></Error>");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn fixed_credentials_are_not_renewed() {
    let body = "<Error><Code>ExpiredToken</Code></Error>";
    let server = Server::start(move |_, _| response("400 Bad Request", &[], body)).await;
    let backend = backend_at(server.address).await;
    backend.send(get("k")).await.unwrap();
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn valid_credentials_are_fetched_once() {
    let rotating = Rotating::new(HOUR);
    let credentials = rotating.credentials().await;
    for _ in 0..3 {
        let keys = credentials.current().await.unwrap();
        assert_eq!(keys.access_key_id(), "KEY0");
    }
    assert!(!credentials.is_static());
    assert!(super::support::fixed_keys().await.is_static());
}

#[tokio::test]
async fn ageing_credentials_are_renewed_once_for_concurrent_requests() {
    let rotating = Rotating::new(AGEING);
    let credentials = rotating.credentials().await;
    let asking = (0..20).map(|_| credentials.current());
    for keys in futures_util::future::join_all(asking).await {
        keys.unwrap();
    }
    // One fetch at the start, and one renewal for all.
    assert_eq!(rotating.fetched.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn expired_credentials_are_waited_for() {
    let rotating = Rotating::new(EXPIRED);
    let credentials = rotating.credentials().await;
    let keys = credentials.current().await.unwrap();
    assert_eq!(keys.access_key_id(), "KEY1");
}

#[tokio::test]
async fn a_failing_source_matters_only_when_nothing_valid_is_left() {
    for (valid_for, works) in [(AGEING, true), (EXPIRED, false)] {
        let rotating = Rotating {
            fails_from: 1,
            ..Rotating::new(valid_for)
        };
        let credentials = rotating.credentials().await;
        match credentials.current().await {
            Ok(keys) => assert!(works, "{}", keys.access_key_id()),
            Err(BackendError::Credentials(reason)) => {
                assert!(
                    !works && reason.contains("the source is closed"),
                    "{reason}"
                );
            }
            Err(other) => panic!("{other}"),
        }
    }
}
