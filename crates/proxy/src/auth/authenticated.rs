//! Requests whose sender is known.

use http::{HeaderMap, Method};
use s3proxy_protocol::address::Address;
use s3proxy_protocol::copy_source::CopySource;
use s3proxy_protocol::error::S3Error;
use s3proxy_protocol::name::{BucketName, ObjectKey};
use s3proxy_protocol::operation::{Kind, Operation};
use s3proxy_protocol::query::Query;
use s3proxy_protocol::sigv4::PayloadMode;

use super::Identity;

/// A request whose sender is known.
pub(crate) struct Authenticated {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) query: Query,
    pub(crate) address: Address,
    pub(crate) operation: Operation,
    pub(crate) identity: Identity,
    pub(crate) payload: PayloadMode,
    /// Source of a copy; set for CopyObject and UploadPartCopy only.
    pub(crate) copy_source: Option<CopySource>,
    /// Keeps every module but this one from making a request by hand.
    _admitted: (),
}

/// The head of a request, unambiguous and of a known operation.
pub(super) struct ClassifiedHead {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) query: Query,
    pub(super) address: Address,
    pub(super) operation: Operation,
}

impl Authenticated {
    /// The only constructor, for the gate: `identity` was verified to have sent the request. Fails
    /// if the source of a copy cannot be read.
    pub(super) fn new(
        head: ClassifiedHead,
        identity: Identity,
        payload: PayloadMode,
    ) -> Result<Self, S3Error> {
        let copy_source = match head.operation.kind() {
            Kind::CopyObject | Kind::UploadPartCopy => {
                Some(CopySource::from_headers(&head.headers)?)
            }
            _ => None,
        };
        Ok(Self {
            method: head.method,
            headers: head.headers,
            query: head.query,
            address: head.address,
            operation: head.operation,
            identity,
            payload,
            copy_source,
            _admitted: (),
        })
    }

    pub(crate) fn bucket(&self) -> Option<&str> {
        self.address.bucket.as_ref().map(BucketName::as_str)
    }

    pub(crate) fn object_key(&self) -> Option<&str> {
        self.address.key.as_ref().map(ObjectKey::as_str)
    }
}
