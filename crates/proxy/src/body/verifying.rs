//! A client's payload on its way to the backend unchanged: verified, not sealed.
//!
//! Only `multipart = forward-plaintext` uses it. The stream ends only after [`Inbound`] has
//! verified all of the payload, and the backend client holds the last bytes back until then. So a
//! body that breaks its promises never becomes a part.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::budget::BodyShare;
use super::inbound::{Inbound, InboundError, Inflow};

/// Slot for the reason of a failed upload, for the response to the client.
pub(crate) type VerifyingFault = Arc<OnceLock<InboundError>>;

/// Body with a client's payload, unchanged.
pub(crate) struct VerifyingBody {
    inbound: Inbound,
    state: VerifyingState,
    fault: VerifyingFault,
    _share: BodyShare,
}

enum VerifyingState {
    Passing,
    Done,
}

impl VerifyingBody {
    pub(crate) fn new(inbound: Inbound, share: BodyShare) -> Self {
        Self {
            inbound,
            state: VerifyingState::Passing,
            fault: VerifyingFault::default(),
            _share: share,
        }
    }

    /// Returns the slot that is filled if the body fails because of the client.
    pub(crate) fn fault(&self) -> VerifyingFault {
        Arc::clone(&self.fault)
    }
}

/// Error of an abandoned upload; [`VerifyingFault`] has the reason.
#[derive(Debug, thiserror::Error)]
#[error("the upload was aborted before it was complete")]
pub(crate) struct VerifyingError;

impl Body for VerifyingBody {
    type Data = Bytes;
    type Error = VerifyingError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, VerifyingError>>> {
        let this = self.get_mut();
        match this.state {
            VerifyingState::Done => Poll::Ready(None),
            VerifyingState::Passing => match ready!(this.inbound.poll_payload(context)) {
                Ok(Inflow::Payload(payload)) => Poll::Ready(Some(Ok(Frame::data(payload)))),
                Ok(Inflow::End(_verified)) => {
                    this.state = VerifyingState::Done;
                    Poll::Ready(None)
                }
                Err(fault) => {
                    this.state = VerifyingState::Done;
                    // Only the first reason counts.
                    let _ = this.fault.set(fault);
                    Poll::Ready(Some(Err(VerifyingError)))
                }
            },
        }
    }
}
