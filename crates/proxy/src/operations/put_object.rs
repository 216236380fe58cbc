//! PutObject: sealed while it is received.
//!
//! A body up to the held limit is read and verified whole, so that its checksum can be stored even
//! when it came as a trailer, and so that a failed backend request can be repeated. A longer one
//! streams: a checksum in a header is stored in the envelope, which goes ahead of the body. One in a
//! trailer comes too late for that: it is verified, and returned in the response.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use http_body_util::BodyExt;
use s3proxy_envelope::dek::Dek;
use s3proxy_envelope::header::Layout;
use s3proxy_envelope::layout::{MAX_PUT_OBJECT, PlaintextLength};
use s3proxy_envelope::object::ObjectSealer;
use s3proxy_protocol::error::{ErrorCode, S3Error};

use crate::backend::{BodyStream, Request, RequestBody};
use crate::body::buffers::STREAM_BYTES;
use crate::body::inbound::Inbound;
use crate::body::outbound::ResponseBody;
use crate::body::verifying::VerifyingBody;
use crate::failure::{Failure, Outcome};
use crate::objects::call::{BackendResponse, client_headers};
use crate::objects::new_object::{
    self, Checksum, NewObject, SealingTarget, announce_encryption, insert_checksum,
    insert_envelope, refuse_reserved_metadata,
};
use crate::objects::sealed_stream::send_sealed;
use crate::objects::write::seal_held;
use crate::objects::{stored, write_plaintext};
use crate::operations::held_body::{self, HeldBody, HeldMemory};
use crate::operations::request_body::RawBody;
use crate::operations::{Job, payload};

/// Handles PutObject.
pub(crate) async fn put_object(job: &Job<'_>, body: RawBody) -> Outcome<Response<ResponseBody>> {
    let announced = payload::announced(job.request)?;
    check_configured_length(job, announced.length)?;
    check_length(announced.length)?;
    let outgoing = outgoing_headers(job)?;
    let upload = Upload {
        length: announced.length,
        checksum: announced.checksum(),
        inbound: announced.inbound(
            body,
            job.services.patience.clone(),
            Arc::clone(&job.record.received),
        ),
    };
    store(job, upload, outgoing).await
}

/// Content of an object that is being uploaded, by any operation.
pub(crate) struct Upload {
    pub(crate) inbound: Inbound,
    /// Plaintext length in bytes. Exact if the content streams; held content may turn out shorter.
    pub(crate) length: u64,
    /// Checksum that was announced before the content.
    pub(crate) checksum: Option<Checksum>,
}

/// Refuses an object larger than `limits.put_body`.
pub(crate) fn check_configured_length(job: &Job<'_>, length: u64) -> Result<(), S3Error> {
    match job.services.put_body_bytes {
        Some(limit) if length > limit.get() => Err(S3Error::new(
            ErrorCode::PutBodyTooLarge,
            format!(
                "Your proposed upload exceeds the maximum allowed object size: this proxy takes \
                 {limit} bytes in one request (limits.put_body, S3PROXY_PUTBODY_MAX); upload it in \
                 parts."
            ),
        )),
        Some(_) | None => Ok(()),
    }
}

/// Refuses a length that is too long for one object message.
pub(crate) fn check_length(length: u64) -> Result<(), S3Error> {
    if length <= MAX_PUT_OBJECT.0 {
        return Ok(());
    }
    Err(S3Error::new(
        ErrorCode::EntityTooLarge,
        format!(
            "Your proposed upload exceeds the maximum allowed object size: {} bytes in one \
             PutObject through this proxy.",
            MAX_PUT_OBJECT.0
        ),
    ))
}

/// Headers that the object is stored with, without the envelope.
pub(crate) fn outgoing_headers(job: &Job<'_>) -> Outcome<HeaderMap> {
    let outgoing = job.headers_for_backend()?;
    refuse_reserved_metadata(job.call.store, &outgoing)?;
    Ok(outgoing)
}

