//! The ids of a request: one in header, body and log, and the backend's beside it.

use http::HeaderValue;

use crate::harness::{Answer, ClientRequest, Proxy, Reply};
use crate::memory_store::{Faults, MemoryStore};

fn expect_ids(answer: &Answer, described: &str) {
    let id = answer.header("x-amz-request-id");
    assert_eq!(id.len(), 16, "{described}: {answer:?}");
    assert_eq!(answer.header("x-s3proxy-request-id"), id, "{described}");
    let host_id = answer.header("x-amz-id-2");
    assert_eq!(host_id.len(), 32, "{described}");
    if answer.text().contains("<Error>") {
        assert_eq!(answer.element("RequestId"), id, "{described}");
        assert_eq!(answer.element("HostId"), host_id, "{described}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_one_id_and_says_what_the_backend_calls_it() {
    let proxy = Proxy::start().await;
    let store = MemoryStore::new(Faults::default());
    proxy
        .backend
        .script(move |request| match store.reply(request) {
            Reply::Answer(mut answer) => {
                let headers = answer.headers_mut();
                headers.insert("x-amz-request-id", HeaderValue::from_static("THEIRS"));
                headers.insert("x-amz-id-2", HeaderValue::from_static("their host"));
                Reply::Answer(answer)
            }
            reply => reply,
        });
    proxy.put("/bucket/key", "plaintext").await;
    for (request, reaches_backend) in [
        (ClientRequest::put("/bucket/key", "plaintext"), true),
        (ClientRequest::get("/bucket/key"), true),
        (ClientRequest::head("/bucket/key"), true),
        (
            ClientRequest::get("/bucket/key").header("if-none-match", "*"),
            true,
        ),
        (ClientRequest::get("/bucket?list-type=2"), true),
        (ClientRequest::get("/bucket/absent"), true),
        (ClientRequest::head("/bucket/absent"), true),
        (
            ClientRequest::get("/bucket/key").header("range", "bytes=99-"),
            true,
        ),
        (ClientRequest::delete("/bucket/key"), true),
        (ClientRequest::post("/bucket/key?uploads", ""), true),
        (
            ClientRequest::post("/bucket/key?select&select-type=2", ""),
            false,
        ),
        (ClientRequest::put("/bucket?unheard-of", ""), false),
        (
            ClientRequest::put("/bucket/key", "x").header("content-md5", "x"),
            false,
        ),
    ] {
        let described = format!(
            "{} {} {:?}",
            request.method, request.target, request.headers
        );
        let answer = proxy.send(request).await;
        expect_ids(&answer, &described);
        let theirs = if reaches_backend {
            ("THEIRS", "their host")
        } else {
            ("", "")
        };
        let told = (
            answer.header("x-s3proxy-backend-request-id"),
            answer.header("x-s3proxy-backend-id-2"),
        );
        assert_eq!(told, theirs, "{described}");
    }
    let unsigned = proxy.send_unsigned(ClientRequest::get("/bucket/key")).await;
    expect_ids(&unsigned.expect(403), "without a signature");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_comes_late_names_the_id_of_its_head() {
    let proxy = Proxy::start().await;
    proxy.create_bucket("bucket").await;
    proxy.put("/bucket/source", "plaintext").await;
    proxy.backend.script(|request| {
        if request.headers.contains_key("x-amz-copy-source") {
            let late = Reply::error(200, "InternalError");
            return Reply::After(std::time::Duration::from_secs(6), Box::new(late));
        }
        Reply::Store
    });
    let request =
        ClientRequest::put("/bucket/copy", "").header("x-amz-copy-source", "/bucket/source");
    let answer = proxy.send(request).await.expect(200);
    assert_eq!(answer.code(), "InternalError");
    expect_ids(&answer, "late");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_beyond_the_end_is_named_in_its_refusal() {
    let proxy = Proxy::start().await;
    proxy.create_bucket("bucket").await;
    proxy.put("/bucket/key", "plaintext").await;
    let request = ClientRequest::get("/bucket/key").header("range", "bytes=9-12");
    let answer = proxy.send(request).await.expect_error(416, "InvalidRange");
    assert_eq!(answer.element("RangeRequested"), "bytes=9-12");
    assert_eq!(answer.element("ActualObjectSize"), "9");
    assert_eq!(answer.header("content-range"), "bytes */9");
}
