use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_credential_types::provider::error::CredentialsError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::error::{KmsFault, classify_response};
use super::{AwsKms, region_of};
use crate::config::resolved::AwsKmsKey;
use crate::keys::key_service::{KeyService, ServiceError};

const KEY: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd";
const TIMEOUT: Duration = Duration::from_secs(10);

/// Scripted KMS that gives every request the same response and records the requests.
struct Stub {
    endpoint: String,
    request: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Stub {
    async fn answering(status: u16, answer: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let request = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&request);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, answer) = (Arc::clone(&seen), answer.to_string());
                let answering = service_fn(move |request: Request<Incoming>| {
                    let (seen, answer) = (Arc::clone(&seen), answer.clone());
                    async move {
                        let target = request.headers()["x-amz-target"].to_str().unwrap();
                        let target = target.to_owned();
                        let body = request.into_body().collect().await?.to_bytes();
                        let body = serde_json::from_slice(&body).unwrap();
                        seen.lock().unwrap().push((target, body));
                        let mut response = Response::new(Full::new(Bytes::from(answer)));
                        *response.status_mut() = status.try_into().unwrap();
                        Ok::<_, hyper::Error>(response)
                    }
                });
                let serving = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), answering);
                tokio::spawn(serving);
            }
        });
        Self { endpoint, request }
    }

    async fn key(&self) -> AwsKms {
        let credentials = Credentials::new("AKID", "secret", None, None, "test");
        key_at(
            &self.endpoint,
            TIMEOUT,
            SharedCredentialsProvider::new(credentials),
        )
        .await
    }
}

async fn key_at(endpoint: &str, timeout: Duration, login: SharedCredentialsProvider) -> AwsKms {
    let shared = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(Region::new("eu-central-1"))
        .credentials_provider(login)
        .load()
        .await;
    let config = AwsKmsKey {
        key: KEY.to_owned(),
        region: None,
        endpoint: Some(endpoint.parse().unwrap()),
    };
    AwsKms::over(&shared, &config, timeout).unwrap()
}

#[tokio::test]
async fn a_new_kek_is_one_data_key_under_the_configured_key_and_our_context() {
    let stub = Stub::answering(
        200,
        json!({"Plaintext": STANDARD.encode([7; 32]), "CiphertextBlob": STANDARD.encode("sealed")}),
    )
    .await;
    let made = stub.key().await.create().await.unwrap();
    assert_eq!(made.ciphertext, b"sealed");
    let expected = json!({
        "KeyId": KEY, "KeySpec": "AES_256", "EncryptionContext": {"s3proxy": "v1/kek"},
    });
    let request = stub.request.lock().unwrap();
    assert_eq!(
        *request,
        [("TrentService.GenerateDataKey".to_owned(), expected)]
    );
}

#[tokio::test]
async fn opening_names_the_key_so_that_no_other_one_answers() {
    let stub = Stub::answering(200, json!({"Plaintext": STANDARD.encode([7; 32])})).await;
    stub.key().await.open(b"sealed").await.unwrap();
    let expected = json!({
        "KeyId": KEY,
        "CiphertextBlob": STANDARD.encode("sealed"),
        "EncryptionContext": {"s3proxy": "v1/kek"},
    });
    let request = stub.request.lock().unwrap();
    assert_eq!(*request, [("TrentService.Decrypt".to_owned(), expected)]);
}

#[tokio::test]
async fn a_key_of_another_length_is_refused() {
    for length in [0, 16, 31, 33] {
        let stub = Stub::answering(
            200,
            json!({"Plaintext": STANDARD.encode(vec![7; length]), "CiphertextBlob": "c2VhbGVk"}),
        )
        .await;
        let key = stub.key().await;
        let made = key.create().await.err().unwrap();
        assert!(matches!(made, ServiceError::Key(_)), "{made}");
        let opened = key.open(b"sealed").await.err().unwrap();
        assert!(matches!(opened, ServiceError::Key(_)), "{opened}");
    }
}

