//! The body of a response to a client.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::keep_alive::PatientBody;
use super::legacy::LegacyBody;
use super::opening::{OpeningBody, OpeningError};
use crate::backend;
use crate::panics::Panicked;
use crate::record::RequestRecord;
use crate::telemetry::metrics;
use crate::throttle::InFlight;

/// Content of a response.
pub(crate) enum Content {
    /// No content, as for HEAD.
    Empty,
    /// Bytes made by the proxy.
    Held(Bytes),
    /// A document that the proxy is still making.
    Patient(Box<PatientBody>),
    /// Plaintext that is opened while it streams.
    Opening(Box<OpeningBody>),
    /// Plaintext of an older proxy's format that is opened while it streams.
    Legacy(Box<LegacyBody>),
    /// Bytes of the backend that are passed on unchanged.
    Passing(Box<backend::Body>),
}

/// Body of a response; counts sent bytes, and closes the request's record at its end.
pub(crate) struct ResponseBody {
    content: Content,
    record: Option<Arc<RequestRecord>>,
    _in_flight: InFlight,
}

impl ResponseBody {
    pub(crate) fn empty() -> Self {
        Self::from(Content::Empty)
    }

    pub(crate) fn held(bytes: impl Into<Bytes>) -> Self {
        Self::from(Content::Held(bytes.into()))
    }

    /// Returns the bytes, if all of them are in memory.
    pub(crate) fn into_held(self) -> Option<Bytes> {
        match self.content {
            Content::Held(bytes) => Some(bytes),
            Content::Empty
            | Content::Patient(_)
            | Content::Opening(_)
            | Content::Legacy(_)
            | Content::Passing(_) => None,
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

impl Content {
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
            Self::Patient(body) => body
                .poll_piece(context)
                .map(|piece| piece.map(|bytes| Ok(Frame::data(bytes)))),
            Self::Opening(body) => Pin::new(body.as_mut()).poll_frame(context),
            Self::Legacy(body) => Pin::new(body.as_mut()).poll_frame(context),
            Self::Passing(body) => Pin::new(body.as_mut())
                .poll_frame(context)
                .map_err(OpeningError::from),
        }
    }
}

impl From<Content> for ResponseBody {
    fn from(content: Content) -> Self {
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
            Content::Empty => SizeHint::with_exact(0),
            Content::Held(bytes) => SizeHint::with_exact(bytes.len() as u64),
            // The number of spaces depends on the time until the document is ready.
            Content::Patient(_) => SizeHint::default(),
            Content::Opening(body) => body.size_hint(),
            Content::Legacy(body) => body.size_hint(),
            Content::Passing(body) => body.size_hint(),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::Held(bytes) => bytes.is_empty(),
            Content::Patient(body) => body.is_done(),
            Content::Opening(body) => body.is_end_stream(),
            Content::Legacy(body) => body.is_end_stream(),
            Content::Passing(body) => body.is_end_stream(),
        }
    }
}
