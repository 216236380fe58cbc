//! Refusals of HEAD give the reason in a header, since they have no body.

use s3proxy_envelope::kek::Kek;

use super::harness::{Answer, ClientRequest, Credential, Proxy, Reply};

const REASON: &str = "x-s3proxy-reason";

/// The message of an error document, with its quotes unescaped.
fn message(answer: &Answer) -> String {
    let message = answer.element("Message");
    message.replace("&quot;", "\"").replace("&apos;", "'")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_head_says_what_a_refused_get_does() {
    let proxy = Proxy::start().await;
    proxy.create_bucket("photos").await;
    let stranger = Credential::new("AKIASTRANGER", "secret");
    let get = proxy
        .send_as(&stranger, ClientRequest::get("/photos/cat"))
        .await;
    let get = get.expect_error(403, "InvalidAccessKeyId");
    let head = proxy
        .send_as(&stranger, ClientRequest::head("/photos/cat"))
        .await;
    let head = head.expect(403);
    let told = format!("InvalidAccessKeyId: {}", message(&get));
    assert_eq!(head.header(REASON), told);
    assert_eq!(get.header(REASON), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_under_an_unknown_key_is_forbidden_and_the_key_is_named() {
    let proxy = Proxy::start().await;
    proxy.create_bucket("photos").await;
    let elsewhere = Proxy::builder()
        .environment("S3PROXY_ENCRYPT_KEY", &Kek::generate().to_configured())
        .start()
        .await;
    elsewhere.create_bucket("photos").await;
    elsewhere.put("/photos/cat", "meow").await;
    let stored = elsewhere
        .send_to_store(ClientRequest::get("/photos/cat"))
        .await;
    let name = "x-amz-meta-isec";
    let sealed = ClientRequest::put("/photos/cat", stored.body.clone());
    let sealed = sealed.header(name, stored.header(name));
    proxy.send_to_store(sealed).await.expect(200);
    let get = proxy.send(ClientRequest::get("/photos/cat")).await;
    let get = get.expect_error(403, "AccessDenied");
    let message = message(&get);
    assert!(
        message.contains("which is not configured here"),
        "{message}"
    );
    let head =
        proxy.send(ClientRequest::head("/photos/cat").header("x-amz-checksum-mode", "ENABLED"));
    assert_eq!(
        head.await.expect(403).header(REASON),
        format!("AccessDenied: {message}")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reason_is_short_and_visible_and_absent_where_the_backend_gave_none() {
    let proxy = Proxy::start().await;
    proxy.backend.script(|_| Reply::answer(404, &[], ""));
    let missing = proxy.send(ClientRequest::head("/photos/cat")).await;
    assert_eq!(missing.expect(404).header(REASON), "");
    let stranger = Credential::new("AKIASTRANGER", "secret");
    let long = format!("/photos/{}", "%C3%A9".repeat(400));
    let refused = proxy.send_as(&stranger, ClientRequest::head(long)).await;
    let refused = refused.expect(403);
    let reason = refused.header(REASON);
    assert!(!reason.is_empty() && reason.len() <= 512);
}
