//! Parts by their numbers: of completed objects, and of uploads with several attempts at one.

use std::time::{Duration, Instant};

use crate::harness::{ClientRequest, Proxy};
use crate::memory_store::{Faults, MemoryStore};
use crate::uploads::{begin, complete, upload_part};

const MIB: usize = 1024 * 1024;

async fn proxy_over(faults: Faults) -> Proxy {
    let proxy = Proxy::start().await;
    MemoryStore::new(faults).behind(&proxy);
    proxy
}

/// Begins an upload of `/bucket/key` with CRC32 for each part; returns its id.
async fn begin_with_checksums(proxy: &Proxy) -> String {
    let request =
        ClientRequest::post("/bucket/key?uploads", "").header("x-amz-checksum-algorithm", "CRC32");
    proxy.send(request).await.expect(200).element("UploadId")
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_an_object_go_by_the_numbers_that_they_were_uploaded_under() {
    let proxy = proxy_over(Faults::default()).await;
    let id = begin_with_checksums(&proxy).await;
    let upload = ("key", id.as_str());
    let parts = [
        (2, upload_part(&proxy, upload, 2, vec![2; 5 * MIB]).await),
        (5, upload_part(&proxy, upload, 5, vec![5; 5 * MIB]).await),
        (7, upload_part(&proxy, upload, 7, b"seven".to_vec()).await),
    ];
    complete(&proxy, upload, &parts).await.expect(200);
    // Asked twice: the layout is remembered by then.
    for _ in 0..2 {
        for (number, range) in [
            (2, "bytes 0-5242879/10485765"),
            (5, "bytes 5242880-10485759/10485765"),
            (7, "bytes 10485760-10485764/10485765"),
        ] {
            for method in [http::Method::GET, http::Method::HEAD] {
                let target = format!("/bucket/key?partNumber={number}");
                let request =
                    ClientRequest::new(method, target).header("x-amz-checksum-mode", "ENABLED");
                let answer = proxy.send(request).await.expect(206);
                assert_eq!(answer.header("content-range"), range);
                assert_eq!(answer.header("x-amz-mp-parts-count"), "3");
                assert_ne!(answer.header("x-amz-checksum-crc32"), "");
                if number == 7 && !answer.body.is_empty() {
                    assert_eq!(answer.text(), "seven");
                }
            }
        }
        for number in [1, 3, 6, 8, 10_000] {
            let target = format!("/bucket/key?partNumber={number}");
            let answer = proxy.send(ClientRequest::get(target)).await;
            answer.expect_error(416, "InvalidPartNumber");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_page_through_parts_by_their_numbers() {
    let proxy = proxy_over(Faults::default()).await;
    let id = begin_with_checksums(&proxy).await;
    let upload = ("key", id.as_str());
    let parts = [
        (2, upload_part(&proxy, upload, 2, vec![2; 5 * MIB]).await),
        (7, upload_part(&proxy, upload, 7, b"seven".to_vec()).await),
    ];
    complete(&proxy, upload, &parts).await.expect(200);
    for (marker, limit, number, next, is_truncated) in [
        (0, 1, "2", "2", "true"),
        (1, 1, "2", "2", "true"),
        (2, 1, "7", "7", "false"),
        (6, 9, "7", "7", "false"),
        (0, 9, "2", "7", "false"),
        (7, 9, "", "0", "false"),
    ] {
        let request = ClientRequest::get("/bucket/key?attributes")
            .header("x-amz-object-attributes", "ObjectParts")
            .header("x-amz-part-number-marker", format!("{marker}"))
            .header("x-amz-max-parts", format!("{limit}"));
        let answer = proxy.send(request).await.expect(200);
        let found = (
            answer.element("PartNumber"),
            answer.element("NextPartNumberMarker"),
            answer.element("IsTruncated"),
        );
        let expected = (number.to_owned(), next.to_owned(), is_truncated.to_owned());
        assert_eq!(found, expected, "{marker} {limit}: {}", answer.text());
        assert_eq!(answer.element("PartsCount"), "2");
    }
}

/// The ETag and the number of the one part that a list shows.
async fn listed(proxy: &Proxy, key: &str, id: &str) -> String {
    let target = format!("/bucket/{key}?uploadId={id}");
    let answer = proxy.send(ClientRequest::get(target)).await.expect(200);
    assert_eq!(
        answer.text().matches("<Part>").count(),
        1,
        "{}",
        answer.text()
    );
    let etag = answer.element("ETag").replace("&quot;", "");
    etag.trim_matches('"').to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_attempts_at_a_part_the_later_is_listed_and_completed() {
    let faults = Faults {
        lists_replaced_parts: true,
        ..Faults::default()
    };
    let proxy = proxy_over(faults).await;
    let id = begin(&proxy, "key").await;
    let upload = ("key", id.as_str());
    let begun = Instant::now();
    upload_part(&proxy, upload, 1, vec![1; 5 * MIB]).await;
    let second = upload_part(&proxy, upload, 1, vec![2; 5 * MIB]).await;
    // So that the times in the list, whole seconds, tell other replicas as well.
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let listed = listed(&proxy, "key", &id).await;
    let (backend, _) = second.rsplit_once('-').unwrap();
    assert_eq!(listed, format!("{backend}-0"));
    complete(&proxy, upload, &[(1, listed)]).await.expect(200);
    let answer = proxy
        .send(ClientRequest::get("/bucket/key"))
        .await
        .expect(200);
    assert!(answer.body.iter().all(|byte| *byte == 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_completed_by_the_etag_of_its_upload_or_of_the_list() {
    let proxy = proxy_over(Faults::default()).await;
    for by_list in [true, false] {
        let id = begin(&proxy, "key").await;
        let uploaded = upload_part(&proxy, ("key", &id), 1, b"plaintext".to_vec()).await;
        let listed = listed(&proxy, "key", &id).await;
        assert_eq!(
            uploaded.rsplit_once('-').unwrap().0,
            listed.rsplit_once('-').unwrap().0
        );
        let etag = if by_list { listed } else { uploaded };
        complete(&proxy, ("key", &id), &[(1, etag)])
            .await
            .expect(200);
    }
}

/// AWS answers so: lists that SDKs sorted with a number twice in them are reported to fail.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_is_named_twice_is_not_in_ascending_order() {
    let proxy = proxy_over(Faults::default()).await;
    let id = begin(&proxy, "key").await;
    let etag = upload_part(&proxy, ("key", &id), 1, b"plaintext".to_vec()).await;
    let twice = [(1, etag.clone()), (1, etag.clone())];
    let answer = complete(&proxy, ("key", &id), &twice).await;
    answer.expect_error(400, "InvalidPartOrder");
    complete(&proxy, ("key", &id), &[(1, etag)])
        .await
        .expect(200);
}
