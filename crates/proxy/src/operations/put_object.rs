//! PutObject: sealed while it is received.
//!
//! A body up to the held limit is read and verified whole, so that its checksum can be stored even
//! when it came as a trailer, and so that a failed backend request can be repeated. A longer one
//! streams: a checksum in a header is stored in the envelope, which goes ahead of the body. One in a
//! trailer comes too late for that: it is verified, and the answer has it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, header};
use s3proxy_envelope::dek::Dek;
use s3proxy_envelope::header::Layout;
use s3proxy_envelope::layout::{MAX_PUT_OBJECT, PlaintextLength, StoredLength, stored_length};
use s3proxy_envelope::message::MessageHead;
use s3proxy_envelope::object::ObjectSealer;
use s3proxy_protocol::error::{ErrorCode, S3Error};

use super::answer::{self, Backed};
use super::held::{self, HeldBody, HeldMemory};
use super::new_object::{
    self, Checksum, NewObject, ObjectKey, Place, announce_encryption, insert_checksum,
    insert_envelope, refuse_reserved_metadata,
};
use super::sealed_stream::send_sealed;
use super::{Job, Outcome, RawBody, payload, stored, unsealed};
use crate::backend::{self, Request, RequestBody};
use crate::body::buffers::PIECE_BYTES;
use crate::body::inbound::Inbound;
use crate::body::outbound::ResponseBody;
use crate::respond::Failure;

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
            job.parts.patience.clone(),
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
    match job.parts.put_body_bytes {
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
    let outgoing = answer::headers_for_backend(job)?;
    refuse_reserved_metadata(job.parts, &outgoing)?;
    Ok(outgoing)
}

/// Seals and stores the content, held or as a stream, and makes the response to PutObject.
pub(crate) async fn store(
    job: &Job<'_>,
    upload: Upload,
    mut outgoing: HeaderMap,
) -> Outcome<Response<ResponseBody>> {
    if unsealed::is_asked_for(job) {
        return unsealed::store(job, upload, outgoing).await;
    }
    if upload.length <= job.parts.held_body_bytes {
        return put_held(job, upload, outgoing).await;
    }
    // First, so that no memory is held while the key service is asked.
    let key = ObjectKey::of(job, Place::of(job)).await?;
    let object = begin(job, &key, &mut outgoing, upload.checksum.as_ref());
    let length = PlaintextLength(upload.length);
    let sealer = ObjectSealer::new(&object.dek, length, job.parts.pool.take());
    let envelope = object.envelope(Some(*sealer.head()));
    insert_envelope(job.parts, &mut outgoing, &envelope)?;
    let put = |body| write_request(job, outgoing, body);
    let (backed, checksum) = send_sealed(job, upload.inbound, sealer, None, put).await?;
    Ok(answer_to_write(job, &backed, checksum.as_ref()))
}

fn begin(
    job: &Job<'_>,
    key: &ObjectKey<'_>,
    outgoing: &mut HeaderMap,
    checksum: Option<&Checksum>,
) -> NewObject {
    let private = new_object::private_map(job.parts, outgoing, checksum);
    NewObject::wrapped(job, key, Layout::Single, &private, Dek::generate())
}

async fn put_held(
    job: &Job<'_>,
    upload: Upload,
    mut outgoing: HeaderMap,
) -> Outcome<Response<ResponseBody>> {
    let key = ObjectKey::of(job, Place::of(job)).await?;
    let HeldBody {
        bytes: plaintext,
        verified,
        share: _share,
    } = held::read(job, upload.inbound, upload.length, HeldMemory::SEALED).await?;
    check_configured_length(job, plaintext.len() as u64)?;
    let object = begin(job, &key, &mut outgoing, verified.checksum.as_ref());
    let (head, sealed) = seal_held(&object.dek, &plaintext);
    drop(plaintext);
    insert_envelope(job.parts, &mut outgoing, &object.envelope(Some(head)))?;
    let request = write_request(job, outgoing, RequestBody::Held(sealed));
    let backed = expect_result(job, job.parts.backend.send(request).await?).await?;
    Ok(answer_to_write(job, &backed, verified.checksum.as_ref()))
}

