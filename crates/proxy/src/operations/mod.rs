//! Operations of S3: one file for each, named after it.
//!
//! A handler reads the request, calls the engine ([`crate::objects`], [`crate::upload_state`]), and
//! makes the response. Operations that carry no object data are forwarded ([`forward`]).

mod abort_multipart_upload;
mod complete_multipart_upload;
mod copy_object;
mod copy_source;
mod cors_preflight;
pub(crate) mod cors_rules;
mod create_multipart_upload;
mod delete_bucket;
mod delete_object;
mod delete_objects;
mod dispatch;
mod forward;
mod get_object;
mod get_object_attributes;
mod head_object;
mod held_body;
mod idempotent_complete;
mod list_buckets;
mod list_multipart_uploads;
mod list_objects;
mod list_parts;
pub(crate) mod listed_objects;
mod listing_page;
pub(crate) mod long_running;
mod missing_keys;
mod payload;
mod plaintext_response;
mod plaintext_upload;
mod post_object;
mod put_object;
pub(crate) mod request_body;
mod restore_object;
mod services;
mod state_key_filter;
pub(crate) mod sub_resource_support;
mod upload_part;
mod upload_part_copy;
mod upload_steps;
pub(crate) mod version_support;

use std::sync::Arc;

use http::{HeaderMap, Method};
use s3proxy_protocol::address::Address;
use s3proxy_protocol::ids::VersionId;
use s3proxy_protocol::name::BucketName;
use s3proxy_protocol::{conditional, header_rules};

use crate::auth::Authenticated;
use crate::backend::{Endpoint, PageOrigin, Request, Scheme, ServiceAddress};
use crate::body::budget::MemoryHolder;
use crate::failure::Outcome;
use crate::objects::read::Source;
use crate::objects::{CallContext, ObjectRef, OwnedCall, StoreCall};
use crate::record::RequestRecord;
use crate::s3_request::Parameters;
use crate::throttle::network;
use crate::upload_state::UploadCall;

pub(crate) use self::dispatch::carry_out;
pub(crate) use self::services::Services;

/// One request in progress, with the services that handle it.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    pub(crate) services: &'a Arc<Services>,
    pub(crate) request: &'a Arc<Authenticated>,
    pub(crate) record: &'a Arc<RequestRecord>,
    /// The engine, on behalf of this request.
    pub(crate) call: StoreCall<'a>,
}

/// An owned [`Job`].
pub(crate) struct OwnedJob {
    services: Arc<Services>,
    request: Arc<Authenticated>,
    record: Arc<RequestRecord>,
    call: OwnedCall,
}

impl OwnedJob {
    pub(crate) fn new(
        services: Arc<Services>,
        request: Arc<Authenticated>,
        record: Arc<RequestRecord>,
    ) -> Self {
        let page = PageOrigin::from_headers(&request.headers, &request.method, request.bucket());
        let context = CallContext::of_request(
            holder(&request, &record),
            service_at(&request.address),
            page,
            Arc::clone(&record),
        );
        Self {
            call: OwnedCall::new(Arc::clone(&services.store), context),
            services,
            request,
            record,
        }
    }

    pub(crate) fn job(&self) -> Job<'_> {
        Job {
            services: &self.services,
            request: &self.request,
            record: &self.record,
            call: self.call.call(),
        }
    }
}

/// Owner of the request's memory, for fair sharing: a listed client, or the peer's network.
fn holder(request: &Authenticated, record: &RequestRecord) -> MemoryHolder {
    let identity = &request.identity;
    if identity.is_listed() {
        MemoryHolder::authenticated(identity.name.as_str())
    } else if identity.is_anonymous() {
        MemoryHolder::unauthenticated(network(record.peer))
    } else {
        // `auth = none`: all clients are admitted, and only their networks distinguish them.
        MemoryHolder::authenticated(network(record.peer))
    }
}

/// The AWS service that an address names, if the host name selects the backend.
fn service_at(address: &Address) -> Option<ServiceAddress> {
    let named = address.aws_endpoint.as_ref()?;
    Some(ServiceAddress {
        endpoint: Endpoint {
            scheme: Scheme::Https,
            host: named.host(),
            port: None,
        },
        region: named.region().to_owned(),
    })
}

impl<'a> Job<'a> {
    /// Clones the job for work that outlives the request's handler.
    pub(crate) fn detached(self) -> OwnedJob {
        OwnedJob {
            services: Arc::clone(self.services),
            request: Arc::clone(self.request),
            record: Arc::clone(self.record),
            call: self.call.detached(),
        }
    }

    /// The engine for uploads, on behalf of this request.
    pub(crate) fn uploads(self) -> UploadCall<'a> {
        UploadCall {
            call: self.call,
            caches: &self.services.uploads,
        }
    }

    /// Bucket that the request names.
    pub(crate) fn bucket(self) -> &'a BucketName {
        let bucket = self.request.address.bucket.as_ref();
        bucket.expect("an operation on a bucket or an object has a bucket")
    }

    /// Current version of the object that the request names.
    pub(crate) fn object(self) -> ObjectRef<'a> {
        let key = self.request.address.key.as_ref();
        ObjectRef {
            bucket: self.bucket(),
            key: key.expect("an operation on an object has a key"),
            version: None,
        }
    }

    /// The object that the request names, in this version and under the client's conditions.
    pub(crate) fn source(self, version: Option<&'a VersionId>) -> Outcome<Source<'a>> {
        Ok(Source {
            object: self.object().at(version.map(VersionId::as_str)),
            headers: self.headers_for_backend()?,
        })
    }

    /// A backend request for the client's bucket and key, without query or headers.
    pub(crate) fn request_for(self, method: Method) -> Request {
        let (bucket, key) = (self.request.bucket(), self.request.object_key());
        self.call.addressed(Request::new(method, bucket, key))
    }

    /// The operation's own parameters, as the client sent them.
    pub(crate) fn query_for_backend(self) -> Parameters {
        self.request.parameters.forwarded.clone()
    }

    /// The client's headers that go along.
    pub(crate) fn headers_for_backend(self) -> Outcome<HeaderMap> {
        let request = self.request;
        let mut headers =
            header_rules::backend_request_headers(request.operation, &request.headers);
        conditional::map_to_backend(&mut headers)?;
        Ok(headers)
    }
}
