//! The `x-amz-copy-source` header (bucket, key and version of a copy's source) and
//! `x-amz-copy-source-range`.
//!
//! The value is `bucket/key`, percent-encoded, optionally with a leading slash and a trailing
//! `?versionId=…` (S3 API Reference, `CopyObject`). It is decoded once and validated like names
//! from a path, so that grants and the state prefix are checked against the object that the backend
//! will read. Access points (ARNs) are refused. The range of UploadPartCopy has a strict syntax of
//! its own.

use http::HeaderMap;

use crate::error::{ErrorCode, S3Error};
use crate::headers::{self, COPY_SOURCE, COPY_SOURCE_RANGE};
use crate::ids::VersionId;
use crate::name::{BucketName, ObjectKey};
use crate::percent::{self, Plus};

/// Source object of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopySource {
    /// Source bucket.
    pub bucket: BucketName,
    /// Source key.
    pub key: ObjectKey,
    /// Source version; `None` for the current one.
    pub version_id: Option<VersionId>,
}

/// Byte range of a copy's source, both ends included, with `first <= last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyRange {
    /// Offset of the first byte.
    pub first: u64,
    /// Offset of the last byte.
    pub last: u64,
}

impl CopyRange {
    /// Parses `x-amz-copy-source-range` of UploadPartCopy. In contrast to `Range`, it has a single
    /// form, and any other value is refused with `InvalidArgument` instead of ignored.
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, S3Error> {
        let mut values = headers.get_all(COPY_SOURCE_RANGE).iter();
        let range = match (values.next(), values.next()) {
            (None, _) => return Ok(None),
            (Some(value), None) => headers::value_text(value).and_then(Self::parse),
            (Some(_), Some(_)) => None,
        };
        range.map(Some).ok_or_else(|| {
            S3Error::new(
                ErrorCode::InvalidArgument,
                "The x-amz-copy-source-range value must be of the form bytes=first-last where \
                 first and last are the zero-based offsets of the first and last bytes to copy",
            )
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
        let (first, last) = (position(first)?, position(last)?);
        (first <= last).then_some(Self { first, last })
    }

    /// Fails with `InvalidArgument` unless the range is entirely inside a source of `length` bytes.
    pub fn refuse_outside(self, length: u64) -> Result<(), S3Error> {
        if self.last < length {
            return Ok(());
        }
        Err(S3Error::new(
            ErrorCode::InvalidArgument,
            format!("Range specified is not valid for source object of size: {length}"),
        ))
    }
}

/// Parses an offset of digits only: no sign, no space.
fn position(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

impl CopySource {
    /// Parses `x-amz-copy-source`, which must appear exactly once. Some clients send keys
    /// unencoded, so UTF-8 beyond ASCII is accepted. Fails with `InvalidArgument`, or as
    /// [`CopySource::parse`] does.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, S3Error> {
        let mut values = headers.get_all(COPY_SOURCE).iter();
        let value = match (values.next(), values.next()) {
            (Some(value), None) => std::str::from_utf8(value.as_bytes()),
            (None, _) | (Some(_), Some(_)) => return Err(malformed()),
        };
        Self::parse(value.map_err(|_| malformed())?)
    }

    /// Parses the value of `x-amz-copy-source`. Errors: `InvalidArgument` if it is malformed,
    /// `NotImplemented` for ARNs, `InvalidBucketName`, `KeyTooLongError`.
    pub fn parse(value: &str) -> Result<Self, S3Error> {
        // The last occurrence counts, since an unencoded key may contain the same text. It is
        // searched before decoding: an encoded `?` belongs to the key.
        let (path, version_id) = match value.rsplit_once("?versionId=") {
            Some((path, version)) => (path, Some(decode(version)?)),
            None => (value, None),
        };
        // Some clients encode the slash after the bucket too, so the path is split only after
        // decoding; a bucket's name has no slash.
        let path = decode(path.strip_prefix('/').unwrap_or(path))?;
        if path.starts_with("arn:") {
            return Err(S3Error::new(
                ErrorCode::NotImplemented,
                "A copy source must name a bucket: access points are not supported.",
            ));
        }
        let (bucket, key) = path.split_once('/').ok_or_else(malformed)?;
        if key.is_empty() {
            return Err(malformed());
        }
        let version_id = version_id
            .map(|text| VersionId::new(text).ok_or_else(malformed))
            .transpose()?;
        Ok(Self {
            bucket: BucketName::new(bucket)?,
            key: ObjectKey::new(key)?,
            version_id,
        })
    }

    /// The header value for the backend, percent-encoded.
    #[must_use]
    pub fn encode(&self) -> String {
        let path = format!("{}/{}", self.bucket, self.key.encode());
        match &self.version_id {
            None => path,
            Some(version) => format!(
                "{path}?versionId={}",
                percent::encode_component(version.as_str())
            ),
        }
    }
}

fn decode(text: &str) -> Result<String, S3Error> {
    percent::decode(text, Plus::Literal).map_err(|_| malformed())
}

fn malformed() -> S3Error {
    S3Error::new(
        ErrorCode::InvalidArgument,
        "Copy Source must mention the source bucket and key: sourcebucket/sourcekey, \
         percent-encoded.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_clients_send() {
        for (value, bucket, key, version) in [
            ("bucket/key", "bucket", "key", None),
            ("/bucket/key", "bucket", "key", None),
            ("bucket%2Fa%2Fb", "bucket", "a/b", None),
            ("/bucket//a/../b", "bucket", "/a/../b", None),
            ("bucket/a+b%2B%20c", "bucket", "a+b+ c", None),
            (
                "bucket/k%252F?versionId=v%201",
                "bucket",
                "k%2F",
                Some("v 1"),
            ),
            // An encoded question mark is part of the key.
            ("bucket/k%3FversionId=1", "bucket", "k?versionId=1", None),
            // Only the last version ID counts; the first is part of the key.
            (
                "bucket/what?versionId=a?versionId=b",
                "bucket",
                "what?versionId=a",
                Some("b"),
            ),
        ] {
            let source = CopySource::parse(value).unwrap();
            assert_eq!(
                (
                    source.bucket.as_str(),
                    source.key.as_str(),
                    source.version_id.as_ref().map(VersionId::as_str)
                ),
                (bucket, key, version),
                "{value}"
            );
            assert_eq!(CopySource::parse(&source.encode()), Ok(source), "{value}");
        }
    }

    #[test]
    fn the_header_stands_there_once_and_may_hold_unescaped_text() {
        let header = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                let value = http::HeaderValue::from_bytes(value.as_bytes()).unwrap();
                headers.append(COPY_SOURCE, value);
            }
            CopySource::from_headers(&headers)
        };
        assert_eq!(header(&["b-1/\u{e9}"]).unwrap().key.as_str(), "\u{e9}");
        for refused in [&[] as &[_], &["b-1/k", "b-1/k"]] {
            let error = header(refused).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidArgument);
        }
    }

    fn range(values: &[&'static str]) -> Result<Option<(u64, u64)>, ErrorCode> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(COPY_SOURCE_RANGE, http::HeaderValue::from_static(value));
        }
        let read = CopyRange::from_headers(&headers).map_err(|error| error.code)?;
        Ok(read.map(|range| (range.first, range.last)))
    }

    #[test]
    fn a_range_has_one_form() {
        assert_eq!(range(&[]), Ok(None));
        assert_eq!(range(&["bytes=0-0"]), Ok(Some((0, 0))));
        assert_eq!(
            range(&["bytes=5-18446744073709551615"]),
            Ok(Some((5, u64::MAX)))
        );
        for refused in [
            "",
            "bytes=",
            "bytes=5-",
            "bytes=-5",
            "bytes=6-5",
            "bytes=0-1,3-4",
            "bytes=+0-5",
            "bytes= 0-5",
            "bytes 0-5/9",
            "0-5",
            "bytes=0-18446744073709551616",
        ] {
            assert_eq!(
                range(&[refused]),
                Err(ErrorCode::InvalidArgument),
                "{refused}"
            );
        }
        let twice = range(&["bytes=0-5", "bytes=0-5"]);
        assert_eq!(twice, Err(ErrorCode::InvalidArgument));
    }

    #[test]
    fn a_range_lies_inside_its_source() {
        let range = CopyRange { first: 3, last: 5 };
        assert!(range.refuse_outside(6).is_ok());
        for length in [0, 3, 5] {
            let refused = range.refuse_outside(length).unwrap_err();
            assert_eq!(refused.code, ErrorCode::InvalidArgument);
        }
    }

    #[test]
    fn refuses_what_names_no_object() {
        for (value, code) in [
            ("", ErrorCode::InvalidArgument),
            ("bucket", ErrorCode::InvalidArgument),
            ("bucket/", ErrorCode::InvalidArgument),
            ("bucket/k?versionId=", ErrorCode::InvalidArgument),
            ("bucket/%zz", ErrorCode::InvalidArgument),
            ("b/k", ErrorCode::InvalidBucketName),
            (
                "arn:aws:s3:eu-west-1:1:accesspoint/a/object/k",
                ErrorCode::NotImplemented,
            ),
        ] {
            assert_eq!(CopySource::parse(value).unwrap_err().code, code, "{value}");
        }
    }
}
