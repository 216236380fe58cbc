//! `GetObjectAttributes`: the requested attributes, and the response.
//!
//! The response contains the requested attributes that are known, in plaintext terms, and is built
//! by the proxy. In contrast to all other responses of S3, the ETag has no quotes. Not used: the
//! backend's response, which describes stored bytes. The caller selects the parts of a page.

use http::HeaderMap;

use super::answer::{Markup, declared};
use crate::checksum::{ChecksumAlgorithm, ChecksumValue};
use crate::error::{ErrorCode, S3Error};
use crate::headers::OBJECT_ATTRIBUTES;

/// Attribute that a request may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectAttribute {
    /// ETag of the object.
    ETag,
    /// Checksum of the object.
    Checksum,
    /// Number of parts, and a page of them.
    ObjectParts,
    /// Storage class of the object.
    StorageClass,
    /// Size of the plaintext.
    ObjectSize,
}

impl ObjectAttribute {
    /// All attributes, in the order of the response.
    pub const ALL: [Self; 5] = [
        Self::ETag,
        Self::Checksum,
        Self::ObjectParts,
        Self::StorageClass,
        Self::ObjectSize,
    ];

    /// Name in the request header and in the response.
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

/// Requested attributes: `x-amz-object-attributes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectAttributes(Vec<ObjectAttribute>);

impl ObjectAttributes {
    /// Parses the header, which may consist of one list or several. Fails with `InvalidArgument` if
    /// a name is unknown or there is none.
    pub fn parse(headers: &HeaderMap) -> Result<Self, S3Error> {
        let mut wanted = Vec::new();
        for value in headers.get_all(OBJECT_ATTRIBUTES) {
            for name in value.as_bytes().split(|&byte| byte == b',') {
                let name = name.trim_ascii();
                // RFC 9110, section 5.6.1.2: recipients ignore empty list elements.
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

    /// Whether the attribute is requested.
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

/// Attributes of an object; `None` for unknown ones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AttributesAnswer<'a> {
    /// ETag without quotes.
    pub etag: Option<&'a str>,
    /// The checksum. Here S3 leaves the number of parts off a composite one.
    pub checksum: Option<(ChecksumAlgorithm, &'a ChecksumValue)>,
    /// `FULL_OBJECT` or `COMPOSITE`.
    pub checksum_type: Option<&'a str>,
    /// Parts of a multipart object.
    pub parts: Option<ObjectParts<'a>>,
    /// Storage class.
    pub storage_class: Option<&'a str>,
    /// Size of the plaintext in bytes.
    pub object_size: Option<u64>,
}

/// Parts of a multipart object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectParts<'a> {
    /// Total number of parts.
    pub total: u32,
    /// Page of parts. S3 omits it if the parts have no checksums of their own.
    pub page: Option<ObjectPartsPage<'a>>,
}

/// A page of an object's parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectPartsPage<'a> {
    /// Part number after which the client asked to begin; zero for the first page.
    pub part_number_marker: u32,
    /// Last part number of the page, on the last page too; zero for an empty page.
    pub next_part_number_marker: u32,
    /// Maximum number of parts that the client requested.
    pub max_parts: u32,
    /// Whether there are more pages.
    pub is_truncated: bool,
    /// Parts of the page.
    pub parts: Vec<ObjectPart<'a>>,
}

/// One part of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectPart<'a> {
    /// Part number.
    pub number: u16,
    /// Size of the part's plaintext in bytes.
    pub size: u64,
    /// Checksum of the part's plaintext.
    pub checksum: Option<(ChecksumAlgorithm, &'a ChecksumValue)>,
}

impl AttributesAnswer<'_> {
    /// Builds the response with the requested attributes that are known.
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
    // S3 sends this name, although its SDKs call the member TotalPartsCount.
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
