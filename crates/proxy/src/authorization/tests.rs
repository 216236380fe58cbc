use s3proxy_protocol::name::{BucketName, ObjectKey};

use super::*;
use crate::config::resolved::{Grant, Pattern};

const STATE_PREFIX: &str = ".s3proxy/";

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn grant(operations: &[Access], bucket: &str, prefix: &str) -> Grant {
    Grant {
        operations: operations.iter().copied().collect(),
        buckets: patterns(&[bucket]),
        prefixes: patterns(&[prefix]),
    }
}

const EVERYTHING: &[Access] = &[
    Access::Read,
    Access::Write,
    Access::Delete,
    Access::List,
    Access::Admin,
];

fn source(text: &str) -> CopySource {
    CopySource::parse(text).expect("a copy source")
}

fn facts<'a>(
    identity: &'a Identity,
    operation: Operation,
    bucket: Option<&'a str>,
    object_key: Option<&'a str>,
) -> Facts<'a> {
    Facts {
        operation,
        bucket,
        object_key,
        copy_source: None,
        prefix: None,
        bypasses_governance: false,
        sets_acl: false,
        identity,
        state_prefix: STATE_PREFIX,
        multipart: Multipart::Encrypt,
    }
}

/// Code of the refusal, if there is one.
fn refusal(facts: &Facts<'_>) -> Option<ErrorCode> {
    authorize(facts).err().map(|error| error.code)
}

#[test]
fn a_client_with_every_grant_is_refused_unsupported_operations_only() {
    let anyone = Identity::with_grants(vec![grant(EVERYTHING, "*", "*")]);
    let source = source("bucket/key");
    for operation in Operation::ALL.iter().copied() {
        let mut facts = facts(&anyone, operation, Some("b"), Some("k"));
        facts.copy_source = is_copy(operation).then_some(&source);
        let unsupported = operation.kind() == Kind::Unsupported;
        let expected = unsupported.then_some(ErrorCode::NotImplemented);
        assert_eq!(refusal(&facts), expected, "{}", operation.as_str());
    }
}

fn is_copy(operation: Operation) -> bool {
    matches!(operation.kind(), Kind::CopyObject | Kind::UploadPartCopy)
}

#[test]
fn a_copy_needs_read_on_its_source_and_write_on_its_target() {
    let both = Identity::with_grants(vec![
        grant(&[Access::Read], "from", "app/"),
        grant(&[Access::Write], "to-*", "app/"),
    ]);
    let one = |access| Identity::with_grants(vec![grant(&[access], "*", "*")]);
    let (reader, writer) = (one(Access::Read), one(Access::Write));
    for (identity, from, bucket, key, allowed) in [
        (&both, "from/app/1", "to-1", "app/2", true),
        (&both, "/from/app%2F1?versionId=3", "to-1", "app/2", true),
        (&both, "from/other/1", "to-1", "app/2", false),
        (&both, "to-1/app/1", "to-1", "app/2", false),
        (&both, "from/app/1", "from", "app/2", false),
        (&both, "from/app/1", "to-1", "other/2", false),
        (&reader, "from/app/1", "to-1", "app/2", false),
        (&writer, "from/app/1", "to-1", "app/2", false),
    ] {
        let source = source(from);
        for operation in [Operation::CopyObject, Operation::UploadPartCopy] {
            let mut facts = facts(identity, operation, Some(bucket), Some(key));
            facts.copy_source = Some(&source);
            let refused = refusal(&facts) == Some(ErrorCode::AccessDenied);
            assert_eq!(!refused, allowed, "{from} to {bucket}/{key}");
        }
    }
}

#[test]
fn a_copy_whose_source_is_not_known_is_refused() {
    let anyone = Identity::with_grants(vec![grant(EVERYTHING, "*", "*")]);
    for operation in [Operation::CopyObject, Operation::UploadPartCopy] {
        let facts = facts(&anyone, operation, Some("b"), Some("k"));
        assert_eq!(refusal(&facts), Some(ErrorCode::AccessDenied));
    }
}

#[test]
fn a_client_without_grants_may_only_ask_what_is_judged_later() {
    let nobody = Identity::with_grants(Vec::new());
    for operation in Operation::ALL.iter().copied() {
        let facts = facts(&nobody, operation, Some("b"), Some("k"));
        // A preflight is judged by the CORS rules of its bucket.
        let later = operation.kind() == Kind::Preflight;
        let refused = refusal(&facts) == Some(ErrorCode::AccessDenied);
        assert_eq!(refused, !later, "{}", operation.as_str());
    }
}

#[test]
fn grants_name_operations_buckets_and_prefixes() {
    let writer = Identity::with_grants(vec![
        grant(&[Access::Read, Access::Write], "logs-*", "app/"),
        grant(&[Access::List], "logs-*", "app/"),
        grant(&[Access::Read], "public", "*"),
    ]);
    for (operation, bucket, key, allowed) in [
        (Operation::PutObject, "logs-eu", "app/1", true),
        (Operation::PutObject, "logs-eu", "other/1", false),
        (Operation::PutObject, "public", "app/1", false),
        (Operation::GetObject, "public", "anything", true),
        (Operation::GetObject, "private", "anything", false),
        (Operation::DeleteObject, "logs-eu", "app/1", false),
        (Operation::GetObjectAcl, "logs-eu", "app/1", false),
        (Operation::PutObjectAcl, "public", "x", false),
    ] {
        let facts = facts(&writer, operation, Some(bucket), Some(key));
        let name = operation.as_str();
        assert_eq!(authorize(&facts).is_ok(), allowed, "{name} {bucket}/{key}");
    }
}

