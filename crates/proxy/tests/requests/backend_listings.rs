//! A backend with endless listings.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Method;

use crate::harness::{ClientRequest, Proxy, RecordedRequest, Reply};
use crate::memory_store::{Faults, MemoryStore};

const XML: (&str, &str) = ("content-type", "application/xml");

/// A proxy, its store, and the id of an upload with one part.
async fn proxy_with_an_upload() -> (Proxy, Arc<MemoryStore>, String) {
    let proxy = Proxy::start().await;
    let store = MemoryStore::new(Faults::default());
    store.behind(&proxy);
    let created = proxy
        .send(ClientRequest::post("/bucket/key?uploads", ""))
        .await
        .expect(200);
    let id = created.element("UploadId");
    let part = format!("/bucket/key?partNumber=1&uploadId={id}");
    let part = ClientRequest::put(part, vec![7_u8; 6 << 20]);
    proxy.send(part).await.expect(200);
    (proxy, store, id)
}

/// Lists a part that does not exist, so that every page of parts is requested.
fn completion(id: &str) -> ClientRequest {
    let document = "<CompleteMultipartUpload><Part><PartNumber>2</PartNumber>\
                    <ETag>\"d41d8cd98f00b204e9800998ecf8427e\"</ETag></Part>\
                    </CompleteMultipartUpload>";
    ClientRequest::post(format!("/bucket/key?uploadId={id}"), document)
}

fn contents(count: usize) -> String {
    let entry =
        |number| format!("<Contents><Key>k{number}</Key><ETag>e</ETag><Size>7</Size></Contents>");
    (0..count).map(entry).collect::<Vec<String>>().concat()
}

fn page(entries: &str, token: &str) -> Reply {
    let document = format!(
        "<ListBucketResult><IsTruncated>true</IsTruncated>{entries}\
         <NextContinuationToken>{token}</NextContinuationToken></ListBucketResult>"
    );
    Reply::answer(200, &[XML], document)
}

fn lists_objects(request: &RecordedRequest) -> bool {
    request.method == Method::GET && request.has_parameter("list-type")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_staged_parts_that_does_not_end_is_an_error() {
    let (proxy, store, id) = proxy_with_an_upload().await;
    // Tokens repeat after `places` pages: a loop is found early, new tokens end at a bound.
    for (places, most) in [(2, 8), (9, 64), (usize::MAX, 101)] {
        let asked = Arc::new(AtomicUsize::new(0));
        let (counted, store) = (Arc::clone(&asked), Arc::clone(&store));
        proxy.backend.script(move |request| {
            if !lists_objects(request) {
                return store.reply(request);
            }
            let number = counted.fetch_add(1, Ordering::Relaxed);
            page(&contents(10), &(number % places).to_string())
        });
        let answer = proxy.send(completion(&id)).await;
        answer.expect_error(500, "InternalError");
        let asked = asked.load(Ordering::Relaxed);
        assert!((1..=most).contains(&asked), "{asked}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_parts_that_goes_on_for_ever_is_an_error() {
    let (proxy, store, id) = proxy_with_an_upload().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    proxy.backend.script(move |request| {
        if request.method != Method::GET || !request.has_parameter("uploadId") {
            return store.reply(request);
        }
        let next = counted.fetch_add(1, Ordering::Relaxed) + 1;
        let parts: String = (0..1000)
            .map(|_| {
                "<Part><PartNumber>9</PartNumber><ETag>e</ETag><Size>7</Size>\
                 <LastModified>2026-01-01T00:00:00.000Z</LastModified></Part>"
            })
            .collect();
        let document = format!(
            "<ListPartsResult><IsTruncated>true</IsTruncated>{parts}\
             <NextPartNumberMarker>{next}</NextPartNumberMarker></ListPartsResult>"
        );
        Reply::answer(200, &[XML], document)
    });
    let answer = proxy.send(completion(&id)).await;
    answer.expect_error(500, "InternalError");
    let asked = asked.load(Ordering::Relaxed);
    assert!((2..=21).contains(&asked), "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_with_more_entries_than_a_page_has_is_refused_before_any_is_looked_at() {
    let proxy = Proxy::start().await;
    proxy.create_bucket("bucket").await;
    for target in ["/bucket?list-type=2", "/bucket", "/bucket?max-keys=2"] {
        // S3 returns at most 1000 entries per page.
        proxy.backend.script(|_| page(&contents(1001), "t"));
        proxy.backend.take_requests();
        let answer = proxy.send(ClientRequest::get(target)).await;
        answer.expect_error(500, "InternalError");
        assert_eq!(proxy.backend.take_requests().len(), 1, "{target}");
    }
    proxy.backend.script(|_| page(&contents(1000), "t"));
    let answer = proxy.send(ClientRequest::get("/bucket?list-type=2")).await;
    assert_eq!(answer.expect(200).text().matches("<Key>").count(), 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_wants_more_than_a_page_gets_a_page() {
    let proxy = Proxy::start().await;
    proxy.create_bucket("bucket").await;
    for (target, sent) in [
        ("/bucket?list-type=2&max-keys=100000", "max-keys=1000"),
        ("/bucket?max-keys=1001", "max-keys=1000"),
        ("/bucket?max-keys=7", "max-keys=7"),
        ("/bucket?uploads&max-uploads=5000", "max-uploads=1000"),
    ] {
        proxy.backend.take_requests();
        // The embedded store does not list uploads.
        proxy.send(ClientRequest::get(target)).await;
        let requests = proxy.backend.take_requests();
        let query = requests[0].query().to_owned();
        assert!(query.split('&').any(|pair| pair == sent), "{query}");
    }
}
