//! Stored objects as sources of plaintext, for GetObject and for copies.
//!
//! [`describe`] looks an object up; [`open`] reads it, or a range of it. Every request after the
//! first is pinned by version or ETag, and a response about another state is [`Failure::Replaced`].
//! An opened body delivers exactly the requested plaintext or ends with an error. Nothing is
//! released before it was authenticated: by the commitment of a single message, the seal of a
//! multipart body, or the tag of a legacy object.
//!
//! Policies for objects that are not sealed are enforced here, so no reader can omit them. Grants
//! are checked by the plan, conditions by the backend (see [`Source::headers`]), and the response
//! headers are made elsewhere.

mod legacy;
mod pinned;
mod sealed;

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body::{Body, Frame, SizeHint};
use s3proxy_envelope::dek::Dek;
use s3proxy_envelope::header::{Envelope, Layout};
use s3proxy_envelope::layout::{
    PADDED_FROM, PlaintextLength, PlaintextRange, StoredLength, plaintext_length,
};
use s3proxy_envelope::legacy::legacy_plaintext_length;

pub(super) use legacy::{Legacy, check_legacy, unwrap_legacy};
pub(super) use pinned::{Arrived, pinned_request, send_pinned};
pub(super) use sealed::{Sealed, layout};

use super::answer;
use super::layouts::{LayoutKey, ObjectState};
use super::stored::{self, Form};
use super::{Job, Outcome, versions};
use crate::backend::{self, Request};
use crate::body::legacy::LegacyBody;
use crate::body::opening::{OpeningBody, OpeningError};
use crate::keys::scope::StoredPlace;
use crate::respond::Failure;
use crate::stored_fault::StoredFault;
use crate::telemetry::audit::Stored;
use crate::telemetry::metrics;

/// Most attempts to read an object that is replaced repeatedly.
pub(super) const READS: usize = 3;

/// The object to read.
pub(crate) struct Source<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) object_key: &'a str,
    pub(crate) version: Option<&'a str>,
    /// Headers for the backend: the source's SSE-C key under the normal names, the requester-pays
    /// header, and conditions in stored terms, which apply to the first request.
    pub(crate) headers: HeaderMap,
}

/// The backend's description of a stored object.
#[derive(Clone)]
pub(crate) struct Found {
    /// Headers as the backend returned them.
    pub(crate) headers: HeaderMap,
    pub(crate) form: Form,
    pub(crate) stored: StoredLength,
    /// Plaintext length. Of an object that is not sealed it is the stored length.
    pub(crate) length: PlaintextLength,
}

/// Plaintext stream of a stored object.
pub(crate) enum PlaintextBody {
    /// A sealed object, opened while it streams.
    Opening(Box<OpeningBody>),
    /// A legacy object, opened while it streams.
    Legacy(Box<LegacyBody>),
    /// An object that is not sealed.
    Passing(Box<backend::Body>),
}

/// The object that the client named, under the client's conditions.
pub(super) fn own<'a>(job: &Job<'a>) -> Outcome<Source<'a>> {
    let request = job.request;
    Ok(Source {
        bucket: request.bucket().unwrap_or_default(),
        object_key: request.object_key().unwrap_or_default(),
        version: request
            .query
            .get("versionId")
            .filter(|version| !version.is_empty()),
        headers: answer::headers_for_backend(job)?,
    })
}

/// Looks an object up with one HEAD.
pub(crate) async fn describe(job: &Job<'_>, source: &Source<'_>) -> Outcome<Found> {
    let request = source.request(job, Method::HEAD);
    let backed = answer::expect_success(job, job.parts.backend.send(request).await?).await?;
    Found::of(job, source, backed.headers)
}

/// Opens the object that was found, or a range inside it.
pub(crate) async fn open(
    job: &Job<'_>,
    source: &Source<'_>,
    found: &Found,
    range: Option<PlaintextRange>,
) -> Outcome<PlaintextBody> {
    match &found.form {
        Form::Sealed(envelope) => {
            let dek = unwrap(job, source, envelope).await?;
            let sealed = Sealed::new(job, source, found, envelope, dek).await?;
            let body = sealed.read(range, None).await?;
            Ok(PlaintextBody::Opening(Box::new(body)))
        }
        Form::Legacy(envelope) => {
            let legacy = Legacy::new(job, source, found, envelope).await?;
            let body = legacy.read(range, None).await?;
            Ok(PlaintextBody::Legacy(Box::new(body)))
        }
        Form::Plain => open_plain(job, source, found, range).await,
    }
}

