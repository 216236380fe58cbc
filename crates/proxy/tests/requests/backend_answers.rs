//! The proxy validates responses of the backend before a client sees any of them.

use http::Method;

use crate::harness::{ClientRequest, Proxy, RecordedRequest, Reply, raw_exchange};

/// Only objects sealed in this format are served.
const DENY: &str = "[policy]\nplaintext_reads = \"deny\"\nlegacy_reads = \"deny\"";

const FORGED: &str = "<?xml version=\"1.0\"?><Error><Code>None</Code>\
                      <Message>account,balance\nmallory,1000000</Message></Error>";

async fn proxy_with_an_object() -> Proxy {
    let proxy = Proxy::builder().file(DENY).start().await;
    proxy.create_bucket("bucket").await;
    proxy.put("/bucket/key", "plaintext").await;
    proxy
}

fn forged(status: u16) -> Reply {
    // A body after 204 would be the start of the next response.
    let body = if status == 204 { "" } else { FORGED };
    Reply::answer(status, &[("content-type", "application/xml")], body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_other_than_the_reads_own_is_an_internal_error() {
    let proxy = proxy_with_an_object().await;
    // 301, 302, 307 and 308 are missing: redirects have rules of their own.
    for status in (201..=299).chain([300, 303, 304, 305, 306, 399, 600, 999]) {
        proxy.backend.script(move |_| forged(status));
        for request in [
            ClientRequest::get("/bucket/key"),
            ClientRequest::get("/bucket/key?tagging"),
        ] {
            let answer = proxy.send(request).await;
            answer.expect_error(500, "InternalError");
        }
        let head = proxy.send(ClientRequest::head("/bucket/key")).await;
        head.expect(500);
    }
}

/// One request of every kind that reaches the backend.
fn requests() -> Vec<ClientRequest> {
    let copy = |target: &str| {
        ClientRequest::new(Method::PUT, target).header("x-amz-copy-source", "/bucket/key")
    };
    let batch = "<Delete><Object><Key>key</Key></Object></Delete>";
    let complete = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>e</ETag></Part>\
                    </CompleteMultipartUpload>";
    vec![
        ClientRequest::get("/"),
        ClientRequest::new(Method::PUT, "/other"),
        ClientRequest::head("/bucket"),
        ClientRequest::delete("/bucket"),
        ClientRequest::get("/bucket"),
        ClientRequest::get("/bucket?list-type=2"),
        ClientRequest::get("/bucket?versions"),
        ClientRequest::get("/bucket?uploads"),
        ClientRequest::get("/bucket?location"),
        ClientRequest::post("/bucket?delete", batch),
        ClientRequest::get("/bucket/key").header("range", "bytes=0-1"),
        ClientRequest::get("/bucket/key?attributes").header("x-amz-object-attributes", "ETag"),
        ClientRequest::put("/bucket/key", "body"),
        ClientRequest::put("/bucket/key", vec![1_u8; 2 << 20]),
        copy("/bucket/copy"),
        copy("/bucket/copy?partNumber=1&uploadId=u"),
        ClientRequest::delete("/bucket/key"),
        ClientRequest::post("/bucket/key?uploads", ""),
        ClientRequest::put("/bucket/key?partNumber=1&uploadId=u", "part"),
        ClientRequest::get("/bucket/key?uploadId=u"),
        ClientRequest::post("/bucket/key?uploadId=u", complete),
        ClientRequest::delete("/bucket/key?uploadId=u"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_operation_takes_a_status_that_it_does_not_have_for_a_success() {
    let proxy = proxy_with_an_object().await;
    for status in [201, 203, 205, 207, 226, 304] {
        proxy.backend.script(move |_| forged(status));
        for request in requests() {
            let (method, target) = (request.method.clone(), request.target.clone());
            proxy.backend.take_requests();
            let answer = proxy.send(request).await;
            assert_eq!(answer.status(), 500, "{method} {target}: {answer:?}");
            assert!(
                !proxy.backend.take_requests().is_empty(),
                "{method} {target}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_may_be_answered_with_and_without_a_document() {
    let proxy = proxy_with_an_object().await;
    for status in [200, 204] {
        proxy
            .backend
            .script(move |_| Reply::answer(status, &[], ""));
        let answer = proxy.send(ClientRequest::delete("/bucket/key")).await;
        answer.expect(status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_of_the_clients_may_end_in_not_modified() {
    let proxy = proxy_with_an_object().await;
    let etag = proxy.put("/bucket/key", "plaintext").await;
    let conditional = || ClientRequest::get("/bucket/key").header("if-none-match", etag.clone());
    proxy
        .backend
        .script(|_| Reply::answer(304, &[("etag", "\"e\"")], ""));
    proxy.send(conditional()).await.expect(304);
    // Without a condition in the request, 304 is no answer to it.
    let unasked = proxy.send(ClientRequest::get("/bucket/key")).await;
    unasked.expect_error(500, "InternalError");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_backend_reach_the_client_as_errors() {
    let proxy = proxy_with_an_object().await;
    for (status, code) in [(403, "AccessDenied"), (404, "NoSuchKey"), (409, "Whatever")] {
        proxy.backend.script(move |_| Reply::error(status, code));
        let answer = proxy.send(ClientRequest::get("/bucket/key")).await;
        answer.expect_error(status, code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_under_a_size_is_not_sent_where_the_size_cannot_be_known() {
    let proxy = proxy_with_an_object().await;
    proxy.backend.script(|request| match request.method {
        // The proxy needs the stored size for the condition, and must not guess it.
        Method::HEAD => Reply::answer(403, &[], ""),
        _ => Reply::answer(204, &[], ""),
    });
    let deletion = ClientRequest::delete("/bucket/key").header("x-amz-if-match-size", "9");
    proxy.backend.take_requests();
    proxy.send(deletion).await.expect(403);
    let sent = proxy.backend.take_requests();
    assert!(sent.iter().all(|request| request.method == Method::HEAD));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_date_from_the_end_of_time_stops_nothing() {
    let proxy = proxy_with_an_object().await;
    let date = ("date", "Fri, 31 Dec 9999 23:59:59 GMT");
    for reply in [
        (|| Reply::answer(404, &[("date", "Fri, 31 Dec 9999 23:59:59 GMT")], "")) as fn() -> Reply,
        || {
            Reply::altered(|answer| {
                let date = "Fri, 31 Dec 9999 23:59:59 GMT".parse().unwrap();
                answer.headers_mut().insert("date", date);
            })
        },
    ] {
        proxy.backend.script(move |_| reply());
        proxy.send(ClientRequest::get("/bucket/key")).await;
        proxy.backend.honest();
        let answer = proxy.send(ClientRequest::get("/bucket/key")).await;
        assert_eq!(answer.expect(200).text(), "plaintext");
    }
    // Only this error makes the proxy adopt the backend's clock.
    let skewed = "<Error><Code>RequestTimeTooSkewed</Code></Error>";
    proxy
        .backend
        .script(move |_| Reply::answer(403, &[date], skewed));
    let refused = proxy.send(ClientRequest::get("/bucket/key")).await;
    refused.expect_error(500, "InternalError");
    proxy.backend.honest();
    let answer = proxy.send(ClientRequest::get("/bucket/key")).await;
    assert_eq!(answer.expect(200).text(), "plaintext");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_a_success_signs_no_request() {
    let proxy = proxy_with_an_object().await;
    proxy.backend.script(|_| {
        Reply::altered(|answer| {
            let date = "Tue, 01 Jan 2030 00:00:00 GMT".parse().unwrap();
            answer.headers_mut().insert("date", date);
        })
    });
    proxy
        .send(ClientRequest::get("/bucket/key"))
        .await
        .expect(200);
    proxy.backend.take_requests();
    proxy
        .send(ClientRequest::get("/bucket/key"))
        .await
        .expect(200);
    let signed = proxy.backend.take_requests();
    assert!(
        signed
            .iter()
            .all(|request| !request.header("x-amz-date").starts_with("2030"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_date_beyond_the_calendar_is_refused_with_an_answer() {
    let proxy = Proxy::start().await;
    let signature = "a".repeat(64);
    for date in [
        "Fri, 31 Dec 9999 23:59:59 -0100",
        "Fri, 31 Dec 9999 23:59:59 EST",
    ] {
        let request = format!(
            "GET /bucket/key HTTP/1.1\r\nhost: {}\r\ndate: {date}\r\nconnection: close\r\n\
             x-amz-content-sha256: UNSIGNED-PAYLOAD\r\nauthorization: AWS4-HMAC-SHA256 \
             Credential=ANY/99991231/us-east-1/s3/aws4_request, SignedHeaders=host;date, \
             Signature={signature}\r\n\r\n",
            proxy.host()
        );
        let answer = raw_exchange(proxy.address(), request.as_bytes()).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("HTTP/1.1 40"), "{date}: {answer}");
    }
}

fn begins_an_upload(request: &RecordedRequest) -> bool {
    request.method == Method::POST && request.has_parameter("uploads")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_an_object_longer_than_any_is_refused_before_it_begins() {
    let proxy = Proxy::start().await;
    proxy.create_bucket("bucket").await;
    for length in [
        "9223372036854775807",
        "18446744073709551615",
        "281474976710655",
    ] {
        proxy.backend.script(move |request| match request.method {
            Method::HEAD => {
                Reply::answer(200, &[("content-length", length), ("etag", "\"e\"")], "")
            }
            _ => Reply::Store,
        });
        proxy.backend.take_requests();
        let copy = ClientRequest::new(Method::PUT, "/bucket/copy");
        let answer = proxy
            .send(copy.header("x-amz-copy-source", "/bucket/key"))
            .await;
        assert_eq!(answer.status(), 500, "{length}: {answer:?}");
        let sent = proxy.backend.take_requests();
        assert!(!sent.iter().any(begins_an_upload), "{length}");
    }
}
