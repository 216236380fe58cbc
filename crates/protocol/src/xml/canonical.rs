//! Parses documents in requests to a backend and serialises them again.
//!
//! A backend that does not know a sub-resource may store the request's body as an object. Therefore
//! no byte of a client's body is forwarded as it came: a document must have the root element of its
//! operation, and is written again from its elements and texts. The XML declaration, comments,
//! namespace prefixes and attributes are dropped, except the `xsi:type` of grantees, which S3
//! requires.
//!
//! The document is parsed as a stream, so memory is bounded by the written document for any markup.

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};

use super::document::{XmlError, body};
use super::escape::escape;

/// Maximum depth of elements. No S3 document is deeper.
const MAXIMUM_DEPTH: usize = 16;

/// Maximum number of elements. The largest configuration, a thousand replication rules, has fewer.
const MAXIMUM_ELEMENTS: usize = 32 * 1024;

const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

const SCHEMA_INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// Constraints on a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Name of the root element.
    pub root: &'static str,
    /// Names of all elements below the root; `None` for documents that servers extend.
    pub elements: Option<&'static [&'static str]>,
    /// Maximum size in bytes, both of the received and of the written document.
    pub maximum_bytes: usize,
}

/// Parses a document of the given shape and serialises it again. Fails if it is malformed, does not
/// have the shape, or exceeds a limit.
pub fn rewrite(bytes: &[u8], shape: &Shape) -> Result<String, XmlError> {
    if bytes.len() > shape.maximum_bytes {
        return Err(too_long(shape));
    }
    let mut reader = Reader::from_str(body(bytes)?);
    let mut writer = Writer::new(shape);
    loop {
        match reader.read_event().map_err(|error| syntax(&error))? {
            Event::Start(tag) => writer.open(&tag)?,
            // `<a/>` is written as `<a></a>`.
            Event::Empty(tag) => {
                writer.open(&tag)?;
                writer.close()?;
            }
            Event::End(_) => writer.close()?,
            Event::Text(part) => writer.text(utf8(&part)?)?,
            Event::CData(part) => writer.text(utf8(&part)?)?,
            // XML's five entities and character references only: `unescape` knows no others.
            Event::GeneralRef(part) => {
                let reference = format!("&{};", utf8(&part)?);
                let resolved = unescape(&reference);
                writer.text(&resolved.map_err(|error| XmlError::Syntax(error.to_string()))?)?;
            }
            // Only before the root. A client's declaration is not written again.
            Event::Decl(_) if writer.written.is_empty() => {}
            Event::DocType(_) | Event::PI(_) | Event::Decl(_) => {
                return Err(XmlError::Declaration);
            }
            Event::Comment(_) => {}
            Event::Eof => return writer.finish(),
        }
    }
}

/// Name of a document's root element, without its namespace prefix. The content is not parsed, and
/// may be malformed.
pub fn root_name(bytes: &[u8]) -> Result<String, XmlError> {
    let mut reader = Reader::from_str(body(bytes)?);
    loop {
        match reader.read_event().map_err(|error| syntax(&error))? {
            Event::Start(tag) | Event::Empty(tag) => {
                return local_name(&tag).map(str::to_owned);
            }
            Event::Text(part) if part.iter().all(u8::is_ascii_whitespace) => {}
            Event::Comment(_) | Event::Decl(_) => {}
            Event::Text(_)
            | Event::CData(_)
            | Event::GeneralRef(_)
            | Event::End(_)
            | Event::DocType(_)
            | Event::PI(_)
            | Event::Eof => return Err(XmlError::schema("there must be one root element")),
        }
    }
}

/// An element that is not closed yet.
struct Open {
    name: String,
    text: String,
    has_elements: bool,
}

struct Writer<'s> {
    shape: &'s Shape,
    written: String,
    open: Vec<Open>,
    elements: usize,
}

impl<'s> Writer<'s> {
    fn new(shape: &'s Shape) -> Self {
        Self {
            shape,
            written: String::new(),
            open: Vec::new(),
            elements: 0,
        }
    }

