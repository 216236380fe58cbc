//! The body of a client's request: framing removed, promises verified.
//!
//! A reader of the payload must not let the backend complete a write before
//! [`Inbound::poll_payload`] has returned its end. Only then have length, chunk signatures, body
//! hash, Content-MD5 and checksum been compared with the client's announcement (S3 API Reference,
//! "Signature calculations" and "Checking object integrity").

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use s3proxy_protocol::chunked::{ChunkDecoder, Trailers};
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::payload::{PayloadVerifier, VerifiedPayload};
use s3proxy_protocol::post::{Content, FileDecoder, FormHead, FormParser};

use super::client_pace::{ClientPace, PaceLimits, PaceViolation};
use super::sealing::Payload;

/// Framing of the payload inside the HTTP body.
pub(crate) enum Framing {
    /// No framing: the body is the payload.
    Plain,
    /// Chunks of `aws-chunked` around the payload.
    Chunked(Box<ChunkDecoder>),
    /// The payload is the file of a form, followed by the closing delimiter.
    Form(Box<FileDecoder>),
}

/// Failure to read a client's body.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum InboundError {
    /// The body does not match the request's promises.
    #[error(transparent)]
    Refused(#[from] S3Error),
    /// The connection ended before the body did.
    #[error("the client disconnected before the end of its request body")]
    Disconnected,
    /// No byte arrived for too long.
    #[error("timed out after {} s waiting for the client's request body", .0.as_secs())]
    Stalled(Duration),
    /// Bytes arrived too slowly while other requests waited for memory.
    #[error("the client sent its body too slowly while other requests waited for memory")]
    TooSlow,
}

impl InboundError {
    /// Returns the S3 error for the client.
    pub(crate) fn to_s3_error(&self) -> S3Error {
        match self {
            Self::Refused(error) => error.clone(),
            Self::Disconnected => S3Error::new(
                ErrorCode::IncompleteBody,
                "The connection ended before all the announced bytes of the body had arrived.",
            ),
            Self::Stalled(_) => S3Error::new(
                ErrorCode::RequestTimeout,
                "No byte of the body arrived within the timeout; send it without long pauses.",
            ),
            Self::TooSlow => S3Error::new(
                ErrorCode::SlowDown,
                "The body arrived too slowly for a busy server; please try again later.",
            ),
        }
    }
}

/// Payload of a request, verified as it passes.
pub(crate) struct Inbound {
    incoming: Incoming,
    /// Received bytes that are not decoded yet.
    raw: Bytes,
    framing: Framing,
    verifier: Option<PayloadVerifier>,
    /// Number of payload bytes still to come; `None` for a form, which marks its own end.
    remaining: Option<u64>,
    received: Arc<AtomicU64>,
    silence: Duration,
    pace: ClientPace,
}

impl Inbound {
    /// Wraps a body. `length` is the payload's announced length in bytes; `received` counts
    /// arriving bytes.
    pub(crate) fn new(
        incoming: Incoming,
        framing: Framing,
        verifier: PayloadVerifier,
        length: u64,
        limits: PaceLimits,
        received: Arc<AtomicU64>,
    ) -> Self {
        Self {
            incoming,
            raw: Bytes::new(),
            framing,
            verifier: Some(verifier),
            remaining: Some(length),
            received,
            silence: limits.silence,
            pace: ClientPace::for_sender(limits),
        }
    }

    /// Wraps the file of a form; `first` is the part of it that was read already.
    pub(crate) fn form(
        incoming: Incoming,
        first: Bytes,
        decoder: FileDecoder,
        verifier: PayloadVerifier,
        limits: PaceLimits,
        received: Arc<AtomicU64>,
    ) -> Self {
        Self {
            incoming,
            raw: first,
            framing: Framing::Form(Box::new(decoder)),
            verifier: Some(verifier),
            remaining: None,
            received,
            silence: limits.silence,
            pace: ClientPace::for_sender(limits),
        }
    }

