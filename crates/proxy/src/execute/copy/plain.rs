//! A copy of an object that is not sealed: read, and sealed on its way.
//!
//! The copy is a new object like any other, under a data key of its own. Content up to the held
//! limit is read whole, so that a checksum that the client asks for can be stored; that of longer
//! content is known only when the envelope has gone ahead, so it is answered and not stored.

use std::sync::Arc;

use http::{HeaderMap, Method, header};
use http_body_util::BodyExt;
use s3proxy_envelope::header::Layout;
use s3proxy_envelope::layout::{MAX_PUT_OBJECT, PlaintextLength};
use s3proxy_envelope::object::ObjectSealer;
use s3proxy_protocol::checksum::{ChecksumAlgorithm, Checksummer};
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::operation::Operation;
use s3proxy_protocol::{conditional, etag, header_rules, http_date};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::carried::{self, Directive, Directives};
use super::{Copied, sealed, tags, wanted_checksum};
use crate::backend::{BackendError, BodyStream, RequestBody};
use crate::body::buffers::{PIECE_BYTES, STREAM_BYTES};
use crate::body::replaying::Replay;
use crate::body::sealing::SealingBody;
use crate::execute::answer::{self, Backed};
use crate::execute::new_object::{
    self, Checksum, NewObject, Place, insert_envelope, refuse_reserved_metadata,
};
use crate::execute::put_object::{expect_result, seal_held};
use crate::execute::source::{self, Found, PlaintextBody, Source};
use crate::execute::{Job, Outcome};
use crate::respond::Failure;

const FULL_OBJECT: &str = "FULL_OBJECT";

/// S3's form in documents: to the millisecond, in UTC.
const FORM: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// Reads what was found, and stores it sealed.
pub(super) async fn copy(
    job: &Job<'_>,
    directives: &Directives,
    source: &Source<'_>,
    found: &Found,
) -> Outcome<Copied> {
    let wanted = wanted_checksum(&job.request.headers)?;
    if found.length > MAX_PUT_OBJECT {
        return Err(too_large(found.length));
    }
    let outgoing = outgoing_headers(job, directives, source, found).await?;
    let content = source::open(job, source, found, None).await?;
    let replay = Replay::new(content, found.length.0);
    let (backed, checksum) = if found.length.0 <= job.parts.held_body_bytes {
        put_held(job, replay, found.length, outgoing, wanted).await?
    } else {
        put_stream(job, replay, found.length, outgoing, wanted).await?
    };
    Ok(Copied {
        headers: sealed::client_headers(&backed.headers, found),
        etag: client_etag(&backed.headers),
        last_modified: date(&backed.headers),
        checksum: checksum.map(|(algorithm, value)| (algorithm, value.to_base64(), FULL_OBJECT)),
    })
}

/// The headers of a PutObject that makes the copy.
async fn outgoing_headers(
    job: &Job<'_>,
    directives: &Directives,
    source: &Source<'_>,
    found: &Found,
) -> Outcome<HeaderMap> {
    let client = &job.request.headers;
    let mut outgoing = header_rules::backend_request_headers(Operation::PutObject, client);
    conditional::map_to_backend(&mut outgoing)?;
    match directives.metadata {
        Directive::Copy => carried::carry(&mut outgoing, &found.headers, &job.parts.dek_tag),
        Directive::Replace => refuse_reserved_metadata(job.parts, &outgoing)?,
    }
    match directives.tagging {
        Directive::Copy => {
            outgoing.remove(tags::TAGGING);
            if let Some(tags) = tags::of(job, source, found).await? {
                outgoing.insert(tags::TAGGING, tags);
            }
        }
        Directive::Replace => {}
    }
    Ok(outgoing)
}

