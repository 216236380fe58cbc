//! The body of a response to a client.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::keep_alive::KeepAliveBody;
use super::legacy::LegacyBody;
use super::opening::{OpeningBody, OpeningError};
use super::plaintext_body::PlaintextBody;
use crate::backend;
use crate::panics::Panicked;
use crate::record::RequestRecord;
use crate::telemetry::metrics;
use crate::throttle::InFlight;

/// Content of a response.
enum ResponseContent {
    /// No content, as for HEAD.
    Empty,
    /// Bytes made by the proxy.
    Held(Bytes),
    /// A document that the proxy is still making.
    KeepAlive(Box<KeepAliveBody>),
    /// An object, or other bytes of the backend.
    Plaintext(PlaintextBody),
}

/// Body of a response; counts sent bytes, and closes the request's record at its end.
pub(crate) struct ResponseBody {
    content: ResponseContent,
    record: Option<Arc<RequestRecord>>,
    _in_flight: InFlight,
}

impl ResponseBody {
    /// Sends no body.
    pub(crate) fn empty() -> Self {
        Self::from(ResponseContent::Empty)
    }

    /// Sends bytes that are in memory.
    pub(crate) fn held(bytes: impl Into<Bytes>) -> Self {
        Self::from(ResponseContent::Held(bytes.into()))
    }

    /// Sends white space until the document is ready.
    pub(crate) fn keep_alive(body: KeepAliveBody) -> Self {
        Self::from(ResponseContent::KeepAlive(Box::new(body)))
    }

    /// Sends a sealed object that is opened while it streams.
    pub(crate) fn opening(body: OpeningBody) -> Self {
        Self::plaintext(PlaintextBody::Opening(Box::new(body)))
    }

    /// Sends an older proxy's object that is opened while it streams.
    pub(crate) fn legacy(body: LegacyBody) -> Self {
        Self::plaintext(PlaintextBody::Legacy(Box::new(body)))
    }

    /// Sends the backend's bytes unchanged.
    pub(crate) fn passing(body: backend::Body) -> Self {
        Self::plaintext(PlaintextBody::Passing(Box::new(body)))
    }

    fn plaintext(body: PlaintextBody) -> Self {
        Self::from(ResponseContent::Plaintext(body))
    }

    /// Returns the bytes, if all of them are in memory.
    pub(crate) fn into_held(self) -> Option<Bytes> {
        match self.content {
            ResponseContent::Held(bytes) => Some(bytes),
            ResponseContent::Empty
            | ResponseContent::KeepAlive(_)
            | ResponseContent::Plaintext(_) => None,
        }
    }

    /// Attaches the record that counts every byte and notes the end.
    pub(crate) fn recorded(mut self, record: Arc<RequestRecord>) -> Self {
        self.record = Some(record);
        self
    }

    /// Keeps the request counted as in flight until the end of the body.
    pub(crate) fn holding(self, in_flight: InFlight) -> Self {
        Self {
            _in_flight: in_flight,
            ..self
        }
    }
}

impl ResponseContent {
    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OpeningError>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Held(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::KeepAlive(body) => body
                .poll_piece(context)
                .map(|piece| piece.map(|bytes| Ok(Frame::data(bytes)))),
            Self::Plaintext(body) => Pin::new(body).poll_frame(context),
        }
    }
}

impl From<ResponseContent> for ResponseBody {
    fn from(content: ResponseContent) -> Self {
        Self {
            content,
            record: None,
            _in_flight: InFlight::default(),
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = OpeningError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OpeningError>>> {
        let this = self.get_mut();
        // Only noted here: the owner of the connection handles the panic.
        let polled = catch_unwind(AssertUnwindSafe(|| this.content.poll(context)));
        let polled = match polled {
            Ok(polled) => polled,
            Err(panic) => {
                if let Some(record) = &this.record {
                    record.broke_off(&Panicked);
                }
                resume_unwind(panic);
            }
        };
        if let (Some(record), Poll::Ready(Some(outcome))) = (&this.record, &polled) {
            match outcome {
                Ok(frame) => record.sent(frame.data_ref().map_or(0, Bytes::len)),
                Err(error) => {
                    if let Some(fault) = error.fault() {
                        metrics::open_failed(fault.kind);
                    }
                    record.broke_off(error);
                }
            }
        }
        polled
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            ResponseContent::Empty => SizeHint::with_exact(0),
            ResponseContent::Held(bytes) => SizeHint::with_exact(bytes.len() as u64),
            // The number of spaces depends on the time until the document is ready.
            ResponseContent::KeepAlive(_) => SizeHint::default(),
            ResponseContent::Plaintext(body) => body.size_hint(),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            ResponseContent::Empty => true,
            ResponseContent::Held(bytes) => bytes.is_empty(),
            ResponseContent::KeepAlive(body) => body.is_done(),
            ResponseContent::Plaintext(body) => body.is_end_stream(),
        }
    }
}
