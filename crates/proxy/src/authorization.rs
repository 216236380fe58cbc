//! Authorization: the security policy in one pure function.
//!
//! [`authorize`] decides by facts only (operation, target, client, settings). It reads no socket
//! and no clock, so that the policy is one table in the tests.

use s3proxy_protocol::copy_source::CopySource;
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::operation::{self, Kind, Operation};

use crate::auth::Identity;
use crate::config::resolved::{Access, Multipart};
use crate::effective_name::is_state_key;
use crate::s3_request::unsupported;

/// Facts that [`authorize`] decides by.
pub(crate) struct Facts<'a> {
    pub(crate) operation: Operation,
    pub(crate) bucket: Option<&'a str>,
    pub(crate) object_key: Option<&'a str>,
    /// Source of a copy.
    pub(crate) copy_source: Option<&'a CopySource>,
    /// `prefix` of a listing.
    pub(crate) prefix: Option<&'a str>,
    /// Whether the request has `x-amz-bypass-governance-retention`.
    pub(crate) bypasses_governance: bool,
    /// Whether the request sets an ACL along with the object (`x-amz-acl`, `x-amz-grant-*`).
    pub(crate) sets_acl: bool,
    pub(crate) identity: &'a Identity,
    pub(crate) state_prefix: &'a str,
    pub(crate) multipart: Multipart,
}

/// Refuses a request that touches the proxy's own state, that the client's grants do not cover, or
/// that the proxy does not serve.
pub(crate) fn authorize(facts: &Facts<'_>) -> Result<(), S3Error> {
    // Before the grants: nobody may touch the proxy's own state, regardless of grants.
    let read = facts.copy_source.map(|source| source.key.as_str());
    let mut named = facts.object_key.into_iter().chain(read);
    if named.any(|object_key| is_state_key(object_key, facts.state_prefix)) {
        return Err(S3Error::new(
            ErrorCode::AccessDenied,
            "Keys under this prefix belong to the proxy; choose another key.",
        ));
    }
    if !is_granted(facts) {
        return Err(access_denied(facts.operation));
    }
    let kind = facts.operation.kind();
    if kind == Kind::Unsupported {
        return Err(unsupported(facts.operation));
    }
    if makes_upload(kind) && facts.multipart == Multipart::Block {
        return Err(S3Error::new(
            ErrorCode::NotImplemented,
            "Multipart uploads are blocked here (policy.multipart = block); objects up to 5 GiB \
             go in one PutObject.",
        ));
    }
    Ok(())
}

/// Whether a request begins, fills or completes an upload. The other requests about uploads are
/// never blocked: uploads that exist can be listed and aborted.
fn makes_upload(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::CreateMultipartUpload
            | Kind::UploadPart
            | Kind::UploadPartCopy
            | Kind::CompleteMultipartUpload
    )
}

fn is_granted(facts: &Facts<'_>) -> bool {
    let may = |access| match facts.bucket {
        Some(bucket) => {
            let target = match access {
                // A listing without a prefix needs a grant for the whole bucket.
                Access::List => Some(facts.prefix.unwrap_or_default()),
                Access::Read | Access::Write | Access::Delete | Access::Admin => facts.object_key,
            };
            facts.identity.may(access, bucket, target)
        }
        // ListBuckets is filtered, bucket by bucket, in the response.
        None => true,
    };
    let bypass_is_granted = !facts.bypasses_governance || may(Access::Admin);
    let kind = facts.operation.kind();
    if kind == Kind::Preflight {
        // A preflight carries no credential; the backend's CORS rules decide.
        return true;
    }
    if kind == Kind::DeleteObjects {
        // The keys of a batch are judged one by one once its body was read. That is not done for
        // clients that could delete none.
        let some = facts
            .bucket
            .is_none_or(|bucket| facts.identity.may_somewhere(Access::Delete, bucket));
        return some && bypass_is_granted;
    }
    let access = match facts.operation.access() {
        operation::Access::Read => Access::Read,
        operation::Access::Write => Access::Write,
        operation::Access::Delete => Access::Delete,
        operation::Access::List => Access::List,
        operation::Access::Admin => Access::Admin,
    };
    may(access)
        && bypass_is_granted
        && (!facts.sets_acl || may(Access::Admin))
        && source_is_granted(facts)
}

/// Returns whether the client may read the source of a copy, in addition to writing its target.
fn source_is_granted(facts: &Facts<'_>) -> bool {
    let copies = matches!(
        facts.operation.kind(),
        Kind::CopyObject | Kind::UploadPartCopy
    );
    match facts.copy_source {
        Some(source) => {
            let (bucket, object_key) = (source.bucket.as_str(), source.key.as_str());
            let identity = facts.identity;
            identity.may(Access::Read, bucket, Some(object_key))
        }
        // Fails closed: a copy without a parsed source must never reach the backend.
        None => !copies,
    }
}

/// Makes the refusal for a client outside its grants.
pub(crate) fn access_denied(operation: Operation) -> S3Error {
    S3Error::new(
        ErrorCode::AccessDenied,
        format!(
            "This client's grants do not cover {} here; ask for a grant on this bucket and prefix.",
            operation.as_str()
        ),
    )
}

#[cfg(test)]
mod tests {
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
}
