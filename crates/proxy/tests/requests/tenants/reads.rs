//! Every way in which a client can read an object.

use super::writing::begin_upload;
use super::{KEY, client};
use crate::harness::{Answer, ClientRequest, Proxy};

/// Responses to every way in which a client can read an object of its bucket. For copies, the
/// response to the copy itself.
pub(super) async fn every_read(
    proxy: &Proxy,
    name: &str,
    bucket: &str,
) -> Vec<(&'static str, Answer)> {
    let owner = client(name);
    let target = format!("/{bucket}/{KEY}");
    let get = || ClientRequest::get(&target);
    let attributes = ClientRequest::get(format!("{target}?attributes")).header(
        "x-amz-object-attributes",
        "ETag,ObjectSize,StorageClass,ObjectParts,Checksum",
    );
    let copy = ClientRequest::put(format!("/{bucket}/copy"), "")
        .header("x-amz-copy-source", format!("/{bucket}/{KEY}"));
    let replacing = copy.clone().header("x-amz-metadata-directive", "REPLACE");
    let version = format!("{target}?versionId=3");
    let of_version = ClientRequest::put(format!("/{bucket}/copy"), "")
        .header("x-amz-copy-source", format!("{target}?versionId=3"));
    let mut answers = Vec::new();
    for (what, request) in [
        ("GET", get()),
        ("GET of a range", get().header("range", "bytes=100-199")),
        ("GET of the end", get().header("range", "bytes=-50")),
        (
            "GET of a part",
            ClientRequest::get(format!("{target}?partNumber=1")),
        ),
        ("GET of a version", ClientRequest::get(&version)),
        ("HEAD", ClientRequest::head(&target)),
        (
            "HEAD with checksum",
            ClientRequest::head(&target).header("x-amz-checksum-mode", "ENABLED"),
        ),
        (
            "HEAD of a part",
            ClientRequest::head(format!("{target}?partNumber=1")),
        ),
        ("HEAD of a version", ClientRequest::head(&version)),
        ("GetObjectAttributes", attributes),
        ("CopyObject", copy),
        ("CopyObject of a version", of_version),
        ("CopyObject with other metadata", replacing),
    ] {
        answers.push((what, proxy.send_as(&owner, request).await));
    }
    let id = begin_upload(proxy, &owner, &format!("/{bucket}/parts")).await;
    for (what, range) in [
        ("UploadPartCopy", None),
        ("UploadPartCopy of a range", Some("bytes=0-99")),
    ] {
        let mut part =
            ClientRequest::put(format!("/{bucket}/parts?partNumber=1&uploadId={id}"), "")
                .header("x-amz-copy-source", format!("/{bucket}/{KEY}"));
        if let Some(range) = range {
            part = part.header("x-amz-copy-source-range", range);
        }
        answers.push((what, proxy.send_as(&owner, part).await));
    }
    answers
}

/// Fails if any response returned something of an object.
#[track_caller]
pub(super) fn expect_nothing(case: &str, answers: Vec<(&'static str, Answer)>) {
    for (what, answer) in answers {
        assert!(!answer.is_success(), "{case}: {what}: {answer:?}");
        assert!(answer.status() >= 400, "{case}: {what}: {answer:?}");
        assert!(!answer.text().contains("account"), "{case}: {what}");
        assert_eq!(answer.header("x-amz-meta-colour"), "", "{case}: {what}");
    }
}
