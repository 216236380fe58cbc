//! Checksums of uploads in parts: of each part, of the parts together, and of the whole content.

use std::fmt::Write;

use bytes::Bytes;
use s3proxy::commands::verify::{VerifyScope, verify};
use s3proxy::commands::{CommandEnd, Format};
use s3proxy_protocol::checksum::{ChecksumAlgorithm, ChecksumType, ChecksumValue, composite};

use crate::checksums::{checksum, header_name};
use crate::harness::{Answer, ClientRequest, Proxy, whole_bucket};
use crate::memory_store::{Faults, MemoryStore};

const FIVE_MIB: usize = 5 * 1024 * 1024;

/// A part as the client names it: number, ETag, and checksum if it has one.
type Part = (u16, String, Option<String>);

/// An upload of two parts in `algorithm`, with the checksum of each in a header.
struct Upload<'p> {
    proxy: &'p Proxy,
    algorithm: &'static str,
    id: String,
    parts: Vec<Part>,
}

fn bodies() -> [Bytes; 2] {
    [
        Bytes::from(vec![1; FIVE_MIB]),
        Bytes::from_static(b"the last part"),
    ]
}

impl<'p> Upload<'p> {
    async fn create(proxy: &'p Proxy, algorithm: &'static str, kind: ChecksumType) -> Self {
        let request = ClientRequest::post("/bucket/key?uploads", "")
            .header("x-amz-checksum-algorithm", algorithm)
            .header("x-amz-checksum-type", kind.as_str());
        let created = proxy.send(request).await.expect(200);
        assert_eq!(created.header("x-amz-checksum-algorithm"), algorithm);
        assert_eq!(created.header("x-amz-checksum-type"), kind.as_str());
        Self {
            proxy,
            algorithm,
            id: created.element("UploadId"),
            parts: Vec::new(),
        }
    }

    /// Two parts, each by the proxy of its place.
    async fn through(proxies: [&'p Proxy; 2], algorithm: &'static str, kind: ChecksumType) -> Self {
        let mut upload = Self::create(proxies[0], algorithm, kind).await;
        for (number, (body, proxy)) in (1..).zip(bodies().into_iter().zip(proxies)) {
            let value = checksum(algorithm, &body);
            let answer = upload.send_part(proxy, number, body, &value).await;
            let answer = answer.expect(200);
            assert_eq!(answer.header(&header_name(algorithm)), value);
            let etag = answer.header("etag").trim_matches('"').to_owned();
            upload.parts.push((number, etag, Some(value)));
        }
        upload
    }

    async fn send_part(&self, proxy: &Proxy, number: u16, body: Bytes, value: &str) -> Answer {
        let target = format!("/bucket/key?partNumber={number}&uploadId={}", self.id);
        let request = ClientRequest::put(target, body).header(&header_name(self.algorithm), value);
        proxy.send(request).await
    }

    fn without_checksums(&self) -> Vec<Part> {
        let parts = self.parts.iter();
        parts
            .map(|(number, etag, _)| (*number, etag.clone(), None))
            .collect()
    }

    async fn complete(&self, parts: &[Part], headers: &[(&str, &str)]) -> Answer {
        let mut listed = String::new();
        for (number, etag, value) in parts {
            write!(
                listed,
                "<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag>"
            )
            .unwrap();
            if let Some(value) = value {
                let name = format!("Checksum{}", self.algorithm);
                write!(listed, "<{name}>{value}</{name}>").unwrap();
            }
            listed.push_str("</Part>");
        }
        let document = format!("<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>");
        let mut request =
            ClientRequest::post(format!("/bucket/key?uploadId={}", self.id), document);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        self.proxy.send(request).await
    }

    /// The checksum of the parts' checksums, in Base64.
    fn composite(&self) -> String {
        let algorithm = ChecksumAlgorithm::from_name(self.algorithm).unwrap();
        let values = self.parts.iter().map(|(_, _, value)| {
            ChecksumValue::from_base64(algorithm, value.as_ref().unwrap().as_bytes()).unwrap()
        });
        composite(algorithm, values.collect::<Vec<_>>().iter()).to_base64()
    }
}

async fn proxy_over_memory() -> Proxy {
    let proxy = Proxy::start().await;
    MemoryStore::new(Faults::default()).behind(&proxy);
    proxy
}

/// Two replicas over one store.
async fn replicas() -> [Proxy; 2] {
    let store = MemoryStore::new(Faults::default());
    let key = s3proxy_envelope::kek::Kek::generate().to_configured();
    let builder = || Proxy::builder().environment("S3PROXY_ENCRYPT_KEY", &key);
    let replicas = [builder().start().await, builder().start().await];
    for replica in &replicas {
        store.behind(replica);
    }
    replicas
}

async fn head(proxy: &Proxy) -> Answer {
    let request = ClientRequest::head("/bucket/key").header("x-amz-checksum-mode", "ENABLED");
    proxy.send(request).await.expect(200)
}

async fn attributes(proxy: &Proxy) -> Answer {
    let request = ClientRequest::get("/bucket/key?attributes")
        .header("x-amz-object-attributes", "Checksum,ObjectParts");
    proxy.send(request).await.expect(200)
}

async fn verified(proxy: &Proxy) -> CommandEnd {
    let config = proxy.command_config();
    let ended = verify(
        config,
        whole_bucket(),
        Format::AllLines,
        VerifyScope::Bodies,
    )
    .await;
    ended.unwrap()
}

fn composite_algorithms() -> impl Iterator<Item = &'static str> {
    let all = ChecksumAlgorithm::ALL.into_iter();
    let all = all.filter(|algorithm| ChecksumType::Composite.is_valid_for(*algorithm));
    all.map(ChecksumAlgorithm::as_str)
}

