//! A client's payload on its way to the backend as it is: verified, not sealed.
//!
//! Only `multipart = forward-plaintext` uses it. The end of the stream comes only after [`Inbound`]
//! has verified all of the payload, and the backend client holds the last bytes back until then; so
//! a body that breaks its promises never becomes a part.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::budget::BodyShare;
use super::inbound::{Inbound, InboundError, Inflow};

/// Where the reason of a failed upload is left for whoever answers the client.
pub(crate) type VerifyingFault = Arc<OnceLock<InboundError>>;

/// The payload as it came.
pub(crate) struct VerifyingBody {
    inbound: Inbound,
    state: State,
    fault: VerifyingFault,
    _share: BodyShare,
}

enum State {
    Passing,
    Done,
}

impl VerifyingBody {
    pub(crate) fn new(inbound: Inbound, share: BodyShare) -> Self {
        Self {
            inbound,
            state: State::Passing,
            fault: VerifyingFault::default(),
            _share: share,
        }
    }

    /// Set when the body failed through the client's doing.
    pub(crate) fn fault(&self) -> VerifyingFault {
        Arc::clone(&self.fault)
    }
}

/// The upload was given up; [`VerifyingFault`] says why.
#[derive(Debug, thiserror::Error)]
#[error("the upload was given up before it was complete")]
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
            State::Done => Poll::Ready(None),
            State::Passing => match ready!(this.inbound.poll_payload(context)) {
                Ok(Inflow::Payload(payload)) => Poll::Ready(Some(Ok(Frame::data(payload)))),
                Ok(Inflow::End(_verified)) => {
                    this.state = State::Done;
                    Poll::Ready(None)
                }
                Err(fault) => {
                    this.state = State::Done;
                    // The first reason is the one that counts.
                    let _ = this.fault.set(fault);
                    Poll::Ready(Some(Err(VerifyingError)))
                }
            },
        }
    }
}