/// Data key of a stored object, if its place may use the envelope.
pub(crate) async fn unwrap(
    job: &Job<'_>,
    source: &Source<'_>,
    envelope: &Envelope,
) -> Outcome<Dek> {
    job.record
        .trail
        .reads(|| Stored::sealed(&envelope.key_name));
    Ok(job.parts.keys.unwrap(source.place(job), envelope).await?)
}

/// Checks whether the place may use the envelope, as far as possible without a key service.
pub(super) fn check(job: &Job<'_>, source: &Source<'_>, envelope: &Envelope) -> Outcome<()> {
    job.record
        .trail
        .reads(|| Stored::sealed(&envelope.key_name));
    Ok(job.parts.keys.check(source.place(job), envelope)?)
}

async fn open_plain(
    job: &Job<'_>,
    source: &Source<'_>,
    found: &Found,
    range: Option<PlaintextRange>,
) -> Outcome<PlaintextBody> {
    stored::permit_plain(job, source.bucket, source.object_key)?;
    let stretch = range.map(|range| (range.first, range.last));
    let request = pinned_request(job, source, found, stretch);
    let backed = send_pinned(job, found, request).await?;
    let arrived = Arrived::of(&backed.headers, backed.body)?;
    // Both ends must match: unlike in the other forms, surplus bytes are not skipped here.
    let end = stretch.map_or(found.stored.0, |(_, last)| last + 1);
    if (arrived.first, arrived.end) != (stretch.map_or(0, |(first, _)| first), end) {
        return Err(Failure::Unusable("other bytes than were asked for"));
    }
    metrics::plaintext_read();
    Ok(PlaintextBody::Passing(Box::new(arrived.body)))
}

impl Source<'_> {
    /// Place of the object, according to the rules.
    fn place<'p>(&'p self, job: &'p Job<'_>) -> StoredPlace<'p> {
        job.parts.rules.place(self.bucket, self.object_key)
    }

    /// Makes a request for the object, with the source's headers.
    pub(super) fn request(&self, job: &Job<'_>, method: Method) -> Request {
        let mut request = answer::request_for(job, method);
        request.bucket = Some(self.bucket.to_owned());
        request.key = Some(self.object_key.to_owned());
        request.headers = self.headers.clone();
        if let Some(version) = self.version {
            let version = ("versionId".to_owned(), Some(version.to_owned()));
            request.query.push(version);
        }
        request
    }

    /// The same object, whatever its state.
    pub(super) fn unconditional(&self) -> Self {
        let mut headers = self.headers.clone();
        pinned::remove_conditions(&mut headers);
        Self { headers, ..*self }
    }

    pub(super) fn layout_key(&self) -> LayoutKey {
        LayoutKey {
            bucket: self.bucket.to_owned(),
            object_key: self.object_key.to_owned(),
            version: self.version.map(str::to_owned),
        }
    }
}

impl Found {
    /// Reads the response to a HEAD, or to a GET of any range.
    pub(super) fn of(job: &Job<'_>, source: &Source<'_>, headers: HeaderMap) -> Outcome<Self> {
        // A backend that ignores `versionId` would describe the current version.
        versions::require_answered(source.version, &headers)?;
        let form = stored::form(&headers, &job.parts.dek_tag)?;
        let stored = stored::stored_length(&headers)?;
        let length = match &form {
            Form::Sealed(_) => plaintext_length(stored).ok_or_else(|| {
                let reason = format!("no sealed object has {} bytes", stored.0);
                Failure::from(StoredFault::truncated(reason))
            })?,
            Form::Legacy(_) => {
                legacy_plaintext_length(stored).map_err(|error| Failure::Stored(error.into()))?
            }
            Form::Plain => PlaintextLength(stored.0),
        };
        Ok(Self {
            headers,
            form,
            stored,
            length,
        })
    }

    /// Version that was found, if the bucket has versions.
    pub(crate) fn version(&self) -> Option<&str> {
        self.headers.get("x-amz-version-id")?.to_str().ok()
    }

    pub(super) fn state(&self, envelope: &Envelope) -> ObjectState {
        ObjectState::of(&self.headers, self.stored, envelope)
    }

    /// Whether the body ends in a seal (FORMAT, "Body").
    pub(super) fn has_seal(&self, envelope: &Envelope) -> bool {
        match envelope.layout {
            Layout::Single => false,
            Layout::Multipart => self.length >= PADDED_FROM,
        }
    }
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
