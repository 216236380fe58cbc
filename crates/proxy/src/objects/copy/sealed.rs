//! A copy that moves no data: the backend copies the body, and the proxy makes a new envelope.
//!
//! The data key is kept, since it opens the body; it is wrapped for the new place, and the private
//! part of the envelope is sealed for it again. If a backend's failure may come from the pin, the
//! source is checked, and the copy starts again if it was replaced. Ceph's gateway (16) ignores the
//! pin. A copy whose ETag is not the source's, and whose source was not named by its version, is
//! therefore accepted only if the source has not changed. Otherwise the copy is repeated, which
//! overwrites a body and an envelope that may not belong together and that cannot be opened.

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

/// Response timeout of copies: a backend's work on one is proportional to the object's size.
pub(super) const COPY_TIMEOUT: Duration = Duration::from_hours(1);

/// S3's limit for one CopyObject, in stored bytes.
pub(super) const MAX_STORED_BYTES: u64 = 5 << 30;

pub(super) const COPY_SOURCE: HeaderName = HeaderName::from_static("x-amz-copy-source");

pub(super) const PIN: HeaderName = HeaderName::from_static("x-amz-copy-source-if-match");

/// The client's conditions on the source, which the proxy has judged itself.
const JUDGED: [HeaderName; 4] = [
    PIN,
    HeaderName::from_static("x-amz-copy-source-if-modified-since"),
    HeaderName::from_static("x-amz-copy-source-if-none-match"),
    HeaderName::from_static("x-amz-copy-source-if-unmodified-since"),
];

/// Copies the sealed object `found` to the request's bucket and key.
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
            // Only user metadata is replaced: the stored checksums still fit the content.
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

/// Pins the copy to the state of the source that was looked up, under the metadata in the request.
fn pin(job: &Job<'_>, outgoing: &mut HeaderMap, found: &Found) -> Outcome<()> {
    for name in JUDGED {
        outgoing.remove(name);
    }
    let named = job.request.copy_source.as_ref();
    let named = named.expect("requests for copies have a source");
    // The version that was seen pins the source even if a backend ignores the ETag.
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
    // Only these can come from the pin. A HEAD shows whether the source really changed.
    let may_be_the_pin = [StatusCode::PRECONDITION_FAILED, StatusCode::NOT_FOUND];
    if may_be_the_pin.contains(&answered.status) && origin::is_replaced(job, source, found).await? {
        return Err(Failure::Replaced);
    }
    // Limits differ between backends: the size explains a refusal, it does not predict one.
    let refuses_size = ["InvalidRequest", "EntityTooLarge"];
    if found.stored.0 > MAX_STORED_BYTES && refuses_size.contains(&answered.document.code.as_str())
    {
        return Err(too_large(found.length));
    }
    Err(failure)
}

/// Makes sure that the backend copied the state of the source that was looked up.
async fn confirm(
    job: &Job<'_>,
    source: &Source<'_>,
    found: &Found,
    result: &CopyResult,
) -> Outcome<()> {
    let same_etag = origin::etag(found)?.trim_matches('"') == result.etag;
    // The content of a version never changes, except that of `null`, which can be overwritten.
    let is_versioned = origin::version(found).is_some_and(|version| version != "null");
    // The order saves requests: a HEAD is sent only if neither ETag nor version settles it.
    if same_etag || is_versioned || !origin::is_replaced(job, source, found).await? {
        Ok(())
    } else {
        Err(Failure::Replaced)
    }
}

/// Result document of a copy, or the failure: an error document may follow a status of 200.
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

/// Checksum of the plaintext. A multipart object has it in its seal, which is read only for clients
/// that request an algorithm.
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

/// The backend's response headers without those that describe its document.
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
