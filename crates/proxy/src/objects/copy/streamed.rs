//! A copy of an object that is plain or in a legacy format: read, and sealed on its way.
//!
//! The copy is a new object with its own data key. Content up to the held limit is read whole,
//! which allows storing a checksum that the client requests. The checksum of longer content is
//! known only after the envelope was sent, so it is returned but not stored. Content that is too
//! large for one PutObject is copied in parts ([`large`]).

use http::{HeaderMap, Method, header};
use s3proxy_envelope::dek::Dek;
use s3proxy_envelope::header::Layout;
use s3proxy_envelope::layout::{MAX_PUT_OBJECT, PlaintextLength};
use s3proxy_envelope::object::ObjectSealer;
use s3proxy_protocol::checksum::{ChecksumAlgorithm, Checksummer};
use s3proxy_protocol::operation::Operation;
use s3proxy_protocol::{conditional, etag, header_rules};

use super::carried::{self, Directive, Directives};
use super::{Copied, FULL_OBJECT, large, sealed, tags, times, wanted_checksum};
use crate::backend::{Request, RequestBody};
use crate::body::buffers::PIECE_BYTES;
use crate::body::replaying::Replay;
use crate::execute::answer::{self, Backed};
use crate::execute::new_object::{
    self, Checksum, NewObject, ObjectKey, Place, insert_envelope, refuse_reserved_metadata,
};
use crate::execute::put_object::{expect_result, seal_held};
use crate::execute::sealed_stream::send_sealed;
use crate::execute::source::{self, Found, PlaintextBody, Source};
use crate::execute::stored::Form;
use crate::execute::{Job, Outcome, plaintext_headers, unsealed};

/// Reads the content of `found`, and stores it sealed with the metadata that the directives select.
pub(super) async fn copy(
    job: &Job<'_>,
    directives: &Directives,
    source: &Source<'_>,
    found: &Found,
) -> Outcome<Copied> {
    let wanted = wanted_checksum(&job.request.headers)?;
    let outgoing = outgoing_headers(job, directives, source, found).await?;
    store(job, source, found, outgoing, wanted).await
}

/// Reads the content of `found`, and stores it sealed under `outgoing`, the headers of a PutObject.
pub(super) async fn store(
    job: &Job<'_>,
    source: &Source<'_>,
    found: &Found,
    outgoing: HeaderMap,
    wanted: Option<ChecksumAlgorithm>,
) -> Outcome<Copied> {
    if found.length > MAX_PUT_OBJECT {
        return large::copy(job, source, found, outgoing, wanted).await;
    }
    // First, so that no content is held in memory while the key service is asked.
    let key = ObjectKey::of(job, Place::of(job)).await?;
    let content = source::open(job, source, found, None).await?;
    let replay = Replay::new(content, found.length.0);
    let (backed, checksum) = if found.length.0 <= job.parts.held_body_bytes {
        put_held(job, &key, replay, found.length, outgoing, wanted).await?
    } else {
        put_stream(job, &key, replay, found.length, outgoing, wanted).await?
    };
    Ok(Copied {
        headers: sealed::client_headers(&backed.headers, found),
        etag: client_etag(&backed.headers),
        last_modified: times::answered(&backed.headers),
        checksum: checksum.map(|(algorithm, value)| (algorithm, value.to_base64(), FULL_OBJECT)),
    })
}

