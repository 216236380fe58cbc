//! Names are checked in the form that takes effect, with a store that keeps objects as files.

use http::Method;

use crate::harness::{ClientRequest, Credential, Proxy};

const CLIENTS: &str = r#"
[clients]
anonymous_read_buckets = ["pub"]

[[clients.known]]
name = "all"
access_key_id = "ALL"
secret_access_key = "all-secret"

[[clients.known]]
name = "part"
access_key_id = "PART"
secret_access_key = "part-secret"
[[clients.known.grants]]
operations = ["read", "write", "delete", "list"]
buckets = ["alpha"]
prefixes = ["p/"]

[[clients.known]]
name = "whole"
access_key_id = "WHOLE"
secret_access_key = "whole-secret"
[[clients.known.grants]]
operations = ["read", "write", "delete", "list"]
buckets = ["alpha"]
"#;

/// The credentials of `all`, `part` and `whole`.
async fn start() -> (Proxy, [Credential; 3]) {
    let proxy = Proxy::builder().file(CLIENTS).start().await;
    let clients = [
        Credential::new("ALL", "all-secret"),
        Credential::new("PART", "part-secret"),
        Credential::new("WHOLE", "whole-secret"),
    ];
    for target in ["/alpha", "/bravo", "/pub"] {
        let request = ClientRequest::new(Method::PUT, target);
        proxy.send_as(&clients[0], request).await.expect(200);
    }
    for target in ["/alpha/secret/s", "/alpha/p/mine", "/bravo/x", "/pub/open"] {
        let request = ClientRequest::put(target, "content");
        proxy.send_as(&clients[0], request).await.expect(200);
    }
    (proxy, clients)
}

/// Every way to name a key in a request.
fn requests(key: &str) -> Vec<ClientRequest> {
    let target = format!("/alpha/{key}");
    let batch = format!("<Delete><Object><Key>{key}</Key></Object></Delete>");
    vec![
        ClientRequest::get(&target),
        ClientRequest::head(&target),
        ClientRequest::get(format!("{target}?tagging")),
        ClientRequest::put(&target, "content"),
        ClientRequest::delete(&target),
        ClientRequest::post(format!("{target}?uploads"), ""),
        ClientRequest::post("/alpha?delete", batch),
        ClientRequest::new(Method::PUT, "/alpha/p/copy").header("x-amz-copy-source", target),
        ClientRequest::get(format!("/alpha?list-type=2&prefix={key}")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_a_prefix_does_not_leave_it() {
    let (proxy, [_, part, _]) = start().await;
    for key in [
        "p/../secret/s",
        "p/../../bravo/x",
        "p/../../alpha/secret/s",
        "p//mine",
        "p/./mine",
    ] {
        for request in requests(key) {
            proxy.backend.take_requests();
            let answer = proxy.send_as(&part, request.clone()).await;
            let is_refused = answer.status() == 403 || answer.code() == "AccessDenied";
            assert!(is_refused, "{request:?} {answer:?}");
            let sent = proxy.backend.take_requests();
            assert!(sent.is_empty(), "{request:?} {sent:?}");
        }
    }
    let mine = proxy
        .send_as(&part, ClientRequest::get("/alpha/p/mine"))
        .await;
    assert_eq!(mine.expect(200).text(), "content");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_a_bucket_does_not_leave_it() {
    let (proxy, [_, _, whole]) = start().await;
    for key in ["../bravo/x", "p/../../bravo/x"] {
        for request in requests(key) {
            proxy.backend.take_requests();
            let answer = proxy.send_as(&whole, request.clone()).await;
            let is_refused = answer.status() == 403 || answer.code() == "AccessDenied";
            assert!(is_refused, "{request:?} {answer:?}");
            let sent = proxy.backend.take_requests();
            assert!(sent.is_empty(), "{request:?} {sent:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reaches_the_proxys_own_state_by_another_way() {
    let (proxy, [all, ..]) = start().await;
    for key in [
        "p/../../alpha/.s3proxy/uploads/x/state",
        "../bravo/.s3proxy/uploads/x/state",
        "../../store/alpha/.s3proxy/uploads/x/state",
    ] {
        for request in requests(key) {
            let is_listing = request.target.contains("prefix=");
            let answer = proxy.send_as(&all, request.clone()).await;
            let is_refused = answer.status() == 403 || answer.code() == "AccessDenied";
            assert!(is_refused || is_listing, "{request:?} {answer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn anonymous_readers_do_not_leave_their_bucket() {
    let (proxy, _) = start().await;
    for target in [
        "/pub/../alpha/secret/s",
        "/pub/./open",
        "/pub//open",
        "/pub/x/../open",
    ] {
        let answer = proxy.send_unsigned(ClientRequest::get(target)).await;
        answer.expect_error(403, "AccessDenied");
    }
    let open = proxy.send_unsigned(ClientRequest::get("/pub/open")).await;
    assert_eq!(open.expect(200).text(), "content");
}

#[tokio::test(flavor = "multi_thread")]
async fn anonymous_readers_get_no_old_versions() {
    let (proxy, _) = start().await;
    proxy.backend.take_requests();
    for target in [
        "/pub/open?versionId=old",
        "/pub/open?versionId=null",
        "/pub/open?versionId=",
    ] {
        for request in [ClientRequest::get(target), ClientRequest::head(target)] {
            proxy.send_unsigned(request).await.expect(403);
        }
    }
    assert!(proxy.backend.take_requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acl_in_the_headers_needs_an_admin_grant_whatever_the_operation() {
    let (proxy, [_, part, _]) = start().await;
    let tags = "<Tagging><TagSet/></Tagging>";
    for header in ["x-amz-acl", "x-amz-grant-read"] {
        for request in [
            ClientRequest::put("/alpha/p/mine", "content"),
            ClientRequest::put("/alpha/p/mine?tagging", tags),
            ClientRequest::get("/alpha/p/mine?tagging"),
            ClientRequest::delete("/alpha/p/mine?tagging"),
            ClientRequest::post("/alpha/p/mine?restore", ""),
            ClientRequest::post("/alpha/p/mine?uploads", ""),
        ] {
            proxy.backend.take_requests();
            let request = request.header(header, "public-read");
            let answer = proxy.send_as(&part, request).await;
            answer.expect_error(403, "AccessDenied");
            assert!(proxy.backend.take_requests().is_empty());
        }
    }
}