#[tokio::test]
async fn an_error_is_not_repeated_and_says_what_to_do() {
    let stub = Stub::answering(
        400,
        json!({"__type": "DisabledException", "message": "it is disabled."}),
    )
    .await;
    let error = stub.key().await.create().await.err().unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "the key at the service cannot be used: AWS KMS, GenerateDataKey with {KEY} in \
             eu-central-1: DisabledException (status 400): it is disabled.; the key is disabled: \
             enable it"
        )
    );
    assert_eq!(stub.request.lock().unwrap().len(), 1);
    let failing = Stub::answering(500, json!({"__type": "KMSInternalException"})).await;
    let error = failing.key().await.open(b"sealed").await.err().unwrap();
    assert!(matches!(error, ServiceError::Unavailable(_)), "{error}");
    assert_eq!(failing.request.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn what_aws_says_of_a_signature_is_not_repeated() {
    // AWS's message repeats the signed headers.
    let stub = Stub::answering(
        400,
        json!({"__type": "InvalidSignatureException", "message": "x-amz-security-token:hidden"}),
    )
    .await;
    let error = stub.key().await.create().await.err().unwrap();
    assert!(matches!(error, ServiceError::Refused(_)), "{error}");
    assert!(!error.to_string().contains("hidden"), "{error}");
}

#[tokio::test]
async fn whoever_may_not_describe_the_key_is_answered_all_the_same() {
    for (code, answered) in [
        ("AccessDeniedException", true),
        ("NotFoundException", true),
        ("ExpiredTokenException", false),
        ("ThrottlingException", false),
    ] {
        let stub = Stub::answering(400, json!({"__type": code})).await;
        assert_eq!(stub.key().await.check().await.is_ok(), answered, "{code}");
    }
}

#[tokio::test]
async fn nobody_there_or_no_answer_in_time_is_unavailable() {
    let login = || SharedCredentialsProvider::new(Credentials::new("A", "s", None, None, "test"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    // The kernel accepts the connection, but nothing answers.
    let silent = key_at(&endpoint, Duration::from_millis(50), login()).await;
    let error = silent.create().await.err().unwrap();
    assert!(matches!(error, ServiceError::Unavailable(_)), "{error}");
    drop(listener);
    let error = key_at(&endpoint, TIMEOUT, login()).await;
    let error = error.create().await.err().unwrap();
    assert!(matches!(error, ServiceError::Unavailable(_)), "{error}");
}

#[derive(Debug)]
struct Failing(fn() -> CredentialsError);

impl aws_credential_types::provider::ProvideCredentials for Failing {
    fn provide_credentials<'a>(
        &'a self,
    ) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        aws_credential_types::provider::future::ProvideCredentials::ready(Err((self.0)()))
    }
}

#[tokio::test]
async fn a_missing_login_is_refused_and_a_failing_source_of_it_is_unavailable() {
    let missing = Failing(CredentialsError::not_loaded_no_source);
    let login = SharedCredentialsProvider::new(missing);
    let key = key_at("http://127.0.0.1:1", TIMEOUT, login).await;
    let error = key.create().await.err().unwrap();
    assert!(matches!(error, ServiceError::Refused(_)), "{error}");
    assert!(error.to_string().contains("AWS_ACCESS_KEY_ID"), "{error}");
    assert!(key.check().await.is_err());

    let failing = Failing(|| CredentialsError::provider_error("its endpoint answers 503"));
    let login = SharedCredentialsProvider::new(failing);
    let key = key_at("http://127.0.0.1:1", TIMEOUT, login).await;
    let error = key.create().await.err().unwrap();
    assert!(matches!(error, ServiceError::Unavailable(_)), "{error}");
    assert!(error.to_string().contains("answers 503"), "{error}");
}

#[test]
fn each_documented_error_has_its_fault() {
    for (code, status, fault) in [
        ("DisabledException", 400, KmsFault::Key),
        ("KMSInvalidStateException", 400, KmsFault::Key),
        ("NotFoundException", 400, KmsFault::Key),
        ("InvalidKeyUsageException", 400, KmsFault::Key),
        ("AccessDeniedException", 400, KmsFault::Permission),
        ("ExpiredTokenException", 400, KmsFault::Login),
        ("UnrecognizedClientException", 400, KmsFault::Login),
        ("InvalidCiphertextException", 400, KmsFault::Ciphertext),
        ("IncorrectKeyException", 400, KmsFault::Ciphertext),
        ("ThrottlingException", 400, KmsFault::Throttled),
        ("KeyUnavailableException", 500, KmsFault::Unavailable),
        ("DependencyTimeoutException", 503, KmsFault::Unavailable),
        ("no error code", 503, KmsFault::Unavailable),
        ("no error code", 429, KmsFault::Throttled),
        ("no error code", 403, KmsFault::Permission),
        // An unknown code is classified by its status.
        ("SomethingNew", 400, KmsFault::Key),
    ] {
        assert_eq!(classify_response(code, status).0, fault, "{code} {status}");
    }
}

#[test]
fn an_arn_tells_its_region() {
    assert_eq!(region_of(KEY), Some("eu-central-1"));
    assert_eq!(
        region_of("arn:aws-us-gov:kms:us-gov-west-1:1:alias/s3proxy"),
        Some("us-gov-west-1")
    );
    assert_eq!(region_of("alias/s3proxy"), None);
    assert_eq!(region_of("1234abcd-12ab"), None);
    assert_eq!(region_of("arn:aws:kms"), None);
}
