//! CompleteMultipartUpload: what the client sends, what goes to the backend, and both answers.
//!
//! The request is a closed list, read strictly; the backend gets a list of its own, since parts,
//! ETags and checksums are not the same on both sides. Whether the parts exist, and whether they
//! are in order, is not decided here.

use super::answer::{self, Markup, unquoted};
use super::document::{Document, XmlError};
use super::stream::DocumentStream;
use crate::checksum::{ChecksumAlgorithm, ChecksumValue};
use crate::error::{ErrorCode, S3Error};
use crate::quote::quoted;

/// What stands at the very start of an answer. White space may follow while the work goes on, and
/// then [`complete_document`] or an error's document.
pub const XML_DECLARATION: &str = answer::DECLARATION;

/// The most parts that an upload has, and the highest part number.
pub const MAXIMUM_PARTS: u16 = 10_000;

/// The most elements of a request: for each part its number, its ETag and every checksum that S3 has.
const MAXIMUM_ELEMENTS: usize = 1 + MAXIMUM_PARTS as usize * 13;

/// Longest number, ETag or checksum in a request, in bytes.
const MAXIMUM_TEXT_BYTES: usize = 1024;

/// The parts that a client wants its object made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompleteRequest {
    /// The parts in the order of the request, 1 to 10,000.
    pub parts: Vec<CompletedPart>,
}

/// One part, as the client names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletedPart {
    /// Its number, 1 to 10,000.
    pub number: u16,
    /// Its ETag without quotes.
    pub etag: String,
    /// Its checksum, where the client names one.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumValue)>,
}

impl CompleteRequest {
    /// Reads a client's request. Refuses what S3 refuses: with `MalformedXML` what is not in its
    /// schema, with `InvalidArgument` numbers and checksums that cannot be right.
    pub fn parse(bytes: &[u8]) -> Result<Self, S3Error> {
        let mut document = DocumentStream::new(bytes, MAXIMUM_ELEMENTS).map_err(refused)?;
        Self::read(&mut document)
    }

    fn read(document: &mut DocumentStream<'_>) -> Result<Self, S3Error> {
        if document.root().map_err(refused)? != "CompleteMultipartUpload" {
            return Err(malformed("the document must be a CompleteMultipartUpload"));
        }
        let mut parts = Vec::new();
        while let Some(name) = document.child().map_err(refused)? {
            match name {
                "Part" if parts.len() < usize::from(MAXIMUM_PARTS) => parts.push(part(document)?),
                "Part" => return Err(number_of_parts()),
                name => return Err(unknown(name)),
            }
        }
        document.finish().map_err(refused)?;
        if parts.is_empty() {
            return Err(number_of_parts());
        }
        Ok(Self { parts })
    }

    /// Whether every number is above the one before.
    #[must_use]
    pub fn is_ascending(&self) -> bool {
        self.parts
            .is_sorted_by(|one, next| one.number < next.number)
    }
}

fn part(document: &mut DocumentStream<'_>) -> Result<CompletedPart, S3Error> {
    let (mut number, mut etag, mut checksum) = (None, None, None);
    while let Some(name) = document.child().map_err(refused)? {
        if !is_known(name) {
            return Err(unknown(name));
        }
        let text = document.text(MAXIMUM_TEXT_BYTES).map_err(refused)?;
        let text = text.trim();
        let repeated = match name {
            "PartNumber" => number.replace(part_number(text)?).is_some(),
            "ETag" => etag.replace(unquoted(text).to_owned()).is_some(),
            // Some clients write every element that they know of.
            _ if text.is_empty() => false,
            name => match checksum.replace(part_checksum(name, text)?) {
                Some(_) => return Err(invalid_checksum()),
                None => false,
            },
        };
        if repeated {
            return Err(malformed("a Part must have one PartNumber and one ETag"));
        }
    }
    Ok(CompletedPart {
        number: number.ok_or_else(|| malformed("a Part must have a PartNumber"))?,
        etag: etag
            .filter(|etag| !etag.is_empty())
            .ok_or_else(|| malformed("a Part must have an ETag"))?,
        checksum,
    })
}

fn is_known(name: &str) -> bool {
    matches!(name, "PartNumber" | "ETag") || name.starts_with("Checksum")
}

fn number_of_parts() -> S3Error {
    malformed("a CompleteMultipartUpload must name 1 to 10000 parts")
}