async fn put_held(
    job: &Job<'_>,
    mut content: Replay<PlaintextBody>,
    length: PlaintextLength,
    mut outgoing: HeaderMap,
    wanted: Option<ChecksumAlgorithm>,
) -> Outcome<(Backed, Option<Checksum>)> {
    let length = usize::try_from(length.0).expect("a held body fits memory");
    // Plaintext and stored form are held side by side for a moment.
    let _share = job.parts.budget.share(2 * length + PIECE_BYTES).await?;
    let mut plaintext = Vec::with_capacity(length);
    content.read_to_end(&mut plaintext).await?;
    let checksum = wanted.map(|algorithm| {
        let mut checksummer = Checksummer::new(algorithm);
        checksummer.update(&plaintext);
        (algorithm, checksummer.finish())
    });
    let object = begin(job, &mut outgoing, checksum.as_ref());
    let (head, sealed) = seal_held(&object.dek, &plaintext);
    drop(plaintext);
    insert_envelope(job.parts, &mut outgoing, &object.envelope(Some(head)))?;
    let backed = put(job, outgoing, RequestBody::Held(sealed)).await?;
    Ok((backed, checksum))
}

async fn put_stream(
    job: &Job<'_>,
    content: Replay<PlaintextBody>,
    length: PlaintextLength,
    mut outgoing: HeaderMap,
    wanted: Option<ChecksumAlgorithm>,
) -> Outcome<(Backed, Option<Checksum>)> {
    let object = begin(job, &mut outgoing, None);
    let sealer = ObjectSealer::new(&object.dek, length, job.parts.pool.take());
    insert_envelope(
        job.parts,
        &mut outgoing,
        &object.envelope(Some(*sealer.head())),
    )?;
    let total = sealer.stored_length().0;
    let share = job.parts.budget.share(STREAM_BYTES).await?;
    let mut sealing = SealingBody::new(content, sealer, Arc::clone(&job.parts.pool), share);
    if let Some(algorithm) = wanted {
        sealing.measure(algorithm);
    }
    let (fault, checksum) = (sealing.fault(), sealing.checksum());
    let begun = sealing.prefetch().await;
    let body = RequestBody::Stream {
        length: total,
        body: BodyStream::new(sealing.map_err(Into::into)),
    };
    let put = match begun {
        Ok(()) => put(job, outgoing, body).await,
        Err(error) => Err(BackendError::RequestBody(error.into()).into()),
    };
    // What was wrong with the source explains whatever the backend then made of the copy.
    if let Some(fault) = fault.take() {
        return Err(fault.into());
    }
    Ok((put?, checksum.get().cloned()))
}

fn begin<'a>(
    job: &Job<'a>,
    outgoing: &mut HeaderMap,
    checksum: Option<&Checksum>,
) -> NewObject<'a> {
    let private = new_object::private_map(job.parts, outgoing, checksum);
    NewObject::new(job.parts, Layout::Single, Place::of(job), &private)
}

async fn put(job: &Job<'_>, headers: HeaderMap, body: RequestBody) -> Outcome<Backed> {
    let mut request = answer::request_for(job, Method::PUT);
    request.headers = headers;
    request.body = body;
    expect_result(job, job.parts.backend.send(request).await?).await
}

fn client_etag(headers: &HeaderMap) -> String {
    let text = headers
        .get(header::ETAG)
        .and_then(|value| value.to_str().ok());
    etag::to_client(text.unwrap_or_default().trim().trim_matches('"')).into_owned()
}

/// When the backend answered, as documents spell times: a PutObject's answer has no other.
pub(super) fn date(headers: &HeaderMap) -> String {
    let text = headers
        .get(header::DATE)
        .and_then(|value| value.to_str().ok());
    let time = text.and_then(http_date::parse);
    let time = time.unwrap_or_else(OffsetDateTime::now_utc);
    time.format(FORM)
        .expect("every component is part of a time")
}

fn too_large(length: PlaintextLength) -> Failure {
    Failure::Refused(S3Error::new(
        ErrorCode::InvalidRequest,
        format!(
            "The specified copy source is larger than the maximum allowable size for a copy \
             source: it has {} bytes, and {} are sealed at once; copy it in parts.",
            length.0, MAX_PUT_OBJECT.0
        ),
    ))
}
