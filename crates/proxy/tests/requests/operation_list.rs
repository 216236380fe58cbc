//! The list of operations is closed towards the backend as well: a request creates, changes or
//! deletes nothing but the target of its operation.

use std::collections::BTreeMap;
use std::path::Path;

use http::Method;
use s3proxy_protocol::operation::{Kind, Level, Operation, RequestDocument, Selector};

use crate::harness::{Answer, ClientRequest, Proxy, RecordedRequest, Reply};
use crate::simple_backend::SimpleBackend;

const CONTENT: &str = "content that lies sealed at the backend";
const SECRET: &str = "PAN=4111111111111111";

/// The requests of an operation: the method and target of its row, with every body that a server
/// could store as an object.
fn requests(operation: Operation) -> Vec<ClientRequest> {
    let mut parameters = Vec::new();
    if !operation.sub_resource().is_empty() {
        parameters.push(operation.sub_resource().to_owned());
    }
    let mut request = ClientRequest::new(operation.method().clone(), "");
    match operation.selector() {
        Selector::Always => {}
        Selector::Parameter(name) => parameters.push(format!("{name}=one")),
        Selector::Header("x-amz-copy-source") => {
            request = request.header("x-amz-copy-source", "/other/object");
        }
        Selector::Header(name) => request = request.header(name, "x"),
    }
    match operation {
        Operation::UploadPart | Operation::UploadPartCopy => parameters.push("partNumber=1".into()),
        Operation::ListObjectsV2 => parameters = vec!["list-type=2".into()],
        Operation::SelectObjectContent => parameters.push("select-type=2".into()),
        Operation::PostObject => {
            request = request.header("content-type", "multipart/form-data; boundary=edge");
        }
        _ => {}
    }
    let path = match operation.level() {
        Level::Service => "/",
        Level::Bucket if operation == Operation::CreateBucket => "/made",
        Level::Bucket => "/own",
        Level::Object => "/own/object",
    };
    let separator = if parameters.is_empty() { "" } else { "?" };
    let query = parameters.join("&").replace("uploadId", "uploadId=unknown");
    request.target = format!("{path}{separator}{query}");
    let mut requests = vec![request.clone()];
    if *operation.method() != Method::HEAD {
        let wrong = format!("<Unexpected><Secret>{SECRET}</Secret></Unexpected>");
        requests.push(request.clone().body(SECRET));
        requests.push(request.clone().body(wrong));
    }
    if let RequestDocument::Xml(shape, _) = operation.request_document() {
        let right = format!(
            "<?xml version='1.0'?><!--{SECRET}--><{0} a='{SECRET}'></{0}>",
            shape.root
        );
        requests.push(request.clone().body(right.clone()));
        requests.push(
            request
                .clone()
                .body(right)
                .header("x-amz-acl", "public-read"),
        );
        requests.push(request.header("x-amz-acl", "public-read"));
    } else if operation == Operation::PutBucketPolicy {
        requests.push(request.body(format!("{{\"Statement\": \"{SECRET}\"}}")));
    }
    requests
}

/// Whether the operation's purpose is a change of buckets or objects.
fn is_for_changes(operation: Operation) -> bool {
    matches!(
        operation.kind(),
        Kind::PutObject
            | Kind::CopyObject
            | Kind::DeleteObject
            | Kind::DeleteObjects
            | Kind::DeleteBucket
    ) || operation == Operation::CreateBucket
}

