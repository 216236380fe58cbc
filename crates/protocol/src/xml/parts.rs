//! `ListParts`: a backend's page, and the client's answer.
//!
//! Sizes, ETags, numbers and pages differ between the two, so the answer is written anew from what
//! the caller gives; of the backend's it keeps who started the upload, who owns it, and the storage
//! class. A server that lists a replaced part twice is read as it is: which entry counts is the
//! caller's decision.

use super::answer::{Markup, declared, unquoted};
use super::complete::MAXIMUM_PARTS;
use super::document::{Document, Element, XmlError};
use super::listing::required;
use super::truth::truth;
use crate::checksum::{ChecksumAlgorithm, ChecksumValue};

/// One part, as a backend lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPart {
    /// Its number, 1 to 10,000.
    pub number: u16,
    /// Its ETag without quotes.
    pub etag: String,
    /// The stored size in bytes.
    pub size: u64,
    /// When it was uploaded, as the backend wrote it.
    pub last_modified: String,
}

/// A page, as the backend sent it.
#[derive(Debug)]
pub struct PartsPage<'text> {
    document: Document<'text>,
    parts: Vec<ListedPart>,
    next_marker: Option<u16>,
}

impl<'text> PartsPage<'text> {
    /// Reads a page. Errors say what is not as S3 has it.
    pub fn parse(bytes: &'text [u8]) -> Result<Self, XmlError> {
        let document = Document::parse_page(bytes)?;
        // The second is moto's; the rest of its document is as S3 has it.
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
            // Some servers write a marker on the last page too, though there is nothing behind.
            None | Some("" | "0") => None,
            Some(marker) => Some(number(marker)?),
        };
        Ok(Self {
            document,
            parts,
            next_marker,
        })
    }

    /// The parts in the order of the page.
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

    /// The part number that the next page starts behind.
    #[must_use]
    pub fn next_marker(&self) -> Option<u16> {
        self.next_marker
    }

    /// The storage class that the upload was created with.
    #[must_use]
    pub fn storage_class(&self) -> Option<String> {
        self.document
            .child_text(&self.document.root, "StorageClass")
            .ok()
            .flatten()
            .map(|class| class.trim().to_owned())
            .filter(|class| !class.is_empty())
    }

    /// The answer to the client, with the backend's initiator, owner and storage class.
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
        etag: unquoted(&required(document, element, "ETag")?).to_owned(),
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

/// What the client is told of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartsAnswer<'a> {
    /// The bucket.
    pub bucket: &'a str,
    /// The key.
    pub object_key: &'a str,
    /// The upload.
    pub upload_id: &'a str,
    /// The number that the client asked to start behind; zero for the first page.
    pub part_number_marker: u32,
    /// How many parts the client asked for at most.
    pub max_parts: u32,
    /// The last number of the page, for the client to go on behind.
    pub next_part_number_marker: Option<u16>,
    /// Whether there are more pages.
    pub is_truncated: bool,
    /// The algorithm that the client created the upload with.
    pub checksum_algorithm: Option<&'a str>,
    /// `FULL_OBJECT` or `COMPOSITE`.
    pub checksum_type: Option<&'a str>,
    /// The parts of the page.
    pub parts: Vec<ShownPart<'a>>,
}

/// One part, as the client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownPart<'a> {
    /// Its number.
    pub number: u16,
    /// Its ETag without quotes.
    pub etag: &'a str,
    /// The plaintext size in bytes.
    pub size: u64,
    /// When it was uploaded.
    pub last_modified: &'a str,
    /// The checksum of its plaintext.
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
