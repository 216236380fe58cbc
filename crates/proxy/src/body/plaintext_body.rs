//! The plaintext stream of a stored object, whatever its format.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::legacy::LegacyBody;
use super::opening::{OpeningBody, OpeningError};
use crate::backend;

/// Plaintext stream of a stored object.
pub(crate) enum PlaintextBody {
    /// A sealed object, opened while it streams.
    Opening(Box<OpeningBody>),
    /// A legacy object, opened while it streams.
    Legacy(Box<LegacyBody>),
    /// Bytes of the backend, unchanged: an object that is not sealed, or a document.
    Passing(Box<backend::Body>),
}

impl Body for PlaintextBody {
    type Data = Bytes;
    type Error = OpeningError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OpeningError>>> {
        match self.get_mut() {
            Self::Opening(body) => Pin::new(body.as_mut()).poll_frame(context),
            Self::Legacy(body) => Pin::new(body.as_mut()).poll_frame(context),
            Self::Passing(body) => Pin::new(body.as_mut())
                .poll_frame(context)
                .map_err(OpeningError::from),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Opening(body) => body.size_hint(),
            Self::Legacy(body) => body.size_hint(),
            Self::Passing(body) => body.size_hint(),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Opening(body) => body.is_end_stream(),
            Self::Legacy(body) => body.is_end_stream(),
            Self::Passing(body) => body.is_end_stream(),
        }
    }
}
