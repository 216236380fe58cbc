//! What happens with a request: the security policy in one pure function.
//!
//! [`plan`] looks at facts only (operation, target, who asks, settings) and decides. It reads no
//! socket and no clock, so that the policy is one table in the tests. Whatever is not decided to
//! be served is refused.

use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::operation::{self, Kind, Operation};

use crate::auth::Identity;
use crate::config::resolved::Access;

/// What to do with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    /// PutObject: the body is sealed on its way.
    Seal,
    /// GetObject: the stored body is opened on its way.
    Open,
    /// HeadObject: as GetObject, without a body.
    Describe,
    /// An answer about many objects, rewritten in plaintext terms.
    Rewrite(Rewrite),
    /// Passed on; the body, if any, is XML that is held and bounded.
    Forward,
    /// Not served.
    Refuse(S3Error),
}

/// Which answer is rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rewrite {
    ListBuckets,
    ListObjects,
    DeleteObjects,
    DeleteObject,
}

/// What [`plan`] looks at.
pub(crate) struct Facts<'a> {
    pub(crate) operation: Operation,
    pub(crate) bucket: Option<&'a str>,
    pub(crate) object_key: Option<&'a str>,
    /// The `prefix` of a listing.
    pub(crate) prefix: Option<&'a str>,
    /// `x-amz-bypass-governance-retention` was asked for.
    pub(crate) bypasses_governance: bool,
    /// An ACL is set along with the object (`x-amz-acl`, `x-amz-grant-*`).
    pub(crate) sets_acl: bool,
    pub(crate) identity: &'a Identity,
    pub(crate) state_prefix: &'a str,
}

/// Decides.
pub(crate) fn plan(facts: &Facts<'_>) -> Plan {
    if let Some(object_key) = facts.object_key
        && is_state_key(object_key, facts.state_prefix)
    {
        return Plan::Refuse(S3Error::new(
            ErrorCode::AccessDenied,
            "Keys under this prefix belong to the proxy; choose another key.",
        ));
    }
    if !is_granted(facts) {
        return Plan::Refuse(access_denied(facts.operation));
    }
    match facts.operation.kind() {
        Kind::PutObject => Plan::Seal,
        Kind::GetObject => Plan::Open,
        Kind::HeadObject => Plan::Describe,
        Kind::ListBuckets => Plan::Rewrite(Rewrite::ListBuckets),
        Kind::ListObjects => Plan::Rewrite(Rewrite::ListObjects),
        Kind::DeleteObjects => Plan::Rewrite(Rewrite::DeleteObjects),
        Kind::DeleteObject => Plan::Rewrite(Rewrite::DeleteObject),
        Kind::Forward
        | Kind::ForwardXml
        | Kind::Preflight
        | Kind::DeleteBucket
        | Kind::RestoreObject => Plan::Forward,
        Kind::CopyObject
        | Kind::PostObject
        | Kind::GetObjectAttributes
        | Kind::CreateMultipartUpload
        | Kind::UploadPart
        | Kind::UploadPartCopy
        | Kind::CompleteMultipartUpload
        | Kind::AbortMultipartUpload
        | Kind::ListMultipartUploads
        | Kind::ListParts => Plan::Refuse(not_in_this_version(facts.operation)),
        Kind::Unsupported => Plan::Refuse(S3Error::new(
            ErrorCode::NotImplemented,
            format!("{} cannot work on sealed data.", facts.operation.as_str()),
        )),
    }
}

fn is_granted(facts: &Facts<'_>) -> bool {
    let may = |access| match facts.bucket {
        Some(bucket) => {
            let target = match access {
                Access::List => Some(facts.prefix.unwrap_or_default()),
                Access::Read | Access::Write | Access::Delete | Access::Admin => facts.object_key,
            };
            facts.identity.may(access, bucket, target)
        }
        // ListBuckets is filtered, bucket by bucket, when the answer comes.
        None => true,
    };
    // A preflight carries no credential; the backend's CORS rules decide. A batch is judged key by
    // key when its body was read.
    if matches!(
        facts.operation.kind(),
        Kind::Preflight | Kind::DeleteObjects
    ) {
        return true;
    }
    let access = match facts.operation.access() {
        operation::Access::Read => Access::Read,
        operation::Access::Write => Access::Write,
        operation::Access::Delete => Access::Delete,
        operation::Access::List => Access::List,
        operation::Access::Admin => Access::Admin,
    };
    may(access)
        && (!facts.bypasses_governance || may(Access::Admin))
        && (!facts.sets_acl || may(Access::Admin))
}

/// Whether a key is, or collapses to, one under the state prefix: servers that keep keys as file
/// names drop leading and doubled slashes, take `\` for `/`, and resolve `.` and `..`.
pub(crate) fn is_state_key(object_key: &str, state_prefix: &str) -> bool {
    collapse(object_key).starts_with(&collapse(state_prefix))
}

fn collapse(text: &str) -> Vec<&str> {
    let mut segments = Vec::new();
    for segment in text.split(['/', '\\']) {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            name => segments.push(name),
        }
    }
    segments
}

/// The refusal that a client outside its grants gets.
pub(crate) fn access_denied(operation: Operation) -> S3Error {
    S3Error::new(
        ErrorCode::AccessDenied,
        format!(
            "This client's grants do not cover {} here; ask for a grant on this bucket and prefix.",
            operation.as_str()
        ),
    )
}

fn not_in_this_version(operation: Operation) -> S3Error {
    S3Error::new(
        ErrorCode::NotImplemented,
        format!(
            "{} is not part of this version of the proxy; objects up to 5 GiB go in one PutObject.",
            operation.as_str()
        ),
    )
}
