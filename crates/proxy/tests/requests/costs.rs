//! The cost of a request before it is known to be valid: refusals precede bodies, and heads,
//! queries and messages have limits.

use crate::harness::{ClientRequest, Credential, Proxy, raw_exchange};

const CLIENTS: &str = r#"
[[clients.known]]
name = "all"
access_key_id = "ALL"
secret_access_key = "all-secret"

[[clients.known]]
name = "reader"
access_key_id = "READER"
secret_access_key = "reader-secret"
[[clients.known.grants]]
operations = ["read", "write", "list"]
buckets = ["bucket"]

[[clients.known]]
name = "deleter"
access_key_id = "DELETER"
secret_access_key = "deleter-secret"
[[clients.known.grants]]
operations = ["delete"]
buckets = ["bucket"]
prefixes = ["mine/"]
"#;

async fn proxy_with_clients() -> (Proxy, Credential) {
    let proxy = Proxy::builder().file(CLIENTS).start().await;
    let all = Credential::new("ALL", "all-secret");
    let created = proxy.send_as(&all, ClientRequest::put("/bucket", "")).await;
    created.expect(200);
    (proxy, all)
}

/// Sends only the head of a request with `Expect: 100-continue`, and returns all that arrives.
async fn head_alone(proxy: &Proxy, credential: &Credential, request: ClientRequest) -> String {
    let request = request.header("expect", "100-continue");
    let mut bytes = request
        .signed(credential, &proxy.host())
        .to_bytes(&proxy.host());
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    // A client that waits for 100 Continue sends no body if it gets a final response first.
    bytes.truncate(end.unwrap() + 4);
    let answer = raw_exchange(proxy.address(), &bytes).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_refused_before_its_body_to_whoever_may_delete_nothing_in_the_bucket() {
    let (proxy, _) = proxy_with_clients().await;
    let body = "<Delete><Object><Key>mine/a</Key></Object></Delete>";
    let reader = Credential::new("READER", "reader-secret");
    let answer = head_alone(&proxy, &reader, ClientRequest::post("/bucket?delete", body)).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(answer.contains("<Code>AccessDenied</Code>"), "{answer}");

    let deleter = Credential::new("DELETER", "deleter-secret");
    let batch = ClientRequest::post(
        "/bucket?delete",
        "<Delete><Object><Key>mine/a</Key></Object><Object><Key>other</Key></Object></Delete>",
    );
    let answer = proxy.send_as(&deleter, batch).await.expect(200);
    assert_eq!(
        answer.text().matches("<Code>AccessDenied</Code>").count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_of_no_upload_is_refused_before_its_list() {
    let proxy = Proxy::start().await;
    proxy.create_bucket("bucket").await;
    let list = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>e</ETag></Part>\
                </CompleteMultipartUpload>";
    let request = ClientRequest::post("/bucket/key?uploadId=unheard-of", list);
    let answer = head_alone(&proxy, proxy.owner(), request).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(answer.contains("<Code>NoSuchUpload</Code>"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_of_many_parameters_is_refused_to_everybody_alike() {
    let proxy = Proxy::start().await;
    for count in [65, 5000] {
        let target = format!("/bucket/key?{}", "a&".repeat(count));
        let answer = proxy.send_unsigned(ClientRequest::get(target)).await;
        answer.expect_error(400, "InvalidArgument");
    }
    let few = format!("/bucket/key?{}", "a&".repeat(64));
    let answer = proxy.send_unsigned(ClientRequest::get(few)).await;
    answer.expect_error(403, "AccessDenied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_with_a_long_region_is_malformed() {
    let proxy = Proxy::start().await;
    let region = "r".repeat(7000);
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/20261130/{region}/s3/aws4_request, \
         SignedHeaders=host;x-amz-date, Signature={}",
        crate::harness::BACKEND_ACCESS_KEY_ID,
        "0".repeat(64)
    );
    let request = ClientRequest::get("/bucket/key")
        .header("x-amz-date", "20261130T000000Z")
        .header("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
        .header("authorization", authorization);
    let answer = proxy.send_unsigned(request).await;
    answer.expect_error(400, "AuthorizationHeaderMalformed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_quotes_little_of_what_a_client_made_up() {
    let proxy = Proxy::start().await;
    proxy.create_bucket("bucket").await;
    let name = "\u{200b}".repeat(600_000);
    let body = format!("<Delete><{name}/></Delete>");
    let answer = proxy
        .send(ClientRequest::post("/bucket?delete", body))
        .await;
    let answer = answer.expect_error(400, "MalformedXML");
    assert!(answer.body.len() < 4096, "{} bytes", answer.body.len());
    proxy.put("/bucket/key", "x").await;
    let range = format!("bytes={}9-", "0".repeat(6000));
    let request = ClientRequest::get("/bucket/key").header("range", range);
    let answer = proxy.send(request).await.expect_error(416, "InvalidRange");
    assert!(answer.body.len() < 1024, "{} bytes", answer.body.len());
    let long = "x".repeat(6000);
    for request in [
        ClientRequest::put(format!("/bucket/key?{long}"), "x"),
        ClientRequest::put(format!("/bucket/key?x-amz-{long}="), "x"),
        ClientRequest::get(format!("/bucket/key?a={long}&A={long}")),
    ] {
        let answer = proxy.send(request).await;
        assert!(answer.status() >= 400, "{answer:?}");
        let said = answer.element("Message");
        assert!(
            (1..1200).contains(&said.len()),
            "{} bytes: {answer:?}",
            said.len()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_with_another_coding_than_chunked_is_refused_and_the_connection_closed() {
    let proxy = Proxy::start().await;
    for coding in ["gzip, chunked", "identity, chunked", "chunked, chunked"] {
        let request = format!(
            "PUT /bucket/key HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n",
            proxy.host()
        );
        let answer = raw_exchange(proxy.address(), request.as_bytes()).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 400"), "{coding}: {answer}");
    }
    assert!(proxy.backend.requests().is_empty());
}

/// The shortest possible metadata names, each for a value of one byte.
fn short_names(count: usize) -> Vec<String> {
    let letters = || "abcdefghijklmnopqrstuvwxyz0123456789".chars();
    let one = letters().map(|letter| letter.to_string());
    let two = letters().flat_map(|first| letters().map(move |next| format!("{first}{next}")));
    one.chain(two).take(count).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_was_taken_can_be_read_back_however_many_entries_its_metadata_has() {
    let proxy = Proxy::start().await;
    proxy.create_bucket("bucket").await;
    for count in [88, 89, 100, 101, 200, 400, 480, 505, 520, 600] {
        let mut put = ClientRequest::put("/bucket/key", "content");
        for name in short_names(count) {
            put = put.header(&format!("x-amz-meta-{name}"), "v");
        }
        let stored = proxy.send(put).await;
        if stored.status() != 200 {
            assert!(count > 400, "{count} entries: {stored:?}");
            let known = ["RequestHeaderSectionTooLarge", "MetadataTooLarge", ""];
            assert!(known.contains(&stored.code().as_str()), "{stored:?}");
            continue;
        }
        let copy =
            ClientRequest::put("/bucket/copy", "").header("x-amz-copy-source", "/bucket/key");
        proxy.send(copy).await.expect(200);
        for request in [
            ClientRequest::get("/bucket/key"),
            ClientRequest::head("/bucket/key"),
            ClientRequest::get("/bucket/copy"),
        ] {
            let answer = proxy.send(request).await.expect(200);
            let entries = answer.headers.keys();
            let entries = entries.filter(|name| name.as_str().starts_with("x-amz-meta-"));
            assert_eq!(entries.count(), count);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_are_asked_for_with_known_values_only() {
    let proxy = Proxy::start().await;
    proxy.create_bucket("bucket").await;
    proxy.backend.take_requests();
    for query in [
        "uploads&encoding-type=x",
        "encoding-type=URL",
        "versions&encoding-type=",
        "list-type=2&max-keys=many",
        "uploads&max-uploads=-1",
        "list-type=2&fetch-owner=perhaps",
    ] {
        let answer = proxy
            .send(ClientRequest::get(format!("/bucket?{query}")))
            .await;
        answer.expect_error(400, "InvalidArgument");
    }
    assert!(proxy.backend.requests().is_empty());
}
