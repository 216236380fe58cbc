//! Objects of the two older proxies: known answers, read in every way and never written.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use s3proxy::commands::migrate::{MigrateFilter, MigrateOptions, migrate};
use s3proxy::commands::verify::{VerifyScope, verify};
use s3proxy::commands::write_options::{OldVersions, RunMode, WriteOptions, Writers};
use s3proxy::commands::{CommandEnd, Format};

use crate::harness::{Answer, ClientRequest, Proxy, whole_bucket};
use crate::memory_store::{Faults, MemoryStore};

/// The key that wraps an object's data key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kek {
    /// Derived from the text `toto`, KEK version 0.
    TextVersion0,
    /// Derived from the text `toto`, KEK version 1.
    TextVersion1,
    /// 32 zero bytes.
    Zero,
}

impl Kek {
    pub(crate) const ALL: [Self; 3] = [Self::TextVersion0, Self::TextVersion1, Self::Zero];

    /// The version that an object records, if any.
    fn version(self) -> Option<&'static str> {
        match self {
            Self::TextVersion0 | Self::Zero => None,
            Self::TextVersion1 => Some("1"),
        }
    }
}

/// An object of the known answers.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) wrapped_dek: String,
    pub(crate) version: Option<&'static str>,
    pub(crate) body: Bytes,
    pub(crate) plaintext: Vec<u8>,
}

impl Known {
    /// A known object under this key that is not empty.
    pub(crate) fn under(kek: Kek) -> Self {
        let file = match kek {
            Kek::TextVersion0 | Kek::Zero => "legacy.json",
            Kek::TextVersion1 => "legacy-kek-version-1.json",
        };
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../envelope/tests/vectors");
        let text = std::fs::read(format!("{folder}/{file}")).unwrap();
        let vectors: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let objects = vectors["objects"].as_array().unwrap();
        let object = objects.iter().find(|object| {
            let is_under_zeros = object["all_zero_kek"] == true;
            let has_key = is_under_zeros || object["encrypt_key"] == "toto";
            let is_wanted = is_under_zeros == (kek == Kek::Zero) && has_key;
            is_wanted && object["plaintext_length"].as_u64() > Some(0)
        });
        let object = object.unwrap();
        let hex = object["body"].as_str().unwrap();
        let body = (0..hex.len()).step_by(2);
        let body = body.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
        let length = object["plaintext_length"].as_u64().unwrap();
        Self {
            wrapped_dek: object["metadata_value"].as_str().unwrap().to_owned(),
            version: kek.version(),
            body: body.collect(),
            plaintext: (0..length).map(|at| (at % 251) as u8).collect(),
        }
    }

    /// The object's metadata under one of the two tags.
    pub(crate) fn headers(&self, tag: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let name = |name: &str| http::HeaderName::try_from(format!("x-amz-meta-{name}")).unwrap();
        headers.insert(name(tag), self.wrapped_dek.parse().unwrap());
        if let Some(version) = self.version {
            headers.insert(name(&format!("{tag}-kek-ver")), version.parse().unwrap());
        }
        headers
    }

    /// Stores the object without the proxy as `/bucket/older`, with additional user metadata.
    pub(crate) async fn plant(&self, proxy: &Proxy, tag: &str) {
        let mut put = ClientRequest::put("/bucket/older", self.body.clone());
        for (name, value) in &self.headers(tag) {
            put = put.header(name.as_str(), value.to_str().unwrap());
        }
        let put = put.header("x-amz-meta-mine", "1");
        let address = proxy.backend.address();
        put.send_from(None, address, "backend").await.expect(200);
    }
}

const TAGS: [&str; 2] = ["isec", "constellation-dek"];

/// Metadata names that no client may see or set.
const RESERVED: [&str; 6] = [
    "x-amz-meta-isec",
    "x-amz-meta-isec-kek-ver",
    "x-amz-meta-isec_kek_ver",
    "x-amz-meta-Isec-Kek-Ver",
    "x-amz-meta-constellation-dek",
    "x-amz-meta-constellation-dek-kek-ver",
];

async fn start(settings: &str) -> (Proxy, Arc<MemoryStore>) {
    let store = MemoryStore::new(Faults::default());
    let builder = Proxy::builder().environment("S3PROXY_KEYS_DECRYPT_KEYS", "other\ntoto");
    let proxy = builder.file(settings).start().await;
    store.behind(&proxy);
    (proxy, store)
}

fn expect_no_trace(answer: &Answer) {
    for name in RESERVED {
        let name = name.to_ascii_lowercase();
        assert!(!answer.headers.contains_key(name.as_str()), "{answer:?}");
    }
}

