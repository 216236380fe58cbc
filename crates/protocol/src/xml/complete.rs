//! CompleteMultipartUpload: the client's request, the backend's request, and both responses.
//!
//! The client's request has a closed schema and is parsed strictly. The backend gets another list,
//! since parts, ETags and checksums differ between the two sides. Existence and order of the parts
//! are not checked here.

use super::answer::{self, Markup};
use super::document::{Document, XmlError};
use super::stream::DocumentStream;
use crate::checksum::{ChecksumAlgorithm, ChecksumValue};
use crate::error::{ErrorCode, S3Error};
use crate::etag::{ETag, unquoted};
use crate::quote::quoted;

/// XML declaration at the start of a response. White space may follow while the work goes on, and
/// then [`complete_document`] or an error document.
pub const XML_DECLARATION: &str = answer::DECLARATION;

/// Maximum number of parts of an upload, and highest part number.
pub const MAXIMUM_PARTS: u16 = 10_000;

/// Maximum number of elements in a request: per part its number, its ETag and each checksum of S3.
const MAXIMUM_ELEMENTS: usize = 1 + MAXIMUM_PARTS as usize * 13;

/// Maximum length of a number, ETag or checksum in a request, in bytes.
const MAXIMUM_TEXT_BYTES: usize = 1024;

/// The parts that a client wants its object made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompleteRequest {
    /// Parts in the order of the request, 1 to 10,000 of them.
    pub parts: Vec<CompletedPart>,
}

/// One part of a CompleteMultipartUpload request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletedPart {
    /// Part number, 1 to 10,000.
    pub number: u16,
    /// ETag of the part without quotes.
    pub etag: String,
    /// Checksum of the part, if the client sent one.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumValue)>,
}

impl CompleteRequest {
    /// Parses a client's request. Errors are S3's: `MalformedXML` for elements outside the schema,
    /// `InvalidArgument` for invalid numbers and checksums, `NotImplemented` for unsupported
    /// checksum algorithms.
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
                // Checked before the part is parsed: the list never grows past the limit.
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

    /// Whether part numbers are strictly ascending.
    #[must_use]
    pub fn is_ascending(&self) -> bool {
        self.parts
            .is_sorted_by(|one, next| one.number < next.number)
    }
}

fn part(document: &mut DocumentStream<'_>) -> Result<CompletedPart, S3Error> {
    let (mut number, mut etag, mut checksum) = (None, None, None);
    while let Some(name) = document.child().map_err(refused)? {
        // Refuse an unknown element before its content is read.
        if !is_known(name) {
            return Err(unknown(name));
        }
        let text = document.text(MAXIMUM_TEXT_BYTES).map_err(refused)?;
        let text = text.trim();
        let repeated = match name {
            "PartNumber" => number.replace(part_number(text)?).is_some(),
            "ETag" => etag.replace(unquoted(text).to_owned()).is_some(),
            // Some clients write all known elements, leaving the unused ones empty.
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
    // As `i32` first: S3 has one error for other text and another for numbers out of range.
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

/// Builds the request for the backend from part numbers and ETags, which are given without quotes.
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

/// Parsed success response of a backend. Check for an error in its place with
/// [`is_error`](super::error_document::is_error) first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompleteResult {
    /// ETag of the object without quotes; `None` from servers that leave it empty.
    pub etag: Option<ETag>,
    /// URL of the object at the backend.
    pub location: Option<String>,
}

impl CompleteResult {
    /// Parses the backend's response, a `CompleteMultipartUploadResult`.
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
                .map(|etag| ETag::parse(&etag))
                .filter(|etag| !etag.as_str().is_empty()),
            location: location
                .map(|location| location.trim().to_owned())
                .filter(|location| !location.is_empty()),
        })
    }
}

/// Content of the response to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompleteAnswer<'a> {
    /// URL of the object.
    pub location: &'a str,
    /// Bucket name.
    pub bucket: &'a str,
    /// Object key.
    pub object_key: &'a str,
    /// ETag of the object without quotes.
    pub etag: &'a str,
    /// Checksum in Base64; a composite one is followed by `-` and the number of parts.
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
