//! Stored objects as sources of plaintext, for GetObject and for copies.
//!
//! [`describe`] looks an object up; [`open`] reads it, or a range of it. Every request after the
//! first is pinned by version or ETag, and a response about another state is [`Failure::Replaced`].
//! An opened body delivers exactly the requested plaintext or ends with an error. Nothing is
//! released before it was authenticated: by the commitment of a single message, the seal of a
//! multipart body, or the tag of a legacy object.
//!
//! Policies for objects that are not sealed are enforced here, so no reader can omit them. Grants
//! were checked before, by `authorization`; the backend checks conditions (see
//! [`Source::headers`]), and handlers make the response headers.

mod legacy;
mod pinned;
mod sealed;

use http::{HeaderMap, Method, header};
use s3proxy_envelope::dek::Dek;
use s3proxy_envelope::header::{Envelope, Layout};
use s3proxy_envelope::layout::{PADDED_FROM, PlaintextLength, PlaintextRange, StoredLength};
use s3proxy_protocol::headers::{self, VERSION_ID};

use crate::backend::Request;
use crate::body::plaintext_body::PlaintextBody;
use crate::failure::{Failure, Outcome};
use crate::objects::layout_cache::{LayoutKey, ObjectState};
use crate::objects::stored::{self, Form};
use crate::objects::{ObjectRef, StoreCall, versions};
use crate::telemetry::audit::StoredForm;
use crate::telemetry::metrics;

pub(crate) use legacy::{Legacy, check_legacy, unwrap_legacy};
pub(crate) use pinned::{Arrived, pinned_request, send_pinned};
pub(crate) use sealed::{Sealed, layout};

/// The object to read.
pub(crate) struct Source<'a> {
    pub(crate) object: ObjectRef<'a>,
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

/// Looks an object up with one HEAD.
pub(crate) async fn describe(call: &StoreCall<'_>, source: &Source<'_>) -> Outcome<Found> {
    let request = source.request(call, Method::HEAD);
    let backed = call.expect_success(request).await?;
    Found::from_headers(call, source, backed.headers)
}

/// Opens the object that was found, or a range inside it.
pub(crate) async fn open(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    found: &Found,
    range: Option<PlaintextRange>,
) -> Outcome<PlaintextBody> {
    match &found.form {
        Form::Sealed(envelope) => {
            let dek = unwrap(call, source, envelope).await?;
            let sealed = Sealed::new(call, source, found, envelope, dek).await?;
            let body = sealed.read(range, None).await?;
            Ok(PlaintextBody::Opening(Box::new(body)))
        }
        Form::Legacy(envelope) => {
            let legacy = Legacy::new(call, source, found, envelope).await?;
            let body = legacy.read(range, None).await?;
            Ok(PlaintextBody::Legacy(Box::new(body)))
        }
        Form::Plain => open_plain(call, source, found, range).await,
    }
}

/// Data key of a stored object, if its place may use the envelope.
pub(crate) async fn unwrap(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    envelope: &Envelope,
) -> Outcome<Dek> {
    call.reads(|| StoredForm::sealed(&envelope.key_name));
    Ok(call
        .store
        .keys
        .unwrap(call.place(source.object), envelope)
        .await?)
}

/// Checks whether the place may use the envelope, as far as possible without a key service.
pub(crate) fn check(call: &StoreCall<'_>, source: &Source<'_>, envelope: &Envelope) -> Outcome<()> {
    call.reads(|| StoredForm::sealed(&envelope.key_name));
    Ok(call.store.keys.check(call.place(source.object), envelope)?)
}

/// Whether the source changed since it was looked up, which may explain a failed copy.
pub(crate) async fn is_replaced(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    found: &Found,
) -> Outcome<bool> {
    let request = source.request(call, Method::HEAD);
    let backed = call.send(request).await?;
    let same = [header::ETAG, VERSION_ID]
        .iter()
        .all(|name| backed.headers.get(name) == found.headers.get(name));
    // A source that is gone counts as replaced: the next attempt reports its absence.
    Ok(!backed.status.is_success() || !same)
}

async fn open_plain(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    found: &Found,
    range: Option<PlaintextRange>,
) -> Outcome<PlaintextBody> {
    stored::permit_plain(call, source.object)?;
    let stretch = range.map(|range| (range.first, range.last));
    let request = pinned_request(call, source, found, stretch);
    let backed = send_pinned(call, found, request).await?;
    let arrived = Arrived::from_response(&backed.headers, backed.body)?;
    // Both ends must match: unlike in the other forms, surplus bytes are not skipped here.
    let end = stretch.map_or(found.stored.0, |(_, last)| last + 1);
    if (arrived.first, arrived.end) != (stretch.map_or(0, |(first, _)| first), end) {
        return Err(Failure::Unusable("bytes of another range than requested"));
    }
    metrics::plaintext_read();
    Ok(PlaintextBody::Passing(Box::new(arrived.body)))
}

impl Source<'_> {
    /// Makes a request for the object, with the source's headers.
    pub(crate) fn request(&self, call: &StoreCall<'_>, method: Method) -> Request {
        let mut request = call.request(method, self.object);
        request.headers = self.headers.clone();
        request
    }

    /// The same object, without conditions on its state.
    pub(crate) fn unconditional(&self) -> Self {
        let mut headers = self.headers.clone();
        pinned::remove_conditions(&mut headers);
        Self { headers, ..*self }
    }

    pub(crate) fn layout_key(&self) -> LayoutKey {
        LayoutKey {
            object: self.object.name(),
            version: self.object.version.map(str::to_owned),
        }
    }
}

impl Found {
    /// Reads the response to a HEAD, or to a GET of any range.
    pub(crate) fn from_headers(
        call: &StoreCall<'_>,
        source: &Source<'_>,
        headers: HeaderMap,
    ) -> Outcome<Self> {
        // A backend that ignores `versionId` would describe the current version.
        versions::require_answered(source.object.version, &headers)?;
        let form = stored::form(&headers, &call.store.dek_tag)?;
        let stored = stored::stored_length(&headers)?;
        let length = stored::length_of(&form, stored)?;
        Ok(Self {
            headers,
            form,
            stored,
            length,
        })
    }

    /// ETag as the backend returned it, with its quotes.
    pub(crate) fn etag(&self) -> Outcome<&str> {
        headers::text(&self.headers, header::ETAG)
            .ok_or(Failure::Unusable("an object without an ETag"))
    }

    /// Version that was found, if the bucket has versions.
    pub(crate) fn version(&self) -> Option<&str> {
        versions::version(&self.headers)
    }

    pub(crate) fn state(&self, envelope: &Envelope) -> ObjectState {
        ObjectState::from_headers(&self.headers, self.stored, envelope)
    }

    /// Whether the body ends in a seal (FORMAT, "Body").
    pub(crate) fn has_seal(&self, envelope: &Envelope) -> bool {
        match envelope.layout {
            Layout::Single => false,
            Layout::Multipart => self.length >= PADDED_FROM,
        }
    }
}
