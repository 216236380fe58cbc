//! Objects are stored and come back unchanged.

use crate::harness::{ClientRequest, Proxy, Reply, raw_exchange};

#[tokio::test(flavor = "multi_thread")]
async fn an_object_comes_back_as_it_was_and_lies_sealed_at_the_backend() {
    let proxy = Proxy::start().await;
    proxy.create_bucket("bucket").await;
    let etag = proxy.put("/bucket/key", "plaintext").await;
    let answer = proxy
        .send(ClientRequest::get("/bucket/key"))
        .await
        .expect(200);
    assert_eq!(answer.text(), "plaintext");
    assert_eq!(answer.header("etag"), etag);
    let stored = proxy
        .send_to_store(ClientRequest::get("/bucket/key"))
        .await
        .expect(200);
    assert!(!stored.text().contains("plaintext"));
    assert!(stored.headers.contains_key("x-amz-meta-isec"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_a_folder_is_no_object() {
    let proxy = Proxy::start().await;
    proxy.create_bucket("bucket").await;
    proxy.put("/bucket/folder/inner/key", "plaintext").await;
    for path in ["/bucket/folder", "/bucket/folder/", "/bucket/folder/inner"] {
        let answer = proxy.send(ClientRequest::get(path)).await;
        answer.expect_error(404, "NoSuchKey");
        let head = ClientRequest::head(path);
        proxy.send(head).await.expect(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_presigned_url_opens_the_object_it_was_made_for() {
    let proxy = Proxy::start().await;
    proxy.create_bucket("bucket").await;
    proxy.put("/bucket/key", "plaintext").await;
    let answer = proxy
        .send_presigned(ClientRequest::get("/bucket/key"))
        .await
        .expect(200);
    assert_eq!(answer.text(), "plaintext");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsigned_request_is_refused_before_the_backend_hears_of_it() {
    let proxy = Proxy::start().await;
    let answer = proxy.send_unsigned(ClientRequest::get("/bucket/key")).await;
    answer.expect_error(403, "AccessDenied");
    assert!(proxy.backend.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_answers_in_the_stores_place() {
    let proxy = Proxy::start().await;
    proxy.create_bucket("bucket").await;
    proxy.backend.script(|_| Reply::error(404, "NoSuchKey"));
    let answer = proxy.send(ClientRequest::get("/bucket/key")).await;
    answer.expect_error(404, "NoSuchKey");
    proxy.backend.honest();
    proxy.put("/bucket/key", "there").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_request_get_a_bad_request() {
    let proxy = Proxy::start().await;
    let answer = raw_exchange(proxy.address(), b"NOT HTTP\r\n\r\n").await;
    assert!(
        answer.starts_with(b"HTTP/1.1 400"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}
