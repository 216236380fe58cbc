//! Sends a payload to the backend and seals it on the way, for PutObject, parts and copies.
//!
//! The backend request starts after the first piece arrived, and the backend cannot take the body
//! for complete before the payload was verified. A fault of the payload explains any failure of the
//! backend, so it is checked first.

use std::sync::Arc;

use http_body_util::BodyExt;
use s3proxy_envelope::object::ObjectSealer;
use s3proxy_protocol::checksum::ChecksumAlgorithm;

use crate::backend::{BackendError, BodyStream, Request, RequestBody};
use crate::body::buffers::STREAM_BYTES;
use crate::body::sealing::{Payload, SealingBody};
use crate::failure::{Failure, Outcome};
use crate::objects::StoreCall;
use crate::objects::call::{BackendResponse, expect_etag};
use crate::objects::new_object::Checksum;

/// Seals and sends a payload. Returns the checksum that came with the payload, or the one of the
/// algorithm `measured`.
pub(crate) async fn send_sealed<P>(
    call: &StoreCall<'_>,
    mut payload: P,
    sealer: ObjectSealer,
    measured: Option<ChecksumAlgorithm>,
    request: impl FnOnce(RequestBody) -> Request,
) -> Outcome<(BackendResponse, Option<Checksum>)>
where
    P: Payload<Fault: Into<Failure> + Send> + Send + Unpin + 'static,
{
    if let Err(fault) = std::future::poll_fn(|context| payload.poll_beginning(context)).await {
        return Err(fault.into());
    }
    // After the first byte: an idle client must not hold a share of the memory.
    let share = call.share(STREAM_BYTES).await?;
    let length = sealer.stored_length().0;
    let mut sealing = SealingBody::new(payload, sealer, Arc::clone(&call.store.pool), share);
    if let Some(algorithm) = measured {
        sealing.measure(algorithm);
    }
    let (fault, checksum) = (sealing.fault(), sealing.checksum());
    // A fault in the first piece ends the upload before the backend is contacted.
    let begun = sealing.prefetch().await;
    let body = BodyStream::new(sealing.map_err(Into::into));
    let request = request(RequestBody::Stream { length, body });
    let sent = match begun {
        Ok(()) => call.store.backend.send(request).await,
        Err(error) => Err(BackendError::RequestBody(error.into())),
    };
    if let Some(fault) = fault.take() {
        return Err(fault.into());
    }
    let backed = expect_etag(call.receive(sent?)).await?;
    Ok((backed, checksum.get().cloned()))
}