fn get(target: &str) -> ClientRequest {
    ClientRequest::get(target)
}

fn copy(target: &str) -> ClientRequest {
    ClientRequest::put(target, "").header("x-amz-copy-source", "/bucket/older")
}

fn attributes() -> ClientRequest {
    get("/bucket/older?attributes").header("x-amz-object-attributes", "ObjectSize")
}

const FALLBACK: &str = "[keys]\ndecryption_fallback = \"allow\"";

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_either_version_and_tag_reads_as_if_it_were_sealed_here() {
    for (kek, tag) in Kek::ALL
        .into_iter()
        .flat_map(|kek| TAGS.map(|tag| (kek, tag)))
    {
        let (proxy, store) = start(FALLBACK).await;
        let known = Known::under(kek);
        known.plant(&proxy, tag).await;
        let length = known.plaintext.len().to_string();

        proxy.backend.take_requests();
        let whole = proxy.send(get("/bucket/older")).await.expect(200);
        assert_eq!(whole.body, known.plaintext, "{kek:?} {tag}");
        let head = proxy.send(ClientRequest::head("/bucket/older")).await;
        let head = head.expect(200);
        assert_eq!(head.header("content-length"), length);
        assert_eq!(proxy.backend.take_requests().len(), 2, "one request each");
        for answer in [&whole, &head] {
            assert_eq!(answer.header("x-amz-meta-mine"), "1");
            expect_no_trace(answer);
        }
        let part = get("/bucket/older").header("range", "bytes=-1");
        let part = proxy.send(part).await.expect(206);
        assert_eq!(part.body, known.plaintext[known.plaintext.len() - 1..]);
        let listed = proxy.send(get("/bucket?list-type=2")).await.expect(200);
        assert_eq!(listed.element("Size"), length);
        let described = proxy.send(attributes()).await.expect(200);
        assert_eq!(described.element("ObjectSize"), length);

        for directive in ["COPY", "REPLACE"] {
            let copied = copy("/bucket/copy").header("x-amz-metadata-directive", directive);
            proxy.send(copied).await.expect(200);
            let read = proxy.send(get("/bucket/copy")).await.expect(200);
            assert_eq!(read.body, known.plaintext);
            expect_sealed_here(&store, "copy");
        }
        let created = ClientRequest::post("/bucket/parts?uploads", "");
        let id = proxy.send(created).await.expect(200).element("UploadId");
        let part = copy(&format!("/bucket/parts?partNumber=1&uploadId={id}"));
        proxy.send(part).await.expect(200);
    }
}