fn part_number(text: &str) -> Result<u16, S3Error> {
    let number: i32 = text
        .parse()
        .map_err(|_| malformed("a PartNumber must be a number"))?;
    u16::try_from(number)
        .ok()
        .filter(|number| (1..=MAXIMUM_PARTS).contains(number))
        .ok_or_else(|| {
            S3Error::new(
                ErrorCode::InvalidArgument,
                "Part number must be an integer between 1 and 10000, inclusive",
            )
        })
}

fn part_checksum(name: &str, text: &str) -> Result<(ChecksumAlgorithm, ChecksumValue), S3Error> {
    let algorithm = ChecksumAlgorithm::ALL
        .into_iter()
        .find(|known| name.strip_prefix("Checksum") == Some(known.as_str()));
    match algorithm {
        Some(algorithm) => ChecksumValue::from_base64(algorithm, text.as_bytes())
            .map(|value| (algorithm, value))
            .ok_or_else(invalid_checksum),
        None => Err(unknown(name)),
    }
}

fn invalid_checksum() -> S3Error {
    S3Error::new(
        ErrorCode::InvalidArgument,
        "A part's checksum must be one, and the Base64 of as many bytes as its algorithm has",
    )
}

fn unknown(name: &str) -> S3Error {
    malformed(format!(
        "the element {} is not part of a CompleteMultipartUpload",
        quoted(name)
    ))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function in map_err"
)]
fn refused(error: XmlError) -> S3Error {
    error.in_request()
}

fn malformed(message: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    XmlError::schema(message).in_request()
}

/// The request to the backend: numbers, and ETags that are given without their quotes.
#[must_use]
pub fn complete_request<'a>(parts: impl Iterator<Item = (u16, &'a str)>) -> String {
    Markup::document("CompleteMultipartUpload", |markup| {
        for (number, etag) in parts {
            markup.nested("Part", |markup| {
                markup.number("PartNumber", number);
                markup.quoted_etag(etag);
            });
        }
    })
}

/// A backend's answer of success. An error in its place is for
/// [`is_error`](super::error_document::is_error) to tell apart beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompleteResult {
    /// The object's ETag without quotes; some servers leave it empty.
    pub etag: Option<String>,
    /// Where the backend has the object.
    pub location: Option<String>,
}

impl CompleteResult {
    /// Reads a backend's answer.
    pub fn parse(bytes: &[u8]) -> Result<Self, XmlError> {
        let document = Document::parse(bytes)?;
        if document.root_name() != "CompleteMultipartUploadResult" {
            return Err(XmlError::schema(
                "the document must be a CompleteMultipartUploadResult",
            ));
        }
        let etag = document.child_text(&document.root, "ETag")?;
        let location = document.child_text(&document.root, "Location")?;
        Ok(Self {
            etag: etag
                .map(|etag| unquoted(&etag).to_owned())
                .filter(|etag| !etag.is_empty()),
            location: location
                .map(|location| location.trim().to_owned())
                .filter(|location| !location.is_empty()),
        })
    }
}

/// What the client is told of its completed object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompleteAnswer<'a> {
    /// The object's URL.
    pub location: &'a str,
    /// The bucket.
    pub bucket: &'a str,
    /// The key.
    pub object_key: &'a str,
    /// The ETag without quotes.
    pub etag: &'a str,
    /// The checksum in Base64, with `-` and the number of parts behind a composite one.
    pub checksum: Option<(ChecksumAlgorithm, &'a str)>,
    /// `FULL_OBJECT` or `COMPOSITE`.
    pub checksum_type: Option<&'a str>,
}

/// Body of a CompleteMultipartUpload response without the XML declaration, which may have been
/// sent earlier.
#[must_use]
pub fn complete_document(answer: &CompleteAnswer<'_>) -> String {
    Markup::document("CompleteMultipartUploadResult", |markup| {
        markup.text("Location", answer.location);
        markup.text("Bucket", answer.bucket);
        markup.text("Key", answer.object_key);
        markup.quoted_etag(answer.etag);
        if let Some((algorithm, base64)) = answer.checksum {
            markup.checksum(algorithm, base64);
        }
        markup.optional("ChecksumType", answer.checksum_type);
    })
}

#[cfg(test)]
mod tests;
