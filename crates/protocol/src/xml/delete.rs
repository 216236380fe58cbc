//! DeleteObjects: the client's batch of deletions, and the result.
//!
//! The request has a closed schema. It is parsed into [`DeleteRequest`] and serialised again, so
//! that the backend gets exactly the keys that were authorised: unknown elements are refused, and
//! keys are validated like those in a path. ETag and size are conditions in plaintext terms, which
//! the caller maps. The backend's result is passed on unchanged, with the proxy's own errors
//! appended.

use std::fmt::Write;

use super::document::{Document, XmlError, splice};
use super::escape::escape;
use super::stream::DocumentStream;
use super::truth::truth;
use crate::error::S3Error;
use crate::name::ObjectKey;
use crate::quote::quoted;

const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// Maximum number of objects in one request.
pub const MAXIMUM_OBJECTS: usize = 1000;

/// Maximum number of elements in a request: per object its key and four conditions.
const MAXIMUM_ELEMENTS: usize = 2 + MAXIMUM_OBJECTS * 6;

/// Maximum length of a text in a request, in bytes. Longer than the longest key (1024), so that a
/// key beyond that gets its own error.
const MAXIMUM_TEXT_BYTES: usize = 4096;

/// Elements after the objects of a request.
const END_BYTES: usize = "<Quiet>true</Quiet></Delete>".len();

/// How much the answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// Deletions and errors are reported.
    Verbose,
    /// Only errors are reported.
    Quiet,
}

/// A parsed DeleteObjects request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteRequest {
    /// Objects to delete, 1 to 1000 of them.
    pub objects: Vec<ObjectIdentifier>,
    /// Verbosity of the response.
    pub verbosity: Verbosity,
}

/// One object to delete, with conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectIdentifier {
    /// Object key.
    pub key: ObjectKey,
    /// Version to delete; without one, the backend creates a delete marker in versioned buckets.
    pub version_id: Option<String>,
    /// Condition: ETag of the object.
    pub etag: Option<String>,
    /// Condition: size of the object in bytes.
    pub size: Option<u64>,
    /// Condition: modification time of the object, as the client wrote it.
    pub last_modified_time: Option<String>,
}

impl DeleteRequest {
    /// Parses a client's request. Fails with `MalformedXML` if it does not match S3's schema, and
    /// as [`ObjectKey::new`] does.
    pub fn parse(bytes: &[u8]) -> Result<Self, S3Error> {
        let mut document = DocumentStream::new(bytes, MAXIMUM_ELEMENTS).map_err(malformed)?;
        Self::read(&mut document)
    }

    fn read(document: &mut DocumentStream<'_>) -> Result<Self, S3Error> {
        if document.root().map_err(malformed)? != "Delete" {
            return Err(malformed(XmlError::schema("the document must be a Delete")));
        }
        let mut request = Self {
            objects: Vec::new(),
            verbosity: Verbosity::Verbose,
        };
        while let Some(name) = document.child().map_err(malformed)? {
            match name {
                // Checked before the object is parsed: the list never grows past the limit.
                "Object" if request.objects.len() < MAXIMUM_OBJECTS => {
                    request.objects.push(object(document)?);
                }
                "Object" => return Err(number_of_objects()),
                "Quiet" => {
                    let text = document.text(MAXIMUM_TEXT_BYTES).map_err(malformed)?;
                    request.verbosity = verbosity(&text)?;
                }
                name => return Err(unknown(name)),
            }
        }
        document.finish().map_err(malformed)?;
        if request.objects.is_empty() {
            return Err(number_of_objects());
        }
        Ok(request)
    }

    /// Writes a request for the backend with the objects from `first` on that `bytes` have room
    /// for, one at the least. Returns where the next request begins.
    #[must_use]
    pub fn render(&self, first: usize, bytes: usize) -> (String, usize) {
        let mut markup = format!("<Delete xmlns=\"{NAMESPACE}\">");
        let mut next = first;
        for object in self.objects.get(first..).unwrap_or_default() {
            let before = markup.len();
            object.render(&mut markup);
            if markup.len() + END_BYTES > bytes && next > first {
                markup.truncate(before);
                break;
            }
            next += 1;
        }
        let quiet = match self.verbosity {
            Verbosity::Verbose => None,
            Verbosity::Quiet => Some("true"),
        };
        push(&mut markup, "Quiet", quiet);
        markup.push_str("</Delete>");
        (markup, next)
    }
}

impl ObjectIdentifier {
    fn render(&self, markup: &mut String) {
        markup.push_str("<Object>");
        push(markup, "Key", Some(self.key.as_str()));
        push(markup, "VersionId", self.version_id.as_deref());
        push(markup, "ETag", self.etag.as_deref());
        let time = self.last_modified_time.as_deref();
        push(markup, "LastModifiedTime", time);
        let size = self.size.map(|size| size.to_string());
        push(markup, "Size", size.as_deref());
        markup.push_str("</Object>");
    }
}

