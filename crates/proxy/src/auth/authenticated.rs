//! Requests whose sender is known.

use http::{HeaderMap, Method};
use s3proxy_protocol::address::Address;
use s3proxy_protocol::error::S3Error;
use s3proxy_protocol::name::{BucketName, ObjectKey};
use s3proxy_protocol::operation::Operation;
use s3proxy_protocol::query::Query;
use s3proxy_protocol::sigv4::PayloadMode;

use super::Identity;
use crate::s3_request::{ParsedRequest, UnparsedRequest};

/// A request whose sender is known. Its parameters are parsed after the sender's grants were
/// checked: see [`crate::s3_request`].
pub(crate) struct Authenticated<P = ParsedRequest> {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) address: Address,
    pub(crate) operation: Operation,
    pub(crate) identity: Identity,
    pub(crate) payload: PayloadMode,
    pub(crate) parameters: P,
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

impl Authenticated<UnparsedRequest> {
    /// The only constructor, for the gate: `identity` was verified to have sent the request. Fails
    /// if the source of a copy cannot be read.
    pub(super) fn new(
        head: ClassifiedHead,
        identity: Identity,
        payload: PayloadMode,
    ) -> Result<Self, S3Error> {
        let parameters = UnparsedRequest::new(head.operation, head.query, &head.headers)?;
        Ok(Self {
            method: head.method,
            headers: head.headers,
            address: head.address,
            operation: head.operation,
            identity,
            payload,
            parameters,
            _admitted: (),
        })
    }

    /// Parses the parameters. Fails with the error of S3 for a malformed one.
    pub(crate) fn parse(self) -> Result<Authenticated, S3Error> {
        let parameters = self.parameters.parse(&self.headers)?;
        Ok(Authenticated {
            method: self.method,
            headers: self.headers,
            address: self.address,
            operation: self.operation,
            identity: self.identity,
            payload: self.payload,
            parameters,
            _admitted: (),
        })
    }
}

impl<P> Authenticated<P> {
    pub(crate) fn bucket(&self) -> Option<&str> {
        self.address.bucket.as_ref().map(BucketName::as_str)
    }

    pub(crate) fn object_key(&self) -> Option<&str> {
        self.address.key.as_ref().map(ObjectKey::as_str)
    }
}
