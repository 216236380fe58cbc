//! A call of the engine: requests to the backend, and the interpretation of its responses.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Response, StatusCode, header};
use http_body_util::BodyExt;
use s3proxy_protocol::header_rules;
use s3proxy_protocol::headers::{self, REQUEST_ID, REQUEST_ID_2};
use s3proxy_protocol::xml::error_document::ErrorDocument;

use super::{ObjectRef, Store};
use crate::backend::{self, PageOrigin, Request, Service};
use crate::body::budget::{BodyShare, BudgetExhausted, Holder};
use crate::config::resolved::Encryption;
use crate::failure::{BackendAnswer, Failure, Outcome, UNEXPLAINED};
use crate::keys::scope::StoredPlace;
use crate::record::RequestRecord;
use crate::rules::Storing;
use crate::telemetry::audit::Stored;

/// Longest error document that the proxy reads, in bytes.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// A backend's response, usually a success.
pub(crate) struct BackendResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: backend::Body,
}

/// On whose behalf the engine works.
pub(crate) struct CallContext {
    /// Owner of the memory that the work takes, for fair sharing.
    holder: Holder,
    /// Service in place of the configured backend.
    service: Option<Service>,
    /// The page that the client's request came from.
    page: Option<PageOrigin>,
    /// Record of the client's request; commands have none.
    record: Option<Arc<RequestRecord>>,
}

impl CallContext {
    /// Work for a client's request, noted in its record.
    pub(crate) fn of_request(
        holder: Holder,
        service: Option<Service>,
        page: Option<PageOrigin>,
        record: Arc<RequestRecord>,
    ) -> Self {
        Self {
            holder,
            service,
            page,
            record: Some(record),
        }
    }
}

/// The store, and on whose behalf it is used.
#[derive(Clone, Copy)]
pub(crate) struct StoreCall<'a> {
    pub(crate) store: &'a Arc<Store>,
    context: &'a Arc<CallContext>,
}

/// An owned [`StoreCall`].
pub(crate) struct OwnedCall {
    store: Arc<Store>,
    context: Arc<CallContext>,
}

impl OwnedCall {
    pub(crate) fn new(store: Arc<Store>, context: CallContext) -> Self {
        Self {
            store,
            context: Arc::new(context),
        }
    }

    /// A call for an operator's command, which reports its results itself.
    pub(crate) fn by_operator(store: &Arc<Store>) -> Self {
        let context = CallContext {
            holder: Holder::authenticated("operator"),
            service: None,
            page: None,
            record: None,
        };
        Self::new(Arc::clone(store), context)
    }

    pub(crate) fn call(&self) -> StoreCall<'_> {
        StoreCall {
            store: &self.store,
            context: &self.context,
        }
    }
}

impl<'a> StoreCall<'a> {
    /// Clones the call for work that outlives its caller.
    pub(crate) fn detached(self) -> OwnedCall {
        OwnedCall {
            store: Arc::clone(self.store),
            context: Arc::clone(self.context),
        }
    }

    /// Owner of the memory that the work takes, for fair sharing.
    pub(crate) fn holder(self) -> Holder {
        self.context.holder
    }

    /// Waits for a share of the memory budget for bodies.
    pub(crate) async fn share(self, bytes: usize) -> Result<BodyShare, BudgetExhausted> {
        self.store.budget.share(self.holder(), bytes).await
    }

