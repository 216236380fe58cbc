//! CORS preflights: they have no signature, and only three of their headers are forwarded.

use http::Method;

use crate::harness::{ClientRequest, Proxy, Reply};

fn preflight(target: &str) -> ClientRequest {
    ClientRequest::new(Method::OPTIONS, target)
        .header("origin", "https://app.example")
        .header("access-control-request-method", "PUT")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_goes_on_unsigned_with_three_headers() {
    let proxy = Proxy::start().await;
    proxy.backend.script(|_| {
        let allowed = &[("access-control-allow-origin", "https://app.example")];
        Reply::answer(200, allowed, "a body that nobody asked for")
    });
    let request = preflight("/bucket/key?anything=1&acl&uploadId=x&X-Amz-Signature=zz")
        .header("access-control-request-headers", "content-type")
        .header("x-amz-request-payer", "requester")
        .header("x-amz-expected-bucket-owner", "1")
        .header("cookie", "secret");
    let answer = proxy.send_unsigned(request).await.expect(200);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        "https://app.example"
    );
    assert_eq!(answer.text(), "");
    let sent = proxy.backend.take_requests();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].target, "/bucket/key");
    assert!(sent[0].body.is_empty());
    let mut names: Vec<&str> = sent[0]
        .headers
        .keys()
        .map(http::HeaderName::as_str)
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "access-control-request-headers",
            "access-control-request-method",
            "host",
            "origin",
            "x-s3proxy-hop"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_preflight_is_refused_before_the_backend_hears_of_it() {
    let proxy = Proxy::start().await;
    for request in [
        ClientRequest::new(Method::OPTIONS, "/bucket/key"),
        ClientRequest::new(Method::OPTIONS, "/bucket/key").header("origin", "https://app.example"),
        ClientRequest::new(Method::OPTIONS, "/bucket/key")
            .header("access-control-request-method", "PUT"),
        preflight("/bucket/key").body("hello world"),
    ] {
        let answer = proxy.send_unsigned(request).await;
        answer.expect_error(400, "InvalidRequest");
    }
    assert!(proxy.backend.take_requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn preflights_from_one_address_are_limited_by_default() {
    let proxy = Proxy::builder()
        .environment("S3PROXY_LIMITS_THROTTLE_WAIT", "0s")
        .start()
        .await;
    proxy.backend.script(|_| Reply::answer(200, &[], ""));
    let mut refused = 0;
    for _ in 0..40 {
        let sent = (0..16).map(|_| proxy.send_unsigned(preflight("/bucket/key")));
        let answers = futures_util::future::join_all(sent).await;
        refused += answers
            .iter()
            .filter(|answer| answer.status() == 503)
            .count();
        if refused > 0 {
            break;
        }
    }
    assert!(refused > 0, "640 preflights at once were not held back");
}
