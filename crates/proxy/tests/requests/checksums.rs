//! Checksums of every algorithm: of objects, as header and trailer; of copies; of documents. Right ones
//! are verified and kept, wrong and malformed ones leave nothing stored.

use http::Method;
use s3proxy_protocol::checksum::ChecksumAlgorithm;

use crate::harness::{Answer, ClientRequest, Proxy, Reply};
use crate::memory_store::{Faults, MemoryStore};

const CONTENT: &str = "123456789";

/// Of [`CONTENT`], as the catalogue of CRCs, Python's hashlib and the AWS Common Runtime have them.
const CHECKSUMS: [(&str, &str); 10] = [
    ("CRC32", "y/Q5Jg=="),
    ("CRC32C", "4waSgw=="),
    ("CRC64NVME", "rosUhgp5mIg="),
    ("SHA1", "98O8HYCOBHMq32eZZczDTKeuNEE="),
    ("SHA256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="),
    (
        "SHA512",
        "2eZ2LdHI6vbWGzxhkvxAjU1tXxF20MKRabwk5xw/J0rSf81YEbMT1oH35V7ALXPUmclUVba1u1A6z1dPuo/+hQ==",
    ),
    ("MD5", "JfnnlDI7RTiF9RgfG2JNCw=="),
    ("XXHASH64", "jLhB20DmroM="),
    ("XXHASH3", "ctyxi2ehff8="),
    ("XXHASH128", "MxGUd+3l3NXpcWQnaB1YYA=="),
];

async fn proxy_over_memory() -> Proxy {
    let proxy = Proxy::start().await;
    MemoryStore::new(Faults::default()).behind(&proxy);
    proxy
}

pub(crate) fn header_name(algorithm: &str) -> String {
    format!("x-amz-checksum-{}", algorithm.to_lowercase())
}

/// The checksum of another content.
fn wrong(algorithm: &str) -> String {
    checksum(algorithm, b"another")
}

pub(crate) fn checksum(algorithm: &str, content: &[u8]) -> String {
    let algorithm = ChecksumAlgorithm::from_name(algorithm).unwrap();
    let mut checksummer = s3proxy_protocol::checksum::Checksummer::new(algorithm);
    checksummer.update(content);
    checksummer.finish().to_base64()
}

/// Values that no checksum of the algorithm can have: no Base64, or of another length.
fn malformed(right: &str) -> [String; 3] {
    ["!", "AAA="]
        .map(str::to_owned)
        .into_iter()
        .chain([right.replace('=', "")])
        .collect::<Vec<_>>()
        .try_into()
        .unwrap()
}

/// A body in one chunk, with a trailer behind it.
fn with_trailer(target: &str, content: &[u8], (name, value): (&str, &str)) -> ClientRequest {
    let mut body = format!("{:x}\r\n", content.len()).into_bytes();
    body.extend_from_slice(content);
    body.extend_from_slice(format!("\r\n0\r\n{name}:{value}\r\n\r\n").as_bytes());
    ClientRequest::put(target, body)
        .payload("STREAMING-UNSIGNED-PAYLOAD-TRAILER")
        .header("content-encoding", "aws-chunked")
        .header("x-amz-decoded-content-length", content.len().to_string())
        .header("x-amz-trailer", name)
}

async fn head(proxy: &Proxy, target: &str) -> Answer {
    let request = ClientRequest::head(target).header("x-amz-checksum-mode", "ENABLED");
    proxy.send(request).await.expect(200)
}

