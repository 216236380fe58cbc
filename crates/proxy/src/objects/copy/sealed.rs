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
use s3proxy_protocol::etag::ETag;
use s3proxy_protocol::headers::{
    COPY_SOURCE, COPY_SOURCE_IF_MATCH, COPY_SOURCE_IF_MODIFIED_SINCE, COPY_SOURCE_IF_NONE_MATCH,
    COPY_SOURCE_IF_UNMODIFIED_SINCE, METADATA_DIRECTIVE,
};
use s3proxy_protocol::ids::VersionId;
use s3proxy_protocol::operation::Operation;
use s3proxy_protocol::xml::copy::CopyResult;
use s3proxy_protocol::{conditional, header_rules};

use super::{CopyOrder, wanted_checksum};
use crate::backend::Request;
use crate::failure::{Failure, Outcome};
use crate::objects::call::{BackendResponse, failure_of};
use crate::objects::copy_directives::{self, Directive};
use crate::objects::new_object::{self, NewObject, insert_envelope};
use crate::objects::plaintext_headers::{self, Checksums};
use crate::objects::read::{self, Found, Source};
use crate::objects::tags::{self, Tags};
use crate::objects::write::{Copied, written_headers};
use crate::objects::{StoreCall, document_times, embedded_error};

/// Response timeout of copies: a backend's work on one is proportional to the object's size.
pub(crate) const COPY_TIMEOUT: Duration = Duration::from_hours(1);

/// S3's limit for one CopyObject, in stored bytes.
pub(crate) const MAX_STORED_BYTES: u64 = 5 << 30;

/// The client's conditions on the source, which the proxy has judged itself.
const JUDGED: [HeaderName; 4] = [
    COPY_SOURCE_IF_MATCH,
    COPY_SOURCE_IF_MODIFIED_SINCE,
    COPY_SOURCE_IF_NONE_MATCH,
    COPY_SOURCE_IF_UNMODIFIED_SINCE,
];

/// Copies the sealed object `found` to the request's bucket and key.
pub(crate) async fn copy(
    call: &StoreCall<'_>,
    order: &CopyOrder<'_>,
    source: &Source<'_>,
    found: &Found,
    envelope: &Envelope,
) -> Outcome<Copied> {
    let wanted = wanted_checksum(order.headers)?;
    let dek = read::unwrap(call, source, envelope).await?;
    let private = plaintext_headers::private_map(source, envelope, &dek)?.unwrap_or_default();
    let mut outgoing = header_rules::backend_request_headers(Operation::CopyObject, order.headers);
    conditional::map_to_backend(&mut outgoing)?;
    let private = match order.directives.metadata {
        Directive::Copy => {
            copy_directives::carry(&mut outgoing, &found.headers, &call.store.dek_tag);
            plaintext_headers::remove_forged_metadata(&mut outgoing, &private);
            private
        }
        Directive::Replace => {
            new_object::refuse_reserved_metadata(call.store, &outgoing)?;
            // Only user metadata is replaced: the stored checksums still fit the content.
            PrivateMap {
                user_metadata: new_object::private_map(call.store, &mut outgoing, None)
                    .user_metadata,
                ..private
            }
        }
    };
    let object = NewObject::under(call, envelope.layout, order.target, &private, dek).await?;
    insert_envelope(call.store, &mut outgoing, &object.envelope(envelope.head))?;
    pin(order, &mut outgoing, found)?;

    let mut request = call.request(Method::PUT, order.target);
    request.headers = outgoing;
    let tags = Tags::select(order.directives.tagging, &request.headers, &found.headers);
    tags::remove_unwanted(order.directives.tagging, &mut request.headers);
    let (result, backed_headers) = send(call, source, found, request).await?;
    tags.settle(call, order.target, source, found, &backed_headers)
        .await?;
    let checksum = checksum(
        call,
        source,
        found,
        envelope,
        (&private, &object.dek),
        wanted,
    )
    .await?;
    Ok(Copied {
        headers: written_headers(&backed_headers, found),
        etag: result.etag.to_client(),
        last_modified: match result.last_modified {
            Some(time) => time,
            None => document_times::answered(&backed_headers),
        },
        checksum,
    })
}

