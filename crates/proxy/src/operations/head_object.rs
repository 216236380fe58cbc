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

use crate::body::outbound::ResponseBody;
use crate::config::resolved::Metadata;
use crate::failure::{Failure, Outcome};
use crate::keys::legacy::LegacyEnvelope;
use crate::objects::call::{client_headers, failure_of};
use crate::objects::delivery::{Delivery, PartStructure, RequestedPortion};
use crate::objects::plaintext_headers;
use crate::objects::read::{self, Found, Source};
use crate::objects::replaced::retry_replaced;
use crate::objects::stored::{self, Form};
use crate::operations::Job;
use crate::operations::get_object::{as_it_applies, first_request, not_modified, respond_as_it_is};
use crate::operations::plaintext_response::{respond, wants_checksum};
use crate::s3_request::ObjectRead;

/// Handles HeadObject.
pub(crate) async fn head_object(
    job: &Job<'_>,
    object: &ObjectRead,
) -> Outcome<Response<ResponseBody>> {
    let source = job.source(object.version.as_ref())?;
    retry_replaced(|| head(job, &source, object.portion)).await
}

async fn head(
    job: &Job<'_>,
    source: &Source<'_>,
    requested: RequestedPortion,
) -> Outcome<Response<ResponseBody>> {
    let request = first_request(job, source, Method::HEAD);
    let backed = job.call.send(request).await?;
    match backed.status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {}
        StatusCode::NOT_MODIFIED => return Ok(not_modified(job, source, &backed.headers).await),
        _ => return Err(failure_of(backed).await),
    }
    let found = Found::from_headers(&job.call, source, backed.headers)?;
    let requested = as_it_applies(job, requested, &found.headers);
    match &found.form {
        Form::Sealed(envelope) => sealed(job, source, &found, envelope, requested).await,
        Form::Legacy(envelope) => legacy(job, source, &found, envelope, requested),
        Form::Plain => {
            stored::permit_plain(&job.call, source.object)?;
            plain(job, source, found, requested).await
        }
    }
}

async fn sealed(
    job: &Job<'_>,
    source: &Source<'_>,
    found: &Found,
    envelope: &Envelope,
    requested: RequestedPortion,
) -> Outcome<Response<ResponseBody>> {
    let length = found.length.0;
    requested.check(length)?;
    let wants_checksum = wants_checksum(job);
    let needs_seal = found.has_seal(envelope)
        && match requested {
            RequestedPortion::Whole => wants_checksum,
            RequestedPortion::Range(_) => false,
            RequestedPortion::Part(_) => true,
        };
    let mut headers = plaintext_headers::sealed_headers(&job.call, &found.headers);
    let (private, layout) = if needs_seal || needs_data_key(job, envelope) {
        let dek = read::unwrap(&job.call, source, envelope).await?;
        let private = plaintext_headers::private_map(source, envelope, &dek)?;
        let layout = if needs_seal {
            Some(read::layout(&job.call, source, found, envelope, &dek).await?)
        } else {
            None
        };
        (private, layout)
    } else {
        read::check(&job.call, source, envelope)?;
        (None, None)
    };
    if let Some(private) = &private {
        plaintext_headers::replace_user_metadata(&job.call, &mut headers, private)?;
    }
    let seal = layout.as_ref().and_then(|layout| layout.seal());
    if wants_checksum {
        plaintext_headers::add_checksums(&mut headers, requested, private.as_ref(), seal);
    }
    let parts = match (envelope.layout, seal) {
        (Layout::Single, _) => PartStructure::None,
        (Layout::Multipart, None) => PartStructure::One,
        (Layout::Multipart, Some(seal)) => PartStructure::Listed(seal),
    };
    let delivery = Delivery::resolve(requested, length, parts)?;
    Ok(respond(headers, delivery, length, ResponseBody::empty()))
}

/// Whether the response needs the data key: for the private map, or to be sure that the object has
/// none. An envelope whose map was removed does not unwrap, since the binding covers the flags.
fn needs_data_key(job: &Job<'_>, envelope: &Envelope) -> bool {
    let may_miss_metadata = match job.call.store.policy.metadata {
        Metadata::Sealed => true,
        Metadata::Plain => false,
    };
    envelope.private.is_some() || may_miss_metadata || wants_checksum(job)
}

/// Serves an object in a legacy format, whose length follows from the stored length.
fn legacy(
    job: &Job<'_>,
    source: &Source<'_>,
    found: &Found,
    envelope: &LegacyEnvelope,
    requested: RequestedPortion,
) -> Outcome<Response<ResponseBody>> {
    read::check_legacy(&job.call, source, envelope)?;
    let headers = plaintext_headers::sealed_headers(&job.call, &found.headers);
    let delivery = Delivery::resolve(requested, found.length.0, PartStructure::None)?;
    let body = ResponseBody::empty();
    Ok(respond(headers, delivery, found.length.0, body))
}

async fn plain(
    job: &Job<'_>,
    source: &Source<'_>,
    found: Found,
    requested: RequestedPortion,
) -> Outcome<Response<ResponseBody>> {
    let length = found.length.0;
    let number = match requested {
        RequestedPortion::Part(number) => number,
        RequestedPortion::Whole | RequestedPortion::Range(_) => {
            let mut headers = client_headers(&found.headers);
            stored::remove_envelope(&mut headers, &job.call.store.dek_tag);
            let delivery = Delivery::resolve(requested, length, PartStructure::None)?;
            return Ok(respond(headers, delivery, length, ResponseBody::empty()));
        }
    };
    let mut request = first_request(job, source, Method::HEAD);
    let number = number.get().to_string();
    request.query.push(("partNumber".to_owned(), Some(number)));
    let backed = job.call.expect_success(request).await?;
    // The object may have been replaced by a sealed one.
    match stored::form(&backed.headers, &job.call.store.dek_tag)? {
        Form::Plain => {
            let body = ResponseBody::empty();
            Ok(respond_as_it_is(job, backed.status, &backed.headers, body))
        }
        Form::Sealed(_) | Form::Legacy(_) => Err(Failure::Replaced),
    }
}