/// Reads the content of `found`, sealed or not, and stores it as plaintext (`encryption = "off"`).
pub(super) async fn copy_unsealed(
    job: &Job<'_>,
    directives: &Directives,
    source: &Source<'_>,
    found: &Found,
) -> Outcome<Copied> {
    let mut outgoing = outgoing_headers(job, directives, source, found).await?;
    if let (Form::Sealed(envelope), Directive::Copy) = (&found.form, directives.metadata) {
        // HEAD does not show sealed user metadata; the plain copy carries it in the open.
        let dek = source::unwrap(job, source, envelope).await?;
        if let Some(private) = plaintext_headers::private_map(source, envelope, &dek)? {
            plaintext_headers::replace_user_metadata(job, &mut outgoing, &private)?;
        }
    }
    let content = source::open(job, source, found, None).await?;
    let backed = unsealed::store_content(job, content, found.length, outgoing).await?;
    let etag = backed.headers.get(header::ETAG);
    let etag = etag.and_then(|value| value.to_str().ok());
    Ok(Copied {
        headers: sealed::client_headers(&backed.headers, found),
        etag: etag.unwrap_or_default().trim().trim_matches('"').to_owned(),
        last_modified: times::answered(&backed.headers),
        checksum: None,
    })
}

/// Headers of the PutObject that makes the copy.
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
            // CopyObject with COPY ignores the header, but the PutObject sent here would apply it.
            outgoing.remove(tags::TAGGING);
            if let Some(tags) = tags::header_of_source(job, source, found).await? {
                outgoing.insert(tags::TAGGING, tags);
            }
        }
        Directive::Replace => {}
    }
    Ok(outgoing)
}

async fn put_held(
    job: &Job<'_>,
    key: &ObjectKey<'_>,
    mut content: Replay<PlaintextBody>,
    length: PlaintextLength,
    mut outgoing: HeaderMap,
    wanted: Option<ChecksumAlgorithm>,
) -> Outcome<(Backed, Option<Checksum>)> {
    let length = usize::try_from(length.0).expect("a held body fits memory");
    // Plaintext and stored form are both in memory while the body is sealed.
    let _share = job.share(2 * length + PIECE_BYTES).await?;
    let mut plaintext = Vec::with_capacity(length);
    content.read_to_end(&mut plaintext).await?;
    let checksum = wanted.map(|algorithm| {
        let mut checksummer = Checksummer::new(algorithm);
        checksummer.update(&plaintext);
        (algorithm, checksummer.finish())
    });
    let object = begin(job, key, &mut outgoing, checksum.as_ref());
    let (head, sealed) = seal_held(&object.dek, &plaintext);
    drop(plaintext);
    insert_envelope(job.parts, &mut outgoing, &object.envelope(Some(head)))?;
    let request = put_request(job, outgoing, RequestBody::Held(sealed));
    let backed = expect_result(job, job.parts.backend.send(request).await?).await?;
    Ok((backed, checksum))
}

async fn put_stream(
    job: &Job<'_>,
    key: &ObjectKey<'_>,
    content: Replay<PlaintextBody>,
    length: PlaintextLength,
    mut outgoing: HeaderMap,
    wanted: Option<ChecksumAlgorithm>,
) -> Outcome<(Backed, Option<Checksum>)> {
    let object = begin(job, key, &mut outgoing, None);
    let sealer = ObjectSealer::new(&object.dek, length, job.parts.pool.take());
    insert_envelope(
        job.parts,
        &mut outgoing,
        &object.envelope(Some(*sealer.head())),
    )?;
    let put = |body| put_request(job, outgoing, body);
    send_sealed(job, content, sealer, wanted, put).await
}

fn begin(
    job: &Job<'_>,
    key: &ObjectKey<'_>,
    outgoing: &mut HeaderMap,
    checksum: Option<&Checksum>,
) -> NewObject {
    let private = new_object::private_map(job.parts, outgoing, checksum);
    NewObject::wrapped(job, key, Layout::Single, &private, Dek::generate())
}

fn put_request(job: &Job<'_>, headers: HeaderMap, body: RequestBody) -> Request {
    let mut request = answer::request_for(job, Method::PUT);
    request.headers = headers;
    request.body = body;
    request
}

fn client_etag(headers: &HeaderMap) -> String {
    let text = headers
        .get(header::ETAG)
        .and_then(|value| value.to_str().ok());
    etag::to_client(text.unwrap_or_default().trim().trim_matches('"')).into_owned()
}
