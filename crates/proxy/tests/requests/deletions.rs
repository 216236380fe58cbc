//! Buckets with open uploads, and batches of the longest keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Method;

use crate::harness::{ClientRequest, Proxy, Reply};
use crate::memory_store::{Faults, MemoryStore};

const STATES: &str = ".s3proxy/";

async fn start(faults: Faults) -> (Proxy, Arc<MemoryStore>) {
    let proxy = Proxy::start().await;
    let store = MemoryStore::new(faults);
    store.behind(&proxy);
    (proxy, store)
}

/// Begins an upload with a part that waits beside the data; returns its id and the part's ETag.
async fn begin(proxy: &Proxy, key: &str) -> (String, String) {
    let created = ClientRequest::post(format!("/bucket/{key}?uploads"), "");
    let id = proxy.send(created).await.expect(200).element("UploadId");
    let part = format!("/bucket/{key}?partNumber=1&uploadId={id}");
    let part = proxy.send(ClientRequest::put(part, "short")).await;
    (id, part.expect(200).header("etag").to_owned())
}

fn completion(key: &str, (id, etag): &(String, String)) -> ClientRequest {
    let document = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part>\
         </CompleteMultipartUpload>",
        etag.trim_matches('"')
    );
    ClientRequest::post(format!("/bucket/{key}?uploadId={id}"), document)
}

fn deletion() -> ClientRequest {
    ClientRequest::delete("/bucket")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_with_open_uploads_only_is_deleted() {
    for hides_uploads in [false, true] {
        let faults = Faults {
            hides_uploads,
            ..Faults::default()
        };
        let (proxy, store) = start(faults).await;
        let first = begin(&proxy, "a").await;
        begin(&proxy, "b").await;
        assert_eq!(store.keys("bucket", STATES).len(), 4);
        proxy.send(deletion()).await.expect(204);
        assert_eq!(store.keys("bucket", ""), [""; 0]);
        assert_eq!(store.open_uploads(), 0);
        let late = proxy.send(completion("a", &first)).await;
        late.expect_error(404, "NoSuchUpload");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_keeps_its_bucket_and_the_uploads_in_it() {
    let (proxy, store) = start(Faults::default()).await;
    let upload = begin(&proxy, "a").await;
    store.plant("bucket", "z", "content");
    let refused = proxy.send(deletion()).await;
    refused.expect_error(409, "BucketNotEmpty");
    proxy.send(completion("a", &upload)).await.expect(200);
    assert_eq!(store.keys("bucket", ""), ["a", "z"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_comes_while_uploads_are_aborted_keeps_its_bucket() {
    let (proxy, store) = start(Faults::default()).await;
    begin(&proxy, "a").await;
    let planting = Arc::clone(&store);
    proxy.backend.script(move |request| {
        if request.method == Method::DELETE && request.has_parameter("uploadId") {
            planting.plant("bucket", "z", "content");
        }
        planting.reply(request)
    });
    let refused = proxy.send(deletion()).await;
    refused.expect_error(409, "BucketNotEmpty");
    assert_eq!(store.keys("bucket", ""), ["z"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_begins_meanwhile_keeps_its_bucket_and_goes_on() {
    let (proxy, store) = start(Faults::default()).await;
    begin(&proxy, "a").await;
    let other = Proxy::builder()
        .environment(
            "S3PROXY_ENCRYPT_KEY",
            &s3proxy_envelope::kek::Kek::generate().to_configured(),
        )
        .start()
        .await;
    store.behind(&other);
    let other = Arc::new(other);
    let begun = Arc::new(std::sync::Mutex::new(None));
    let (replica, late, serving) = (Arc::clone(&other), Arc::clone(&begun), Arc::clone(&store));
    proxy.backend.script(move |request| {
        if request.method != Method::DELETE || !request.has_parameter("uploadId") {
            return serving.reply(request);
        }
        let (replica, late) = (Arc::clone(&replica), Arc::clone(&late));
        let reply = serving.reply(request);
        Reply::When(Box::pin(async move {
            let upload = begin(&replica, "late").await;
            *late.lock().unwrap() = Some(upload);
            reply
        }))
    });
    let refused = proxy.send(deletion()).await;
    refused.expect_error(409, "BucketNotEmpty");
    let upload = begun.lock().unwrap().take().unwrap();
    other.send(completion("late", &upload)).await.expect(200);
    assert_eq!(store.keys("bucket", ""), ["late"]);
}

/// A batch of 1000 keys of 1024 bytes, each of which is escaped.
fn longest_batch() -> String {
    let key = |number: usize| format!("{number:04}{}", "&#x26;".repeat(1020));
    let objects = (0..1000).map(|number| format!("<Object><Key>{}</Key></Object>", key(number)));
    let objects: String = objects.collect();
    format!("<Delete>{objects}<Quiet> TRUE </Quiet></Delete>")
}

async fn send_batch(proxy: &Proxy, document: String) -> crate::harness::Answer {
    let batch = ClientRequest::post("/bucket?delete", document);
    proxy.send(batch).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_batch_goes_on_in_requests_that_every_server_takes() {
    let proxy = Proxy::start().await;
    proxy.backend.script(|request| {
        assert!(
            request.body.len() <= 1_000_000,
            "{} bytes",
            request.body.len()
        );
        Reply::answer(
            200,
            &[],
            "<DeleteResult><Error><Key>k</Key><Code>C</Code></Error></DeleteResult>",
        )
    });
    let batch = longest_batch();
    assert!(batch.len() > 6_000_000);
    let answer = send_batch(&proxy, batch).await.expect(200);
    let sent = proxy.backend.take_requests();
    let text = |body: &[u8]| String::from_utf8(body.to_vec()).unwrap();
    let bodies: Vec<String> = sent.iter().map(|request| text(&request.body)).collect();
    assert_eq!(bodies.len(), 6);
    let keys: usize = bodies
        .iter()
        .map(|body| body.matches("<Key>").count())
        .sum();
    assert_eq!(keys, 1000);
    assert!(
        bodies
            .iter()
            .all(|body| body.contains("<Quiet>true</Quiet>"))
    );
    assert_eq!(answer.text().matches("<Error>").count(), bodies.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_a_request_that_fails_behind_others_are_told_of_one_by_one() {
    let proxy = Proxy::start().await;
    let seen = AtomicUsize::new(0);
    proxy
        .backend
        .script(move |_| match seen.fetch_add(1, Ordering::Relaxed) {
            0 => Reply::answer(200, &[], "<DeleteResult/>"),
            _ => Reply::error(403, "AccessDenied"),
        });
    let answer = send_batch(&proxy, longest_batch()).await.expect(200);
    let first = &proxy.backend.take_requests()[0].body;
    let deleted = String::from_utf8(first.to_vec()).unwrap();
    let left = 1000 - deleted.matches("<Key>").count();
    assert_eq!(
        answer.text().matches("<Code>AccessDenied</Code>").count(),
        left
    );
    assert!(left < 1000);
}
