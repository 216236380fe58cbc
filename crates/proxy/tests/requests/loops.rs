//! A proxy that is its own backend, directly or through others, and the checks that find this out.

use std::net::SocketAddr;

use super::harness::{Answer, ClientRequest, Proxy, RecordedRequest, Reply};

const HOP: &str = "x-s3proxy-hop";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_back_is_refused_before_anything_else() {
    let proxy = Proxy::start().await;
    proxy.create_bucket("photos").await;
    let sent = proxy.backend.take_requests();
    let mark = sent[0].header(HOP).to_owned();
    assert!(!mark.is_empty());
    for (mark, told) in [
        (mark.as_str(), "through this proxy"),
        ("0123456789abcdef", "of an s3proxy"),
    ] {
        let request = ClientRequest::get("/photos/cat").header(HOP, mark);
        let refused = proxy.send_unsigned(request).await;
        // Not 403, although the request is unsigned: the mark is checked before the signature.
        let refused = refused.expect_error(508, "LoopDetected");
        assert!(
            refused.element("Message").contains(told),
            "{}",
            refused.text()
        );
        let request = ClientRequest::head("/photos/cat").header(HOP, mark);
        let refused = proxy.send_unsigned(request).await.expect(508);
        assert!(refused.header("x-s3proxy-reason").contains(told));
    }
    assert!(proxy.backend.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_through_another_server_ends_at_its_first_turn() {
    let proxy = Proxy::start().await;
    let (address, host) = (proxy.address(), proxy.host());
    proxy.backend.script(move |request| {
        let (request, host) = (request.clone(), host.clone());
        Reply::When(Box::pin(
            async move { sent_on(&request, address, &host).await },
        ))
    });
    for request in [
        ClientRequest::get("/photos/cat"),
        ClientRequest::put("/photos/cat", "meow"),
    ] {
        let refused = proxy.send(request).await.expect_error(508, "LoopDetected");
        assert!(refused.element("Message").contains("leads back to it"));
        assert_eq!(proxy.backend.take_requests().len(), 1);
    }
    let ready = proxy
        .send_unsigned(ClientRequest::get("/readyz"))
        .await
        .expect(503);
    assert!(
        ready.text().contains("the backend is an s3proxy"),
        "{}",
        ready.text()
    );
}

/// Forwards a request as a server in between does.
async fn sent_on(request: &RecordedRequest, to: SocketAddr, host: &str) -> Reply {
    let mut again = ClientRequest::new(request.method.clone(), request.target.clone());
    for (name, value) in &request.headers {
        // A forwarding server sets its own Host.
        if name != "host" {
            again
                .headers
                .push((name.to_string(), value.to_str().unwrap().to_owned()));
        }
    }
    let answer: Answer = again
        .body(request.body.clone())
        .send_from(None, to, host)
        .await;
    Reply::answer(answer.status(), &[], answer.body.to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_whose_credential_the_backend_refuses_is_not_ready() {
    for (status, code, expected) in [
        (403, "InvalidAccessKeyId", 503),
        (403, "SignatureDoesNotMatch", 503),
        (400, "InvalidToken", 503),
        (403, "AccessDenied", 200),
        (405, "MethodNotAllowed", 200),
        (200, "none", 200),
    ] {
        let proxy = Proxy::start().await;
        proxy.backend.script(move |_| Reply::error(status, code));
        let ready = proxy.send_unsigned(ClientRequest::get("/readyz")).await;
        let ready = ready.expect(expected);
        let told = ready.text().contains("refuses the proxy's credential");
        assert_eq!(told, expected == 503, "{code}: {}", ready.text());
        let asked = proxy.backend.take_requests();
        let last = asked.last().unwrap();
        assert_eq!((last.method.as_str(), last.path()), ("GET", "/"));
        assert!(!last.header("authorization").is_empty());
    }
}
