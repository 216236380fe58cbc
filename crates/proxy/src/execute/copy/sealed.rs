//! A copy that moves no data: the backend copies the body, and the envelope is made anew.
//!
//! The data key stays, since it opens the body; it is wrapped for the new place, and what the
//! envelope keeps private is sealed again for it. A backend's failure that the pin may explain is
//! looked into: where the source is another by now, the copy starts again. Ceph's gateway (16) does
//! not know the pin at all. So a copy whose ETag is not the source's, and whose source no version
//! names, is believed only when the source is still what it was; otherwise it is made again, over a
//! body and an envelope that may not belong together and that nobody can open.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use s3proxy_envelope::dek::Dek;
use s3proxy_envelope::header::{Envelope, Layout, PrivateMap};
use s3proxy_envelope::layout::PlaintextLength;
use s3proxy_protocol::checksum::ChecksumAlgorithm;
use s3proxy_protocol::copy_source::CopySource;
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::etag;
use s3proxy_protocol::xml::copy::CopyResult;

use super::carried::{self, Directive, Directives, METADATA_DIRECTIVE};
use super::tags::{self, Tags};
use super::{Copied, origin, times, wanted_checksum};
use crate::backend::Request;
use crate::execute::answer::{self, Backed};
use crate::execute::embedded;
use crate::execute::new_object::{self, NewObject, Place, insert_envelope};
use crate::execute::plaintext_headers::{self, Checksums};
use crate::execute::source::{self, Found, Source};
use crate::execute::{Job, Outcome};
use crate::respond::Failure;

/// Backends work on a copy in proportion to its size before they answer.
pub(super) const COPY_TIMEOUT: Duration = Duration::from_hours(1);

/// S3's limit for CopyObject, in stored bytes.
pub(super) const MAX_STORED_BYTES: u64 = 5 << 30;

pub(super) const COPY_SOURCE: HeaderName = HeaderName::from_static("x-amz-copy-source");

pub(super) const PIN: HeaderName = HeaderName::from_static("x-amz-copy-source-if-match");

/// The client's conditions on the source, which were judged.
const JUDGED: [HeaderName; 4] = [
    PIN,
    HeaderName::from_static("x-amz-copy-source-if-modified-since"),
    HeaderName::from_static("x-amz-copy-source-if-none-match"),
    HeaderName::from_static("x-amz-copy-source-if-unmodified-since"),
];

/// Copies what was found.
pub(super) async fn copy(
    job: &Job<'_>,
    directives: &Directives,
    source: &Source<'_>,
    found: &Found,
    envelope: &Envelope,
) -> Outcome<Copied> {
    let wanted = wanted_checksum(&job.request.headers)?;
    let dek = source::unwrap(job, source, envelope).await?;
    let private = plaintext_headers::private_map(source, envelope, &dek)?.unwrap_or_default();
    let mut outgoing = answer::headers_for_backend(job)?;
    let private = match directives.metadata {
        Directive::Copy => {
            carried::carry(&mut outgoing, &found.headers, &job.parts.dek_tag);
            plaintext_headers::remove_forged_metadata(&mut outgoing, &private);
            private
        }
        Directive::Replace => {
            new_object::refuse_reserved_metadata(job.parts, &outgoing)?;
            PrivateMap {
                user_metadata: new_object::private_map(job.parts, &mut outgoing, None)
                    .user_metadata,
                ..private
            }
        }
    };
    let place = Place::of(job);
    let object = NewObject::under(job, envelope.layout, place, &private, dek).await?;
    insert_envelope(job.parts, &mut outgoing, &object.envelope(envelope.head))?;
    pin(job, &mut outgoing, found)?;

    let mut request = answer::request_for(job, Method::PUT);
    request.headers = outgoing;
    let tags = Tags::of(directives.tagging, &request.headers, &found.headers);
    tags::remove_unwanted(directives.tagging, &mut request.headers);
    let (result, backed_headers) = send(job, source, found, request).await?;
    tags.settle(job, source, found, &backed_headers).await?;
    let checksum = checksum(
        job,
        source,
        found,
        envelope,
        (&private, &object.dek),
        wanted,
    )
    .await?;
    Ok(Copied {
        headers: client_headers(&backed_headers, found),
        etag: etag::to_client(&result.etag).into_owned(),
        last_modified: match result.last_modified {
            Some(time) => time,
            None => times::answered(&backed_headers),
        },
        checksum,
    })
}

