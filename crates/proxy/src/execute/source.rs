//! Stored objects as sources of plaintext, for GetObject and for copies alike.
//!
//! [`describe`] asks once what is there; [`open`] reads it, or a range of it, and only it: every
//! request after the first is pinned by version or ETag, and an answer about anything else is
//! [`Failure::Replaced`]. A body in hand delivers exactly the plaintext that was asked for or ends
//! with an error. Nothing is released before what authenticates it was checked: the commitment of
//! a single message, the seal of a multipart body, the tag of an older proxy's.
//!
//! Policies on objects that are not sealed are enforced here, so that no reader can forget them.
//! Absent: grants (the plan has judged them), conditions (the backend judges them, see
//! [`Source::headers`]), and what an answer says in plaintext terms.

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

/// How often at most an object is read that is replaced again and again while it is read.
pub(super) const READS: usize = 3;

/// Which object is read.
pub(crate) struct Source<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) object_key: &'a str,
    pub(crate) version: Option<&'a str>,
    /// For the backend: the source's SSE-C key under the normal names, who pays, and conditions in
    /// stored terms, which the first request is judged by.
    pub(crate) headers: HeaderMap,
}

/// What the backend says of a stored object.
#[derive(Clone)]
pub(crate) struct Found {
    /// The backend's.
    pub(crate) headers: HeaderMap,
    pub(crate) form: Form,
    pub(crate) stored: StoredLength,
    /// Of an object that is not sealed, its own length.
    pub(crate) length: PlaintextLength,
}

/// Plaintext of a stored object.
pub(crate) enum PlaintextBody {
    /// Opened as it streams.
    Opening(Box<OpeningBody>),
    /// The same, in an older proxy's format.
    Legacy(Box<LegacyBody>),
    /// Never sealed; passed on as it is.
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

/// Asks what is there: one HEAD.
pub(crate) async fn describe(job: &Job<'_>, source: &Source<'_>) -> Outcome<Found> {
    let request = source.request(job, Method::HEAD);
    let backed = answer::expect_success(job, job.parts.backend.send(request).await?).await?;
    Found::of(job, source, backed.headers)
}

/// Reads what was found, or a range inside it.
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

/// The data key of an object that is stored there, if its place opens it.
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

/// Whether the place of an object opens it, as far as that is known without a key service.
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
    // Both ends must be right: nothing is cut off or passed over here.
    let end = stretch.map_or(found.stored.0, |(_, last)| last + 1);
    if (arrived.first, arrived.end) != (stretch.map_or(0, |(first, _)| first), end) {
        return Err(Failure::Unusable("other bytes than were asked for"));
    }
    metrics::plaintext_read();
    Ok(PlaintextBody::Passing(Box::new(arrived.body)))
}

impl Source<'_> {
    /// Where the object stands, by the rules.
    fn place<'p>(&'p self, job: &'p Job<'_>) -> StoredPlace<'p> {
        job.parts.rules.place(self.bucket, self.object_key)
    }

    /// A request about the object, with the source's headers.
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
    /// Reads an answer to HEAD, or to GET of any range.
    pub(super) fn of(job: &Job<'_>, source: &Source<'_>, headers: HeaderMap) -> Outcome<Self> {
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

    /// The version that was found, where the bucket has versions.
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
