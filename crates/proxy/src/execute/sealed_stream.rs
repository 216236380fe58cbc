//! Sending a payload to the backend, sealed as it comes: what PutObject, parts and copies share.
//!
//! The backend is asked when the first piece is there, and cannot take the body for complete before
//! the payload has verified itself. What was wrong with the payload explains whatever the backend
//! then made of it, so it is looked at first.

use std::sync::Arc;

use http_body_util::BodyExt;
use s3proxy_envelope::object::ObjectSealer;
use s3proxy_protocol::checksum::ChecksumAlgorithm;

use super::answer::Backed;
use super::new_object::Checksum;
use super::put_object::expect_result;
use super::{Job, Outcome};
use crate::backend::{BackendError, BodyStream, Request, RequestBody};
use crate::body::buffers::STREAM_BYTES;
use crate::body::sealing::{Payload, SealingBody};
use crate::respond::Failure;

/// Seals and sends. The checksum is the one that came with the payload, or that of the algorithm
/// that was to be `measured`.
pub(crate) async fn send_sealed<P>(
    job: &Job<'_>,
    mut payload: P,
    sealer: ObjectSealer,
    measured: Option<ChecksumAlgorithm>,
    request: impl FnOnce(RequestBody) -> Request,
) -> Outcome<(Backed, Option<Checksum>)>
where
    P: Payload<Fault: Into<Failure> + Send> + Send + Unpin + 'static,
{
    if let Err(fault) = std::future::poll_fn(|context| payload.poll_beginning(context)).await {
        return Err(fault.into());
    }
    let share = job.share(STREAM_BYTES).await?;
    let length = sealer.stored_length().0;
    let mut sealing = SealingBody::new(payload, sealer, Arc::clone(&job.parts.pool), share);
    if let Some(algorithm) = measured {
        sealing.measure(algorithm);
    }
    let (fault, checksum) = (sealing.fault(), sealing.checksum());
    let begun = sealing.prefetch().await;
    let body = BodyStream::new(sealing.map_err(Into::into));
    let request = request(RequestBody::Stream { length, body });
    let sent = match begun {
        Ok(()) => job.parts.backend.send(request).await,
        Err(error) => Err(BackendError::RequestBody(error.into())),
    };
    if let Some(fault) = fault.take() {
        return Err(fault.into());
    }
    let backed = expect_result(job, sent?).await?;
    Ok((backed, checksum.get().cloned()))
}
