//! Metadata that a copy keeps: the directives, and the headers that they govern.
//!
//! COPY keeps the source's content headers and user metadata, and ignores those in the request.
//! Storage class, ACL, encryption, object lock and the website redirect always come from the
//! request (S3 API Reference, `CopyObject`). The envelope belongs to neither side.

use http::{HeaderMap, HeaderName, header};
use s3proxy_protocol::copy_source::CopySource;
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::header_rules::METADATA_PREFIX;
use s3proxy_protocol::headers::{METADATA_DIRECTIVE, TAGGING_DIRECTIVE};

use crate::config::resolved::DekTag;
use crate::objects::{ObjectRef, stored};

/// Origin of the copy's metadata or tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Directive {
    /// Taken from the source.
    Copy,
    /// Taken from the request.
    Replace,
}

/// Directives of the request for metadata and tags.
#[derive(Debug)]
pub(crate) struct Directives {
    pub(crate) metadata: Directive,
    pub(crate) tagging: Directive,
}

/// Headers that COPY keeps besides user metadata.
const KEPT: [HeaderName; 6] = [
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
    header::EXPIRES,
];

/// Headers that make a copy of an object onto itself legal, besides REPLACE.
const CHANGES: [&str; 7] = [
    "x-amz-checksum-algorithm",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-bucket-key-enabled",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
];

impl Directives {
    /// Reads the directives, and refuses a copy that would change nothing.
    pub(crate) fn new(
        headers: &HeaderMap,
        source: &CopySource,
        target: ObjectRef<'_>,
    ) -> Result<Self, S3Error> {
        let directives = Self::read(headers)?;
        let onto_itself = source.bucket == *target.bucket
            && source.key == *target.key
            // Copying an old version onto its key restores it, which is a change.
            && source.version_id.is_none();
        if onto_itself && directives.change_nothing(headers) {
            return Err(S3Error::new(
                ErrorCode::InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself \
                 without changing the object's metadata, storage class, website redirect location \
                 or encryption attributes.",
            ));
        }
        Ok(directives)
    }

    fn read(headers: &HeaderMap) -> Result<Self, S3Error> {
        Ok(Self {
            metadata: directive(headers, &METADATA_DIRECTIVE, "Unknown metadata directive.")?,
            tagging: directive(headers, &TAGGING_DIRECTIVE, "Unknown tagging directive.")?,
        })
    }

    fn change_nothing(&self, headers: &HeaderMap) -> bool {
        self.metadata == Directive::Copy && !CHANGES.iter().any(|name| headers.contains_key(*name))
    }
}

fn directive(
    headers: &HeaderMap,
    name: &HeaderName,
    otherwise: &'static str,
) -> Result<Directive, S3Error> {
    match headers.get(name).map(http::HeaderValue::as_bytes) {
        None | Some(b"COPY") => Ok(Directive::Copy),
        Some(b"REPLACE") => Ok(Directive::Replace),
        Some(_) => Err(S3Error::new(ErrorCode::InvalidArgument, otherwise)),
    }
}

/// Replaces the headers that COPY governs in `outgoing` by those of the source.
pub(crate) fn carry(outgoing: &mut HeaderMap, source: &HeaderMap, tag: &DekTag) {
    let is_kept =
        |name: &HeaderName| KEPT.contains(name) || name.as_str().starts_with(METADATA_PREFIX);
    let replaced: Vec<HeaderName> = outgoing
        .keys()
        .filter(|name| is_kept(name))
        .cloned()
        .collect();
    for name in replaced {
        outgoing.remove(name);
    }
    for (name, value) in source {
        // The source's envelope is bound to its own place; the copy gets a new one.
        if is_kept(name) && !stored::is_reserved(name, tag) {
            outgoing.append(name, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            })
            .collect()
    }

    #[test]
    fn what_is_copied_comes_from_the_source_and_the_rest_from_the_request() {
        let mut outgoing = headers(&[
            ("content-type", "text/new"),
            ("x-amz-meta-new", "1"),
            ("x-amz-storage-class", "GLACIER"),
            ("x-amz-website-redirect-location", "/new"),
        ]);
        let source = headers(&[
            ("content-type", "text/old"),
            ("content-length", "77"),
            ("content-encoding", "gzip"),
            ("etag", "\"x\""),
            ("x-amz-meta-old", "1"),
            ("x-amz-meta-isec", "s3p1.envelope"),
            ("x-amz-storage-class", "STANDARD_IA"),
            ("x-amz-website-redirect-location", "/old"),
            ("x-amz-version-id", "3"),
        ]);
        carry(&mut outgoing, &source, &"isec".parse().unwrap());
        let expected = headers(&[
            ("content-type", "text/old"),
            ("content-encoding", "gzip"),
            ("x-amz-meta-old", "1"),
            ("x-amz-storage-class", "GLACIER"),
            ("x-amz-website-redirect-location", "/new"),
        ]);
        assert_eq!(outgoing, expected);
    }

    #[test]
    fn directives_are_copy_unless_said_otherwise_and_nothing_else() {
        let read = |text| {
            let headers = headers(&[("x-amz-metadata-directive", text)]);
            Directives::read(&headers).map(|directives| directives.metadata)
        };
        assert_eq!(read("COPY").unwrap(), Directive::Copy);
        assert_eq!(read("REPLACE").unwrap(), Directive::Replace);
        for text in ["", "copy", "REPLACE ", "KEEP"] {
            assert_eq!(
                read(text).unwrap_err().code,
                ErrorCode::InvalidArgument,
                "{text}"
            );
        }
        let none = Directives::read(&HeaderMap::new()).unwrap();
        assert_eq!(
            (none.metadata, none.tagging),
            (Directive::Copy, Directive::Copy)
        );
    }

    #[test]
    fn only_what_s3_names_makes_a_copy_onto_itself_a_change() {
        for (pairs, nothing) in [
            (&[] as &[_], true),
            (&[("content-type", "text/plain")], true),
            (&[("x-amz-meta-a", "1")], true),
            (&[("x-amz-tagging-directive", "REPLACE")], true),
            (&[("x-amz-acl", "private")], true),
            (&[("x-amz-metadata-directive", "REPLACE")], false),
            (&[("x-amz-storage-class", "STANDARD")], false),
            (&[("x-amz-server-side-encryption", "AES256")], false),
        ] {
            let headers = headers(pairs);
            let directives = Directives::read(&headers).unwrap();
            assert_eq!(directives.change_nothing(&headers), nothing, "{pairs:?}");
        }
    }
}
