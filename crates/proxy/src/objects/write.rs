//! Stores content that was read from another object, sealed on its way.
//!
//! The new object has its own data key. Content up to the held limit is read whole, which allows
//! storing a checksum that is requested. The checksum of longer content is known only after the
//! envelope was sent, so it is returned but not stored. Content that is too large for one PutObject
//! is stored in parts ([`write_in_parts`]).

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use s3proxy_envelope::dek::Dek;
use s3proxy_envelope::header::Layout;
use s3proxy_envelope::layout::{MAX_PUT_OBJECT, PlaintextLength, StoredLength, stored_length};
use s3proxy_envelope::message::MessageHead;
use s3proxy_envelope::object::ObjectSealer;
use s3proxy_protocol::checksum::{ChecksumAlgorithm, Checksummer};
use s3proxy_protocol::etag::{ClientETag, ETag};
use s3proxy_protocol::headers;

use super::call::{BackendResponse, client_headers};
use super::new_object::{self, Checksum, NewObject, SealingTarget, insert_envelope};
use super::read::{self, Found, PlaintextBody, Source};
use super::sealed_stream::send_sealed;
use super::{ObjectRef, StoreCall, document_times, write_in_parts};
use crate::backend::{Request, RequestBody};
use crate::body::buffers::PIECE_BYTES;
use crate::body::replaying::Replay;
use crate::failure::Outcome;

pub(crate) const FULL_OBJECT: &str = "FULL_OBJECT";

/// Where content is stored, and under which headers.
pub(crate) struct Destination<'a> {
    pub(crate) object: ObjectRef<'a>,
    /// Headers of a PutObject, without the envelope.
    pub(crate) headers: HeaderMap,
    /// Headers of each request of an upload in parts: the SSE-C key and the requester-pays header.
    pub(crate) part_headers: HeaderMap,
}

