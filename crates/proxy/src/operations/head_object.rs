//! HeadObject: as GetObject, without a body.
//!
//! Usually takes one backend request. A second one, for the seal, follows only if the client
//! requests a part or the checksum of a multipart object and the layout is not cached; and for a
//! part of an object that is not sealed, whose parts only the backend knows.
//!
//! A sealed object's place is always checked. Its data key is unwrapped only if the response needs
//! it, or if sealed metadata could have been removed ([`needs_data_key`]): other HEAD requests
//! succeed while a key service is down.

use http::{Method, Response, StatusCode};
use s3proxy_envelope::header::{Envelope, Layout};

use super::delivery::{Asked, Delivery, Parts, respond};
use super::get_object::{as_it_applies, first_request, not_modified, respond_as_it_is};
use super::plaintext_headers;
use super::source::{self, Found, Source};
use super::stored::{self, Form};
use super::{Job, Outcome, answer};
use crate::body::outbound::ResponseBody;
use crate::config::resolved::Metadata;
use crate::keys::legacy::LegacyEnvelope;
use crate::respond::Failure;

/// Handles HeadObject.
pub(crate) async fn head_object(job: &Job<'_>) -> Outcome<Response<ResponseBody>> {
    let asked = Asked::of(job)?;
    let source = source::own(job)?;
    for _ in 1..source::READS {
        match head(job, &source, asked).await {
            Err(Failure::Replaced) => {}
            outcome => return outcome,
        }
    }
    head(job, &source, asked).await
}

async fn head(job: &Job<'_>, source: &Source<'_>, asked: Asked) -> Outcome<Response<ResponseBody>> {
    let request = first_request(job, source, Method::HEAD);
    let backed = answer::receive(job, job.parts.backend.send(request).await?);
    match backed.status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {}
        StatusCode::NOT_MODIFIED => return Ok(not_modified(job, source, &backed.headers).await),
        _ => return Err(answer::refused(job, backed).await),
    }
    let found = Found::of(job, source, backed.headers)?;
    let asked = as_it_applies(job, asked, &found.headers);
    match &found.form {
        Form::Sealed(envelope) => sealed(job, source, &found, envelope, asked).await,
        Form::Legacy(envelope) => legacy(job, source, &found, envelope, asked),
        Form::Plain => {
            stored::permit_plain(job, source.bucket, source.object_key)?;
            plain(job, source, found, asked).await
        }
    }
}

async fn sealed(
    job: &Job<'_>,
    source: &Source<'_>,
    found: &Found,
    envelope: &Envelope,
    asked: Asked,
) -> Outcome<Response<ResponseBody>> {
    let length = found.length.0;
    asked.check(length)?;
    let wants_checksum = plaintext_headers::wants_checksum(job);
    let needs_seal = found.has_seal(envelope)
        && match asked {
            Asked::Whole => wants_checksum,
            Asked::Range(_) => false,
            Asked::Part(_) => true,
        };
    let mut headers = plaintext_headers::sealed_headers(job, &found.headers);
    let (private, layout) = if needs_seal || needs_data_key(job, envelope) {
        let dek = source::unwrap(job, source, envelope).await?;
        let private = plaintext_headers::private_map(source, envelope, &dek)?;
        let layout = if needs_seal {
            Some(source::layout(job, source, found, envelope, &dek).await?)
        } else {
            None
        };
        (private, layout)
    } else {
        source::check(job, source, envelope)?;
        (None, None)
    };
    if let Some(private) = &private {
        plaintext_headers::replace_user_metadata(job, &mut headers, private)?;
    }
    let seal = layout.as_ref().and_then(|layout| layout.seal());
    if wants_checksum {
        plaintext_headers::add_checksums(&mut headers, asked, private.as_ref(), seal);
    }
    let parts = match (envelope.layout, seal) {
        (Layout::Single, _) => Parts::None,
        (Layout::Multipart, None) => Parts::One,
        (Layout::Multipart, Some(seal)) => Parts::Listed(seal),
    };
    let delivery = Delivery::of(asked, length, parts)?;
    Ok(respond(headers, delivery, length, ResponseBody::empty()))
}

/// Whether the response needs the data key: for the private map, or to be sure that the object has
/// none. An envelope whose map was removed does not unwrap, since the binding covers the flags.
fn needs_data_key(job: &Job<'_>, envelope: &Envelope) -> bool {
    let may_miss_metadata = match job.parts.policy.metadata {
        Metadata::Sealed => true,
        Metadata::Plain => false,
    };
    envelope.private.is_some() || may_miss_metadata || plaintext_headers::wants_checksum(job)
}

/// Serves an object in a legacy format, whose length follows from the stored length.
fn legacy(
    job: &Job<'_>,
    source: &Source<'_>,
    found: &Found,
    envelope: &LegacyEnvelope,
    asked: Asked,
) -> Outcome<Response<ResponseBody>> {
    source::check_legacy(job, source, envelope)?;
    let headers = plaintext_headers::sealed_headers(job, &found.headers);
    let delivery = Delivery::of(asked, found.length.0, Parts::None)?;
    let body = ResponseBody::empty();
    Ok(respond(headers, delivery, found.length.0, body))
}

async fn plain(
    job: &Job<'_>,
    source: &Source<'_>,
    found: Found,
    asked: Asked,
) -> Outcome<Response<ResponseBody>> {
    let length = found.length.0;
    let number = match asked {
        Asked::Part(number) => number,
        Asked::Whole | Asked::Range(_) => {
            let mut headers = answer::client_headers(&found.headers);
            stored::remove_envelope(&mut headers, &job.parts.dek_tag);
            let delivery = Delivery::of(asked, length, Parts::None)?;
            return Ok(respond(headers, delivery, length, ResponseBody::empty()));
        }
    };
    let mut request = first_request(job, source, Method::HEAD);
    let number = number.get().to_string();
    request.query.push(("partNumber".to_owned(), Some(number)));
    let backed = answer::expect_success(job, job.parts.backend.send(request).await?).await?;
    // The object may have been replaced by a sealed one.
    match stored::form(&backed.headers, &job.parts.dek_tag)? {
        Form::Plain => {
            let body = ResponseBody::empty();
            Ok(respond_as_it_is(job, backed.status, &backed.headers, body))
        }
        Form::Sealed(_) | Form::Legacy(_) => Err(Failure::Replaced),
    }
}
