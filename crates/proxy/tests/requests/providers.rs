//! Backends that are not quite S3.
//!
//! No server of these providers can run here: a script stands in for them. It refuses the requests
//! that they refuse by their public documentation and by reports of their users.

use std::sync::{Arc, Mutex};

use http::Method;

use crate::harness::{ClientRequest, Proxy, RecordedRequest, Reply};
use crate::memory_store::{Faults, MemoryStore};
use crate::uploads::{begin, complete, upload_part};

/// Refuses headers as Backblaze B2 does, even empty ones, and bodies with trailing checksums.
fn like_b2(request: &RecordedRequest) -> Reply {
    let names = [
        "x-amz-tagging",
        "x-amz-sdk-checksum-algorithm",
        "x-amz-trailer",
    ];
    match names
        .iter()
        .find(|name| request.headers.contains_key(**name))
    {
        Some(_) => Reply::error(400, "InvalidArgument"),
        None => Reply::Store,
    }
}

/// Refuses the headers of PutObject that Cloudflare R2 lists as not implemented.
fn like_r2(request: &RecordedRequest) -> Reply {
    const NOT_IMPLEMENTED: [&str; 7] = [
        "x-amz-acl",
        "x-amz-expected-bucket-owner",
        "x-amz-object-lock-legal-hold",
        "x-amz-request-payer",
        "x-amz-server-side-encryption",
        "x-amz-tagging",
        "x-amz-website-redirect-location",
    ];
    let mut names = NOT_IMPLEMENTED.iter();
    match names.find(|name| request.headers.contains_key(**name)) {
        Some(_) => Reply::error(501, "NotImplemented"),
        None => Reply::Store,
    }
}

const R2: &str =
    "tagging, acl, object-lock, server-side-encryption, bucket-owner, request-payer, website";

#[tokio::test]
async fn empty_optional_headers_are_not_sent_to_any_backend() {
    let proxy = Proxy::start().await;
    proxy.create_bucket("bucket").await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let names = Arc::clone(&seen);
    proxy.backend.script(move |request| {
        let sent = request.headers.keys().map(|name| name.as_str().to_owned());
        names.lock().unwrap().extend(sent);
        like_b2(request)
    });
    let empty = |request: ClientRequest| {
        request
            .header("x-amz-tagging", "")
            .header("x-amz-acl", "")
            .header("x-amz-storage-class", "")
            .header("x-amz-server-side-encryption", "")
            .header("x-amz-website-redirect-location", "")
            .header("cache-control", "")
            .header("x-amz-meta-empty", "")
    };
    proxy
        .send(empty(ClientRequest::put("/bucket/key", "content")))
        .await
        .expect(200);
    let begun = proxy
        .send(empty(ClientRequest::post("/bucket/parts?uploads", "")))
        .await;
    begun.expect(200);
    let copy = ClientRequest::put("/bucket/copy", "").header("x-amz-copy-source", "/bucket/key");
    proxy.send(empty(copy)).await.expect(200);
    let seen = seen.lock().unwrap();
    for name in [
        "x-amz-tagging",
        "x-amz-acl",
        "x-amz-storage-class",
        "x-amz-server-side-encryption",
        "x-amz-website-redirect-location",
        "cache-control",
    ] {
        assert!(!seen.iter().any(|sent| sent == name), "{name}");
    }
    assert!(seen.iter().any(|sent| sent == "x-amz-meta-empty"));
}

#[tokio::test]
async fn an_empty_condition_is_still_a_condition() {
    let proxy = Proxy::start().await;
    proxy.create_bucket("bucket").await;
    let put =
        ClientRequest::put("/bucket/key", "content").header("x-amz-expected-bucket-owner", "");
    proxy.send(put).await;
    let requests = proxy.backend.requests();
    let sent = requests
        .iter()
        .rfind(|request| request.method == Method::PUT)
        .unwrap();
    assert!(sent.headers.contains_key("x-amz-expected-bucket-owner"));
}

