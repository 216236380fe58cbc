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
    // Before the grants: nobody may touch the proxy's own state, whatever the grants say.
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
mod tests;
