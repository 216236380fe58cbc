//! `ListParts`: the backend's page, and the response to the client.
//!
//! Sizes, ETags, numbers and pages differ between the two, so the caller's content is written to a
//! new document. Only the initiator, the owner and the storage class are copied from the backend's
//! page. If a server lists a replaced part twice, both entries are returned, and the caller decides
//! which to use.

use super::answer::{Markup, declared};
use super::complete::MAXIMUM_PARTS;
use super::document::{Document, Element, XmlError};
use super::page::required;
use super::truth::truth;
use crate::checksum::{ChecksumAlgorithm, ChecksumValue};
use crate::etag::ETag;

/// One part in a backend's page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPart {
    /// Part number, 1 to 10,000.
    pub number: u16,
    /// ETag of the part.
    pub etag: ETag,
    /// Stored size in bytes.
    pub size: u64,
    /// Time of the upload as the backend wrote it.
    pub last_modified: String,
}

/// A parsed page of the backend.
#[derive(Debug)]
pub struct PartsPage<'text> {
    document: Document<'text>,
    parts: Vec<ListedPart>,
    next_marker: Option<u16>,
}

impl<'text> PartsPage<'text> {
    /// Parses a page. Fails if it does not match S3's schema.
    pub fn parse(bytes: &'text [u8]) -> Result<Self, XmlError> {
        let document = Document::parse_page(bytes)?;
        // The second name is moto's; the rest of its document matches S3's.
        if !matches!(
            document.root_name(),
            "ListPartsResult" | "ListPartsResponse"
        ) {
            return Err(XmlError::schema("the document must be a ListPartsResult"));
        }
        let parts = document
            .children(&document.root, "Part")
            .map(|element| listed(&document, element))
            .collect::<Result<_, _>>()?;
        let marker = document.child_text(&document.root, "NextPartNumberMarker")?;
        let next_marker = match marker.as_deref().map(str::trim) {
            // Some servers write a marker on the last page too, although no part follows.
            None | Some("" | "0") => None,
            Some(marker) => Some(number(marker)?),
        };
        Ok(Self {
            document,
            parts,
            next_marker,
        })
    }

    /// Parts in the page's order.
    #[must_use]
    pub fn parts(&self) -> &[ListedPart] {
        &self.parts
    }

    /// Whether the backend has more pages.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        matches!(
            self.document.child_text(&self.document.root, "IsTruncated"),
            Ok(Some(text)) if truth(&text) == Some(true)
        )
    }

    /// Part number after which the next page begins.
    #[must_use]
    pub fn next_marker(&self) -> Option<u16> {
        self.next_marker
    }

    /// Storage class with which the upload was created.
    #[must_use]
    pub fn storage_class(&self) -> Option<String> {
        self.document
            .child_text(&self.document.root, "StorageClass")
            .ok()
            .flatten()
            .map(|class| class.trim().to_owned())
            .filter(|class| !class.is_empty())
    }

    /// Builds the response to the client, with the backend's initiator, owner and storage class.
    #[must_use]
    pub fn render(&self, answer: &PartsAnswer<'_>) -> String {
        declared(&Markup::document("ListPartsResult", |markup| {
            markup.text("Bucket", answer.bucket);
            markup.text("Key", answer.object_key);
            markup.text("UploadId", answer.upload_id);
            for name in ["Initiator", "Owner", "StorageClass"] {
                if let Some(element) = self.document.child(&self.document.root, name) {
                    markup.copy(&self.document, element);
                }
            }
            markup.number("PartNumberMarker", answer.part_number_marker);
            if let Some(next) = answer.next_part_number_marker {
                markup.number("NextPartNumberMarker", next);
            }
            markup.number("MaxParts", answer.max_parts);
            markup.flag("IsTruncated", answer.is_truncated);
            for part in &answer.parts {
                push_part(markup, part);
            }
            markup.optional("ChecksumAlgorithm", answer.checksum_algorithm);
            markup.optional("ChecksumType", answer.checksum_type);
        }))
    }
}

fn listed(document: &Document<'_>, element: &Element) -> Result<ListedPart, XmlError> {
    let size = required(document, element, "Size")?;
    Ok(ListedPart {
        number: number(required(document, element, "PartNumber")?.trim())?,
        etag: ETag::parse(&required(document, element, "ETag")?),
        size: size
            .trim()
            .parse()
            .map_err(|_| XmlError::schema("a Size must be a number of bytes"))?,
        last_modified: document
            .child_text(element, "LastModified")?
            .map(|time| time.trim().to_owned())
            .unwrap_or_default(),
    })
}

fn number(text: &str) -> Result<u16, XmlError> {
    text.parse()
        .ok()
        .filter(|number| (1..=MAXIMUM_PARTS).contains(number))
        .ok_or_else(|| XmlError::schema("a part number must be one of 1 to 10000"))
}

/// Content of the response to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartsAnswer<'a> {
    /// Bucket name.
    pub bucket: &'a str,
    /// Object key.
    pub object_key: &'a str,
    /// Upload ID.
    pub upload_id: &'a str,
    /// Part number after which the client asked to begin; zero for the first page.
    pub part_number_marker: u32,
    /// Maximum number of parts that the client requested.
    pub max_parts: u32,
    /// Last part number of the page, after which the client's next page begins.
    pub next_part_number_marker: Option<u16>,
    /// Whether there are more pages.
    pub is_truncated: bool,
    /// Checksum algorithm with which the client created the upload.
    pub checksum_algorithm: Option<&'a str>,
    /// `FULL_OBJECT` or `COMPOSITE`.
    pub checksum_type: Option<&'a str>,
    /// Parts of the page.
    pub parts: Vec<ShownPart<'a>>,
}

/// One part in the response to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownPart<'a> {
    /// Part number.
    pub number: u16,
    /// ETag of the part without quotes.
    pub etag: &'a str,
    /// Size of the plaintext in bytes.
    pub size: u64,
    /// Time of the upload.
    pub last_modified: &'a str,
    /// Checksum of the part's plaintext.
    pub checksum: Option<(ChecksumAlgorithm, &'a ChecksumValue)>,
}

fn push_part(markup: &mut Markup, part: &ShownPart<'_>) {
    markup.nested("Part", |markup| {
        markup.number("PartNumber", part.number);
        markup.text("LastModified", part.last_modified);
        markup.quoted_etag(part.etag);
        markup.number("Size", part.size);
        if let Some((algorithm, value)) = part.checksum {
            markup.checksum(algorithm, &value.to_base64());
        }
    });
}

#[cfg(test)]
mod tests;