/// Expects the proxy's own envelope, and no metadata of an older proxy.
fn expect_sealed_here(store: &MemoryStore, key: &str) {
    let envelope = store.header("bucket", key, "x-amz-meta-isec").unwrap();
    assert!(envelope.starts_with("s3p1."), "{envelope}");
    for name in &RESERVED[1..] {
        assert_eq!(store.header("bucket", key, name), None, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_all_zero_key_needs_the_fallback_whatever_version_is_recorded() {
    for version in [None, Some("1")] {
        let known = Known {
            version,
            ..Known::under(Kek::Zero)
        };
        for (settings, status) in [(FALLBACK, 200), ("", 403)] {
            let (proxy, _store) = start(settings).await;
            known.plant(&proxy, "isec").await;
            proxy.send(get("/bucket/older")).await.expect(status);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_not_known_is_named_and_nothing_opens() {
    let (proxy, store) = start(FALLBACK).await;
    for kek in Kek::ALL {
        let known = Known {
            version: Some("2"),
            ..Known::under(kek)
        };
        known.plant(&proxy, "isec").await;
        for request in [
            get("/bucket/older"),
            get("/bucket/older").header("range", "bytes=0-0"),
            get("/bucket/older?partNumber=1"),
            attributes(),
            copy("/bucket/copy"),
        ] {
            let refused = proxy.send(request).await.expect_error(403, "AccessDenied");
            let message = refused.element("Message");
            assert!(message.contains("newer version of Intrinsec"), "{message}");
            assert!(
                message.contains("&quot;2&quot;") || message.contains("\"2\""),
                "{message}"
            );
        }
        let head = proxy.send(ClientRequest::head("/bucket/older")).await;
        head.expect(403);
        assert!(store.keys("bucket", "copy").is_empty());
        // The length is known without the key.
        let listed = proxy.send(get("/bucket?list-type=2")).await.expect(200);
        assert_eq!(listed.element("Size"), known.plaintext.len().to_string());
    }
    let removed = proxy.send(ClientRequest::delete("/bucket/older")).await;
    removed.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_the_version_is_settable() {
    let named = "[keys]\ndektag_name = \"dek\"\ndektag_kekver = \"Derived\"";
    let (proxy, _store) = start(named).await;
    let known = Known::under(Kek::TextVersion1);
    let put = ClientRequest::put("/bucket/older", known.body.clone());
    let put = put.header("x-amz-meta-dek", known.wrapped_dek.as_str());
    let put = put.header("x-amz-meta-derived", "1");
    let address = proxy.backend.address();
    put.send_from(None, address, "backend").await.expect(200);
    let read = proxy.send(get("/bucket/older")).await.expect(200);
    assert_eq!(read.body, known.plaintext);
    assert_eq!(read.header("x-amz-meta-derived"), "");
    let written = ClientRequest::put("/bucket/new", "x").header("x-amz-meta-derived", "1");
    proxy
        .send(written)
        .await
        .expect_error(400, "InvalidArgument");
    // The default name is free for clients once another one is configured.
    let free = ClientRequest::put("/bucket/new", "x").header("x-amz-meta-dek-kek-ver", "1");
    proxy.send(free).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxys_metadata_names_are_refused_in_every_write() {
    let plain = "[[rules]]\nbuckets = [\"plain\"]\nencryption = \"off\"";
    let (proxy, store) = start(plain).await;
    proxy.put("/bucket/source", "content").await;
    for bucket in ["bucket", "plain"] {
        for name in RESERVED {
            let target = format!("/{bucket}/key");
            let copied = ClientRequest::put(&target, "")
                .header("x-amz-copy-source", "/bucket/source")
                .header("x-amz-metadata-directive", "REPLACE");
            for request in [
                ClientRequest::put(&target, "x"),
                copied,
                ClientRequest::post(format!("{target}?uploads"), ""),
            ] {
                let refused = proxy.send(request.header(name, "1")).await;
                refused.expect_error(400, "InvalidArgument");
            }
        }
        assert!(store.keys(bucket, "key").is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_beside_no_envelope_is_hidden_all_the_same() {
    let (proxy, _store) = start("").await;
    let put = ClientRequest::put("/bucket/plain", "content");
    let put = put.header("x-amz-meta-isec-kek-ver", "1");
    let put = put.header("x-amz-meta-mine", "1");
    let address = proxy.backend.address();
    put.send_from(None, address, "backend").await.expect(200);
    for request in [
        get("/bucket/plain"),
        get("/bucket/plain").header("range", "bytes=0-2"),
        ClientRequest::head("/bucket/plain"),
    ] {
        let answer = proxy.send(request).await;
        assert!(answer.is_success());
        assert_eq!(answer.header("x-amz-meta-mine"), "1");
        expect_no_trace(&answer);
    }
}

async fn migrated(proxy: &Proxy) -> CommandEnd {
    let options = MigrateOptions {
        only: MigrateFilter::All,
        write: WriteOptions {
            mode: RunMode::Apply,
            old_versions: OldVersions::Keep,
            writers: Writers::Stopped,
        },
    };
    let config = proxy.command_config();
    let ended = migrate(config, whole_bucket(), Format::AllLines, options).await;
    ended.unwrap()
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

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_either_version_are_verified_and_migrated() {
    for kek in Kek::ALL {
        let (proxy, store) = start(FALLBACK).await;
        let known = Known::under(kek);
        known.plant(&proxy, "isec").await;
        assert_eq!(verified(&proxy).await, CommandEnd::Complete, "{kek:?}");
        assert_eq!(migrated(&proxy).await, CommandEnd::Complete, "{kek:?}");
        expect_sealed_here(&store, "older");
        let read = proxy.send(get("/bucket/older")).await.expect(200);
        assert_eq!(read.body, known.plaintext);
        assert_eq!(read.header("x-amz-meta-mine"), "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_an_unknown_version_fails_verification_and_is_not_migrated() {
    let (proxy, store) = start("").await;
    let known = Known {
        version: Some("2"),
        ..Known::under(Kek::TextVersion1)
    };
    known.plant(&proxy, "isec").await;
    assert_eq!(verified(&proxy).await, CommandEnd::Incomplete);
    assert_eq!(migrated(&proxy).await, CommandEnd::Incomplete);
    let kept = store.header("bucket", "older", "x-amz-meta-isec");
    assert_eq!(kept.as_deref(), Some(&*known.wrapped_dek));
}