    /// Returns the next piece of payload, or the verification's result once all of it has arrived.
    pub(crate) fn poll_payload(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Inflow, InboundError>> {
        loop {
            if !self.raw.is_empty() {
                let payload = self.decode()?;
                // A frame may consist of framing alone.
                if !payload.is_empty() {
                    return Poll::Ready(Ok(Inflow::Payload(payload)));
                }
                continue;
            }
            match ready!(self.poll_frame(context))? {
                Some(data) => self.raw = data,
                None => return Poll::Ready(self.finish().map(Inflow::End)),
            }
        }
    }

    /// Ready once some of the body has arrived, or all of it.
    fn poll_beginning(&mut self, context: &mut Context<'_>) -> Poll<Result<(), InboundError>> {
        if self.raw.is_empty()
            && let Some(data) = ready!(self.poll_frame(context))?
        {
            self.raw = data;
        }
        Poll::Ready(Ok(()))
    }

    /// Waits for the first bytes of the body.
    pub(crate) async fn begin(&mut self) -> Result<(), InboundError> {
        std::future::poll_fn(|context| self.poll_beginning(context)).await
    }

    fn decode(&mut self) -> Result<Bytes, InboundError> {
        let payload = match &mut self.framing {
            Framing::Plain => std::mem::take(&mut self.raw),
            Framing::Chunked(decoder) => {
                let step = decoder
                    .decode(&self.raw)
                    .map_err(|error| error.s3_error())?;
                let payload = self.raw.slice(step.payload);
                let _ = self.raw.split_to(step.consumed);
                payload
            }
            Framing::Form(decoder) => {
                let step = decoder
                    .decode(&self.raw)
                    .map_err(|error| error.s3_error())?;
                let payload = match step.content {
                    Content::Input(range) => self.raw.slice(range),
                    Content::HeldBack(bytes) => Bytes::from(bytes),
                };
                let _ = self.raw.split_to(step.consumed);
                payload
            }
        };
        if let Some(remaining) = &mut self.remaining {
            let length = payload.len() as u64;
            *remaining = remaining.checked_sub(length).ok_or_else(too_long)?;
        }
        if let Some(verifier) = &mut self.verifier {
            // Over the decoded payload: hashes and checksums never cover the framing.
            verifier.update(&payload);
        }
        Ok(payload)
    }

    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, InboundError>> {
        loop {
            match Pin::new(&mut self.incoming).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    let bytes = frame.data_ref().map_or(0, Bytes::len);
                    self.pace.moved(bytes);
                    // HTTP trailers are dropped: S3's own travel inside `aws-chunked`.
                    if let Ok(data) = frame.into_data() {
                        self.received
                            .fetch_add(data.len() as u64, Ordering::Relaxed);
                        return Poll::Ready(Ok(Some(data)));
                    }
                }
                Poll::Ready(Some(Err(_))) => {
                    return Poll::Ready(Err(InboundError::Disconnected));
                }
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                // Time counts against the client only here, while it is waited for.
                Poll::Pending => {
                    let why = ready!(self.pace.poll_violation(context));
                    return Poll::Ready(Err(match why {
                        PaceViolation::Idle => InboundError::Stalled(self.silence),
                        PaceViolation::TooSlow => InboundError::TooSlow,
                    }));
                }
            }
        }
    }

    fn finish(&mut self) -> Result<VerifiedPayload, InboundError> {
        if self.remaining.is_some_and(|remaining| remaining > 0) {
            return Err(InboundError::Refused(S3Error::new(
                ErrorCode::IncompleteBody,
                "The body is shorter than the length that the request announced.",
            )));
        }
        let framing = std::mem::replace(&mut self.framing, Framing::Plain);
        let trailers = match framing {
            Framing::Plain => Trailers::default(),
            Framing::Chunked(decoder) => decoder.finish().map_err(|error| error.s3_error())?,
            Framing::Form(decoder) => {
                decoder.finish().map_err(|error| error.s3_error())?;
                Trailers::default()
            }
        };
        let verifier = self
            .verifier
            .take()
            .expect("the end of a body is reported once");
        Ok(verifier
            .finish(&trailers)
            .map_err(|error| error.s3_error())?)
    }
}

impl Payload for Inbound {
    type Fault = InboundError;

    fn poll_beginning(&mut self, context: &mut Context<'_>) -> Poll<Result<(), InboundError>> {
        Self::poll_beginning(self, context)
    }

    fn poll_payload(&mut self, context: &mut Context<'_>) -> Poll<Result<Inflow, InboundError>> {
        Self::poll_payload(self, context)
    }
}

/// Item that a payload yields.
pub(crate) enum Inflow {
    /// A piece of payload, not yet verified as a whole.
    Payload(Bytes),
    /// End: all of the payload has arrived and matches every promise.
    End(VerifiedPayload),
}

/// Reads a form up to its file, within `timeout` in total, since the sender is not authenticated
/// yet. Also returns the received bytes after the fields.
pub(crate) async fn read_form_head(
    incoming: &mut Incoming,
    mut parser: FormParser,
    timeout: Duration,
    received: &AtomicU64,
) -> Result<(FormHead, Bytes), InboundError> {
    let read = async {
        let mut before = 0;
        while let Some(frame) = incoming.frame().await {
            let Ok(frame) = frame else {
                return Err(InboundError::Disconnected);
            };
            let Ok(mut data) = frame.into_data() else {
                continue;
            };
            received.fetch_add(data.len() as u64, Ordering::Relaxed);
            if let Some(head) = parser.push(&data).map_err(|error| error.s3_error())? {
                // `length` counts from the start of the form; `before` bytes of it were in earlier
                // frames.
                let _ = data.split_to(head.length - before);
                return Ok((head, data));
            }
            before += data.len();
        }
        Err(InboundError::Refused(parser.end().s3_error()))
    };
    let read = tokio::time::timeout(timeout, read).await;
    read.map_err(|_| InboundError::Stalled(timeout))?
}

fn too_long() -> InboundError {
    InboundError::Refused(S3Error::new(
        ErrorCode::InvalidRequest,
        "The body is longer than the length that the request announced.",
    ))
}
