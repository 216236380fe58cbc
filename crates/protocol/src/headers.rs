//! Names of S3's headers, and readers of header values as text.
//!
//! No other module calls `HeaderValue::to_str`, so the treatment of values that are not text is
//! decided here: they count as absent, unless the caller asks for [`single_text`], which tells
//! them from an absent header. Names that HTTP itself defines are in [`http::header`]. Names of
//! encryption, grant and metadata headers are in [`crate::header_rules`], which forwards them
//! without reading their values.

use std::str::FromStr;

use http::header::{AsHeaderName, HeaderMap, HeaderName, HeaderValue};

use crate::error::{ErrorCode, S3Error};

/// Version of the object that a response is about.
pub const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");
/// Whether the version that a response is about is a delete marker.
pub const DELETE_MARKER: HeaderName = HeaderName::from_static("x-amz-delete-marker");
/// Identifier that a server gives to a request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
/// Second identifier of a request, which AWS's support asks for.
pub const REQUEST_ID_2: HeaderName = HeaderName::from_static("x-amz-id-2");
/// Region of a bucket.
pub const BUCKET_REGION: HeaderName = HeaderName::from_static("x-amz-bucket-region");

/// Time of a request, for its signature.
pub const AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
/// Token of temporary credentials.
pub const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
/// Hash of the body, or the kind of its framing.
pub const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
/// Length of an `aws-chunked` body without its framing, in bytes.
pub const DECODED_CONTENT_LENGTH: HeaderName =
    HeaderName::from_static("x-amz-decoded-content-length");
/// Names of the headers that follow an `aws-chunked` body.
pub const TRAILER: HeaderName = HeaderName::from_static("x-amz-trailer");
/// MD5 of the body (RFC 1864).
pub const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// Checksum algorithm of an upload or a copy.
pub const CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("x-amz-checksum-algorithm");
/// Checksum algorithm that an SDK has used for the body.
pub const SDK_CHECKSUM_ALGORITHM: HeaderName =
    HeaderName::from_static("x-amz-sdk-checksum-algorithm");
/// Whether a checksum covers the object or its parts (`FULL_OBJECT`, `COMPOSITE`).
pub const CHECKSUM_TYPE: HeaderName = HeaderName::from_static("x-amz-checksum-type");
/// Whether a response is to have checksums (`ENABLED`).
pub const CHECKSUM_MODE: HeaderName = HeaderName::from_static("x-amz-checksum-mode");

/// Source object of a copy.
pub const COPY_SOURCE: HeaderName = HeaderName::from_static("x-amz-copy-source");
/// Range of a copy's source.
pub const COPY_SOURCE_RANGE: HeaderName = HeaderName::from_static("x-amz-copy-source-range");
/// Condition on the ETag of a copy's source.
pub const COPY_SOURCE_IF_MATCH: HeaderName = HeaderName::from_static("x-amz-copy-source-if-match");
/// Negated condition on the ETag of a copy's source.
pub const COPY_SOURCE_IF_NONE_MATCH: HeaderName =
    HeaderName::from_static("x-amz-copy-source-if-none-match");
/// Condition on the modification time of a copy's source.
pub const COPY_SOURCE_IF_MODIFIED_SINCE: HeaderName =
    HeaderName::from_static("x-amz-copy-source-if-modified-since");
/// Negated condition on the modification time of a copy's source.
pub const COPY_SOURCE_IF_UNMODIFIED_SINCE: HeaderName =
    HeaderName::from_static("x-amz-copy-source-if-unmodified-since");
/// Whether a copy has the source's metadata (`COPY`) or the request's (`REPLACE`).
pub const METADATA_DIRECTIVE: HeaderName = HeaderName::from_static("x-amz-metadata-directive");
/// Whether a copy has the source's tags (`COPY`) or the request's (`REPLACE`).
pub const TAGGING_DIRECTIVE: HeaderName = HeaderName::from_static("x-amz-tagging-directive");

/// Tags of an object, as a query string.
pub const TAGGING: HeaderName = HeaderName::from_static("x-amz-tagging");
/// Number of tags that an object has.
pub const TAGGING_COUNT: HeaderName = HeaderName::from_static("x-amz-tagging-count");
/// Number of user metadata entries that do not fit headers.
pub const MISSING_METADATA: HeaderName = HeaderName::from_static("x-amz-missing-meta");
/// Legal hold of an object (`ON`, `OFF`).
pub const LEGAL_HOLD: HeaderName = HeaderName::from_static("x-amz-object-lock-legal-hold");
/// Mode of an object's retention.
pub const LOCK_MODE: HeaderName = HeaderName::from_static("x-amz-object-lock-mode");
/// Time until which an object is retained.
pub const LOCK_UNTIL: HeaderName = HeaderName::from_static("x-amz-object-lock-retain-until-date");
/// Whether a deletion bypasses governance retention.
pub const BYPASS_GOVERNANCE: HeaderName =
    HeaderName::from_static("x-amz-bypass-governance-retention");