/// Pins the copy to the state of the source that was looked up, under the metadata in the request.
fn pin(order: &CopyOrder<'_>, outgoing: &mut HeaderMap, found: &Found) -> Outcome<()> {
    for name in JUDGED {
        outgoing.remove(name);
    }
    // The version that was seen pins the source even if a backend ignores the ETag.
    let seen = CopySource {
        version_id: found
            .version()
            .and_then(VersionId::new)
            .or_else(|| order.named.version_id.clone()),
        ..order.named.clone()
    };
    let seen = HeaderValue::try_from(seen.encode()).expect("percent-encoded text is ASCII");
    let etag = HeaderValue::try_from(found.etag()?).expect("it was a header's value");
    outgoing.insert(COPY_SOURCE, seen);
    outgoing.insert(COPY_SOURCE_IF_MATCH, etag);
    outgoing.insert(METADATA_DIRECTIVE, HeaderValue::from_static("REPLACE"));
    Ok(())
}

async fn send(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    found: &Found,
    mut request: Request,
) -> Outcome<(CopyResult, HeaderMap)> {
    request.response_timeout = Some(COPY_TIMEOUT);
    let backed = call.send(request).await?;
    let headers = backed.headers.clone();
    let failure = match result(backed).await {
        Ok(result) => {
            confirm(call, source, found, &result).await?;
            return Ok((result, headers));
        }
        Err(failure) => failure,
    };
    let Failure::Answer(answered) = &failure else {
        return Err(failure);
    };
    // Only these can come from the pin. A HEAD shows whether the source really changed.
    let may_be_the_pin = [StatusCode::PRECONDITION_FAILED, StatusCode::NOT_FOUND];
    if may_be_the_pin.contains(&answered.status) && read::is_replaced(call, source, found).await? {
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
    call: &StoreCall<'_>,
    source: &Source<'_>,
    found: &Found,
    result: &CopyResult,
) -> Outcome<()> {
    let same_etag = ETag::parse(found.etag()?) == result.etag;
    // The content of a version never changes, except that of `null`, which can be overwritten.
    let is_versioned = found.version().is_some_and(|version| version != "null");
    // The order saves requests: a HEAD is sent only if neither ETag nor version settles it.
    if same_etag || is_versioned || !read::is_replaced(call, source, found).await? {
        Ok(())
    } else {
        Err(Failure::Replaced)
    }
}

/// Result document of a copy, or the failure: an error document may follow a status of 200.
pub(crate) async fn result(backed: BackendResponse) -> Outcome<CopyResult> {
    if !backed.status.is_success() {
        return Err(failure_of(backed).await);
    }
    let document = embedded_error::document(backed).await?;
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
    call: &StoreCall<'_>,
    source: &Source<'_>,
    found: &Found,
    envelope: &Envelope,
    (private, dek): (&PrivateMap, &Dek),
    wanted: Option<ChecksumAlgorithm>,
) -> Outcome<Option<(ChecksumAlgorithm, String, &'static str)>> {
    let layout = match (envelope.layout, wanted) {
        (Layout::Multipart, Some(_)) => {
            Some(read::layout(call, source, found, envelope, dek).await?)
        }
        (Layout::Multipart, None) | (Layout::Single, _) => None,
    };
    let seal = layout.as_ref().and_then(|layout| layout.seal());
    let checksums = Checksums::stored(Some(private), seal);
    let mut spelled = checksums.iter().flat_map(Checksums::spelled);
    Ok(spelled.find(|(algorithm, _, _)| wanted.is_none_or(|wanted| wanted == *algorithm)))
}
