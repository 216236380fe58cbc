//! Sealed user metadata with a backend that adds metadata of its own.

use std::sync::Arc;

use http::{HeaderMap, Method, Response};
use s3proxy_envelope::header::Envelope;

use crate::harness::{Answer, ClientRequest, Proxy, Reply};
use crate::memory_store::{Faults, MemoryStore};

const SETTINGS: &str = r#"
[policy]
metadata = "sealed"

[[rules]]
buckets = ["clear"]
encryption = "off"
"#;

const ENVELOPE: &str = "x-amz-meta-isec";
const FORGED: &str = "x-amz-meta-role";
const SEALED: &str = "x-amz-meta-colour";

async fn start() -> (Proxy, Arc<MemoryStore>) {
    let proxy = Proxy::builder().file(SETTINGS).start().await;
    let store = MemoryStore::new(Faults::default());
    store.behind(&proxy);
    (proxy, store)
}

async fn put_blue(proxy: &Proxy) {
    let put = ClientRequest::put("/bucket/key", "plaintext").header(SEALED, "blue");
    proxy.send(put).await.expect(200);
}

/// Alters every response of the backend that has an envelope.
fn alter(
    proxy: &Proxy,
    store: &Arc<MemoryStore>,
    alter: impl Fn(&mut Response<Vec<u8>>) + Send + Sync + 'static,
) {
    let store = Arc::clone(store);
    proxy.backend.script(move |request| {
        // The store knows no tags, and would return the object.
        if request.has_parameter("tagging") {
            return Reply::answer(200, &[], "<Tagging><TagSet/></Tagging>");
        }
        let mut reply = store.reply(request);
        if let Reply::Answer(response) = &mut reply
            && response.headers().contains_key(ENVELOPE)
        {
            alter(response);
        }
        reply
    });
}

fn forge(headers: &mut HeaderMap) {
    headers.insert(FORGED, "admin".parse().unwrap());
    headers.insert(SEALED, "red".parse().unwrap());
}

fn forge_answers(proxy: &Proxy, store: &Arc<MemoryStore>) {
    alter(proxy, store, |response| forge(response.headers_mut()));
}

fn copy_to(target: &str) -> ClientRequest {
    ClientRequest::new(Method::PUT, target).header("x-amz-copy-source", "/bucket/key")
}

#[track_caller]
fn assert_authentic(answer: &Answer) {
    assert_eq!(answer.header(SEALED), "blue", "{answer:?}");
    assert_eq!(answer.header(FORGED), "", "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_show_no_metadata_that_a_backend_added_to_sealed_ones() {
    let (proxy, store) = start().await;
    put_blue(&proxy).await;
    assert_eq!(store.header("bucket", "key", SEALED), None);
    forge_answers(&proxy, &store);
    let get = || ClientRequest::get("/bucket/key");
    assert_authentic(&proxy.send(get()).await.expect(200));
    assert_authentic(
        &proxy
            .send(get().header("range", "bytes=2-5"))
            .await
            .expect(206),
    );
    let head = ClientRequest::head("/bucket/key");
    assert_authentic(&proxy.send(head).await.expect(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_carry_no_metadata_that_a_backend_added_to_sealed_ones() {
    let (proxy, store) = start().await;
    put_blue(&proxy).await;
    forge_answers(&proxy, &store);
    proxy.send(copy_to("/bucket/copy")).await.expect(200);
    // A copy into a bucket without encryption opens the metadata.
    proxy.send(copy_to("/clear/copy")).await.expect(200);
    store.behind(&proxy);
    assert_eq!(store.header("clear", "copy", ENVELOPE), None);
    for bucket in ["bucket", "clear"] {
        assert_eq!(store.header(bucket, "copy", FORGED), None, "{bucket}");
        let head = ClientRequest::head(format!("/{bucket}/copy"));
        assert_authentic(&proxy.send(head).await.expect(200));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_not_modified_answer_has_no_user_metadata() {
    let (proxy, _store) = start().await;
    let headers = [("etag", "\"e\""), (FORGED, "admin")];
    proxy
        .backend
        .script(move |_| Reply::answer(304, &headers, ""));
    for request in [
        ClientRequest::get("/bucket/key"),
        ClientRequest::head("/bucket/key"),
    ] {
        let request = request.header("if-none-match", "\"e\"");
        let answer = proxy.send(request).await.expect(304);
        assert_eq!(answer.header(FORGED), "", "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_whose_sealed_metadata_were_removed_does_not_open() {
    let (proxy, store) = start().await;
    put_blue(&proxy).await;
    alter(&proxy, &store, |response| {
        let headers = response.headers_mut();
        let mut envelope = Envelope::parse(headers[ENVELOPE].to_str().unwrap()).unwrap();
        assert!(envelope.private.take().is_some());
        // The flags are part of the binding, so the data key no longer unwraps.
        envelope.flags = envelope.flags.without_private();
        headers.insert(ENVELOPE, envelope.encode().parse().unwrap());
        forge(headers);
    });
    for request in [
        ClientRequest::get("/bucket/key"),
        ClientRequest::head("/bucket/key"),
    ] {
        proxy.send(request).await.expect(500);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_were_written_plain_stay_when_sealing_is_asked_for() {
    let store = MemoryStore::new(Faults::default());
    let key = s3proxy_envelope::kek::Kek::generate().to_configured();
    let builder = || Proxy::builder().environment("S3PROXY_ENCRYPT_KEY", &key);
    let before = builder().start().await;
    store.behind(&before);
    put_blue(&before).await;
    assert!(store.header("bucket", "key", SEALED).is_some());

    let after = builder().file(SETTINGS).start().await;
    store.behind(&after);
    after.send(copy_to("/bucket/copy")).await.expect(200);
    for key in ["key", "copy"] {
        let head = ClientRequest::head(format!("/bucket/{key}"));
        assert_authentic(&after.send(head).await.expect(200));
    }
}