fn object(document: &mut DocumentStream<'_>) -> Result<ObjectIdentifier, S3Error> {
    let (mut key, mut version_id, mut etag, mut size, mut time) = (None, None, None, None, None);
    while let Some(name) = document.child().map_err(malformed)? {
        let field = match name {
            "Key" => &mut key,
            "VersionId" => &mut version_id,
            "ETag" => &mut etag,
            "Size" => &mut size,
            "LastModifiedTime" => &mut time,
            name => return Err(unknown(name)),
        };
        let text = document.text(MAXIMUM_TEXT_BYTES).map_err(malformed)?;
        // Two keys in one object could be read in two ways.
        if field.replace(text).is_some() {
            let message = format!("an Object must have only one {name}");
            return Err(malformed(XmlError::schema(message)));
        }
    }
    let key = key.ok_or_else(|| malformed(XmlError::schema("an Object must have a Key")))?;
    let size = size.map(|text| text.trim().parse()).transpose();
    Ok(ObjectIdentifier {
        key: ObjectKey::new(key)?,
        // S3 treats an empty version as no version, and some clients send one.
        version_id: version_id.filter(|version| !version.is_empty()),
        etag: etag.filter(|etag| !etag.is_empty()),
        size: size.map_err(|_| malformed(XmlError::schema("a Size must be a number of bytes")))?,
        last_modified_time: time.filter(|time| !time.is_empty()),
    })
}

fn verbosity(text: &str) -> Result<Verbosity, S3Error> {
    match truth(text) {
        Some(true) => Ok(Verbosity::Quiet),
        Some(false) => Ok(Verbosity::Verbose),
        None if text.trim().is_empty() => Ok(Verbosity::Verbose),
        None => Err(malformed(XmlError::schema("Quiet must be true or false"))),
    }
}

fn number_of_objects() -> S3Error {
    malformed(XmlError::schema("a Delete must name 1 to 1000 objects"))
}

fn unknown(name: &str) -> S3Error {
    let message = format!("the element {} is not part of a Delete", quoted(name));
    malformed(XmlError::schema(message))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function in map_err"
)]
fn malformed(error: XmlError) -> S3Error {
    error.in_request()
}

fn push(markup: &mut String, name: &str, text: Option<&str>) {
    if let Some(text) = text {
        write!(markup, "<{name}>{}</{name}>", escape(text)).expect("a string takes everything");
    }
}

/// An object that was not deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteError {
    /// Object key.
    pub key: String,
    /// Version named in the request.
    pub version_id: Option<String>,
    /// S3 error code.
    pub code: String,
    /// Error message.
    pub message: String,
}

/// An object that was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// Object key.
    pub key: String,
    /// Version named in the request.
    pub version_id: Option<String>,
}

/// Parsed result of a backend.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeleteResult {
    /// Deleted objects; empty for a quiet request.
    pub deleted: Vec<Deleted>,
    /// Objects that were not deleted.
    pub errors: Vec<DeleteError>,
}

impl DeleteResult {
    /// Parses a backend's `DeleteResult`. Unknown elements are ignored.
    pub fn parse(bytes: &[u8]) -> Result<Self, XmlError> {
        let document = result_document(bytes)?;
        let mut result = Self::default();
        for element in &document.root.children {
            let text = |name: &str| document.child_text(element, name);
            let key = || text("Key").map(|key| key.unwrap_or_default().into_owned());
            let version = || text("VersionId").map(|version| version.map(Into::into));
            match document.name(element) {
                "Deleted" => result.deleted.push(Deleted {
                    key: key()?,
                    version_id: version()?,
                }),
                "Error" => result.errors.push(DeleteError {
                    key: key()?,
                    version_id: version()?,
                    code: text("Code")?.unwrap_or_default().into_owned(),
                    message: text("Message")?.unwrap_or_default().into_owned(),
                }),
                _ => {}
            }
        }
        Ok(result)
    }
}

/// The backend's first result unchanged, followed by the entries of its further results and by
/// errors.
pub fn merge_delete_result(
    bytes: &[u8],
    further: &[impl AsRef<[u8]>],
    errors: &[DeleteError],
) -> Result<String, XmlError> {
    let document = result_document(bytes)?;
    let mut markup = String::new();
    for bytes in further {
        let further = result_document(bytes.as_ref())?;
        markup.push_str(&further.text[further.root.inner.clone()]);
    }
    markup.push_str(&error_elements(errors));
    let edit = document.append_inside(&document.root, &markup);
    Ok(splice(document.text, vec![edit]))
}

/// Builds the result of a batch of which no object was sent to the backend.
#[must_use]
pub fn delete_result(errors: &[DeleteError]) -> String {
    let errors = error_elements(errors);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <DeleteResult xmlns=\"{NAMESPACE}\">{errors}</DeleteResult>"
    )
}

fn result_document(bytes: &[u8]) -> Result<Document<'_>, XmlError> {
    let document = Document::parse(bytes)?;
    match document.root_name() {
        "DeleteResult" => Ok(document),
        _ => Err(XmlError::schema("the document must be a DeleteResult")),
    }
}

fn error_elements(errors: &[DeleteError]) -> String {
    let mut markup = String::new();
    for error in errors {
        markup.push_str("<Error>");
        push(&mut markup, "Key", Some(&error.key));
        push(&mut markup, "VersionId", error.version_id.as_deref());
        push(&mut markup, "Code", Some(&error.code));
        push(&mut markup, "Message", Some(&error.message));
        markup.push_str("</Error>");
    }
    markup
}

#[cfg(test)]
mod tests;
