//! Stores objects unencrypted if a rule says so (`encryption = "off"`).
//!
//! Bodies are still verified against the client's checksums and signature, and the backend cannot
//! take one for complete before. The checksum of held content is sent to the backend. A stream may
//! carry one that the backend client adds, and S3 accepts no second one. A copy of a sealed object
//! is opened on its way. Content that is too long for one PutObject is refused, and has to be
//! uploaded in parts.

use std::sync::{Arc, Mutex};

use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use s3proxy_envelope::layout::{MAX_PUT_OBJECT, PlaintextLength};
use s3proxy_protocol::error::{ErrorCode, S3Error};

use crate::backend::{BodyStream, Request, RequestBody};
use crate::failure::{Failure, Outcome};
use crate::objects::call::BackendResponse;
use crate::objects::read::PlaintextBody;
use crate::objects::{ObjectRef, StoreCall};
use crate::telemetry::audit::Stored;

/// Error of the request body; the cause is reported separately.
#[derive(Debug, thiserror::Error)]
#[error("the source of the copy failed")]
struct SourceFailed;

/// Stores the content of another object.
pub(crate) async fn store_content(
    call: &StoreCall<'_>,
    object: ObjectRef<'_>,
    content: PlaintextBody,
    length: PlaintextLength,
    outgoing: HeaderMap,
) -> Outcome<BackendResponse> {
    if length > MAX_PUT_OBJECT {
        return Err(Failure::Refused(S3Error::new(
            ErrorCode::InvalidRequest,
            format!(
                "A rule stores this object as it comes, which one copy does for up to {} bytes; \
                 upload it in parts.",
                MAX_PUT_OBJECT.0
            ),
        )));
    }
    let fault = Arc::new(Mutex::new(None));
    let left = Arc::clone(&fault);
    let content = content.map_err(move |error| {
        *left.lock().expect("nobody panics with it") = Some(error);
        SourceFailed.into()
    });
    let body = RequestBody::Stream {
        length: length.0,
        body: BodyStream::new(content),
    };
    let sent = put(call, object, outgoing, body).await;
    // A fault of the source comes first: the backend's failure is only its consequence.
    let failed = fault.lock().expect("nobody panics with it").take();
    match failed {
        Some(error) => Err(error.into()),
        None => sent,
    }
}

/// Stores plaintext as it comes.
pub(crate) async fn put(
    call: &StoreCall<'_>,
    object: ObjectRef<'_>,
    headers: HeaderMap,
    body: RequestBody,
) -> Outcome<BackendResponse> {
    call.writes(Stored::plaintext);
    let request = Request {
        headers,
        body,
        ..call.request(Method::PUT, object)
    };
    call.expect_etag(request).await
}