    fn open(&mut self, tag: &BytesStart<'_>) -> Result<(), XmlError> {
        let name = local_name(tag)?;
        match self.open.last_mut() {
            None if !self.written.is_empty() => return Err(outside()),
            None if name != self.shape.root => {
                let message = format!("the document must be a {}", self.shape.root);
                return Err(XmlError::schema(message));
            }
            None => {}
            Some(parent) => {
                // White space between elements was collected as text until the first child proved
                // otherwise.
                if !is_white_space(&parent.text) {
                    return Err(mixed());
                }
                parent.text.clear();
                parent.has_elements = true;
                self.require_known(name)?;
            }
        }
        // Check the limits before writing, so that memory stays bounded.
        if self.open.len() == MAXIMUM_DEPTH {
            return Err(XmlError::Depth);
        }
        self.elements += 1;
        if self.elements > MAXIMUM_ELEMENTS {
            return Err(XmlError::schema(
                "the document must not have so many elements",
            ));
        }
        self.write("<")?;
        self.write(name)?;
        if self.open.is_empty() {
            self.write(&format!(" xmlns=\"{NAMESPACE}\""))?;
        }
        if let Some(kind) = instance_type(tag)? {
            self.write(&format!(
                " xmlns:xsi=\"{SCHEMA_INSTANCE}\" xsi:type=\"{kind}\""
            ))?;
        }
        self.write(">")?;
        self.open.push(Open {
            name: name.to_owned(),
            text: String::new(),
            has_elements: false,
        });
        Ok(())
    }

    fn require_known(&self, name: &str) -> Result<(), XmlError> {
        match self.shape.elements {
            Some(known) if !known.contains(&name) => {
                // The message is logged and sent to the client, and the name may be as long as the
                // body.
                let name: String = name.chars().take(64).collect();
                Err(XmlError::schema(format!(
                    "a {} must not have the element {name}",
                    self.shape.root
                )))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn text(&mut self, text: &str) -> Result<(), XmlError> {
        match self.open.last_mut() {
            None if is_white_space(text) => Ok(()),
            None => Err(outside()),
            Some(element) if element.has_elements && !is_white_space(text) => Err(mixed()),
            Some(element) => {
                element.text.push_str(text);
                Ok(())
            }
        }
    }

    fn close(&mut self) -> Result<(), XmlError> {
        let element = self.open.pop().ok_or_else(outside)?;
        if !element.has_elements {
            self.write(&escape(&element.text))?;
        }
        self.write("</")?;
        self.write(&element.name)?;
        self.write(">")
    }

    fn write(&mut self, text: &str) -> Result<(), XmlError> {
        // Escaping can make the text longer than it was, so the limit is checked here again.
        if self.written.len() + text.len() > self.shape.maximum_bytes {
            return Err(too_long(self.shape));
        }
        self.written.push_str(text);
        Ok(())
    }

    fn finish(self) -> Result<String, XmlError> {
        if self.open.is_empty() && !self.written.is_empty() {
            Ok(self.written)
        } else {
            let message = "an element is not closed, or there is none";
            Err(XmlError::Syntax(message.to_owned()))
        }
    }
}

fn is_white_space(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_whitespace())
}

/// Local name of an element, checked to be a valid name: the XML library accepts any bytes.
fn local_name<'t>(tag: &'t BytesStart<'_>) -> Result<&'t str, XmlError> {
    let whole = tag.name().into_inner();
    let start = whole.iter().rposition(|byte| *byte == b':');
    let local = &whole[start.map_or(0, |colon| colon + 1)..];
    let is_name_byte = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
    if local.is_empty() || !local.iter().all(is_name_byte) {
        return Err(XmlError::Syntax("an element has no proper name".into()));
    }
    utf8(local)
}

/// Value of the attribute `xsi:type`, with any prefix.
fn instance_type(tag: &BytesStart<'_>) -> Result<Option<String>, XmlError> {
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|error| XmlError::Syntax(error.to_string()))?;
        let name = attribute.key.into_inner();
        // `xmlns:type` declares a namespace prefix named `type`.
        if !name.ends_with(b":type") || name.starts_with(b"xmlns:") {
            continue;
        }
        let value = utf8(&attribute.value)?;
        if value.len() > 64 || !value.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(XmlError::schema("an xsi:type must be the name of a type"));
        }
        return Ok(Some(value.to_owned()));
    }
    Ok(None)
}

fn utf8(bytes: &[u8]) -> Result<&str, XmlError> {
    std::str::from_utf8(bytes).map_err(|_| XmlError::NotUtf8)
}

fn syntax(error: &quick_xml::Error) -> XmlError {
    XmlError::Syntax(error.to_string().chars().take(256).collect())
}

fn outside() -> XmlError {
    XmlError::Syntax("there must be one root element and no text outside it".into())
}

fn mixed() -> XmlError {
    XmlError::schema("an element must have either text or elements")
}

fn too_long(shape: &Shape) -> XmlError {
    XmlError::schema(format!(
        "a {} may have at most {} bytes",
        shape.root, shape.maximum_bytes
    ))
}

#[cfg(test)]
mod tests;
