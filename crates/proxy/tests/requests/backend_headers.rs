//! Response headers of the backend that reach a client.

use http::{HeaderValue, Method};

use crate::harness::{ClientRequest, Proxy, Reply};

/// Headers that a browser or an intermediary would obey, or that describe the backend.
const FOREIGN: [&str; 12] = [
    "content-security-policy",
    "location",
    "refresh",
    "seaweed-x-amz-owner",
    "server-timing",
    "set-cookie",
    "www-authenticate",
    "x-accel-redirect",
    "x-amz-object-size",
    "x-internal-debug",
    "x-minio-deployment-id",
    "x-sendfile",
];

/// Headers of S3's own.
const OWN: [&str; 3] = [
    "access-control-allow-origin",
    "x-amz-meta-colour",
    "x-amz-storage-class",
];

#[tokio::test(flavor = "multi_thread")]
async fn only_headers_of_http_and_s3_reach_the_client() {
    let proxy = Proxy::start().await;
    proxy.create_bucket("bucket").await;
    proxy.put("/bucket/key", "plaintext").await;
    proxy.backend.script(|_| {
        Reply::altered(|answer| {
            for name in FOREIGN.iter().chain(&OWN) {
                let value = HeaderValue::from_static("/forged");
                answer.headers_mut().insert(*name, value);
            }
        })
    });
    for request in [
        ClientRequest::get("/bucket/key"),
        ClientRequest::head("/bucket/key"),
        ClientRequest::put("/bucket/other", "plaintext"),
        ClientRequest::get("/bucket?list-type=2"),
        ClientRequest::get("/bucket?location"),
        ClientRequest::head("/bucket"),
        ClientRequest::get("/"),
        ClientRequest::get("/bucket/absent"),
        ClientRequest::delete("/bucket/other"),
    ] {
        let (method, target) = (request.method.clone(), request.target.clone());
        let answer = proxy.send(request).await;
        for name in FOREIGN {
            assert_eq!(answer.header(name), "", "{method} {target}: {name}");
        }
        let is_read = target == "/bucket/key";
        for name in OWN.iter().filter(|_| is_read) {
            assert_eq!(answer.header(name), "/forged", "{method} {target}: {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_bucket_is_where_the_proxy_says() {
    let proxy = Proxy::start().await;
    proxy.backend.script(|_| {
        Reply::altered(|answer| {
            let elsewhere = HeaderValue::from_static("http://elsewhere.example/");
            answer.headers_mut().insert("location", elsewhere);
        })
    });
    let answer = proxy.send(ClientRequest::new(Method::PUT, "/bucket")).await;
    assert_eq!(answer.expect(200).header("location"), "/bucket");
}