/// GetObjectAttributes gives the value alone, as S3 does; headers and the answer to a Complete have
/// the number of parts behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_composite_checksum_is_answered_and_kept() {
    let proxy = proxy_over_memory().await;
    for algorithm in composite_algorithms() {
        let replicas = [&proxy, &proxy];
        let upload = Upload::through(replicas, algorithm, ChecksumType::Composite).await;
        let target = format!("/bucket/key?uploadId={}", upload.id);
        let listed = proxy.send(ClientRequest::get(target)).await.expect(200);
        assert_eq!(listed.element("ChecksumAlgorithm"), algorithm);
        assert_eq!(listed.element("ChecksumType"), "COMPOSITE");

        let value = upload.composite();
        let counted = format!("{value}-2");
        let element = format!("Checksum{algorithm}");
        let completed = upload.complete(&upload.parts, &[]).await.expect(200);
        assert_eq!(completed.element(&element), counted);
        assert_eq!(completed.element("ChecksumType"), "COMPOSITE");
        let shown = head(&proxy).await;
        assert_eq!(shown.header(&header_name(algorithm)), counted);
        assert_eq!(shown.header("x-amz-checksum-type"), "COMPOSITE");
        let request = ClientRequest::get("/bucket/key").header("x-amz-checksum-mode", "ENABLED");
        let read = proxy.send(request).await.expect(200);
        assert_eq!(read.header(&header_name(algorithm)), counted);
        let described = attributes(&proxy).await;
        assert_eq!(described.element(&element), value);
        assert_eq!(described.element("ChecksumType"), "COMPOSITE");
        assert_eq!(described.element("PartsCount"), "2");
        assert_eq!(verified(&proxy).await, CommandEnd::Complete, "{algorithm}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_list_the_parts_whose_checksums_the_format_keeps() {
    let proxy = proxy_over_memory().await;
    for algorithm in composite_algorithms() {
        let replicas = [&proxy, &proxy];
        let upload = Upload::through(replicas, algorithm, ChecksumType::Composite).await;
        upload.complete(&upload.parts, &[]).await.expect(200);
        let described = attributes(&proxy).await;
        let first = upload.parts[0].2.as_deref().unwrap();
        let last = described.element("Part");
        if ["CRC32", "CRC32C", "SHA1", "SHA256"].contains(&algorithm) {
            let expected = format!("<Checksum{algorithm}>{first}</Checksum{algorithm}>");
            assert!(last.contains(&expected), "{last}");
        } else {
            assert_eq!(last, "", "{algorithm}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_checksums_of_parts_and_of_the_whole_complete_nothing() {
    let proxy = proxy_over_memory().await;
    for algorithm in ChecksumAlgorithm::ALL {
        let kind = ChecksumType::default_for(algorithm);
        let algorithm = algorithm.as_str();
        let upload = Upload::through([&proxy, &proxy], algorithm, kind).await;
        let wrong = checksum(algorithm, b"another");
        let name = header_name(algorithm);

        let refused = upload.send_part(&proxy, 1, "content".into(), &wrong).await;
        refused.expect_error(400, "BadDigest");
        let refused = upload.send_part(&proxy, 1, "content".into(), "AAA=").await;
        refused.expect_error(400, "InvalidRequest");
        let mut parts = upload.parts.clone();
        parts[0].2 = Some(wrong.clone());
        let refused = upload.complete(&parts, &[]).await;
        refused.expect_error(400, "InvalidPart");
        parts[0].2 = Some("AAA=".to_owned());
        let refused = upload.complete(&parts, &[]).await;
        refused.expect_error(400, "InvalidArgument");
        let stated = [(name.as_str(), wrong.as_str())];
        let refused = upload.complete(&upload.parts, &stated).await;
        refused.expect_error(400, "BadDigest");
        if !algorithm.starts_with("CRC") {
            let refused = upload.complete(&upload.without_checksums(), &[]).await;
            refused.expect_error(400, "InvalidRequest");
        }
        let missing = proxy.send(ClientRequest::head("/bucket/key")).await;
        missing.expect(404);
        upload.complete(&upload.parts, &[]).await.expect(200);
        let gone = proxy.send(ClientRequest::delete("/bucket/key")).await;
        gone.expect(204);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_takes_parts_of_its_own_algorithm_only() {
    let proxy = proxy_over_memory().await;
    let upload = Upload::create(&proxy, "XXHASH3", ChecksumType::Composite).await;
    let target = format!("/bucket/key?partNumber=1&uploadId={}", upload.id);
    let value = checksum("XXHASH64", b"content");
    let request = ClientRequest::put(target, "content").header("x-amz-checksum-xxhash64", value);
    let refused = proxy.send(request).await;
    refused.expect_error(400, "InvalidRequest");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_part_gets_a_checksum_of_the_uploads_algorithm() {
    let proxy = proxy_over_memory().await;
    proxy.put("/bucket/source", "123456789").await;
    for algorithm in ChecksumAlgorithm::ALL {
        let kind = ChecksumType::default_for(algorithm);
        let upload = Upload::create(&proxy, algorithm.as_str(), kind).await;
        let target = format!("/bucket/key?partNumber=1&uploadId={}", upload.id);
        let request = ClientRequest::put(target, "").header("x-amz-copy-source", "/bucket/source");
        let copied = proxy.send(request).await.expect(200);
        let element = format!("Checksum{algorithm}");
        let expected = checksum(algorithm.as_str(), b"123456789");
        assert_eq!(copied.element(&element), expected);
    }
}

/// The clients' lists name no checksum: S3 does not ask for one where it can compute it.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_object_checksum_needs_no_checksums_in_the_list() {
    let proxy = proxy_over_memory().await;
    for algorithm in ["CRC32", "CRC32C", "CRC64NVME"] {
        let replicas = [&proxy, &proxy];
        let upload = Upload::through(replicas, algorithm, ChecksumType::FullObject).await;
        let whole = checksum(algorithm, &bodies().concat());
        let element = format!("Checksum{algorithm}");
        let stated = checksum(algorithm, b"another");
        let parts = upload.without_checksums();
        let name = header_name(algorithm);
        let refused = upload.complete(&parts, &[(&name, &stated)]).await;
        refused.expect_error(400, "BadDigest");
        let completed = upload.complete(&parts, &[]).await.expect(200);
        assert_eq!(completed.element(&element), whole);
        assert_eq!(completed.element("ChecksumType"), "FULL_OBJECT");
        let shown = head(&proxy).await;
        assert_eq!(shown.header(&name), whole);
        let described = attributes(&proxy).await;
        assert_eq!(described.element(&element), whole);
        assert_eq!(verified(&proxy).await, CommandEnd::Complete, "{algorithm}");
    }
}

/// Its envelope was written before its parts came, and it has no seal.
#[tokio::test(flavor = "multi_thread")]
async fn the_checksum_of_a_short_upload_is_answered_and_not_kept() {
    let proxy = proxy_over_memory().await;
    for algorithm in ChecksumAlgorithm::ALL {
        let kind = ChecksumType::default_for(algorithm);
        let algorithm = algorithm.as_str();
        let mut upload = Upload::create(&proxy, algorithm, kind).await;
        let value = checksum(algorithm, b"content");
        let part = upload.send_part(&proxy, 1, "content".into(), &value).await;
        let etag = part.expect(200).header("etag").trim_matches('"').to_owned();
        upload.parts.push((1, etag, Some(value.clone())));
        let expected = match kind {
            ChecksumType::FullObject => value,
            ChecksumType::Composite => format!("{}-1", upload.composite()),
        };
        let completed = upload.complete(&upload.parts, &[]).await.expect(200);
        assert_eq!(completed.element(&format!("Checksum{algorithm}")), expected);
        assert_eq!(head(&proxy).await.header(&header_name(algorithm)), "");
    }
}

/// The ETag of a part carries four bytes of its checksum, and the other replica's memory nothing.
#[tokio::test(flavor = "multi_thread")]
async fn over_several_replicas_only_a_crc_of_8_bytes_has_to_be_named() {
    let [one, other] = replicas().await;
    for (algorithm, is_found) in [("CRC32", true), ("CRC32C", true), ("CRC64NVME", false)] {
        let replicas = [&one, &other];
        let upload = Upload::through(replicas, algorithm, ChecksumType::FullObject).await;
        let whole = checksum(algorithm, &bodies().concat());
        let parts = upload.without_checksums();
        let completed = upload.complete(&parts, &[]).await.expect(200);
        let expected = if is_found { whole.as_str() } else { "" };
        assert_eq!(completed.element(&format!("Checksum{algorithm}")), expected);

        let upload = Upload::through(replicas, algorithm, ChecksumType::FullObject).await;
        upload.complete(&upload.parts, &[]).await.expect(200);
        let shown = head(&other).await;
        assert_eq!(shown.header(&header_name(algorithm)), whole);
    }
}

/// A replaced part has another mark than the one before, and other content.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_belongs_to_the_part_that_is_named() {
    let proxy = proxy_over_memory().await;
    let replicas = [&proxy, &proxy];
    let mut upload = Upload::through(replicas, "CRC64NVME", ChecksumType::FullObject).await;
    let body = Bytes::from_static(b"another last part");
    let value = checksum("CRC64NVME", &body);
    let answer = upload.send_part(&proxy, 2, body.clone(), &value).await;
    let etag = answer
        .expect(200)
        .header("etag")
        .trim_matches('"')
        .to_owned();
    upload.parts[1].1 = etag;
    let completed = upload.complete(&upload.without_checksums(), &[]).await;
    let whole = [bodies()[0].clone(), body].concat();
    let expected = checksum("CRC64NVME", &whole);
    assert_eq!(completed.expect(200).element("ChecksumCRC64NVME"), expected);
}

/// Parts that are named from a listing are unknown here, so that the client's word of the whole is kept.
#[tokio::test(flavor = "multi_thread")]
async fn verify_compares_the_checksum_of_the_parts_checksums() {
    let proxy = proxy_over_memory().await;
    for algorithm in [
        "SHA256",
        "SHA512",
        "MD5",
        "XXHASH64",
        "XXHASH3",
        "XXHASH128",
    ] {
        let replicas = [&proxy, &proxy];
        for is_right in [true, false] {
            let upload = Upload::through(replicas, algorithm, ChecksumType::Composite).await;
            let right = upload.composite();
            let wrong = checksum(algorithm, b"another");
            let listed = upload.parts.iter().map(|(number, etag, _)| {
                let (backend, _) = etag.rsplit_once('-').unwrap();
                (*number, format!("{backend}-0"), None)
            });
            let name = header_name(algorithm);
            let stated = if is_right { &right } else { &wrong };
            let stated = [(name.as_str(), stated.as_str())];
            let listed: Vec<Part> = listed.collect();
            upload.complete(&listed, &stated).await.expect(200);
            let expected = if is_right {
                CommandEnd::Complete
            } else {
                CommandEnd::Incomplete
            };
            assert_eq!(verified(&proxy).await, expected, "{algorithm}");
        }
    }
}
