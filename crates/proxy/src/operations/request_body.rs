//! The body of a client's request, until an operation takes it.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use s3proxy_protocol::chunked::ChunkMode;
use s3proxy_protocol::post::{FormHead, FormParser};

use crate::auth::PostedForm;
use crate::body::inbound;
use crate::failure::Outcome;

/// Unread body of a request, with the state that verifies its chunks.
pub(crate) struct RawBody {
    pub(crate) incoming: Incoming,
    /// `None` unless the body is `aws-chunked`.
    pub(crate) chunks: Option<ChunkMode>,
}

/// Body of a request: taken by an operation, or left to be drained.
pub(crate) struct BodySlot {
    incoming: Option<Incoming>,
    pub(crate) chunks: Option<ChunkMode>,
    /// Fields before the file, if the body is a form.
    pub(crate) form: Option<PostedForm>,
    /// Whether part of the body was read in place.
    begun: bool,
}

impl BodySlot {
    pub(crate) fn new(incoming: Incoming) -> Self {
        Self {
            incoming: Some(incoming),
            chunks: None,
            form: None,
            begun: false,
        }
    }

    /// Reads a form up to its file. The body stays in the slot: a form that is refused afterwards
    /// is drained like any other body.
    pub(crate) async fn read_form(
        &mut self,
        parser: FormParser,
        timeout: Duration,
        received: &AtomicU64,
    ) -> Outcome<(FormHead, Bytes)> {
        self.begun = true;
        let incoming = self.incoming.as_mut().expect("nobody took the body yet");
        Ok(inbound::read_form_head(incoming, parser, timeout, received).await?)
    }

    /// Whether the client has been told to send its body (100 Continue).
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Takes the body out of the slot. Each operation does so at most once.
    pub(crate) fn take(&mut self) -> RawBody {
        RawBody {
            incoming: self.incoming.take().expect("a body is used once"),
            chunks: self.chunks.take(),
        }
    }

    pub(crate) fn into_unused(self) -> Option<Incoming> {
        self.incoming
    }
}
