//! Objects: written, read whole and in ranges, described, deleted.

use crate::harness::{ClientRequest, Proxy, raw_exchange, sha256};

async fn proxy_with_bucket() -> Proxy {
    let proxy = Proxy::start().await;
    proxy.create_bucket("bucket").await;
    proxy
}

/// Plaintext of several sealed chunks.
fn long_plaintext() -> Vec<u8> {
    (0..100_000u32)
        .map(|index| u8::try_from(index % 251).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_and_headers_of_content_come_back() {
    let proxy = proxy_with_bucket().await;
    let request = ClientRequest::put("/bucket/key", "plaintext")
        .header("content-type", "text/csv")
        .header("cache-control", "no-cache")
        .header("x-amz-meta-owner", "accounts");
    proxy.send(request).await.expect(200);
    for request in [
        ClientRequest::get("/bucket/key"),
        ClientRequest::head("/bucket/key"),
    ] {
        let answer = proxy.send(request).await.expect(200);
        assert_eq!(answer.header("content-type"), "text/csv");
        assert_eq!(answer.header("x-amz-meta-owner"), "accounts");
        assert_eq!(answer.header("content-length"), "9");
        assert_eq!(answer.header("x-amz-meta-isec"), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_are_slices_of_the_plaintext() {
    let proxy = proxy_with_bucket().await;
    let plaintext = long_plaintext();
    proxy.put("/bucket/key", plaintext.clone()).await;
    for (range, first, end) in [
        ("bytes=0-0", 0, 1),
        // Crosses the border of the first chunk.
        ("bytes=16383-16384", 16383, 16385),
        ("bytes=50000-", 50000, 100_000),
        ("bytes=-1", 99_999, 100_000),
        ("bytes=-200000", 0, 100_000),
        ("bytes=99999-200000", 99_999, 100_000),
    ] {
        let request = ClientRequest::get("/bucket/key").header("range", range);
        let answer = proxy.send(request).await.expect(206);
        assert_eq!(answer.body, plaintext[first..end], "{range}");
        let expected = format!("bytes {first}-{}/100000", end - 1);
        assert_eq!(answer.header("content-range"), expected, "{range}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_beyond_the_plaintext_is_not_satisfiable() {
    let proxy = proxy_with_bucket().await;
    proxy.put("/bucket/key", "plaintext").await;
    let request = ClientRequest::get("/bucket/key").header("range", "bytes=9-");
    let answer = proxy.send(request).await.expect_error(416, "InvalidRange");
    assert_eq!(answer.header("content-range"), "bytes */9");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_ranges_get_the_whole_object() {
    let proxy = proxy_with_bucket().await;
    proxy.put("/bucket/key", "plaintext").await;
    let request = ClientRequest::get("/bucket/key").header("range", "bytes=0-1,4-5");
    let answer = proxy.send(request).await.expect(200);
    assert_eq!(answer.text(), "plaintext");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_object_comes_back_empty() {
    let proxy = proxy_with_bucket().await;
    proxy.put("/bucket/key", "").await;
    let answer = proxy
        .send(ClientRequest::get("/bucket/key"))
        .await
        .expect(200);
    assert!(answer.body.is_empty());
    assert_eq!(answer.header("content-length"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_arrive_as_they_were_sent() {
    let proxy = proxy_with_bucket().await;
    for key in [
        "a%20b",
        "plus+plus",
        "%F0%9F%94%91",
        "percent%25",
        "deep/er/key",
    ] {
        let target = format!("/bucket/{key}");
        proxy.put(&target, key).await;
        let answer = proxy.send(ClientRequest::get(&target)).await.expect(200);
        assert_eq!(answer.text(), key);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_no_utf8_is_an_invalid_uri() {
    let proxy = proxy_with_bucket().await;
    let answer = proxy.send(ClientRequest::get("/bucket/%FF")).await;
    answer.expect_error(400, "InvalidURI");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_object_is_told_as_one() {
    let proxy = proxy_with_bucket().await;
    let answer = proxy.send(ClientRequest::get("/bucket/missing")).await;
    answer.expect_error(404, "NoSuchKey");
    proxy
        .send(ClientRequest::head("/bucket/missing"))
        .await
        .expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_object_is_gone() {
    let proxy = proxy_with_bucket().await;
    proxy.put("/bucket/key", "plaintext").await;
    proxy
        .send(ClientRequest::delete("/bucket/key"))
        .await
        .expect(204);
    proxy
        .send(ClientRequest::get("/bucket/key"))
        .await
        .expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_the_signed_one_is_not_stored() {
    let proxy = proxy_with_bucket().await;
    let request = ClientRequest::put("/bucket/key", "another").payload(&sha256(b"plaintext"));
    let answer = proxy.send(request).await;
    assert_eq!(answer.status(), 400, "{answer:?}");
    proxy
        .send(ClientRequest::get("/bucket/key"))
        .await
        .expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_content_md5_is_not_stored() {
    let proxy = proxy_with_bucket().await;
    let request = ClientRequest::put("/bucket/key", "plaintext")
        .header("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==");
    proxy.send(request).await.expect_error(400, "BadDigest");
    proxy
        .send(ClientRequest::get("/bucket/key"))
        .await
        .expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_checksum_is_not_stored() {
    let proxy = proxy_with_bucket().await;
    let request =
        ClientRequest::put("/bucket/key", "plaintext").header("x-amz-checksum-crc32", "AAAAAA==");
    proxy.send(request).await.expect_error(400, "BadDigest");
    proxy
        .send(ClientRequest::get("/bucket/key"))
        .await
        .expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_in_a_clients_metadata_is_refused() {
    let proxy = proxy_with_bucket().await;
    for name in ["x-amz-meta-isec", "x-amz-meta-IsEc"] {
        let request = ClientRequest::put("/bucket/key", "plaintext").header(name, "s3p1.AAAA");
        let answer = proxy.send(request).await;
        assert_eq!(answer.status(), 400, "{answer:?}");
    }
    proxy
        .send(ClientRequest::get("/bucket/key"))
        .await
        .expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_above_the_configured_size_is_refused_before_its_body_is_read() {
    let builder = Proxy::builder().environment("S3PROXY_PUTBODY_MAX", "10");
    let proxy = builder.start().await;
    proxy.create_bucket("bucket").await;
    proxy.put("/bucket/key", "ten bytes.").await;
    let longer = ClientRequest::put("/bucket/longer", "eleven byte");
    let refused = proxy.send(longer).await.expect_error(413, "EntityTooLarge");
    let message = refused.element("Message");
    assert!(message.contains("10 bytes") && message.contains("S3PROXY_PUTBODY_MAX"));
    // The response arrives although only the head was sent.
    let head = ClientRequest::put("/bucket/longer", vec![0; 11])
        .signed(proxy.owner(), &proxy.host())
        .to_bytes(&proxy.host());
    let answer = raw_exchange(proxy.address(), &head[..head.len() - 11]).await;
    assert!(answer.starts_with(b"HTTP/1.1 413"));

    proxy.backend.take_requests();
    let created = ClientRequest::post("/bucket/parts?uploads", "");
    let id = proxy.send(created).await.expect(200).element("UploadId");
    let part = format!("/bucket/parts?partNumber=1&uploadId={id}");
    proxy
        .send(ClientRequest::put(part, "a part of more than that"))
        .await
        .expect(200);
    let copy = ClientRequest::put("/bucket/copy", "");
    proxy
        .send(copy.header("x-amz-copy-source", "/bucket/key"))
        .await
        .expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_amz_headers_on_a_write_are_not_implemented() {
    let proxy = proxy_with_bucket().await;
    let request = ClientRequest::put("/bucket/key", "plaintext").header("x-amz-invented", "1");
    proxy
        .send(request)
        .await
        .expect_error(501, "NotImplemented");
    proxy
        .send(ClientRequest::get("/bucket/key"))
        .await
        .expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn appending_and_renaming_are_not_implemented() {
    let proxy = proxy_with_bucket().await;
    for (name, value) in [
        ("x-amz-write-offset-bytes", "0"),
        ("x-amz-rename-source", "/bucket/other"),
    ] {
        let request = ClientRequest::put("/bucket/key", "plaintext").header(name, value);
        proxy
            .send(request)
            .await
            .expect_error(501, "NotImplemented");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_are_in_plaintext_terms() {
    let proxy = proxy_with_bucket().await;
    proxy.put("/bucket/key", "plaintext").await;
    let request = ClientRequest::get("/bucket/key?attributes")
        .header("x-amz-object-attributes", "ETag,ObjectSize");
    let answer = proxy.send(request).await.expect(200);
    assert_eq!(answer.element("ObjectSize"), "9");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_the_answer_can_be_chosen_by_a_signed_request() {
    let proxy = proxy_with_bucket().await;
    proxy.put("/bucket/key", "plaintext").await;
    let request = ClientRequest::get("/bucket/key?response-content-type=text%2Fcsv");
    let answer = proxy.send(request).await.expect(200);
    assert_eq!(answer.header("content-type"), "text/csv");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_under_the_state_prefix_belong_to_the_proxy() {
    let proxy = proxy_with_bucket().await;
    for key in [
        ".s3proxy/uploads/x/state",
        // A server that normalises paths would map all of these to the state prefix.
        "//.s3proxy/x",
        "a/../.s3proxy/x",
        "./.s3proxy/x",
    ] {
        for request in [
            ClientRequest::get(format!("/bucket/{key}")),
            ClientRequest::put(format!("/bucket/{key}"), "x"),
            ClientRequest::delete(format!("/bucket/{key}")),
        ] {
            proxy.send(request).await.expect_error(403, "AccessDenied");
        }
    }
}