/// Statement that the requester pays for the request.
pub const REQUEST_PAYER: HeaderName = HeaderName::from_static("x-amz-request-payer");
/// Condition on the size of the object to delete, in bytes.
pub const IF_MATCH_SIZE: HeaderName = HeaderName::from_static("x-amz-if-match-size");

/// Attributes that GetObjectAttributes is to return.
pub const OBJECT_ATTRIBUTES: HeaderName = HeaderName::from_static("x-amz-object-attributes");
/// Maximum number of parts in a response of GetObjectAttributes.
pub const MAX_PARTS: HeaderName = HeaderName::from_static("x-amz-max-parts");
/// Part number after which a response of GetObjectAttributes starts.
pub const PART_NUMBER_MARKER: HeaderName = HeaderName::from_static("x-amz-part-number-marker");
/// Length of the object in bytes, as a CompleteMultipartUpload states it.
pub const MP_OBJECT_SIZE: HeaderName = HeaderName::from_static("x-amz-mp-object-size");
/// Storage class of an object.
pub const STORAGE_CLASS: HeaderName = HeaderName::from_static("x-amz-storage-class");
/// Number of parts that an object has.
pub const PARTS_COUNT: HeaderName = HeaderName::from_static("x-amz-mp-parts-count");

/// A value as text; `None` unless it consists of visible ASCII, spaces and tabs.
#[must_use]
pub fn value_text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}

/// First value of a header as text; `None` if the header is absent or its value is not text.
pub fn text(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    headers.get(name).and_then(value_text)
}

/// Values of a header that are text, in order.
pub fn texts(headers: &HeaderMap, name: impl AsHeaderName) -> impl Iterator<Item = &str> {
    headers.get_all(name).into_iter().filter_map(value_text)
}

/// Trimmed items of a header that holds comma-separated lists (RFC 9110, section 5.6.1). Quoted
/// strings are not recognised.
pub fn list_items(headers: &HeaderMap, name: impl AsHeaderName) -> impl Iterator<Item = &str> {
    texts(headers, name)
        .flat_map(|list| list.split(','))
        .map(str::trim)
}

/// First value of a header, parsed; `None` if it is absent or malformed.
pub fn parsed<T: FromStr>(headers: &HeaderMap, name: impl AsHeaderName) -> Option<T> {
    text(headers, name)?.parse().ok()
}

/// A header that has to have a single value in ASCII, and does not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the header {0} is repeated or not ASCII text")]
pub struct UnclearHeader(HeaderName);

impl From<UnclearHeader> for S3Error {
    fn from(UnclearHeader(name): UnclearHeader) -> Self {
        let message = format!("The header {name} must appear once, in ASCII.");
        Self::new(ErrorCode::InvalidArgument, message)
    }
}

/// The only value of a header as text; `None` if the header is absent.
pub fn single_text<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h str>, UnclearHeader> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(value_text), values.next()) {
        (None, _) => Ok(None),
        (Some(Some(text)), None) => Ok(Some(text)),
        (Some(_), _) => Err(UnclearHeader(name.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_bytes(value).unwrap();
            headers.append(TAGGING_COUNT, value);
        }
        headers
    }

    #[test]
    fn values_that_are_not_text_count_as_absent() {
        let both = headers(&[b"\xff", b" 3"]);
        assert_eq!(text(&both, TAGGING_COUNT), None);
        assert_eq!(texts(&both, TAGGING_COUNT).collect::<Vec<_>>(), [" 3"]);
        assert_eq!(parsed::<u32>(&both, TAGGING_COUNT), None);
        assert_eq!(parsed::<u32>(&headers(&[b"3"]), TAGGING_COUNT), Some(3));
        assert_eq!(parsed::<u32>(&headers(&[b" 3"]), TAGGING_COUNT), None);
    }

    #[test]
    fn a_single_value_is_told_from_an_absent_one_and_from_several() {
        assert_eq!(single_text(&headers(&[]), &TAGGING_COUNT), Ok(None));
        assert_eq!(
            single_text(&headers(&[b"a"]), &TAGGING_COUNT),
            Ok(Some("a"))
        );
        for unclear in [vec![b"a" as &[u8], b"a"], vec![b"\xff"]] {
            let unclear = headers(&unclear);
            let refused = single_text(&unclear, &TAGGING_COUNT);
            assert_eq!(refused, Err(UnclearHeader(TAGGING_COUNT)));
        }
    }

    #[test]
    fn items_of_repeated_lists_come_in_order() {
        let lists = headers(&[b"a , b", b"c,"]);
        let items: Vec<_> = list_items(&lists, TAGGING_COUNT).collect();
        assert_eq!(items, ["a", "b", "c", ""]);
    }
}
