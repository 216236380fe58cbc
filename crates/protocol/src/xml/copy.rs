//! Responses of CopyObject and UploadPartCopy.
//!
//! Both contain the ETag and the time of the copy. Checksums in a backend's response describe
//! stored bytes and are not read. White space may precede the response, as in
//! CompleteMultipartUpload, so each document is available with and without the declaration.

use super::answer::Markup;
use super::document::{Document, XmlError};
use crate::checksum::ChecksumAlgorithm;
use crate::etag::ETag;

/// Parsed `CopyObjectResult` or `CopyPartResult` of a backend. Check for an error in its place with
/// [`is_error`](super::error_document::is_error) first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyResult {
    /// ETag of the copy.
    pub etag: ETag,
    /// Time of the copy as the backend wrote it.
    pub last_modified: Option<String>,
}

impl CopyResult {
    /// Parses the backend's response. Fails if it has no ETag.
    pub fn parse(bytes: &[u8]) -> Result<Self, XmlError> {
        let document = Document::parse(bytes)?;
        if !["CopyObjectResult", "CopyPartResult"].contains(&document.root_name()) {
            return Err(XmlError::schema(
                "the document must be a CopyObjectResult or a CopyPartResult",
            ));
        }
        let etag = document.child_text(&document.root, "ETag")?;
        let last_modified = document.child_text(&document.root, "LastModified")?;
        Ok(Self {
            etag: etag
                .map(|etag| ETag::parse(&etag))
                .filter(|etag| !etag.as_str().is_empty())
                .ok_or_else(|| XmlError::schema("a copy's result must have an ETag"))?,
            last_modified: last_modified
                .map(|time| time.trim().to_owned())
                .filter(|time| !time.is_empty()),
        })
    }
}

/// Body of a CopyObject response without the XML declaration, which may have been sent earlier.
///
/// `etag` has no quotes; the checksum is Base64, with `-` and the number of parts if it is
/// composite.
#[must_use]
pub fn copy_object_document(
    etag: &str,
    last_modified: &str,
    checksum: Option<(ChecksumAlgorithm, &str)>,
    checksum_type: Option<&str>,
) -> String {
    Markup::document("CopyObjectResult", |markup| {
        push_copy(markup, etag, last_modified, checksum);
        markup.optional("ChecksumType", checksum_type);
    })
}

/// Body of an UploadPartCopy response without the XML declaration, which may have been sent
/// earlier.
///
/// `etag` has no quotes; the checksum is Base64.
#[must_use]
pub fn copy_part_document(
    etag: &str,
    last_modified: &str,
    checksum: Option<(ChecksumAlgorithm, &str)>,
) -> String {
    Markup::document("CopyPartResult", |markup| {
        push_copy(markup, etag, last_modified, checksum);
    })
}

fn push_copy(
    markup: &mut Markup,
    etag: &str,
    last_modified: &str,
    checksum: Option<(ChecksumAlgorithm, &str)>,
) {
    markup.text("LastModified", last_modified);
    markup.quoted_etag(etag);
    if let Some((algorithm, base64)) = checksum {
        markup.checksum(algorithm, base64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2024-05-06T07:08:09.000Z";

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let expected = CopyResult {
            etag: ETag::parse("a<b&\"'-0"),
            last_modified: Some(TIME.to_owned()),
        };
        let checksum = Some((ChecksumAlgorithm::Crc32, "y/Q5Jg=="));
        for answer in [
            copy_object_document(expected.etag.as_str(), TIME, checksum, Some("FULL_OBJECT")),
            copy_object_document(expected.etag.as_str(), TIME, None, None),
            copy_part_document(expected.etag.as_str(), TIME, checksum),
            copy_part_document(expected.etag.as_str(), TIME, None),
        ] {
            let read = CopyResult::parse(answer.as_bytes());
            assert_eq!(read.as_ref(), Ok(&expected), "{answer}");
        }
    }

    #[test]
    fn answers_have_the_elements_of_s3() {
        let checksum = Some((ChecksumAlgorithm::Crc64Nvme, "AAAAAAAAAAA="));
        assert_eq!(
            copy_object_document("e-0", TIME, checksum, Some("FULL_OBJECT")),
            format!(
                "<CopyObjectResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                 <LastModified>{TIME}</LastModified><ETag>&quot;e-0&quot;</ETag>\
                 <ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME>\
                 <ChecksumType>FULL_OBJECT</ChecksumType></CopyObjectResult>"
            )
        );
        assert_eq!(
            copy_part_document("e", TIME, None),
            format!(
                "<CopyPartResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                 <LastModified>{TIME}</LastModified><ETag>&quot;e&quot;</ETag></CopyPartResult>"
            )
        );
    }

    #[test]
    fn reads_what_other_servers_write() {
        for markup in [
            "\n \n<?xml version=\"1.0\"?><CopyPartResult><ETag>e</ETag></CopyPartResult>",
            "<?xml version=\"1.0\"?>\n   \n<s:CopyObjectResult xmlns:s='u'><s:LastModified/><s:ETag> &#34;e&#34; </s:ETag></s:CopyObjectResult>",
        ] {
            let read = CopyResult::parse(markup.as_bytes()).unwrap();
            assert_eq!(
                (read.etag.as_str(), read.last_modified),
                ("e", None),
                "{markup}"
            );
        }
    }

    #[test]
    fn refuses_an_answer_without_a_copy() {
        for markup in [
            "<CopyObjectResult/>",
            "<CopyObjectResult><ETag>\"\"</ETag></CopyObjectResult>",
            "<Error><ETag>e</ETag></Error>",
            "",
        ] {
            assert!(CopyResult::parse(markup.as_bytes()).is_err(), "{markup}");
        }
    }
}
