//! Whether a response is about the requested version.
//!
//! A backend that ignores `versionId` takes a request for an old version for one about the current
//! object, so responses to reads have to name the requested version. The version `null` is the
//! current object of an unversioned bucket, with any backend.

use http::HeaderMap;
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::headers::{self, VERSION_ID};

use crate::failure::Outcome;

/// Version id of an object that was written while its bucket was unversioned.
pub(crate) const NULL_VERSION: &str = "null";

/// The version that a response is about.
pub(crate) fn version(headers: &HeaderMap) -> Option<&str> {
    headers::text(headers, VERSION_ID)
}

/// Refuses a response about another version than the requested one.
pub(crate) fn require_answered(requested: Option<&str>, answered: &HeaderMap) -> Outcome<()> {
    match requested {
        None => Ok(()),
        Some(NULL_VERSION) => match version(answered) {
            None | Some(NULL_VERSION) => Ok(()),
            Some(_) => Err(ignored().into()),
        },
        Some(requested) if version(answered) == Some(requested) => Ok(()),
        Some(_) => Err(ignored().into()),
    }
}

/// Refusal of a version that the backend does not select.
pub(crate) fn ignored() -> S3Error {
    S3Error::new(
        ErrorCode::NotImplemented,
        "The storage behind this proxy does not select versions: asked for one, it answers with \
         another or with the current object.",
    )
}
