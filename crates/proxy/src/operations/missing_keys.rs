//! Concealment of missing keys from clients that may read a bucket but not list it.

use http::StatusCode;
use s3proxy_protocol::operation::{self, Operation};

use crate::auth::Authenticated;
use crate::authorization::access_denied;
use crate::config::resolved::Access;
use crate::failure::Failure;

/// Turns the failure for a missing key into `AccessDenied` if the client may not learn that it is
/// missing.
pub(super) fn conceal(request: &Authenticated, failure: Failure) -> Failure {
    if let Failure::Answer(answer) = &failure
        && answer.status == StatusCode::NOT_FOUND
        && hides_missing_keys(request, &answer.document.code)
    {
        return Failure::Refused(access_denied(request.operation));
    }
    failure
}

/// A client that may read but not list must not learn which keys exist (S3 API Reference,
/// `GetObject`), nor by reading sub-resources. A missing sub-resource is not a missing key.
fn hides_missing_keys(request: &Authenticated, code: &str) -> bool {
    let reads_content = matches!(
        request.operation,
        Operation::GetObject | Operation::HeadObject
    );
    // Only NoSuchKey: other codes (e.g. NoSuchTagSet) are not about a missing key.
    let reads_of_it = request.operation.access() == operation::Access::Read && code == "NoSuchKey";
    match (request.bucket(), request.object_key()) {
        (Some(bucket), Some(object_key)) if reads_content || reads_of_it => {
            !request.identity.may(Access::List, bucket, Some(object_key))
        }
        _ => false,
    }
}
