//! UploadPart: one part, verified, sealed and stored.
//!
//! A part up to the held limit is read whole, which allows retrying a failed backend request; a
//! longer one streams. A replica that has the upload cached sends one request to the backend,
//! others send one more for the state.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Response, header};
use s3proxy_envelope::layout::{MAX_PART, PlaintextLength};
use s3proxy_envelope::multipart::PartNumber;
use s3proxy_protocol::checksum::{ChecksumAlgorithm, Checksummer};
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::header_rules;
use s3proxy_protocol::headers::VERSION_ID;
use s3proxy_protocol::operation::Operation;

use crate::body::outbound::ResponseBody;
use crate::failure::Outcome;
use crate::objects::new_object::announce_encryption;
use crate::operations::Job;
use crate::operations::held_body::HeldMemory;
use crate::operations::payload::{self, Announced};
use crate::operations::request_body::RawBody;
use crate::s3_request::UploadPart;
use crate::upload_state::part::{NewPart, StoredPart, upload_part_held, upload_part_measured};
use crate::upload_state::state::{self, OpenUpload};

/// Handles UploadPart.
pub(crate) async fn upload_part(
    job: &Job<'_>,
    requested: &UploadPart,
    body: RawBody,
) -> Outcome<Response<ResponseBody>> {
    let announced = payload::announced(job.request)?;
    if announced.length > MAX_PART.0 {
        return Err(S3Error::new(
            ErrorCode::EntityTooLarge,
            format!(
                "Your proposed upload exceeds the maximum allowed object size: {} bytes in one \
                 part through this proxy.",
                MAX_PART.0
            ),
        )
        .into());
    }
    let id = requested.upload_id.as_str();
    let upload = state::load_for_writing(&job.uploads(), job.object(), id).await?;
    let sent = sent_algorithm(&announced);
    judge(&upload, job, sent)?;
    let part = new_part(job, &upload, requested.number);
    let stored = if announced.length <= job.call.store.held_body_bytes {
        store_held(job, part, body).await?
    } else {
        let length = PlaintextLength(announced.length);
        let received = Arc::clone(&job.record.received);
        let inbound = announced.inbound(body, job.services.patience.clone(), received);
        // A checksum that the client sends is verified on the way, and need not be computed twice.
        let measured = match sent {
            Some(_) => None,
            None => upload.checksum.map(|checksum| checksum.algorithm),
        };
        upload_part_measured(&job.uploads(), part, length, inbound, measured).await?
    };
    Ok(respond(job, stored))
}

/// Algorithm of the checksum that the client sends with the part.
fn sent_algorithm(announced: &Announced) -> Option<ChecksumAlgorithm> {
    let expectation = &announced.expectation;
    let known = expectation.known_checksum().map(|(algorithm, _)| algorithm);
    known.or_else(|| expectation.trailer_algorithm())
}

fn judge(
    upload: &OpenUpload,
    job: &Job<'_>,
    sent: Option<ChecksumAlgorithm>,
) -> Result<(), S3Error> {
    upload.refuse_other_customer_key(&job.request.headers)?;
    match upload.checksum {
        Some(checksum) => checksum.takes(sent),
        None => Ok(()),
    }
}

async fn store_held(job: &Job<'_>, part: NewPart<'_>, body: RawBody) -> Outcome<StoredPart> {
    let limit = job.call.store.held_body_bytes;
    let held = payload::read_held(job, body, limit, HeldMemory::SEALED).await?;
    let (plaintext, _share) = (held.bytes, held.share);
    // Computed only if the client sent none: it was verified already otherwise.
    let checksum = held.verified.checksum.or_else(|| {
        let algorithm = part.upload.checksum?.algorithm;
        let mut checksummer = Checksummer::new(algorithm);
        checksummer.update(&plaintext);
        Some((algorithm, checksummer.finish()))
    });
    upload_part_held(&job.uploads(), part, plaintext, checksum).await
}

/// The part that the request stores, with the client's headers for it.
pub(crate) fn new_part<'a>(
    job: &Job<'_>,
    upload: &'a OpenUpload,
    number: PartNumber,
) -> NewPart<'a> {
    NewPart {
        upload,
        number,
        headers: header_rules::backend_request_headers(Operation::UploadPart, &job.request.headers),
    }
}

fn respond(job: &Job<'_>, stored: StoredPart) -> Response<ResponseBody> {
    let mut headers: HeaderMap = stored.headers;
    // To the backend a staged part is an object, with a version; to the client it is a part.
    headers.remove(VERSION_ID);
    let etag = format!("\"{}\"", stored.etag.encode());
    let etag = HeaderValue::try_from(etag).expect("an ETag from a header, and hexadecimal digits");
    headers.insert(header::ETAG, etag);
    announce_encryption(&mut headers, job.call.store.policy.announce_encryption);
    if let Some((algorithm, value)) = &stored.checksum {
        let value = HeaderValue::try_from(value.to_base64()).expect("base64 is a header value");
        headers.insert(algorithm.header_name(), value);
    }
    let mut response = Response::new(ResponseBody::empty());
    *response.headers_mut() = headers;
    response
}