    /// The AWS service that the client's `Host` names, if the host name selects the backend.
    pub(crate) fn service(self) -> Option<&'a Service> {
        self.context.service.as_ref()
    }

    /// Whether requests go to AWS.
    pub(crate) fn is_aws(self) -> bool {
        self.store.backend.is_aws(self.service())
    }

    /// Place of the object, according to the rules.
    pub(crate) fn place(self, object: ObjectRef<'a>) -> StoredPlace<'a> {
        let rules = &self.store.rules;
        rules.place(object.bucket.as_str(), object.key.as_str())
    }

    /// How the rules store a new object of this name.
    pub(crate) fn storing(self, object: ObjectRef<'_>) -> &'a Storing {
        self.store.storing(object)
    }

    /// Notes for the audit log the form and key of an object that is read.
    pub(crate) fn reads(self, stored: impl FnOnce() -> Stored) {
        if let Some(record) = &self.context.record {
            record.trail.reads(stored);
        }
    }

    /// Notes for the audit log the form and key of an object that is written.
    pub(crate) fn writes(self, stored: impl FnOnce() -> Stored) {
        if let Some(record) = &self.context.record {
            record.trail.writes(stored);
        }
    }

    /// Makes a request for an object, without headers.
    pub(crate) fn request(self, method: Method, object: ObjectRef<'_>) -> Request {
        self.addressed(object.request(method))
    }

    /// Addresses a request to the service that the call uses, and lets it name the client's page.
    pub(crate) fn addressed(self, mut request: Request) -> Request {
        request.service.clone_from(&self.context.service);
        request.page.clone_from(&self.context.page);
        request
    }

    /// Sends a request, and takes any response.
    pub(crate) async fn send(self, request: Request) -> Outcome<BackendResponse> {
        let response = self.store.backend.send(request).await?;
        Ok(self.receive(response))
    }

    /// Sends a request, and takes a success; any other response becomes a failure. The backend
    /// client lets only those success statuses pass that S3 has for the request.
    pub(crate) async fn expect_success(self, request: Request) -> Outcome<BackendResponse> {
        expect_success(self.send(request).await?).await
    }

    /// Sends a request, and takes a success that has an `ETag`, as S3 promises for writes.
    pub(crate) async fn expect_etag(self, request: Request) -> Outcome<BackendResponse> {
        expect_etag(self.send(request).await?).await
    }

    /// Takes any response, and notes the backend's own ids of the request.
    pub(crate) fn receive(self, response: Response<backend::Body>) -> BackendResponse {
        let (parts, body) = response.into_parts();
        if let Some(record) = &self.context.record {
            if let Some(id) = headers::text(&parts.headers, REQUEST_ID) {
                record.backend_request_id(id);
            }
            if let Some(id) = headers::text(&parts.headers, REQUEST_ID_2) {
                record.backend_id_2(id);
            }
        }
        BackendResponse {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }
}

impl Store {
    /// How the rules store a new object of this name.
    pub(crate) fn storing(&self, object: ObjectRef<'_>) -> &Storing {
        let rules = &self.rules;
        rules.storing(object.bucket.as_str(), object.key.as_str())
    }

    /// Whether a new object of this name is stored unencrypted.
    pub(crate) fn stores_plaintext(&self, object: ObjectRef<'_>) -> bool {
        match self.storing(object).encryption {
            Encryption::Off => true,
            Encryption::On | Encryption::Required => false,
        }
    }
}

/// Takes a success; any other response becomes a failure.
pub(crate) async fn expect_success(backed: BackendResponse) -> Outcome<BackendResponse> {
    if backed.status.is_success() {
        Ok(backed)
    } else {
        Err(failure_of(backed).await)
    }
}

/// Takes a success that has an `ETag`; another server may have sent one without.
pub(crate) async fn expect_etag(backed: BackendResponse) -> Outcome<BackendResponse> {
    let backed = expect_success(backed).await?;
    if backed.headers.contains_key(header::ETAG) {
        Ok(backed)
    } else {
        Err(Failure::Unusable("a success without an ETag"))
    }
}

/// Failure for a response other than a success.
pub(crate) async fn failure_of(backed: BackendResponse) -> Failure {
    let BackendResponse {
        status,
        headers,
        body,
    } = backed;
    // 304 is the only other status with which a backend refuses (a conditional read).
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error && status != StatusCode::NOT_MODIFIED {
        return Failure::Unusable("an unexpected status");
    }
    // An unreadable or oversized document must not hide the status, which is a definite result.
    let read = read_bounded(body, MAX_ERROR_BYTES).await.ok();
    let parsed = read.and_then(|bytes| ErrorDocument::parse(&bytes).ok());
    let document = parsed.unwrap_or_else(|| nameless(status));
    Failure::Answer(Box::new(BackendAnswer {
        status,
        headers,
        document,
    }))
}

/// Replaces an error document that the backend did not send: responses to HEAD have none.
fn nameless(status: StatusCode) -> ErrorDocument {
    let code = match status {
        StatusCode::NOT_MODIFIED => "NotModified",
        StatusCode::FORBIDDEN => "AccessDenied",
        StatusCode::NOT_FOUND => "NoSuchKey",
        StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllowed",
        StatusCode::PRECONDITION_FAILED => "PreconditionFailed",
        StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailable",
        _ if status.is_client_error() => "InvalidRequest",
        _ => "InternalError",
    };
    ErrorDocument {
        code: code.to_owned(),
        message: UNEXPLAINED.to_owned(),
        resource: None,
        request_id: None,
        details: Vec::new(),
    }
}

/// Reads a whole body of at most `limit` bytes.
pub(crate) async fn read_bounded(mut body: backend::Body, limit: usize) -> Outcome<Bytes> {
    let mut buffer = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            // Checked before the copy: Content-Length may be absent or wrong.
            if buffer.len() + data.len() > limit {
                return Err(Failure::Unusable("a document over the size limit"));
            }
            buffer.extend_from_slice(&data);
        }
    }
    Ok(buffer.freeze())
}

/// Backend headers that are passed to the client. Those about stored bytes are removed, as is the
/// length: the caller sets the plaintext length.
pub(crate) fn client_headers(headers: &HeaderMap) -> HeaderMap {
    let mut passed = headers.clone();
    header_rules::retain_client_response_headers(&mut passed);
    passed.remove(header::CONTENT_LENGTH);
    passed.remove(header::CONTENT_RANGE);
    passed
}