/// Stored form of a small object, in one piece.
pub(crate) fn seal_held(dek: &Dek, plaintext: &[u8]) -> (MessageHead, Bytes) {
    let length = PlaintextLength(plaintext.len() as u64);
    let start = |buffer| ObjectSealer::new(dek, length, buffer);
    seal_whole(start, stored_length(length), plaintext)
}

/// Seals a whole plaintext into one piece of `total` bytes.
pub(crate) fn seal_whole(
    start: impl FnOnce(Vec<u8>) -> ObjectSealer,
    total: StoredLength,
    plaintext: &[u8],
) -> (MessageHead, Bytes) {
    let capacity = usize::try_from(total.0).expect("a held body fits memory") + PIECE_BYTES;
    let mut sealer = start(Vec::with_capacity(capacity));
    let head = *sealer.head();
    // The buffer has room for all of it, so nothing has to be taken out before the end.
    let consumed = sealer
        .push(plaintext)
        .expect("the length is the plaintext's");
    assert_eq!(
        consumed,
        plaintext.len(),
        "the buffer has room for all of it"
    );
    let mut tail = sealer.finish().expect("the length is the plaintext's");
    let mut stored = tail.take(Vec::new).unwrap_or_default();
    while let Some(piece) = tail.take(|| Vec::with_capacity(PIECE_BYTES)) {
        stored.extend_from_slice(&piece);
    }
    (head, Bytes::from(stored))
}

/// Takes a success that has an `ETag`, as S3 promises; another server may have sent one without.
pub(crate) async fn expect_result(
    job: &Job<'_>,
    response: Response<backend::Body>,
) -> Outcome<Backed> {
    let backed = answer::expect_success(job, response).await?;
    if backed.headers.contains_key(header::ETAG) {
        Ok(backed)
    } else {
        Err(Failure::Unusable("a success without an ETag"))
    }
}

fn write_request(job: &Job<'_>, headers: HeaderMap, body: RequestBody) -> Request {
    let mut request = answer::request_for(job, Method::PUT);
    request.headers = headers;
    request.body = body;
    request
}

fn answer_to_write(
    job: &Job<'_>,
    backed: &Backed,
    checksum: Option<&Checksum>,
) -> Response<ResponseBody> {
    let mut headers = answer::client_headers(&backed.headers);
    stored::map_etag(&mut headers);
    announce_encryption(&mut headers, job.parts.policy.announce_encryption);
    if let Some((algorithm, value)) = checksum {
        insert_checksum(&mut headers, *algorithm, value);
    }
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = backed.status;
    *response.headers_mut() = headers;
    response
}

#[cfg(test)]
mod tests {
    use s3proxy_envelope::object::ObjectOpener;

    use super::*;

    #[test]
    fn a_held_body_of_any_length_opens_again() {
        let dek = Dek::generate();
        for length in [
            0,
            1,
            16_383,
            16_384,
            16_385,
            65_536,
            1 << 20,
            5 << 20,
            6 << 20,
        ] {
            let plaintext: Vec<u8> = (0..=250_u8).cycle().take(length).collect();
            let (head, stored) = seal_held(&dek, &plaintext);
            let total = StoredLength(stored.len() as u64);
            assert_eq!(
                total,
                stored_length(PlaintextLength(plaintext.len() as u64))
            );
            let mut opener = ObjectOpener::whole(&dek, &head, total).unwrap();
            let mut result = Vec::with_capacity(plaintext.len() + 16_384);
            assert_eq!(opener.push(&stored, &mut result).unwrap(), stored.len());
            opener.finish().unwrap();
            assert_eq!(result, plaintext);
        }
    }
}