/// The new object, as described in the response.
pub(crate) struct Copied {
    /// Headers for the client, without the fields of the document.
    pub(crate) headers: HeaderMap,
    pub(crate) etag: ClientETag,
    pub(crate) last_modified: String,
    pub(crate) checksum: Option<(ChecksumAlgorithm, String, &'static str)>,
}

/// Reads the content of `found`, and stores it sealed at the destination.
pub(crate) async fn store_sealed(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    found: &Found,
    destination: Destination<'_>,
    wanted: Option<ChecksumAlgorithm>,
) -> Outcome<Copied> {
    if found.length > MAX_PUT_OBJECT {
        return write_in_parts::copy(call, source, found, destination, wanted).await;
    }
    // First, so that no content is held in memory while the key service is asked.
    let target = SealingTarget::new(call, destination.object).await?;
    let content = read::open(call, source, found, None).await?;
    let (length, outgoing) = (found.length, destination.headers);
    let replay = Replay::new(content, length.0);
    let (backed, checksum) = if length.0 <= call.store.held_body_bytes {
        put_held(call, &target, replay, length, outgoing, wanted).await?
    } else {
        put_stream(call, &target, replay, length, outgoing, wanted).await?
    };
    Ok(Copied {
        headers: written_headers(&backed.headers, found),
        etag: response_etag(&backed.headers).to_client(),
        last_modified: document_times::answered(&backed.headers),
        checksum: checksum.map(|(algorithm, value)| (algorithm, value.to_base64(), FULL_OBJECT)),
    })
}

async fn put_held(
    call: &StoreCall<'_>,
    target: &SealingTarget<'_>,
    mut content: Replay<PlaintextBody>,
    length: PlaintextLength,
    mut outgoing: HeaderMap,
    wanted: Option<ChecksumAlgorithm>,
) -> Outcome<(BackendResponse, Option<Checksum>)> {
    let length = usize::try_from(length.0).expect("a held body fits memory");
    // Plaintext and stored form are both in memory while the body is sealed.
    let _share = call.share(2 * length + PIECE_BYTES).await?;
    let mut plaintext = Vec::with_capacity(length);
    content.read_to_end(&mut plaintext).await?;
    let checksum = wanted.map(|algorithm| {
        let mut checksummer = Checksummer::new(algorithm);
        checksummer.update(&plaintext);
        (algorithm, checksummer.finish())
    });
    let object = begin(call, target, &mut outgoing, checksum.as_ref());
    let (head, sealed) = seal_held(&object.dek, &plaintext);
    drop(plaintext);
    insert_envelope(call.store, &mut outgoing, &object.envelope(Some(head)))?;
    let request = put_request(call, target.object(), outgoing, RequestBody::Held(sealed));
    let backed = call.expect_etag(request).await?;
    Ok((backed, checksum))
}

async fn put_stream(
    call: &StoreCall<'_>,
    target: &SealingTarget<'_>,
    content: Replay<PlaintextBody>,
    length: PlaintextLength,
    mut outgoing: HeaderMap,
    wanted: Option<ChecksumAlgorithm>,
) -> Outcome<(BackendResponse, Option<Checksum>)> {
    let object = begin(call, target, &mut outgoing, None);
    let sealer = ObjectSealer::new(&object.dek, length, call.store.pool.take());
    let envelope = object.envelope(Some(*sealer.head()));
    insert_envelope(call.store, &mut outgoing, &envelope)?;
    let put = |body| put_request(call, target.object(), outgoing, body);
    send_sealed(call, content, sealer, wanted, put).await
}

fn begin(
    call: &StoreCall<'_>,
    target: &SealingTarget<'_>,
    outgoing: &mut HeaderMap,
    checksum: Option<&Checksum>,
) -> NewObject {
    let private = new_object::private_map(call.store, outgoing, checksum);
    NewObject::wrapped(call, target, Layout::Single, &private, Dek::generate())
}

fn put_request(
    call: &StoreCall<'_>,
    object: ObjectRef<'_>,
    headers: HeaderMap,
    body: RequestBody,
) -> Request {
    let mut request = call.request(Method::PUT, object);
    request.headers = headers;
    request.body = body;
    request
}

/// ETag in a response to a write that was checked to have one; empty if it is not text.
pub(crate) fn response_etag(headers: &HeaderMap) -> ETag {
    ETag::parse(headers::text(headers, header::ETAG).unwrap_or_default())
}

/// The backend's response headers without those that describe its document.
pub(crate) fn written_headers(backed: &HeaderMap, found: &Found) -> HeaderMap {
    let mut headers = client_headers(backed);
    for name in [
        http::header::CONTENT_TYPE,
        http::header::ETAG,
        http::header::LAST_MODIFIED,
    ] {
        headers.remove(name);
    }
    insert_source_version(&mut headers, found);
    headers
}

/// Adds the version that was copied to the response headers.
pub(crate) fn insert_source_version(headers: &mut HeaderMap, found: &Found) {
    let version = found.version();
    let version = version.and_then(|version| HeaderValue::try_from(version).ok());
    if let Some(version) = version {
        headers
            .entry("x-amz-copy-source-version-id")
            .or_insert(version);
    }
}

/// Stored form of a small object, in one piece.
pub(crate) fn seal_held(dek: &Dek, plaintext: &[u8]) -> (MessageHead, Bytes) {
    let length = PlaintextLength(plaintext.len() as u64);
    let start = |buffer| ObjectSealer::new(dek, length, buffer);
    seal_whole(start, stored_length(length), plaintext)
}

/// Seals a whole plaintext into one piece of `total` bytes.
pub(crate) fn seal_whole(
    start: impl FnOnce(Vec<u8>) -> ObjectSealer,
    total: StoredLength,
    plaintext: &[u8],
) -> (MessageHead, Bytes) {
    let capacity = usize::try_from(total.0).expect("a held body fits memory") + PIECE_BYTES;
    let mut sealer = start(Vec::with_capacity(capacity));
    let head = *sealer.head();
    // The buffer has room for all of it, so nothing has to be taken out before the end.
    let consumed = sealer
        .push(plaintext)
        .expect("the length is the plaintext's");
    assert_eq!(
        consumed,
        plaintext.len(),
        "the buffer has room for all of it"
    );
    let mut tail = sealer.finish().expect("the length is the plaintext's");
    let mut stored = tail.take(Vec::new).unwrap_or_default();
    while let Some(piece) = tail.take(|| Vec::with_capacity(PIECE_BYTES)) {
        stored.extend_from_slice(&piece);
    }
    (head, Bytes::from(stored))
}

#[cfg(test)]
mod tests {
    use s3proxy_envelope::object::ObjectOpener;

    use super::*;

    #[test]
    fn a_held_body_of_any_length_opens_again() {
        let dek = Dek::generate();
        for length in [
            0,
            1,
            16_383,
            16_384,
            16_385,
            65_536,
            1 << 20,
            5 << 20,
            6 << 20,
        ] {
            let plaintext: Vec<u8> = (0..=250_u8).cycle().take(length).collect();
            let (head, stored) = seal_held(&dek, &plaintext);
            let total = StoredLength(stored.len() as u64);
            assert_eq!(
                total,
                stored_length(PlaintextLength(plaintext.len() as u64))
            );
            let mut opener = ObjectOpener::whole(&dek, &head, total).unwrap();
            let mut result = Vec::with_capacity(plaintext.len() + 16_384);
            assert_eq!(opener.push(&stored, &mut result).unwrap(), stored.len());
            opener.finish().unwrap();
            assert_eq!(result, plaintext);
        }
    }
}