/// Has the backend copy what was found and nothing else, under the metadata that go along.
fn pin(job: &Job<'_>, outgoing: &mut HeaderMap, found: &Found) -> Outcome<()> {
    for name in JUDGED {
        outgoing.remove(name);
    }
    let named = job.request.copy_source.as_ref();
    let named = named.expect("requests for copies have a source");
    let seen = CopySource {
        version_id: origin::version(found)
            .map(str::to_owned)
            .or_else(|| named.version_id.clone()),
        ..named.clone()
    };
    let seen = HeaderValue::try_from(seen.encode()).expect("percent-encoded text is ASCII");
    let etag = HeaderValue::try_from(origin::etag(found)?).expect("it was a header's value");
    outgoing.insert(COPY_SOURCE, seen);
    outgoing.insert(PIN, etag);
    outgoing.insert(METADATA_DIRECTIVE, HeaderValue::from_static("REPLACE"));
    Ok(())
}

async fn send(
    job: &Job<'_>,
    source: &Source<'_>,
    found: &Found,
    mut request: Request,
) -> Outcome<(CopyResult, HeaderMap)> {
    request.response_timeout = Some(COPY_TIMEOUT);
    let backed = answer::receive(job, job.parts.backend.send(request).await?);
    let headers = backed.headers.clone();
    let failure = match result(job, backed).await {
        Ok(result) => {
            confirm(job, source, found, &result).await?;
            return Ok((result, headers));
        }
        Err(failure) => failure,
    };
    let Failure::Answer(answered) = &failure else {
        return Err(failure);
    };
    let may_be_the_pin = [StatusCode::PRECONDITION_FAILED, StatusCode::NOT_FOUND];
    if may_be_the_pin.contains(&answered.status) && origin::is_replaced(job, source, found).await? {
        return Err(Failure::Replaced);
    }
    let refuses_size = ["InvalidRequest", "EntityTooLarge"];
    if found.stored.0 > MAX_STORED_BYTES && refuses_size.contains(&answered.document.code.as_str())
    {
        return Err(too_large(found.length));
    }
    Err(failure)
}

/// Makes sure that the backend copied what was found.
async fn confirm(
    job: &Job<'_>,
    source: &Source<'_>,
    found: &Found,
    result: &CopyResult,
) -> Outcome<()> {
    let same_etag = origin::etag(found)?.trim_matches('"') == result.etag;
    let is_versioned = origin::version(found).is_some_and(|version| version != "null");
    if same_etag || is_versioned || !origin::is_replaced(job, source, found).await? {
        Ok(())
    } else {
        Err(Failure::Replaced)
    }
}

/// The document of a copy, unless it is an error's.
pub(super) async fn result(job: &Job<'_>, backed: Backed) -> Outcome<CopyResult> {
    if !backed.status.is_success() {
        return Err(answer::refused(job, backed).await);
    }
    let document = embedded::document(backed).await?;
    CopyResult::parse(&document).map_err(|_| Failure::Unusable("a copy without a result"))
}

fn too_large(length: PlaintextLength) -> Failure {
    Failure::Refused(S3Error::new(
        ErrorCode::InvalidRequest,
        format!(
            "The specified copy source is larger than the maximum allowable size for a copy \
             source: it has {} bytes, and the storage copies no more than 5 GiB at once, \
             encryption included; copy it in parts.",
            length.0
        ),
    ))
}

/// The checksum that the plaintext has. That of a multipart body stands in its seal, which is read
/// only for a client that asks for an algorithm.
async fn checksum(
    job: &Job<'_>,
    source: &Source<'_>,
    found: &Found,
    envelope: &Envelope,
    (private, dek): (&PrivateMap, &Dek),
    wanted: Option<ChecksumAlgorithm>,
) -> Outcome<Option<(ChecksumAlgorithm, String, &'static str)>> {
    let layout = match (envelope.layout, wanted) {
        (Layout::Multipart, Some(_)) => {
            Some(source::layout(job, source, found, envelope, dek).await?)
        }
        (Layout::Multipart, None) | (Layout::Single, _) => None,
    };
    let seal = layout.as_ref().and_then(|layout| layout.seal());
    let checksums = Checksums::of(Some(private), seal);
    let mut spelled = checksums.iter().flat_map(Checksums::spelled);
    Ok(spelled.find(|(algorithm, _, _)| wanted.is_none_or(|wanted| wanted == *algorithm)))
}

/// The backend's headers without those of its document.
pub(super) fn client_headers(backed: &HeaderMap, found: &Found) -> HeaderMap {
    let mut headers = answer::client_headers(backed);
    for name in [
        http::header::CONTENT_TYPE,
        http::header::ETAG,
        http::header::LAST_MODIFIED,
    ] {
        headers.remove(name);
    }
    origin::insert_version(&mut headers, found);
    headers
}
