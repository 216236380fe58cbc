//! Host names by which clients reach the proxy.

use crate::harness::{Answer, ClientRequest, Proxy};

const ANY_NAME: &str = "[listen]\nhosts = []\nvirtual_host_domains = [\"s3.example.com\"]\n";

async fn send_to(proxy: &Proxy, host: &str, request: ClientRequest) -> Answer {
    let signed = request.signed(proxy.owner(), host);
    signed.send_from(None, proxy.address(), host).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_the_same_by_every_name() {
    let proxy = Proxy::builder().file(ANY_NAME).start().await;
    proxy.create_bucket("bucket").await;
    let path_style = [
        "s3proxy",
        "s3proxy:4433",
        "s3proxy.storage.svc.cluster.local",
        "s3proxy.storage.svc.cluster.local.:4433",
        "storage.example.com",
        "under_score.example",
        "s3.example.com.",
        "s3.eu-west-1.amazonaws.com",
        "localhost",
        "[::1]:4433",
    ];
    let virtual_host = [
        "bucket.s3.example.com",
        "BUCKET.S3.example.com.:4433",
        "bucket.s3.eu-west-1.amazonaws.com",
    ];
    let path_style = path_style.map(|host| (host, "/bucket/key"));
    let virtual_host = virtual_host.map(|host| (host, "/key"));
    for (host, target) in path_style.into_iter().chain(virtual_host) {
        let put = ClientRequest::put(target, host);
        send_to(&proxy, host, put).await.expect(200);
        let answer = proxy.send(ClientRequest::get("/bucket/key")).await;
        assert_eq!(answer.expect(200).text(), host);
        let got = send_to(&proxy, host, ClientRequest::get(target)).await;
        assert_eq!(got.expect(200).text(), host);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_counts_for_the_name_that_it_was_made_for() {
    let proxy = Proxy::builder().file(ANY_NAME).start().await;
    let signed = ClientRequest::get("/").signed(proxy.owner(), "other.example");
    let answer = signed.send_from(None, proxy.address(), "s3proxy").await;
    answer.expect_error(403, "SignatureDoesNotMatch");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_not_listed_are_refused_before_anything_else_is_looked_at() {
    for settings in ["", "[clients]\nauth = \"none\"\n"] {
        // The settings of `s3proxy dev` contain localhost.
        let proxy = Proxy::builder().file(settings).start().await;
        for host in [
            "rebound.example",
            "rebound.example.:80",
            "127.0.0.1.nip.example",
        ] {
            let answer = send_to(&proxy, host, ClientRequest::get("/")).await;
            let answer = answer.expect_error(400, "InvalidRequest");
            assert!(answer.text().contains("listen.hosts"), "{answer:?}");
        }
        send_to(&proxy, "localhost", ClientRequest::get("/"))
            .await
            .expect(200);
        let probe = ClientRequest::get("/healthz");
        let answer = probe.send_from(None, proxy.address(), "pod.example").await;
        answer.expect(200);
        assert!(proxy.backend.requests().len() <= 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_other_aws_services_and_malformed_ones_are_refused() {
    let proxy = Proxy::builder().file(ANY_NAME).start().await;
    for host in [
        "bucket.s3-accelerate.amazonaws.com",
        "ap-1.s3-accesspoint.eu-west-1.amazonaws.com",
        "user@s3proxy",
        "s3proxy:port",
    ] {
        let answer = send_to(&proxy, host, ClientRequest::get("/key")).await;
        let answer = answer.expect_error(400, "InvalidRequest");
        assert!(answer.text().contains("host") || answer.text().contains("Host"));
    }
    assert!(proxy.backend.requests().is_empty());
}