/// Seals and stores the content, held or as a stream, and makes the response to PutObject.
pub(crate) async fn store(
    job: &Job<'_>,
    upload: Upload,
    mut outgoing: HeaderMap,
) -> Outcome<Response<ResponseBody>> {
    if job.call.store.stores_plaintext(job.object()) {
        return store_plaintext(job, upload, outgoing).await;
    }
    if upload.length <= job.call.store.held_body_bytes {
        return put_held(job, upload, outgoing).await;
    }
    // First, so that no memory is held while the key service is asked.
    let target = SealingTarget::new(&job.call, job.object()).await?;
    let object = begin(job, &target, &mut outgoing, upload.checksum.as_ref());
    let length = PlaintextLength(upload.length);
    let sealer = ObjectSealer::new(&object.dek, length, job.call.store.pool.take());
    let envelope = object.envelope(Some(*sealer.head()));
    insert_envelope(job.call.store, &mut outgoing, &envelope)?;
    let put = |body| write_request(job, outgoing, body);
    let (backed, checksum) = send_sealed(&job.call, upload.inbound, sealer, None, put).await?;
    Ok(answer_to_write(job, &backed, checksum.as_ref()))
}

fn begin(
    job: &Job<'_>,
    target: &SealingTarget<'_>,
    outgoing: &mut HeaderMap,
    checksum: Option<&Checksum>,
) -> NewObject {
    let private = new_object::private_map(job.call.store, outgoing, checksum);
    NewObject::wrapped(&job.call, target, Layout::Single, &private, Dek::generate())
}

async fn put_held(
    job: &Job<'_>,
    upload: Upload,
    mut outgoing: HeaderMap,
) -> Outcome<Response<ResponseBody>> {
    let target = SealingTarget::new(&job.call, job.object()).await?;
    let HeldBody {
        bytes: plaintext,
        verified,
        share: _share,
    } = held_body::read(job, upload.inbound, upload.length, HeldMemory::SEALED).await?;
    check_configured_length(job, plaintext.len() as u64)?;
    let object = begin(job, &target, &mut outgoing, verified.checksum.as_ref());
    let (head, sealed) = seal_held(&object.dek, &plaintext);
    drop(plaintext);
    insert_envelope(job.call.store, &mut outgoing, &object.envelope(Some(head)))?;
    let request = write_request(job, outgoing, RequestBody::Held(sealed));
    let backed = job.call.expect_etag(request).await?;
    Ok(answer_to_write(job, &backed, verified.checksum.as_ref()))
}

/// Stores a client's content, and makes the response from the backend's.
async fn store_plaintext(
    job: &Job<'_>,
    mut upload: Upload,
    mut outgoing: HeaderMap,
) -> Outcome<Response<ResponseBody>> {
    let backed = if upload.length <= job.call.store.held_body_bytes {
        let held = held_body::read(job, upload.inbound, upload.length, HeldMemory::ONCE).await?;
        check_configured_length(job, held.bytes.len() as u64)?;
        let _share = held.share;
        if let Some((algorithm, value)) = held.verified.checksum {
            let value = value.to_base64().parse();
            let value = value.expect("base64 is a header value");
            outgoing.insert(algorithm.header_name(), value);
        }
        let body = RequestBody::Held(Bytes::from(held.bytes));
        write_plaintext::put(&job.call, job.object(), outgoing, body).await?
    } else {
        upload.inbound.begin().await?;
        let share = job.call.share(STREAM_BYTES).await?;
        let length = upload.length;
        let passing = VerifyingBody::new(upload.inbound, share);
        let fault = passing.fault();
        let body = BodyStream::new(passing.map_err(Into::into));
        let sent = write_plaintext::put(
            &job.call,
            job.object(),
            outgoing,
            RequestBody::Stream { length, body },
        )
        .await;
        // The client's fault comes first: the backend's failure is only its consequence.
        if let Some(fault) = fault.get() {
            return Err(Failure::Inbound(fault.clone()));
        }
        sent?
    };
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = backed.status;
    *response.headers_mut() = client_headers(&backed.headers);
    Ok(response)
}

fn write_request(job: &Job<'_>, headers: HeaderMap, body: RequestBody) -> Request {
    let mut request = job.request_for(Method::PUT);
    request.headers = headers;
    request.body = body;
    request
}

fn answer_to_write(
    job: &Job<'_>,
    backed: &BackendResponse,
    checksum: Option<&Checksum>,
) -> Response<ResponseBody> {
    let mut headers = client_headers(&backed.headers);
    stored::map_etag(&mut headers);
    announce_encryption(&mut headers, job.call.store.policy.announce_encryption);
    if let Some((algorithm, value)) = checksum {
        insert_checksum(&mut headers, *algorithm, value);
    }
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = backed.status;
    *response.headers_mut() = headers;
    response
}