async fn expect_nothing(proxy: &Proxy, target: &str) {
    proxy.send(ClientRequest::head(target)).await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checksum_in_a_header_is_kept_and_given_back() {
    let proxy = proxy_over_memory().await;
    for (algorithm, value) in CHECKSUMS {
        let name = header_name(algorithm);
        let target = format!("/bucket/{algorithm}");
        let request = ClientRequest::put(&target, CONTENT)
            .header(&name, value)
            .header("x-amz-sdk-checksum-algorithm", algorithm);
        let stored = proxy.send(request).await.expect(200);
        assert_eq!(stored.header(&name), value);
        assert_eq!(stored.header("x-amz-checksum-type"), "FULL_OBJECT");

        let shown = head(&proxy, &target).await;
        assert_eq!(shown.header(&name), value);
        assert_eq!(shown.header("x-amz-checksum-type"), "FULL_OBJECT");
        let request = ClientRequest::get(&target).header("x-amz-checksum-mode", "ENABLED");
        let read = proxy.send(request).await.expect(200);
        assert_eq!((read.text().as_str(), read.header(&name)), (CONTENT, value));
        let request = ClientRequest::get(format!("{target}?attributes"))
            .header("x-amz-object-attributes", "Checksum");
        let described = proxy.send(request).await.expect(200);
        assert_eq!(described.element(&format!("Checksum{algorithm}")), value);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checksum_in_a_trailer_is_kept_and_given_back() {
    let proxy = proxy_over_memory().await;
    for (algorithm, value) in CHECKSUMS {
        let name = header_name(algorithm);
        let target = format!("/bucket/{algorithm}");
        let request = with_trailer(&target, CONTENT.as_bytes(), (&name, value));
        let stored = proxy.send(request).await.expect(200);
        assert_eq!(stored.header(&name), value);
        assert_eq!(head(&proxy, &target).await.header(&name), value);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_and_malformed_checksums_leave_nothing_stored() {
    let proxy = proxy_over_memory().await;
    let target = "/bucket/key";
    for (algorithm, value) in CHECKSUMS {
        let name = header_name(algorithm);
        let with_header = |value: &str| ClientRequest::put(target, CONTENT).header(&name, value);
        let with_trailer = |value: &str| with_trailer(target, CONTENT.as_bytes(), (&name, value));
        for request in [
            with_header(&wrong(algorithm)),
            with_trailer(&wrong(algorithm)),
        ] {
            proxy.send(request).await.expect_error(400, "BadDigest");
        }
        for value in malformed(value) {
            for request in [with_header(&value), with_trailer(&value)] {
                let refused = proxy.send(request).await;
                refused.expect_error(400, "InvalidRequest");
            }
        }
        let other = if algorithm == "SHA1" { "CRC32" } else { "SHA1" };
        let mismatched = with_header(value).header("x-amz-sdk-checksum-algorithm", other);
        proxy
            .send(mismatched)
            .await
            .expect_error(400, "InvalidRequest");
        expect_nothing(&proxy, target).await;
    }
}

/// Its envelope goes ahead of the body, and the trailer comes behind it.
#[tokio::test(flavor = "multi_thread")]
async fn the_trailer_of_a_streamed_body_is_in_the_answer_and_not_kept() {
    let proxy = Proxy::builder()
        .file("[limits]\nheld_body = 0\n")
        .start()
        .await;
    MemoryStore::new(Faults::default()).behind(&proxy);
    let content = vec![7; 100_000];
    for (algorithm, _) in CHECKSUMS {
        let name = header_name(algorithm);
        let value = checksum(algorithm, &content);
        let request = with_trailer("/bucket/trailer", &content, (&name, &value));
        let stored = proxy.send(request).await.expect(200);
        assert_eq!(stored.header(&name), value);
        assert_eq!(stored.header("x-amz-checksum-type"), "FULL_OBJECT");
        assert_eq!(head(&proxy, "/bucket/trailer").await.header(&name), "");

        let request = ClientRequest::put("/bucket/header", content.clone()).header(&name, &value);
        let stored = proxy.send(request).await.expect(200);
        assert_eq!(stored.header(&name), value);
        assert_eq!(head(&proxy, "/bucket/header").await.header(&name), value);

        let request = with_trailer("/bucket/wrong", &content, (&name, &wrong(algorithm)));
        proxy.send(request).await.expect_error(400, "BadDigest");
        expect_nothing(&proxy, "/bucket/wrong").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_keeps_the_checksum_and_gets_the_one_that_is_asked_for() {
    let store = MemoryStore::new(Faults::default());
    let proxy = Proxy::start().await;
    store.behind(&proxy);
    store.plant("bucket", "plain", CONTENT);
    for (algorithm, value) in CHECKSUMS {
        let name = header_name(algorithm);
        let element = format!("Checksum{algorithm}");
        let put = ClientRequest::put("/bucket/sealed", CONTENT).header(&name, value);
        proxy.send(put).await.expect(200);
        for (source, asks) in [("sealed", false), ("sealed", true), ("plain", true)] {
            let mut request = ClientRequest::put("/bucket/copy", "")
                .header("x-amz-copy-source", format!("/bucket/{source}"));
            if asks {
                request = request.header("x-amz-checksum-algorithm", algorithm);
            }
            let copied = proxy.send(request).await.expect(200);
            assert_eq!(copied.element(&element), value, "{source}");
            let kept = head(&proxy, "/bucket/copy").await;
            assert_eq!(kept.header(&name), value, "{source}");
        }
    }
    let unknown = ClientRequest::put("/bucket/copy", "")
        .header("x-amz-copy-source", "/bucket/plain")
        .header("x-amz-checksum-algorithm", "SHA3");
    let refused = proxy.send(unknown).await;
    refused.expect_error(400, "InvalidRequest");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_deletions_is_verified_before_anything_goes() {
    let proxy = Proxy::start().await;
    proxy.create_bucket("bucket").await;
    let batch = "<Delete><Object><Key>key</Key></Object></Delete>";
    let request = |name: &str, value: &str| {
        ClientRequest::post("/bucket?delete", batch)
            .payload("UNSIGNED-PAYLOAD")
            .header(name, value)
    };
    for (algorithm, right) in CHECKSUMS {
        let name = header_name(algorithm);
        proxy.put("/bucket/key", CONTENT).await;
        let refused = proxy.send(request(&name, &wrong(algorithm))).await;
        refused.expect_error(400, "BadDigest");
        for value in malformed(right) {
            let refused = proxy.send(request(&name, &value)).await;
            refused.expect_error(400, "InvalidRequest");
        }
        proxy
            .send(ClientRequest::head("/bucket/key"))
            .await
            .expect(200);
        let value = checksum(algorithm, batch.as_bytes());
        let answer = proxy.send(request(&name, &value)).await.expect(200);
        assert_eq!(answer.element("Key"), "key");
        expect_nothing(&proxy, "/bucket/key").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_of_a_configuration_is_verified_before_it_goes_on() {
    let document = "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>";
    let proxy = Proxy::start().await;
    proxy.backend.script(move |request| match request.method {
        Method::GET => Reply::answer(200, &[("content-type", "application/xml")], document),
        _ => Reply::answer(200, &[], ""),
    });
    let request = |name: &str, value: &str| {
        ClientRequest::put("/bucket?tagging", document)
            .payload("UNSIGNED-PAYLOAD")
            .header(name, value)
    };
    let written = || {
        let requests = proxy.backend.take_requests();
        let written = requests
            .iter()
            .filter(|request| request.method == Method::PUT);
        written.count()
    };
    for (algorithm, right) in CHECKSUMS {
        let name = header_name(algorithm);
        let refused = proxy.send(request(&name, &wrong(algorithm))).await;
        refused.expect_error(400, "BadDigest");
        for value in malformed(right) {
            let refused = proxy.send(request(&name, &value)).await;
            refused.expect_error(400, "InvalidRequest");
        }
        assert_eq!(written(), 0, "{algorithm}");
        let value = checksum(algorithm, document.as_bytes());
        proxy.send(request(&name, &value)).await.expect(200);
        assert_eq!(written(), 1, "{algorithm}");
    }
}
