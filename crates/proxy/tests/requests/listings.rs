//! Listings: sizes and ETags in plaintext terms, and hidden keys.

use crate::harness::{ClientRequest, Proxy};

async fn proxy_with_objects() -> Proxy {
    let proxy = Proxy::start().await;
    proxy.create_bucket("bucket").await;
    for key in ["a", "b/one", "b/two"] {
        proxy.put(&format!("/bucket/{key}"), "plaintext").await;
    }
    proxy
}

#[tokio::test(flavor = "multi_thread")]
async fn listed_sizes_are_those_of_the_plaintext() {
    let proxy = proxy_with_objects().await;
    for target in ["/bucket?list-type=2&prefix=a", "/bucket?prefix=a"] {
        let answer = proxy.send(ClientRequest::get(target)).await.expect(200);
        assert_eq!(answer.element("Size"), "9");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prefixes_and_delimiters_are_honoured() {
    let proxy = proxy_with_objects().await;
    let request = ClientRequest::get("/bucket?list-type=2&delimiter=%2F");
    let answer = proxy.send(request).await.expect(200);
    assert_eq!(answer.text().matches("<Contents>").count(), 1);
    assert!(
        answer
            .text()
            .contains("<CommonPrefixes><Prefix>b/</Prefix></CommonPrefixes>")
    );
    let request = ClientRequest::get("/bucket?list-type=2&prefix=b%2F");
    let answer = proxy.send(request).await.expect(200);
    assert_eq!(answer.text().matches("<Contents>").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_goes_on_where_its_page_ended() {
    let proxy = proxy_with_objects().await;
    let mut keys = Vec::new();
    let mut target = "/bucket?list-type=2&max-keys=1".to_owned();
    for _ in 0..5 {
        let answer = proxy.send(ClientRequest::get(&target)).await.expect(200);
        keys.push(answer.element("Key"));
        if answer.element("IsTruncated") != "true" {
            break;
        }
        let last = keys.last().unwrap().replace('/', "%2F");
        // Keys are in byte order, so the last key of a page starts the next one.
        target = format!("/bucket?list-type=2&max-keys=1&start-after={last}");
    }
    assert_eq!(keys, ["a", "b/one", "b/two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_open_uploads_is_hidden() {
    let proxy = proxy_with_objects().await;
    proxy
        .send(ClientRequest::post("/bucket/upload?uploads", ""))
        .await
        .expect(200);
    let stored = proxy
        .send_to_store(ClientRequest::get("/bucket?list-type=2"))
        .await
        .expect(200);
    assert!(stored.text().contains(".s3proxy/"), "{}", stored.text());
    for target in [
        "/bucket?list-type=2",
        "/bucket",
        "/bucket?list-type=2&delimiter=%2F",
    ] {
        let answer = proxy.send(ClientRequest::get(target)).await.expect(200);
        assert!(!answer.text().contains(".s3proxy"), "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_are_made_listed_and_deleted() {
    let proxy = Proxy::start().await;
    proxy.create_bucket("bucket").await;
    let answer = proxy.send(ClientRequest::get("/")).await.expect(200);
    assert!(answer.text().contains("<Name>bucket</Name>"));
    proxy.send(ClientRequest::head("/bucket")).await.expect(200);
    proxy
        .send(ClientRequest::delete("/bucket"))
        .await
        .expect(204);
    proxy.send(ClientRequest::head("/bucket")).await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_parameter_that_is_unknown_is_refused() {
    let proxy = proxy_with_objects().await;
    let answer = proxy
        .send(ClientRequest::get("/bucket?list-type=2&invented=1"))
        .await;
    assert!(answer.status() >= 400, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_deletes_its_keys_and_no_others() {
    let proxy = proxy_with_objects().await;
    let document =
        "<Delete><Object><Key>a</Key></Object><Object><Key>b/one</Key></Object></Delete>";
    let answer = proxy
        .send(ClientRequest::post("/bucket?delete", document))
        .await
        .expect(200);
    assert_eq!(
        answer.text().matches("<Deleted>").count(),
        2,
        "{}",
        answer.text()
    );
    let answer = proxy
        .send(ClientRequest::get("/bucket?list-type=2"))
        .await
        .expect(200);
    assert_eq!(answer.element("Key"), "b/two");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_no_delete_document_is_malformed() {
    let proxy = proxy_with_objects().await;
    for document in ["", "plaintext", "<Other/>", "<Delete><Object></Delete>"] {
        let answer = proxy
            .send(ClientRequest::post("/bucket?delete", document))
            .await;
        assert_eq!(answer.status(), 400, "{document}: {answer:?}");
    }
    let answer = proxy
        .send(ClientRequest::get("/bucket?list-type=2"))
        .await
        .expect(200);
    assert_eq!(answer.text().matches("<Contents>").count(), 3);
}
