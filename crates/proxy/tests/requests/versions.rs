//! Requests about a version, with a backend that supports versions and with one that does not.

use std::sync::{Arc, Mutex};

use http::Method;

use crate::harness::{Answer, ClientRequest, Proxy, RecordedRequest, Reply};
use crate::simple_backend::SimpleBackend;

const NOT_IMPLEMENTED: &str = "NotImplemented";

async fn simple() -> (Proxy, SimpleBackend) {
    let proxy = Proxy::start().await;
    let backend = SimpleBackend::behind(&proxy);
    proxy.create_bucket("bucket").await;
    proxy.put("/bucket/key", "current").await;
    (proxy, backend)
}

fn is_there(backend: &SimpleBackend, key: &str) -> bool {
    backend.buckets()["bucket"].contains_key(key)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_without_versions_deletes_no_current_object_for_an_old_one() {
    let (proxy, backend) = simple().await;
    let delete = ClientRequest::delete("/bucket/key?versionId=3");
    proxy.send(delete).await.expect_error(501, NOT_IMPLEMENTED);
    let empty = ClientRequest::delete("/bucket/key?versionId=");
    proxy.send(empty).await.expect_error(400, "InvalidArgument");
    let missing = ClientRequest::delete("/bucket/missing?versionId=3");
    let answer = proxy.send(missing).await;
    answer.expect_error(404, "NoSuchVersion");
    assert!(is_there(&backend, "key"));
    assert!(
        proxy
            .backend
            .requests()
            .iter()
            .all(|it| it.method != Method::DELETE)
    );
    // `null` is the version of an object in a bucket without versions.
    let null = ClientRequest::delete("/bucket/key?versionId=null");
    proxy.send(null).await.expect(204);
    assert!(!is_there(&backend, "key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_without_versions_gives_no_current_object_for_an_old_one() {
    let (proxy, _backend) = simple().await;
    let copy =
        |source: &str| ClientRequest::put("/bucket/copy", "").header("x-amz-copy-source", source);
    for (old, request) in [
        (true, ClientRequest::get("/bucket/key?versionId=3")),
        (true, copy("/bucket/key?versionId=3")),
        (false, ClientRequest::get("/bucket/key?versionId=null")),
        (false, ClientRequest::get("/bucket/key")),
    ] {
        let what = format!("{request:?}");
        let answer = proxy.send(request).await;
        if old {
            answer.expect_error(501, NOT_IMPLEMENTED);
        } else {
            assert_eq!(answer.status(), 200, "{what}: {answer:?}");
        }
    }
    let head = ClientRequest::head("/bucket/key?versionId=3");
    proxy.send(head).await.expect(501);
}

/// A backend whose key `key` has an old version `1` and a current version `2`. Three other keys
/// have only delete markers: responses about one key name the version, responses about another do
/// not, and the third shows only in listings. Returns the record of deletions.
fn versioned(proxy: &Proxy) -> Arc<Mutex<Vec<String>>> {
    let deleted = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&deleted);
    proxy.backend.script(move |request| {
        let asked = version_of(request);
        match (&request.method, request.path(), asked.as_deref()) {
            (&Method::DELETE, ..) => {
                noted.lock().unwrap().push(request.target.clone());
                Reply::answer(204, &[], "")
            }
            (&Method::POST, ..) => {
                let text = String::from_utf8_lossy(&request.body).into_owned();
                noted.lock().unwrap().push(text);
                Reply::answer(200, &[], "<DeleteResult/>")
            }
            // S3 responds with 405 to a read of a delete marker's version.
            (_, "/bucket/marked", Some(version)) => {
                let headers = [
                    ("x-amz-delete-marker", "true"),
                    ("x-amz-version-id", version),
                ];
                Reply::answer(405, &headers, "")
            }
            (_, "/bucket", _) if request.query().contains("versions") => {
                let entry =
                    "<DeleteMarker><Key>listed</Key><VersionId>7</VersionId></DeleteMarker>";
                let entry = if request.query().contains("prefix=listed") {
                    entry
                } else {
                    ""
                };
                let page = format!("<ListVersionsResult>{entry}</ListVersionsResult>");
                Reply::answer(200, &[], page)
            }
            (_, "/bucket/unnamed", Some(_)) => Reply::answer(405, &[], ""),
            (_, "/bucket/key", version @ (None | Some("1" | "2"))) => {
                let version = version.unwrap_or("2");
                Reply::answer(200, &[("etag", "\"e\""), ("x-amz-version-id", version)], "")
            }
            _ => Reply::error(404, "NoSuchVersion"),
        }
    });
    deleted
}

fn version_of(request: &RecordedRequest) -> Option<String> {
    let mut pairs = request.query().split('&');
    pairs.find_map(|pair| pair.strip_prefix("versionId=").map(str::to_owned))
}

async fn delete(proxy: &Proxy, target: &str) -> Answer {
    proxy.send(ClientRequest::delete(target)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn old_versions_are_deleted_where_the_backend_was_seen_to_select_them() {
    for (target, status) in [
        ("/bucket/key?versionId=1", 204),
        ("/bucket/key?versionId=2", 204),
        ("/bucket/marked?versionId=7", 204),
        ("/bucket/unnamed?versionId=7", 204),
        ("/bucket/listed?versionId=7", 204),
        // The version is missing but the key exists: the backend's own response decides.
        ("/bucket/key?versionId=9", 204),
        ("/bucket/missing?versionId=1", 404),
    ] {
        let proxy = Proxy::start().await;
        let deleted = versioned(&proxy);
        delete(&proxy, target).await.expect(status);
        let expected: &[String] = if status == 204 {
            &[target.to_owned()]
        } else {
            &[]
        };
        assert_eq!(*deleted.lock().unwrap(), expected, "{target}");
    }
    let proxy = Proxy::start().await;
    let deleted = versioned(&proxy);
    delete(&proxy, "/bucket/key?versionId=1").await.expect(204);
    proxy.backend.take_requests();
    delete(&proxy, "/bucket/missing?versionId=1")
        .await
        .expect(204);
    assert_eq!(proxy.backend.requests().len(), 1, "it is known by now");
    assert_eq!(deleted.lock().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_written_between_two_questions_is_not_taken_for_another_version() {
    let proxy = Proxy::start().await;
    let backend = SimpleBackend::behind(&proxy);
    proxy.create_bucket("bucket").await;
    proxy.put("/bucket/key", "current").await;
    let serving = backend.clone();
    proxy
        .backend
        .script(move |request| match version_of(request) {
            Some(_) if request.method == Method::HEAD => Reply::error(404, "NoSuchKey"),
            _ => serving.serve(request),
        });
    delete(&proxy, "/bucket/key?versionId=3")
        .await
        .expect_error(404, "NoSuchVersion");
    assert!(is_there(&backend, "key"));
}

fn batch(objects: &[(&str, &str)]) -> ClientRequest {
    let objects = objects.iter().map(|(key, version)| match *version {
        "" => format!("<Object><Key>{key}</Key></Object>"),
        version => {
            format!("<Object><Key>{key}</Key><VersionId>{version}</VersionId></Object>")
        }
    });
    let objects = objects.collect::<String>();
    ClientRequest::post("/bucket?delete", format!("<Delete>{objects}</Delete>"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_deletes_old_versions_only_where_the_backend_selects_them() {
    let (proxy, backend) = simple().await;
    let refused = batch(&[("key", "3"), ("missing", "4")]);
    let answer = proxy.send(refused).await.expect(200);
    for code in [NOT_IMPLEMENTED, "NoSuchVersion"] {
        let code = format!("<Code>{code}</Code>");
        assert!(answer.text().contains(&code), "{answer:?}");
    }
    assert!(is_there(&backend, "key"));
    assert!(
        proxy
            .backend
            .requests()
            .iter()
            .all(|it| it.method != Method::POST)
    );

    let proxy = Proxy::start().await;
    let deleted = versioned(&proxy);
    let mixed = batch(&[("missing", "1"), ("key", "1"), ("key", ""), ("key", "null")]);
    let answer = proxy.send(mixed).await.expect(200);
    assert!(!answer.text().contains(NOT_IMPLEMENTED), "{answer:?}");
    let sent = deleted.lock().unwrap().concat();
    assert_eq!(sent.matches("<Key>key</Key>").count(), 3, "{sent}");
    assert!(sent.contains("<VersionId>1</VersionId>"), "{sent}");
}