#[test]
fn a_grant_on_a_prefix_covers_no_key_that_may_lead_elsewhere() {
    let every = &[Access::Read, Access::Write, Access::List];
    let prefix = Identity::with_grants(vec![grant(every, "alpha", "p/")]);
    let bucket = Identity::with_grants(vec![grant(every, "alpha", "*")]);
    let all = Identity::with_grants(vec![grant(every, "*", "*")]);
    for (key, prefix_may, bucket_may) in [
        ("p/a/b", true, true),
        ("p/a/", true, true),
        // A backend may normalise it to a key outside the prefix.
        ("p/../secret/s", false, true),
        ("p//a", false, true),
        ("p/./a", false, true),
        // These may lead even to another bucket.
        ("p/../../bravo/x", false, false),
        ("../bravo/x", false, false),
    ] {
        let may = |identity: &Identity, operation| {
            let mut facts = facts(identity, operation, Some("alpha"), Some(key));
            let source = CopySource {
                bucket: BucketName::new("alpha").expect("a bucket"),
                key: ObjectKey::new(key).expect("a key"),
                version_id: None,
            };
            if is_copy(operation) {
                facts.object_key = Some("p/target");
                facts.copy_source = Some(&source);
            }
            if operation == Operation::ListObjects {
                facts.object_key = None;
                facts.prefix = Some(key);
            }
            authorize(&facts).is_ok()
        };
        for operation in [
            Operation::GetObject,
            Operation::PutObject,
            Operation::ListObjects,
            Operation::CopyObject,
            Operation::UploadPartCopy,
        ] {
            let name = operation.as_str();
            assert_eq!(may(&prefix, operation), prefix_may, "{name} {key}");
            assert_eq!(may(&bucket, operation), bucket_may, "{name} {key}");
            assert!(may(&all, operation), "{name} {key}");
        }
    }
}

#[test]
fn a_listing_must_stay_inside_a_granted_prefix() {
    let lister = Identity::with_grants(vec![grant(&[Access::List], "b", "app/")]);
    for (prefix, allowed) in [
        (Some("app/"), true),
        (Some("app/2026/"), true),
        // It also covers keys such as "apple".
        (Some("app"), false),
        (Some(""), false),
        (None, false),
    ] {
        let mut facts = facts(&lister, Operation::ListObjectsV2, Some("b"), None);
        facts.prefix = prefix;
        assert_eq!(authorize(&facts).is_ok(), allowed, "{prefix:?}");
    }
}

#[test]
fn acls_and_governance_bypass_need_admin() {
    let writer = Identity::with_grants(vec![grant(&[Access::Write, Access::Delete], "*", "*")]);
    let mut with_acl = facts(&writer, Operation::PutObject, Some("b"), Some("k"));
    assert_eq!(authorize(&with_acl), Ok(()));
    with_acl.sets_acl = true;
    assert_eq!(refusal(&with_acl), Some(ErrorCode::AccessDenied));
    for operation in [Operation::DeleteObject, Operation::DeleteObjects] {
        let mut bypass = facts(&writer, operation, Some("b"), Some("k"));
        bypass.bypasses_governance = true;
        assert_eq!(refusal(&bypass), Some(ErrorCode::AccessDenied));
    }
}

#[test]
fn blocked_multipart_uploads_can_be_seen_and_ended_but_not_made() {
    let anyone = Identity::with_grants(vec![grant(EVERYTHING, "*", "*")]);
    let source = source("bucket/key");
    for (operation, blocked) in [
        (Operation::CreateMultipartUpload, true),
        (Operation::UploadPart, true),
        (Operation::UploadPartCopy, true),
        (Operation::CompleteMultipartUpload, true),
        (Operation::AbortMultipartUpload, false),
        (Operation::ListParts, false),
        (Operation::ListMultipartUploads, false),
    ] {
        let mut facts = facts(&anyone, operation, Some("b"), Some("k"));
        facts.copy_source = is_copy(operation).then_some(&source);
        facts.multipart = Multipart::Block;
        let refused = refusal(&facts) == Some(ErrorCode::NotImplemented);
        assert_eq!(refused, blocked, "{}", operation.as_str());
    }
}

#[test]
fn the_proxys_own_keys_are_refused_to_everybody() {
    let anyone = Identity::with_grants(vec![grant(EVERYTHING, "*", "*")]);
    for (key, refused) in [
        (".s3proxy/uploads/x/state", true),
        // Keys that a backend may normalise to one of the proxy's own.
        ("/.s3proxy//uploads", true),
        ("a/../.s3proxy/uploads", true),
        (".s3proxy", true),
        (".s3proxyx/uploads", false),
        ("a/.s3proxy/uploads", false),
    ] {
        let read = facts(&anyone, Operation::GetObject, Some("b"), Some(key));
        assert_eq!(
            refusal(&read) == Some(ErrorCode::AccessDenied),
            refused,
            "{key}"
        );
        let source = CopySource {
            bucket: BucketName::new("bucket").expect("a bucket"),
            key: ObjectKey::new(key).expect("a key"),
            version_id: None,
        };
        let mut copy = facts(&anyone, Operation::CopyObject, Some("b"), Some("k"));
        copy.copy_source = Some(&source);
        let denied = refusal(&copy) == Some(ErrorCode::AccessDenied);
        assert_eq!(denied, refused, "copied from {key}");
    }
}
