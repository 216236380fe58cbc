//! Stores objects unencrypted if a rule says so (`encryption = "off"`).
//!
//! Bodies are still verified against the client's checksums and signature, and the backend cannot
//! take one for complete before. The checksum of held content is sent to the backend. A stream may
//! carry one that the backend client adds, and S3 accepts no second one. A copy of a sealed object
//! is opened on its way. Content that is too long for one PutObject is refused, and has to be
//! uploaded in parts.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use http_body_util::BodyExt;
use s3proxy_envelope::layout::{MAX_PUT_OBJECT, PlaintextLength};
use s3proxy_protocol::error::{ErrorCode, S3Error};

use super::answer::Backed;
use super::held::{self, HeldMemory};
use super::new_object::Place;
use super::put_object::{Upload, check_configured_length, expect_result};
use super::source::PlaintextBody;
use super::{Job, Outcome, answer};
use crate::backend::{BodyStream, Request, RequestBody};
use crate::body::buffers::STREAM_BYTES;
use crate::body::outbound::ResponseBody;
use crate::body::verifying::VerifyingBody;
use crate::config::resolved::Encryption;
use crate::respond::Failure;
use crate::telemetry::audit::Stored;

/// Error of the request body; the cause is reported separately.
#[derive(Debug, thiserror::Error)]
#[error("the source of the copy failed")]
struct SourceFailed;

/// Whether the object that the request names is stored unencrypted.
pub(crate) fn is_asked_for(job: &Job<'_>) -> bool {
    let Place { bucket, object_key } = Place::of(job);
    match job.parts.rules.storing(bucket, object_key).encryption {
        Encryption::Off => true,
        Encryption::On | Encryption::Required => false,
    }
}

/// Stores a client's content, and makes the response from the backend's.
pub(crate) async fn store(
    job: &Job<'_>,
    mut upload: Upload,
    mut outgoing: HeaderMap,
) -> Outcome<Response<ResponseBody>> {
    let backed = if upload.length <= job.parts.held_body_bytes {
        let held = held::read(job, upload.inbound, upload.length, HeldMemory::ONCE).await?;
        check_configured_length(job, held.bytes.len() as u64)?;
        let _share = held.share;
        if let Some((algorithm, value)) = held.verified.checksum {
            let value = value.to_base64().parse();
            let value = value.expect("base64 is a header value");
            outgoing.insert(algorithm.header_name(), value);
        }
        let body = RequestBody::Held(Bytes::from(held.bytes));
        put(job, outgoing, body).await?
    } else {
        upload.inbound.begin().await?;
        let share = job.share(STREAM_BYTES).await?;
        let length = upload.length;
        let passing = VerifyingBody::new(upload.inbound, share);
        let fault = passing.fault();
        let body = BodyStream::new(passing.map_err(Into::into));
        let sent = put(job, outgoing, RequestBody::Stream { length, body }).await;
        // The client's fault comes first: the backend's failure is only its consequence.
        if let Some(fault) = fault.get() {
            return Err(Failure::Inbound(fault.clone()));
        }
        sent?
    };
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = backed.status;
    *response.headers_mut() = answer::client_headers(&backed.headers);
    Ok(response)
}

/// Stores the content of another object.
pub(super) async fn store_content(
    job: &Job<'_>,
    content: PlaintextBody,
    length: PlaintextLength,
    outgoing: HeaderMap,
) -> Outcome<Backed> {
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
    let sent = put(job, outgoing, body).await;
    // A fault of the source comes first: the backend's failure is only its consequence.
    let failed = fault.lock().expect("nobody panics with it").take();
    match failed {
        Some(error) => Err(error.into()),
        None => sent,
    }
}

async fn put(job: &Job<'_>, headers: HeaderMap, body: RequestBody) -> Outcome<Backed> {
    job.record.trail.writes(Stored::plaintext);
    let request = Request {
        headers,
        body,
        ..answer::request_for(job, Method::PUT)
    };
    expect_result(job, job.parts.backend.send(request).await?).await
}
