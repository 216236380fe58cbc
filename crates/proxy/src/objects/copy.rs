//! Copies of stored objects: the data key is rewrapped, or the content is sealed on its way.
//!
//! The content of a sealed source stays at the backend, which copies the body; the new object's
//! envelope has the same data key, wrapped for the new place ([`sealed`]). A source that is plain,
//! or in a legacy format, is read and sealed ([`streamed`]). Every request is pinned to the state
//! in which the source was found, which keeps envelope and body consistent.
//!
//! The backend always gets the metadata directive REPLACE, since the envelope is new: headers that
//! COPY keeps are sent explicitly ([`copy_directives`](super::copy_directives)). Not implemented:
//! reading content to compute a checksum that the source does not have.

pub(super) mod sealed;
mod streamed;

use http::HeaderMap;
use s3proxy_protocol::checksum::ChecksumAlgorithm;
use s3proxy_protocol::copy_source::CopySource;
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::headers::{self, CHECKSUM_ALGORITHM};

use super::copy_directives::Directives;
use super::read::{Found, Source};
use super::stored::Form;
use super::write::Copied;
use super::{ObjectRef, StoreCall};
use crate::failure::Outcome;

/// A copy as it is requested: its target, and the headers of a CopyObject.
pub(crate) struct CopyOrder<'a> {
    pub(crate) target: ObjectRef<'a>,
    /// The source by the name that the request gives it.
    pub(crate) named: &'a CopySource,
    pub(crate) headers: &'a HeaderMap,
    directives: Directives,
}

impl<'a> CopyOrder<'a> {
    /// Reads the directives, and refuses a copy that would change nothing.
    pub(crate) fn new(
        target: ObjectRef<'a>,
        named: &'a CopySource,
        headers: &'a HeaderMap,
    ) -> Result<Self, S3Error> {
        Ok(Self {
            target,
            named,
            headers,
            directives: Directives::new(headers, named, target)?,
        })
    }
}

/// Copies the object that was found.
pub(crate) async fn copy(
    call: &StoreCall<'_>,
    order: &CopyOrder<'_>,
    source: &Source<'_>,
    found: &Found,
) -> Outcome<Copied> {
    if call.store.stores_plaintext(order.target) {
        // The rule for the target decides about the form of the copy, not the source's form.
        return streamed::copy_unsealed(call, order, source, found).await;
    }
    match &found.form {
        Form::Sealed(envelope) => sealed::copy(call, order, source, found, envelope).await,
        Form::Legacy(_) | Form::Plain => streamed::copy(call, order, source, found).await,
    }
}

/// Checksum algorithm that the client requests.
fn wanted_checksum(headers: &HeaderMap) -> Result<Option<ChecksumAlgorithm>, S3Error> {
    let Some(value) = headers.get(CHECKSUM_ALGORITHM) else {
        return Ok(None);
    };
    let algorithm = headers::value_text(value).and_then(ChecksumAlgorithm::from_name);
    algorithm.map(Some).ok_or_else(|| {
        S3Error::new(
            ErrorCode::InvalidRequest,
            format!(
                "Checksum algorithm provided is unsupported. Please try again with any of the \
                 valid types: [{}]",
                ChecksumAlgorithm::NAMES
            ),
        )
    })
}