#[tokio::test]
async fn features_that_the_backend_lacks_are_not_sent_and_not_pretended() {
    let proxy = Proxy::builder()
        .environment("S3PROXY_BACKEND_LACKS", R2)
        .start()
        .await;
    proxy.create_bucket("bucket").await;
    proxy.backend.script(like_r2);
    let put = || ClientRequest::put("/bucket/key", "content");
    let defaults = put()
        .header("x-amz-acl", "private")
        .header("x-amz-server-side-encryption", "AES256")
        .header("x-amz-object-lock-legal-hold", "OFF")
        .header("x-amz-request-payer", "requester");
    proxy.send(defaults).await.expect(200);
    for (name, value, feature) in [
        ("x-amz-tagging", "a=1", "tagging"),
        ("x-amz-acl", "public-read", "acl"),
        ("x-amz-object-lock-legal-hold", "ON", "object-lock"),
        (
            "x-amz-server-side-encryption",
            "aws:kms",
            "server-side-encryption",
        ),
        (
            "x-amz-expected-bucket-owner",
            "123456789012",
            "bucket-owner",
        ),
        ("x-amz-website-redirect-location", "/a", "website"),
    ] {
        let before = proxy.backend.requests().len();
        let refused = proxy.send(put().header(name, value)).await;
        let refused = refused.expect_error(501, "NotImplemented");
        let text = refused.text();
        assert!(
            text.contains(feature) && text.contains("backend.lacks"),
            "{text}"
        );
        assert_eq!(proxy.backend.requests().len(), before, "{name}");
    }
    let tags = "<Tagging><TagSet/></Tagging>";
    for request in [
        ClientRequest::put("/bucket/key?tagging", tags),
        ClientRequest::get("/bucket/key?tagging"),
        ClientRequest::get("/bucket/key?acl"),
    ] {
        proxy
            .send(request)
            .await
            .expect_error(501, "NotImplemented");
    }
    let copy = ClientRequest::put("/bucket/copy", "")
        .header("x-amz-copy-source", "/bucket/key")
        .header("x-amz-tagging-directive", "COPY");
    proxy.send(copy).await.expect(200);
    let kept = proxy
        .send(ClientRequest::get("/bucket/copy"))
        .await
        .expect(200);
    assert_eq!(kept.text(), "content");
}

#[tokio::test]
async fn trailing_checksums_are_sent_only_where_they_are_known() {
    for (lacks, trailed) in [("", true), ("trailing-checksums", false)] {
        let proxy = Proxy::builder()
            .environment("S3PROXY_BACKEND_LACKS", lacks)
            .environment("S3PROXY_LIMITS_HELD_BODY", "1")
            .start()
            .await;
        proxy.create_bucket("bucket").await;
        proxy
            .backend
            .script(|_| Reply::answer(200, &[("etag", "\"e\"")], ""));
        let locked = ClientRequest::put("/bucket/key", "content")
            .header("x-amz-object-lock-mode", "GOVERNANCE")
            .header(
                "x-amz-object-lock-retain-until-date",
                "2100-01-01T00:00:00Z",
            );
        proxy.send(locked).await.expect(200);
        let requests = proxy.backend.requests();
        let sent = requests
            .iter()
            .rfind(|request| request.method == Method::PUT)
            .unwrap();
        assert_eq!(
            sent.headers.contains_key("x-amz-trailer"),
            trailed,
            "{lacks}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_are_equal_for_the_client_are_equal_for_the_backend() {
    const LONG: usize = 5 * 1024 * 1024 + 1000;
    let proxy = Proxy::builder()
        .environment("S3PROXY_POLICY_PART_SIZES", "equal")
        .start()
        .await;
    let faults = Faults {
        wants_equal_parts: true,
        ..Faults::default()
    };
    MemoryStore::new(faults).behind(&proxy);
    // Numbers in the order of their arrival, and lengths.
    for arrivals in [
        vec![(1, LONG), (2, LONG), (3, LONG)],
        vec![(2, LONG), (1, LONG), (3, LONG)],
        vec![(1, LONG), (2, LONG), (3, LONG - 700)],
        vec![(3, 10), (2, LONG), (1, LONG)],
        vec![(1, LONG), (2, 0)],
        vec![(1, LONG)],
        vec![(1, 10)],
    ] {
        let id = begin(&proxy, "key").await;
        let upload = ("key", id.as_str());
        let mut parts = Vec::new();
        for (number, length) in &arrivals {
            let body = vec![u8::try_from(*number).unwrap(); *length];
            parts.push((*number, upload_part(&proxy, upload, *number, body).await));
        }
        parts.sort();
        complete(&proxy, upload, &parts).await.expect(200);
        let read = proxy
            .send(ClientRequest::get("/bucket/key"))
            .await
            .expect(200);
        let length: usize = arrivals.iter().map(|(_, length)| length).sum();
        assert_eq!(read.body.len(), length, "{arrivals:?}");
        assert!(read.body.is_sorted(), "{arrivals:?}");
    }
}
