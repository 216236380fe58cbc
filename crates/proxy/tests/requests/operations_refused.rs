//! Every operation, requested by clients without permission: nothing reaches the backend.

use s3proxy_protocol::operation::{Kind, Operation};

use crate::catalogue;
use crate::harness::{Credential, Proxy};

/// Two listed clients: `alice` may do everything on `alice-*`, `reader` may read `bucket/public/`.
const CLIENTS: &str = r#"
[[clients.known]]
name = "alice"
access_key_id = "ALICE"
secret_access_key = "alices-secret-key"
grants = [{ buckets = ["alice-*"] }]

[[clients.known]]
name = "reader"
access_key_id = "READER"
secret_access_key = "readers-secret-key"
grants = [{ operations = ["read"], buckets = ["bucket"], prefixes = ["public/"] }]
"#;

fn alice() -> Credential {
    Credential::new("ALICE", "alices-secret-key")
}

/// Operations whose request needs no signature, or has it in the body.
fn is_signed_by_header(operation: Operation) -> bool {
    !matches!(operation.kind(), Kind::Preflight | Kind::PostObject)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsigned_request_is_refused_whatever_it_asks_for() {
    let proxy = Proxy::start().await;
    for operation in Operation::ALL
        .iter()
        .copied()
        .filter(|operation| is_signed_by_header(*operation))
    {
        let answer = proxy.send_unsigned(catalogue::request(operation)).await;
        assert_eq!(answer.status(), 403, "{operation:?}: {answer:?}");
        assert!(proxy.backend.take_requests().is_empty(), "{operation:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_access_key_is_refused_whatever_it_asks_for() {
    let proxy = Proxy::start().await;
    let stranger = Credential::new("STRANGER", "strangers-secret-key");
    for operation in Operation::ALL
        .iter()
        .copied()
        .filter(|operation| is_signed_by_header(*operation))
    {
        let answer = proxy
            .send_as(&stranger, catalogue::request(operation))
            .await;
        assert_eq!(answer.status(), 403, "{operation:?}: {answer:?}");
        assert!(proxy.backend.take_requests().is_empty(), "{operation:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_signature_is_refused_whatever_it_asks_for() {
    let proxy = Proxy::start().await;
    let forger = Credential::new(&proxy.owner().access_key_id, "not-the-secret");
    for operation in Operation::ALL
        .iter()
        .copied()
        .filter(|operation| is_signed_by_header(*operation))
    {
        let answer = proxy.send_as(&forger, catalogue::request(operation)).await;
        assert_eq!(answer.status(), 403, "{operation:?}: {answer:?}");
        assert!(proxy.backend.take_requests().is_empty(), "{operation:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_without_its_fields_is_refused() {
    let proxy = Proxy::start().await;
    let answer = proxy
        .send_unsigned(catalogue::request(Operation::PostObject))
        .await;
    assert!((400..=403).contains(&answer.status()), "{answer:?}");
    assert!(proxy.backend.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_outside_its_grants_is_refused_whatever_it_asks_for() {
    let proxy = Proxy::builder().file(CLIENTS).start().await;
    let judged_elsewhere = |operation: Operation| {
        matches!(
            operation.kind(),
            Kind::ListBuckets | Kind::Preflight | Kind::PostObject
        )
    };
    for operation in Operation::ALL
        .iter()
        .copied()
        .filter(|operation| !judged_elsewhere(*operation))
    {
        let answer = proxy.send_as(&alice(), catalogue::request(operation)).await;
        match operation.kind() {
            // A batch is checked key by key if some of its keys may be granted.
            Kind::DeleteObjects if answer.status() == 200 => {
                assert_eq!(answer.code(), "AccessDenied", "{}", answer.text());
            }
            // These requests name no bucket that a grant could cover.
            Kind::Unsupported if operation == Operation::ListDirectoryBuckets => {
                answer.expect_error(501, "NotImplemented");
            }
            Kind::HeadObject => {
                answer.expect(403);
            }
            _ => assert_eq!(answer.status(), 403, "{operation:?}: {answer:?}"),
        }
        assert!(proxy.backend.take_requests().is_empty(), "{operation:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_a_prefix_may_do_nothing_else() {
    let proxy = Proxy::builder().file(CLIENTS).start().await;
    let reader = Credential::new("READER", "readers-secret-key");
    let public = |operation| {
        let mut request = catalogue::request(operation);
        request.target = request
            .target
            .replacen("/bucket/key", "/bucket/public/key", 1);
        request
    };
    for operation in Operation::ALL
        .iter()
        .copied()
        .filter(|operation| is_signed_by_header(*operation))
    {
        let answer = proxy.send_as(&reader, public(operation)).await;
        let requests = proxy.backend.take_requests();
        let reads = operation.access() == s3proxy_protocol::operation::Access::Read;
        let reaches_backend = reads && operation.kind() != Kind::Unsupported;
        if operation.kind() == Kind::ListBuckets {
            continue;
        }
        if reaches_backend {
            assert!(
                requests
                    .iter()
                    .all(|request| request.method == "GET" || request.method == "HEAD")
            );
            continue;
        }
        assert!(
            !answer.is_success() || answer.code() == "AccessDenied",
            "{operation:?}: {answer:?}"
        );
        assert!(requests.is_empty(), "{operation:?}: {requests:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_that_cannot_work_on_sealed_data_are_not_implemented() {
    let proxy = Proxy::start().await;
    for operation in Operation::ALL.iter().copied() {
        if operation.kind() == Kind::Unsupported {
            let answer = proxy.send(catalogue::request(operation)).await;
            answer.expect_error(501, "NotImplemented");
            assert!(proxy.backend.take_requests().is_empty(), "{operation:?}");
        }
    }
}
