//! Multipart uploads, from their creation to the object, and copies.

use std::fmt::Write;

use http::Method;

use crate::harness::{Answer, ClientRequest, Proxy, Reply};
use crate::memory_store::{Faults, MemoryStore};

const MIB: usize = 1024 * 1024;

async fn proxy_with_bucket() -> Proxy {
    let proxy = Proxy::start().await;
    MemoryStore::new(Faults::default()).behind(&proxy);
    proxy
}

pub(crate) async fn begin(proxy: &Proxy, key: &str) -> String {
    let request = ClientRequest::post(format!("/bucket/{key}?uploads"), "");
    proxy.send(request).await.expect(200).element("UploadId")
}

pub(crate) async fn upload_part(
    proxy: &Proxy,
    (key, id): (&str, &str),
    number: u16,
    body: Vec<u8>,
) -> String {
    let target = format!("/bucket/{key}?partNumber={number}&uploadId={id}");
    let answer = proxy
        .send(ClientRequest::put(target, body))
        .await
        .expect(200);
    answer.header("etag").trim_matches('"').to_owned()
}

pub(crate) async fn complete(
    proxy: &Proxy,
    (key, id): (&str, &str),
    parts: &[(u16, String)],
) -> Answer {
    let mut listed = String::new();
    for (number, etag) in parts {
        write!(
            listed,
            "<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        )
        .unwrap();
    }
    let document = format!("<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>");
    let target = format!("/bucket/{key}?uploadId={id}");
    proxy.send(ClientRequest::post(target, document)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_two_parts_is_one_object() {
    let proxy = proxy_with_bucket().await;
    let id = begin(&proxy, "key").await;
    let upload = ("key", id.as_str());
    let (first, second) = (vec![1; 5 * MIB], vec![2; 1000]);
    let parts = [
        (1, upload_part(&proxy, upload, 1, first.clone()).await),
        (2, upload_part(&proxy, upload, 2, second.clone()).await),
    ];
    complete(&proxy, upload, &parts).await.expect(200);
    let answer = proxy
        .send(ClientRequest::get("/bucket/key"))
        .await
        .expect(200);
    assert!(
        answer.body == [first, second].concat(),
        "{} bytes",
        answer.body.len()
    );
    // The last byte of the first part and the first byte of the second.
    let request = ClientRequest::get("/bucket/key").header("range", "bytes=5242879-5242880");
    let answer = proxy.send(request).await.expect(206);
    assert_eq!(answer.body, &[1, 2][..]);
    let head = proxy
        .send(ClientRequest::head("/bucket/key"))
        .await
        .expect(200);
    assert_eq!(head.header("content-length"), (5 * MIB + 1000).to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_one_short_part_is_one_object() {
    let proxy = proxy_with_bucket().await;
    let id = begin(&proxy, "key").await;
    let upload = ("key", id.as_str());
    let parts = [(
        1,
        upload_part(&proxy, upload, 1, b"plaintext".to_vec()).await,
    )];
    complete(&proxy, upload, &parts).await.expect(200);
    let answer = proxy
        .send(ClientRequest::get("/bucket/key"))
        .await
        .expect(200);
    assert_eq!(answer.text(), "plaintext");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_listed_in_plaintext_terms() {
    let proxy = proxy_with_bucket().await;
    let id = begin(&proxy, "key").await;
    upload_part(&proxy, ("key", &id), 1, b"plaintext".to_vec()).await;
    let target = format!("/bucket/key?uploadId={id}");
    let answer = proxy.send(ClientRequest::get(target)).await.expect(200);
    assert_eq!(answer.element("PartNumber"), "1");
    assert_eq!(answer.element("Size"), "9");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_upload_is_gone() {
    let proxy = proxy_with_bucket().await;
    let id = begin(&proxy, "key").await;
    let target = format!("/bucket/key?uploadId={id}");
    proxy.send(ClientRequest::delete(&target)).await.expect(204);
    let request = ClientRequest::put(format!("/bucket/key?partNumber=1&uploadId={id}"), "x");
    proxy.send(request).await.expect_error(404, "NoSuchUpload");
}

#[tokio::test(flavor = "multi_thread")]
async fn completes_that_name_wrong_parts_are_refused() {
    let proxy = proxy_with_bucket().await;
    let id = begin(&proxy, "key").await;
    let upload = ("key", id.as_str());
    let first = upload_part(&proxy, upload, 1, vec![1; 5 * MIB]).await;
    let second = upload_part(&proxy, upload, 2, vec![2; 10]).await;
    let unknown = "d41d8cd98f00b204e9800998ecf8427e".to_owned();
    for (parts, code) in [
        (
            vec![(2, second.clone()), (1, first.clone())],
            "InvalidPartOrder",
        ),
        (vec![(1, unknown), (2, second.clone())], "InvalidPart"),
        (vec![(1, first.clone()), (3, second.clone())], "InvalidPart"),
        (vec![], "MalformedXML"),
    ] {
        complete(&proxy, upload, &parts)
            .await
            .expect_error(400, code);
    }
    // The refused requests left the upload usable.
    complete(&proxy, upload, &[(1, first), (2, second)])
        .await
        .expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn part_numbers_outside_one_to_ten_thousand_are_refused() {
    let proxy = proxy_with_bucket().await;
    let id = begin(&proxy, "key").await;
    for number in ["0", "10001", "-1", "x", "99999999999999999999"] {
        let target = format!("/bucket/key?partNumber={number}&uploadId={id}");
        let answer = proxy.send(ClientRequest::put(target, "x")).await;
        assert_eq!(answer.status(), 400, "{number}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_nobody_began_is_unknown() {
    let proxy = proxy_with_bucket().await;
    for request in [
        ClientRequest::put("/bucket/key?partNumber=1&uploadId=unknown", "x"),
        ClientRequest::get("/bucket/key?uploadId=unknown"),
    ] {
        proxy.send(request).await.expect_error(404, "NoSuchUpload");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_opens_under_its_own_name() {
    let proxy = proxy_with_bucket().await;
    proxy.put("/bucket/source", "plaintext").await;
    let request =
        ClientRequest::put("/bucket/copy", "").header("x-amz-copy-source", "/bucket/source");
    let answer = proxy.send(request).await.expect(200);
    assert!(
        answer.text().contains("CopyObjectResult"),
        "{}",
        answer.text()
    );
    let answer = proxy
        .send(ClientRequest::get("/bucket/copy"))
        .await
        .expect(200);
    assert_eq!(answer.text(), "plaintext");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plaintext_source_is_sealed_on_its_way() {
    let proxy = Proxy::start().await;
    proxy.create_bucket("bucket").await;
    let plain = ClientRequest::put("/bucket/source", "plaintext");
    proxy.send_to_store(plain).await.expect(200);
    let request =
        ClientRequest::put("/bucket/copy", "").header("x-amz-copy-source", "/bucket/source");
    proxy.send(request).await.expect(200);
    let copied = ClientRequest::get("/bucket/copy");
    let stored = proxy.send_to_store(copied).await.expect(200);
    assert!(!stored.text().contains("plaintext"));
    let answer = proxy
        .send(ClientRequest::get("/bucket/copy"))
        .await
        .expect(200);
    assert_eq!(answer.text(), "plaintext");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_source_is_told_as_one() {
    let proxy = proxy_with_bucket().await;
    let request =
        ClientRequest::put("/bucket/copy", "").header("x-amz-copy-source", "/bucket/missing");
    proxy.send(request).await.expect_error(404, "NoSuchKey");
    proxy
        .send(ClientRequest::get("/bucket/copy"))
        .await
        .expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_can_be_copied_from_a_range_of_an_object() {
    let proxy = proxy_with_bucket().await;
    proxy.put("/bucket/source", "plaintext").await;
    let id = begin(&proxy, "key").await;
    let request = ClientRequest::put(format!("/bucket/key?partNumber=1&uploadId={id}"), "")
        .header("x-amz-copy-source", "/bucket/source")
        .header("x-amz-copy-source-range", "bytes=5-8");
    let answer = proxy.send(request).await.expect(200);
    let etag = answer
        .element("ETag")
        .replace("&quot;", "")
        .replace('"', "");
    complete(&proxy, ("key", &id), &[(1, etag)])
        .await
        .expect(200);
    let answer = proxy
        .send(ClientRequest::get("/bucket/key"))
        .await
        .expect(200);
    assert_eq!(answer.text(), "text");
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_compare_the_etag_that_the_client_knows() {
    let proxy = proxy_with_bucket().await;
    let etag = proxy.put("/bucket/key", "plaintext").await;
    let get = || ClientRequest::get("/bucket/key");
    assert!(etag.ends_with("-0\""), "{etag}");
    for (value, status) in [(etag.as_str(), 200), ("\"another\"", 412)] {
        let answer = proxy.send(get().header("if-match", value)).await;
        assert_eq!(answer.status(), status, "{value}: {answer:?}");
    }
    for request in proxy.backend.requests() {
        let condition = request.header("if-match");
        assert!(
            !condition.contains("-0"),
            "the backend knows its own ETag only: {condition}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listed_etags_are_those_of_heads() {
    let proxy = proxy_with_bucket().await;
    let etag = proxy.put("/bucket/key", "plaintext").await;
    let answer = proxy
        .send(ClientRequest::get("/bucket?list-type=2"))
        .await
        .expect(200);
    assert!(
        answer.text().contains(etag.trim_matches('"')),
        "{}",
        answer.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_has_ended_is_no_such_upload_where_the_backend_says_no_such_key() {
    let proxy = Proxy::start().await;
    proxy.backend.script(|_| Reply::error(404, "NoSuchKey"));
    let answer = proxy
        .send(ClientRequest::delete("/bucket/key?uploadId=ended"))
        .await;
    answer.expect_error(404, "NoSuchUpload");
    let requests = proxy.backend.requests();
    assert!(
        requests
            .iter()
            .all(|request| request.method != Method::DELETE),
        "{requests:?}"
    );
}
