//! A copy of a stored object onto itself that is too large for one CopyObject: the backend copies
//! it part by part, under new metadata.
//!
//! Every part is pinned to the ETag of the HEAD. The completion is conditional if the caller says
//! so, but not every backend that honors a condition on a copy honors it on a completion. The
//! caller must know that nobody writes meanwhile, or that the backend honors both.

use http::{HeaderMap, HeaderValue, header};
use s3proxy_envelope::layout::StoredLength;
use s3proxy_envelope::multipart::PartNumber;
use s3proxy_protocol::etag::ETag;
use s3proxy_protocol::headers::{COPY_SOURCE, COPY_SOURCE_IF_MATCH, COPY_SOURCE_RANGE, TAGGING};
use s3proxy_protocol::xml::complete::complete_request;

use crate::backend::RequestBody;
use crate::failure::Outcome;
use crate::objects::copy::sealed::{COPY_TIMEOUT, result};
use crate::objects::read::{Found, Source};
use crate::objects::write_in_parts::{BackendUpload, abort, create, finish, part_request};
use crate::objects::{StoreCall, tags};

/// Bytes that one request copies, unless the copy would then need too many parts.
const PART_BYTES: u64 = 1 << 30;

/// Most parts of an upload (S3 User Guide, "Multipart upload limits").
const MOST_PARTS: u64 = 10_000;

/// Source of a copy and its ETag, as header values.
pub(crate) struct Pinned {
    pub(crate) source: HeaderValue,
    pub(crate) etag: HeaderValue,
}

/// Copies `found` onto itself under `outgoing`, the headers of a new object. Returns the response
/// headers and the new ETag.
pub(crate) async fn copy(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    found: &Found,
    mut outgoing: HeaderMap,
    pinned: &Pinned,
) -> Outcome<(HeaderMap, ETag)> {
    // CreateMultipartUpload does not copy tags.
    if let Some(tags) = tags::header_of_source(call, source, found).await? {
        outgoing.insert(TAGGING, tags);
    }
    let conditions = HeaderMap::from_iter([(header::IF_MATCH, pinned.etag.clone())]);
    let upload = create(call, source.object, outgoing, HeaderMap::new()).await?;
    let made = async {
        let mut named = Vec::new();
        for (number, stretch) in cut(found.stored) {
            let etag = copy_part(call, &upload, pinned, (number, stretch)).await?;
            named.push((number.get(), etag));
        }
        let named = named.iter().map(|(number, etag)| (*number, etag.as_str()));
        finish(call, &upload, complete_request(named), conditions).await
    };
    let made = made.await;
    if made.is_err() {
        abort(call, &upload).await;
    }
    made
}

async fn copy_part(
    call: &StoreCall<'_>,
    upload: &BackendUpload<'_>,
    pinned: &Pinned,
    (number, (first, last)): (PartNumber, (u64, u64)),
) -> Outcome<ETag> {
    let mut request = part_request(call, upload, number, RequestBody::Empty);
    let range = HeaderValue::try_from(format!("bytes={first}-{last}"));
    let headers = &mut request.headers;
    headers.insert(COPY_SOURCE, pinned.source.clone());
    headers.insert(COPY_SOURCE_IF_MATCH, pinned.etag.clone());
    headers.insert(COPY_SOURCE_RANGE, range.expect("digits are ASCII"));
    request.response_timeout = Some(COPY_TIMEOUT);
    let backed = call.send(request).await?;
    Ok(result(backed).await?.etag)
}

/// Byte ranges of the parts, both ends included.
fn cut(stored: StoredLength) -> impl Iterator<Item = (PartNumber, (u64, u64))> {
    let size = PART_BYTES.max(stored.0.div_ceil(MOST_PARTS));
    (0..stored.0.div_ceil(size)).filter_map(move |index| {
        let number = PartNumber::new(u16::try_from(index + 1).ok()?)?;
        let last = ((index + 1) * size).min(stored.0) - 1;
        Some((number, (index * size, last)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_all_of_it() {
        const GIB: u64 = 1 << 30;
        for (stored, parts) in [
            (5 * GIB + 1, 6),
            (6 * GIB, 6),
            (MOST_PARTS * GIB, 10_000),
            (MOST_PARTS * GIB + 1, 10_000),
        ] {
            let cut: Vec<_> = cut(StoredLength(stored)).collect();
            assert_eq!(cut.len(), parts, "{stored}");
            let mut next = 0;
            for (number, (first, last)) in &cut {
                assert_eq!(*first, next, "part {}", number.get());
                assert!(last - first < 5 * GIB);
                next = last + 1;
            }
            assert_eq!(next, stored);
        }
    }
}
