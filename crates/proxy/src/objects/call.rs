//! Requests to the backend, and the interpretation of its responses.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Response, StatusCode, header};
use http_body_util::BodyExt;
use s3proxy_protocol::address::Address;
use s3proxy_protocol::conditional;
use s3proxy_protocol::header_rules;
use s3proxy_protocol::operation::{self, Operation};
use s3proxy_protocol::xml::error_document::ErrorDocument;

use super::{Job, Outcome};
use crate::backend::{self, Endpoint, PageOrigin, Request, Scheme, Service};
use crate::config::resolved::Access;
use crate::plan;
use crate::respond::{BackendAnswer, Failure, UNEXPLAINED};

/// Longest error document that the proxy reads, in bytes.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// A backend's response, usually a success.
pub(crate) struct Backed {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: backend::Body,
}

/// A backend request for the client's bucket and key, without query or headers.
pub(crate) fn request_for(job: &Job<'_>, method: Method) -> Request {
    let mut request = Request::new(method, job.request.bucket(), job.request.object_key());
    request.service = service_of(job);
    request.page = PageOrigin::of(
        &job.request.headers,
        &job.request.method,
        job.request.bucket(),
    );
    request
}

/// The AWS service that the client's `Host` names, if the host name selects the backend.
pub(crate) fn service_of(job: &Job<'_>) -> Option<Service> {
    service_at(&job.request.address)
}

/// The same, of an address.
pub(crate) fn service_at(address: &Address) -> Option<Service> {
    let named = address.aws_endpoint.as_ref()?;
    Some(Service {
        endpoint: Endpoint {
            scheme: Scheme::Https,
            host: named.host(),
            port: None,
        },
        region: named.region().to_owned(),
    })
}

/// The operation's own parameters in the client's query.
pub(crate) fn query_for_backend(job: &Job<'_>) -> Vec<(String, Option<String>)> {
    operation::forwarded_parameters(job.request.operation, &job.request.query)
        .map(|(name, value)| {
            // Sub-resources such as `?acl` have no value, and are sent as a bare name.
            let value = (!value.is_empty()).then(|| value.to_owned());
            (name.to_owned(), value)
        })
        .collect()
}

/// The client's headers that go along.
pub(crate) fn headers_for_backend(job: &Job<'_>) -> Outcome<HeaderMap> {
    let request = job.request;
    let mut headers = header_rules::backend_request_headers(request.operation, &request.headers);
    conditional::map_to_backend(&mut headers)?;
    Ok(headers)
}

/// Takes a success; any other response becomes the failure that the client receives. The backend
/// client lets only those success statuses pass that S3 has for the request.
pub(crate) async fn expect_success(
    job: &Job<'_>,
    response: Response<backend::Body>,
) -> Outcome<Backed> {
    let backed = receive(job, response);
    if backed.status.is_success() {
        Ok(backed)
    } else {
        Err(refused(job, backed).await)
    }
}

/// Takes any answer, and notes the backend's own ids of the request.
pub(crate) fn receive(job: &Job<'_>, response: Response<backend::Body>) -> Backed {
    let (parts, body) = response.into_parts();
    let text = |name| parts.headers.get(name).and_then(|id| id.to_str().ok());
    if let Some(id) = text("x-amz-request-id") {
        job.record.backend_request_id(id);
    }
    if let Some(id) = text("x-amz-id-2") {
        job.record.backend_id_2(id);
    }
    Backed {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}

/// Failure for a response other than a success. A missing key becomes `AccessDenied` if the client
/// may not learn that it is missing.
pub(crate) async fn refused(job: &Job<'_>, backed: Backed) -> Failure {
    let failure = failure_of(backed).await;
    if let Failure::Answer(answer) = &failure
        && answer.status == StatusCode::NOT_FOUND
        && hides_missing_keys(job, &answer.document.code)
    {
        return Failure::Refused(plan::access_denied(job.request.operation));
    }
    failure
}

/// Failure for a response other than a success, regardless of the client's permissions.
pub(crate) async fn failure_of(backed: Backed) -> Failure {
    let Backed {
        status,
        headers,
        body,
    } = backed;
    // 304 is the only other status with which a backend refuses (a conditional read).
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error && status != StatusCode::NOT_MODIFIED {
        return Failure::Unusable("a status that is neither an error's nor what was asked for");
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

/// A client that may read but not list must not learn which keys exist (S3 API Reference,
/// `GetObject`), nor by reading sub-resources. A missing sub-resource is not a missing key.
fn hides_missing_keys(job: &Job<'_>, code: &str) -> bool {
    let request = job.request;
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

/// Reads a whole body of at most `limit` bytes.
pub(crate) async fn read_bounded(mut body: backend::Body, limit: usize) -> Outcome<Bytes> {
    let mut buffer = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            // Checked before the copy: Content-Length may be absent or wrong.
            if buffer.len() + data.len() > limit {
                return Err(Failure::Unusable("a document that is far too long"));
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