#[track_caller]
fn assert_relays_no_content(
    request: &ClientRequest,
    operation: Operation,
    answer: &Answer,
    stored: &[u8],
) {
    if operation.kind() == Kind::GetObject {
        return;
    }
    let held = |bytes: &[u8]| answer.body.windows(bytes.len()).any(|part| part == bytes);
    assert!(!held(CONTENT.as_bytes()), "{request:?} {answer:?}");
    assert!(!held(&stored[..32]), "{request:?} {answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_without_sub_resources_keeps_all_buckets_and_objects() {
    let proxy = Proxy::start().await;
    let backend = SimpleBackend::behind(&proxy);
    for bucket in ["own", "other"] {
        proxy.create_bucket(bucket).await;
        proxy.put(&format!("/{bucket}/object"), CONTENT).await;
    }
    let before = backend.buckets();
    let stored = before["own"]["object"].body.clone();
    for operation in Operation::ALL.iter().copied() {
        for request in requests(operation) {
            let answer = proxy.send(request.clone()).await;
            assert_relays_no_content(&request, operation, &answer, &stored);
            let mut after = backend.buckets();
            for object in after.values().flat_map(BTreeMap::values) {
                let body = String::from_utf8_lossy(&object.body);
                assert!(!body.contains(SECRET), "{request:?} stored {body}");
            }
            if is_for_changes(operation) {
                after.remove("made");
                after.insert("own".into(), before["own"].clone());
                // The change was the operation's purpose, so the next request starts afresh.
                backend.restore(before.clone());
            }
            assert_eq!(after, before, "{request:?} {answer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_without_sub_resources_is_sent_no_change_of_one() {
    let proxy = Proxy::start().await;
    SimpleBackend::behind(&proxy);
    proxy.create_bucket("own").await;
    proxy.put("/own/object", CONTENT).await;
    for operation in Operation::ALL.iter().copied() {
        if !operation.changes_sub_resource() && !operation.deletes_sub_resource() {
            continue;
        }
        proxy.backend.take_requests();
        for request in requests(operation) {
            let answer = proxy
                .send(request)
                .await
                .expect_error(501, "NotImplemented");
            assert!(
                answer.text().contains(operation.as_str()),
                "{}",
                answer.text()
            );
        }
        let sent = proxy.backend.take_requests();
        let only_reads = sent.iter().all(|request| request.method == Method::GET);
        assert!(only_reads, "{}: {sent:?}", operation.as_str());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_store_keeps_all_buckets_and_objects() {
    let proxy = Proxy::start().await;
    for bucket in ["own", "other"] {
        proxy.create_bucket(bucket).await;
        proxy.put(&format!("/{bucket}/object"), CONTENT).await;
    }
    let store = proxy.folder().join("store");
    let stored = std::fs::read(store.join("own/object")).unwrap();
    let before = files(&store);
    for operation in Operation::ALL.iter().copied() {
        if is_for_changes(operation) || operation == Operation::CreateMultipartUpload {
            continue;
        }
        for request in requests(operation) {
            let answer = proxy.send(request.clone()).await;
            assert_relays_no_content(&request, operation, &answer, &stored);
            assert_eq!(files(&store), before, "{request:?} {answer:?}");
        }
    }
}

/// All files below a folder with their bytes, and all folders.
fn files(folder: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.display().to_string();
            if path.is_dir() {
                found.insert(name, None);
                folders.push(path);
            } else {
                found.insert(name, Some(std::fs::read(path).unwrap()));
            }
        }
    }
    found
}

const TAGS: &str = "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>";

/// A backend that responds to GET with this status and document; a text that is not XML is an error
/// code.
fn answering(proxy: &Proxy, status: u16, document: &'static str) {
    proxy.backend.script(move |request: &RecordedRequest| {
        let reads = request.method == Method::GET;
        if reads && document.starts_with('<') {
            Reply::answer(status, &[("content-type", "application/xml")], document)
        } else if reads {
            Reply::error(status, document)
        } else {
            Reply::answer(200, &[], "a body that nobody asked for")
        }
    });
}

fn changes(requests: &[RecordedRequest]) -> Vec<&RecordedRequest> {
    requests
        .iter()
        .filter(|request| request.method != Method::GET)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_sent_where_a_read_has_shown_the_sub_resource() {
    for (status, document) in [(200, TAGS), (404, "NoSuchTagSet")] {
        let proxy = Proxy::start().await;
        answering(&proxy, status, document);
        let request = ClientRequest::put("/own?tagging", TAGS);
        let answer = proxy.send(request.clone()).await.expect(200);
        assert_eq!(answer.text(), "");
        proxy.send(request).await.expect(200);
        let sent = proxy.backend.take_requests();
        let methods: Vec<&str> = sent.iter().map(|sent| sent.method.as_str()).collect();
        assert_eq!(
            methods,
            // The second change needs no read: the proxy caches that the backend knows tagging.
            ["GET", "PUT", "PUT"],
            "what was shown is remembered"
        );
        let written = String::from_utf8_lossy(&sent[1].body).into_owned();
        assert!(written.starts_with("<Tagging xmlns="), "{written}");
        assert!(written.contains("<Key>k</Key>"), "{written}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_shows_nothing_lets_no_change_through() {
    for (status, document, expected, code) in [
        (200, "<ListBucketResult/>", 501, "NotImplemented"),
        (200, "<VersioningConfiguration/>", 501, "NotImplemented"),
        (200, "<html/>", 501, "NotImplemented"),
        (403, "AccessDenied", 501, "NotImplemented"),
        (404, "NoSuchCORSConfiguration", 501, "NotImplemented"),
        (405, "MethodNotAllowed", 501, "NotImplemented"),
        (501, "NotImplemented", 501, "NotImplemented"),
        (404, "NoSuchBucket", 404, "NoSuchBucket"),
        (500, "InternalError", 500, "InternalError"),
    ] {
        let proxy = Proxy::builder()
            .environment("S3PROXY_BACKEND_RETRY_ATTEMPTS", "1")
            .start()
            .await;
        answering(&proxy, status, document);
        for request in [
            ClientRequest::put("/own?tagging", TAGS),
            ClientRequest::delete("/own?tagging"),
        ] {
            proxy.send(request).await.expect_error(expected, code);
        }
        let sent = proxy.backend.take_requests();
        assert!(changes(&sent).is_empty(), "{document}: {sent:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_is_sent_only_where_there_is_something_to_delete() {
    for (status, document, expected, deletions) in [
        (200, TAGS, 200, 1),
        (404, "NoSuchTagSet", 204, 0),
        (200, "<ListBucketResult/>", 501, 0),
    ] {
        let proxy = Proxy::start().await;
        answering(&proxy, status, document);
        for _ in 0..2 {
            let answer = proxy.send(ClientRequest::delete("/own?tagging")).await;
            answer.expect(expected);
        }
        let sent = proxy.backend.take_requests();
        assert_eq!(changes(&sent).len(), 2 * deletions, "{document}: {sent:?}");
        // A server that does not know the sub-resource would delete the bucket instead.
        assert_eq!(sent.len() - 2 * deletions, 2, "each deletion reads first");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_the_configuration_lists_is_sent_at_once() {
    let proxy = Proxy::builder()
        .file("[backend]\noperations = [\"PutBucketTagging\", \"RestoreObject\"]")
        .start()
        .await;
    proxy.backend.script(|_| Reply::answer(200, &[], ""));
    proxy
        .send(ClientRequest::put("/own?tagging", TAGS))
        .await
        .expect(200);
    let restore = ClientRequest::post("/own/object?restore", "");
    proxy.send(restore).await.expect(200);
    let sent = proxy.backend.take_requests();
    let targets: Vec<&str> = sent.iter().map(|sent| sent.target.as_str()).collect();
    assert_eq!(targets, ["/own?tagging", "/own/object?restore"]);
    let other = ClientRequest::put("/own/object?tagging", TAGS);
    proxy.send(other).await.expect_error(501, "NotImplemented");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_the_operations_document_is_not_relayed() {
    let proxy = Proxy::start().await;
    for document in [
        "<ListBucketResult><Key>k</Key></ListBucketResult>",
        "<html/>",
        "<Tagging",
    ] {
        answering(&proxy, 200, document);
        for target in [
            "/own?acl",
            "/own/object?acl",
            "/own?policy",
            "/own?location",
        ] {
            let answer = proxy.send(ClientRequest::get(target)).await;
            answer.expect_error(501, "NotImplemented");
        }
    }
    answering(
        &proxy,
        200,
        // Unknown elements and prefixes are no reason to refuse a response.
        "<x:AccessControlPolicy xmlns:x='u'><x:New/></x:AccessControlPolicy>",
    );
    let answer = proxy.send(ClientRequest::get("/own?acl")).await.expect(200);
    assert!(answer.text().contains("<x:New/>"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_looks_like_the_document_is_not_taken_for_it() {
    let proxy = Proxy::start().await;
    // Only objects have this header, so the response is an object that looks like tags.
    let headers = &[("etag", "\"0123456789abcdef0123456789abcdef\"")];
    proxy
        .backend
        .script(move |_| Reply::answer(200, headers, TAGS));
    proxy
        .send(ClientRequest::get("/own/object?tagging"))
        .await
        .expect_error(501, "NotImplemented");
    proxy
        .send(ClientRequest::put("/own/object?tagging", TAGS))
        .await
        .expect_error(501, "NotImplemented");
    assert!(changes(&proxy.backend.take_requests()).is_empty());
}
