//! The payload of a request: its announced length, framing, checksum and signature.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use http::{HeaderMap, header};
use s3proxy_protocol::chunked::ChunkDecoder;
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::payload::{PayloadError, PayloadExpectation};

use crate::auth::Authenticated;
use crate::body::client_pace::PaceLimits;
use crate::body::inbound::{Framing, Inbound};
use crate::failure::{Failure, Outcome};
use crate::objects::new_object::Checksum;
use crate::objects::stored;
use crate::operations::Job;
use crate::operations::held_body::{self, HeldBody, HeldMemory};
use crate::operations::request_body::RawBody;

/// Announcement of a payload in the headers of its request.
pub(crate) struct Announced {
    pub(crate) expectation: PayloadExpectation,
    /// Length of the payload in bytes, without framing.
    pub(crate) length: u64,
}

/// Reads the announcement of the payload, before the body is read.
pub(crate) fn announced(request: &Authenticated) -> Result<Announced, S3Error> {
    let headers = &request.headers;
    with_length(PayloadExpectation::from_headers(headers, &request.payload))
}

/// Reads the announcement for a request whose checksum headers do not describe its body.
pub(crate) fn announced_document(request: &Authenticated) -> Result<Announced, S3Error> {
    let headers = &request.headers;
    with_length(PayloadExpectation::without_checksum(
        headers,
        &request.payload,
    ))
}

fn with_length(
    expectation: Result<PayloadExpectation, PayloadError>,
) -> Result<Announced, S3Error> {
    let expectation = expectation.map_err(|error| error.s3_error())?;
    let length = expectation.decoded_length().ok_or_else(|| {
        S3Error::new(
            ErrorCode::MissingContentLength,
            "The length of the body must be announced: send Content-Length, and \
             x-amz-decoded-content-length with aws-chunked bodies.",
        )
    })?;
    Ok(Announced {
        expectation,
        length,
    })
}

impl Announced {
    /// Checksum that is known before the body is read.
    pub(crate) fn checksum(&self) -> Option<Checksum> {
        self.expectation
            .known_checksum()
            .map(|(algorithm, value)| (algorithm, value.clone()))
    }

    /// Makes the verified stream of the payload.
    pub(crate) fn inbound(
        self,
        body: RawBody,
        patience: PaceLimits,
        received: Arc<AtomicU64>,
    ) -> Inbound {
        let framing = match body.chunks {
            None => Framing::Plain,
            Some(mode) => {
                let trailers = self.expectation.expected_trailers();
                Framing::Chunked(Box::new(ChunkDecoder::new(mode, self.length, trailers)))
            }
        };
        Inbound::new(
            body.incoming,
            framing,
            self.expectation.verifier(),
            self.length,
            patience,
            received,
        )
    }
}

/// Reads a whole body of at most `limit` bytes.
pub(crate) async fn read_held(
    job: &Job<'_>,
    body: RawBody,
    limit: u64,
    memory: HeldMemory,
) -> Outcome<HeldBody> {
    read_announced(job, announced(job.request)?, body, limit, memory).await
}

/// Reads a whole body as announced, if it has at most `limit` bytes.
pub(crate) async fn read_announced(
    job: &Job<'_>,
    announced: Announced,
    body: RawBody,
    limit: u64,
    memory: HeldMemory,
) -> Outcome<HeldBody> {
    if announced.length > limit {
        return Err(Failure::Refused(S3Error::new(
            ErrorCode::MaxMessageLengthExceeded,
            format!("The body of this request may have at most {limit} bytes."),
        )));
    }
    let length = announced.length;
    let received = Arc::clone(&job.record.received);
    let inbound = announced.inbound(body, job.services.patience.clone(), received);
    held_body::read(job, inbound, length, memory).await
}

/// Whether the request has a body.
pub(crate) fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || stored::content_length(headers).is_some_and(|length| length > 0)
}
