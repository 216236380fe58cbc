//! `GetObjectAttributes`: what the client asks for, and the answer.
//!
//! The answer has only what was asked for and is known, in plaintext terms, written from the start.
//! Unlike everywhere else in S3 its ETag has no quotes. Absent: a backend's answer, which is about
//! stored bytes, and which parts make up a page.

use http::HeaderMap;

use super::answer::{Markup, declared};
use crate::checksum::{ChecksumAlgorithm, ChecksumValue};
use crate::error::{ErrorCode, S3Error};

const HEADER: &str = "x-amz-object-attributes";

/// Something that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectAttribute {
    /// The ETag.
    ETag,
    /// The checksum of the object.
    Checksum,
    /// How many parts there are, and which.
    ObjectParts,
    /// The storage class.
    StorageClass,
    /// The size.
    ObjectSize,
}

impl ObjectAttribute {
    /// Every attribute, in the order of the answer.
    pub const ALL: [Self; 5] = [
        Self::ETag,
        Self::Checksum,
        Self::ObjectParts,
        Self::StorageClass,
        Self::ObjectSize,
    ];

    /// The name in the header and in the answer.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ETag => "ETag",
            Self::Checksum => "Checksum",
            Self::ObjectParts => "ObjectParts",
            Self::StorageClass => "StorageClass",
            Self::ObjectSize => "ObjectSize",
        }
    }
}

/// What a request asks for: `x-amz-object-attributes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectAttributes(Vec<ObjectAttribute>);

impl ObjectAttributes {
    /// Reads the header, which may come as one list or several. Refuses unknown names and a request
    /// that asks for nothing with `InvalidArgument`.
    pub fn parse(headers: &HeaderMap) -> Result<Self, S3Error> {
        let mut wanted = Vec::new();
        for value in headers.get_all(HEADER) {
            for name in value.as_bytes().split(|&byte| byte == b',') {
                let name = name.trim_ascii();
                // RFC 9110, section 5.6.1.2: empty elements of a list say nothing.
                if name.is_empty() {
                    continue;
                }
                let known = ObjectAttribute::ALL
                    .into_iter()
                    .find(|attribute| attribute.as_str().as_bytes() == name);
                wanted.push(known.ok_or_else(invalid)?);
            }
        }
        if wanted.is_empty() {
            return Err(invalid());
        }
        Ok(Self(wanted))
    }

    /// Whether an attribute is asked for.
    #[must_use]
    pub fn contains(&self, attribute: ObjectAttribute) -> bool {
        self.0.contains(&attribute)
    }
}

fn invalid() -> S3Error {
    S3Error::new(
        ErrorCode::InvalidArgument,
        "Invalid attribute name specified: x-amz-object-attributes must list one or more of ETag, \
         Checksum, ObjectParts, StorageClass and ObjectSize",
    )
}

/// What is known of an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AttributesAnswer<'a> {
    /// The ETag without quotes.
    pub etag: Option<&'a str>,
    /// The checksum. Here S3 leaves the number of parts off a composite one.
    pub checksum: Option<(ChecksumAlgorithm, &'a ChecksumValue)>,
    /// `FULL_OBJECT` or `COMPOSITE`.
    pub checksum_type: Option<&'a str>,
    /// The parts of a multipart object.
    pub parts: Option<ObjectParts<'a>>,
    /// The storage class.
    pub storage_class: Option<&'a str>,
    /// The plaintext size in bytes.
    pub object_size: Option<u64>,
}

/// The parts of a multipart object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectParts<'a> {
    /// How many there are.
    pub total: u32,
    /// Some of them. S3 leaves them out where parts have no checksums of their own.
    pub page: Option<ObjectPartsPage<'a>>,
}

/// A page of parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectPartsPage<'a> {
    /// The number that the client asked to start behind; zero for the first page.
    pub part_number_marker: u32,
    /// The last number of the page, on the last page too; zero for a page without parts.
    pub next_part_number_marker: u32,
    /// How many parts the client asked for at most.
    pub max_parts: u32,
    /// Whether there are more pages.
    pub is_truncated: bool,
    /// The parts of the page.
    pub parts: Vec<ObjectPart<'a>>,
}

/// One part of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectPart<'a> {
    /// Its number.
    pub number: u16,
    /// The plaintext size in bytes.
    pub size: u64,
    /// The checksum of its plaintext.
    pub checksum: Option<(ChecksumAlgorithm, &'a ChecksumValue)>,
}

impl AttributesAnswer<'_> {
    /// The answer with what is asked for, where it is known.
    #[must_use]
    pub fn render(&self, wanted: &ObjectAttributes) -> String {
        declared(&Markup::document("GetObjectAttributesResponse", |markup| {
            for attribute in ObjectAttribute::ALL {
                if wanted.contains(attribute) {
                    self.push(markup, attribute);
                }
            }
        }))
    }

    fn push(&self, markup: &mut Markup, attribute: ObjectAttribute) {
        let name = attribute.as_str();
        match attribute {
            ObjectAttribute::ETag => markup.optional(name, self.etag),
            ObjectAttribute::Checksum => {
                if let Some((algorithm, value)) = self.checksum {
                    markup.nested(name, |markup| {
                        markup.checksum(algorithm, &value.to_base64());
                        markup.optional("ChecksumType", self.checksum_type);
                    });
                }
            }
            ObjectAttribute::ObjectParts => {
                if let Some(parts) = &self.parts {
                    markup.nested(name, |markup| push_parts(markup, parts));
                }
            }
            ObjectAttribute::StorageClass => markup.optional(name, self.storage_class),
            ObjectAttribute::ObjectSize => {
                if let Some(size) = self.object_size {
                    markup.number(name, size);
                }
            }
        }
    }
}

fn push_parts(markup: &mut Markup, parts: &ObjectParts<'_>) {
    // SDKs call it TotalPartsCount, but read this name.
    markup.number("PartsCount", parts.total);
    let Some(page) = &parts.page else {
        return;
    };
    markup.number("PartNumberMarker", page.part_number_marker);
    markup.number("NextPartNumberMarker", page.next_part_number_marker);
    markup.number("MaxParts", page.max_parts);
    markup.flag("IsTruncated", page.is_truncated);
    for part in &page.parts {
        markup.nested("Part", |markup| {
            markup.number("PartNumber", part.number);
            markup.number("Size", part.size);
            if let Some((algorithm, value)) = part.checksum {
                markup.checksum(algorithm, &value.to_base64());
            }
        });
    }
}

#[cfg(test)]
mod tests;
