//! Parsed XML documents as trees of byte spans.
//!
//! The tree refers to the text that was parsed and copies none of it. Names are compared without
//! their namespace prefix, and text is unescaped on access. A document is modified by replacing
//! spans, so everything else stays as it was.
//!
//! Depth, number of elements and length of tags are bounded; the caller bounds the document's
//! length. Lists from clients are parsed as a [stream](super::stream) instead. Document type
//! declarations, processing instructions and entities other than XML's own five are refused, so no
//! text is longer than its source. An XML declaration anywhere but at the start is refused too: a
//! document that was modified here would still contain it.

use std::borrow::Cow;
use std::ops::Range;

use quick_xml::Reader;
use quick_xml::escape::{EscapeError, unescape};
use quick_xml::events::{BytesStart, Event};

use crate::error::{ErrorCode, S3Error};
use crate::quote;

/// Maximum depth of elements. No S3 document is deeper.
pub(super) const MAXIMUM_DEPTH: usize = 16;

/// Maximum number of elements in a document; each takes 80 bytes. A thousand lifecycle rules or
/// deleted objects need fewer.
const MAXIMUM_ELEMENTS: usize = 20_000;

/// Maximum number of elements in a page of a listing; some servers list 5000 objects.
const MAXIMUM_PAGE_ELEMENTS: usize = 100_000;

/// Maximum length of a tag with its name and attributes, in bytes.
const MAXIMUM_TAG_BYTES: usize = 4096;

/// Maximum length of the XML library's messages in errors, in bytes.
const MAXIMUM_MESSAGE_BYTES: usize = 160;

const BYTE_ORDER_MARK: char = '\u{FEFF}';

/// Reason for which a document was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// The document is not UTF-8.
    #[error("the document must be UTF-8")]
    NotUtf8,
    /// The document is not well-formed.
    #[error("the document must be well-formed XML: {0}")]
    Syntax(String),
    /// The document has a document type declaration, a processing instruction, or an XML
    /// declaration that is not at its start.
    #[error(
        "the document must have no document type declaration and no processing instruction, and an \
         XML declaration only at its start"
    )]
    Declaration,
    /// The elements are nested too deeply.
    #[error("the document's elements must not nest deeper than 16")]
    Depth,
    /// The document has too many elements.
    #[error("the document has too many elements")]
    Elements,
    /// A text is longer than its element allows.
    #[error("a text in the document is too long")]
    Text,
    /// The document is well-formed, but not the expected one.
    #[error("{0}")]
    Schema(Cow<'static, str>),
}

impl XmlError {
    /// The error response to a client that sent this document. Not for documents from a backend,
    /// for which the client is not responsible.
    #[must_use]
    pub fn in_request(&self) -> S3Error {
        S3Error::new(
            ErrorCode::MalformedXML,
            format!(
                "The XML you provided was not well-formed or did not validate against our \
                 published schema: {self}."
            ),
        )
    }

    pub(super) fn schema(message: impl Into<Cow<'static, str>>) -> Self {
        Self::Schema(message.into())
    }
}

/// An element and its children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    name: Range<usize>,
    /// Span of the whole element, including its tags.
    pub(super) outer: Range<usize>,
    /// Span between the tags; for `<a/>` it is empty and at the element's end.
    pub(super) inner: Range<usize>,
    pub(super) children: Vec<Element>,
    form: TagForm,
}

/// Spelling of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TagForm {
    /// `<a></a>`
    Pair,
    /// `<a/>`, which has no content to replace or extend.
    Empty,
}

/// A parsed document: its root and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document<'text> {
    pub(super) text: &'text str,
    pub(super) root: Element,
}

/// Replacement of one span, for [`splice`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) span: Range<usize>,
    pub(super) with: String,
}

impl<'text> Document<'text> {
    pub(super) fn parse(bytes: &'text [u8]) -> Result<Self, XmlError> {
        Self::with_elements(bytes, MAXIMUM_ELEMENTS)
    }

    /// Parses a page of a listing, which may have more elements than other documents.
    pub(super) fn parse_page(bytes: &'text [u8]) -> Result<Self, XmlError> {
        Self::with_elements(bytes, MAXIMUM_PAGE_ELEMENTS)
    }

    fn with_elements(bytes: &'text [u8], elements: usize) -> Result<Self, XmlError> {
        let text = body(bytes)?;
        let root = read_tree(text, elements)?;
        Ok(Self { text, root })
    }

    /// Name of the root element without its namespace prefix.
    pub(super) fn root_name(&self) -> &'text str {
        self.name(&self.root)
    }

    pub(super) fn name(&self, element: &Element) -> &'text str {
        let name = &self.text[element.name.clone()];
        name.rsplit_once(':').map_or(name, |(_, local)| local)
    }

    /// Namespace prefix of an element with its colon, or an empty string.
    pub(super) fn prefix(&self, element: &Element) -> &'text str {
        let name = &self.text[element.name.clone()];
        &name[..name.len() - self.name(element).len()]
    }

    /// Children of an element with the given name.
    pub(super) fn children<'tree>(
        &'tree self,
        element: &'tree Element,
        name: &'tree str,
    ) -> impl Iterator<Item = &'tree Element> {
        element
            .children
            .iter()
            .filter(move |child| self.name(child) == name)
    }

    /// First child of an element with the given name.
    pub(super) fn child<'tree>(
        &'tree self,
        element: &'tree Element,
        name: &'tree str,
    ) -> Option<&'tree Element> {
        self.children(element, name).next()
    }

    /// Text of an element, unescaped and untrimmed, without the text of its children.
    pub(super) fn text(&self, element: &Element) -> Result<Cow<'text, str>, XmlError> {
        let raw = &self.text[element.inner.clone()];
        // Fast path for the usual case: neither children nor CDATA.
        if !raw.contains('<') {
            return unescape(raw).map_err(|error| unresolved(&error));
        }
        let mut text = String::new();
        // The XML library would take it for the start of a document, and drop it.
        if raw.starts_with(BYTE_ORDER_MARK) {
            text.push(BYTE_ORDER_MARK);
        }
        let mut depth = 0_usize;
        let mut reader = Reader::from_str(raw);
        loop {
            match reader.read_event().map_err(|error| syntax(&error))? {
                Event::Start(_) => depth += 1,
                Event::End(_) => depth = depth.saturating_sub(1),
                Event::Text(part) if depth == 0 => text.push_str(utf8(&part)?),
                Event::CData(part) if depth == 0 => text.push_str(utf8(&part)?),
                Event::GeneralRef(part) if depth == 0 => {
                    text.push_str(&reference(utf8(&part)?)?);
                }
                Event::Eof => return Ok(Cow::Owned(text)),
                Event::Text(_)
                | Event::CData(_)
                | Event::GeneralRef(_)
                | Event::Empty(_)
                | Event::Comment(_)
                | Event::Decl(_)
                | Event::PI(_)
                | Event::DocType(_) => {}
            }
        }
    }

    /// Text of the first child with the given name; `None` without one.
    pub(super) fn child_text(
        &self,
        element: &Element,
        name: &str,
    ) -> Result<Option<Cow<'text, str>>, XmlError> {
        self.child(element, name)
            .map(|child| self.text(child))
            .transpose()
    }

    /// Replaces an element's content by text; its tags stay.
    pub(super) fn replace_text(&self, element: &Element, text: &str) -> Edit {
        let with = super::escape::escape(text).into_owned();
        // `<a/>` has to become a pair of tags. Its attributes are lost, which S3's leaves do not
        // have.
        if element.form == TagForm::Empty {
            let name = &self.text[element.name.clone()];
            return Edit {
                span: element.outer.clone(),
                with: format!("<{name}>{with}</{name}>"),
            };
        }
        Edit {
            span: element.inner.clone(),
            with,
        }
    }

    /// Appends markup to the content of an element.
    pub(super) fn append_inside(&self, element: &Element, markup: &str) -> Edit {
        // `<a b="c"/>`: keep the attributes, which may declare the namespace.
        if element.form == TagForm::Empty {
            let tag = &self.text[element.outer.clone()];
            let open = tag
                .strip_suffix("/>")
                .expect("an empty tag ends so")
                .trim_end();
            let name = &self.text[element.name.clone()];
            return Edit {
                span: element.outer.clone(),
                with: format!("{open}>{markup}</{name}>"),
            };
        }
        Edit {
            span: element.inner.end..element.inner.end,
            with: markup.to_owned(),
        }
    }
}

impl Edit {
    /// Removes an element.
    pub(super) fn remove(element: &Element) -> Self {
        Self {
            span: element.outer.clone(),
            with: String::new(),
        }
    }
}

/// Returns the text with all edits applied. Their spans must not overlap.
pub(super) fn splice(text: &str, mut edits: Vec<Edit>) -> String {
    // Edits are collected by kind, not by position.
    edits.sort_by_key(|edit| edit.span.start);
    let mut spliced = String::with_capacity(text.len());
    let mut at = 0;
    for edit in edits {
        spliced.push_str(&text[at..edit.span.start]);
        spliced.push_str(&edit.with);
        at = edit.span.end;
    }
    spliced.push_str(&text[at..]);
    spliced
}

/// Returns the text of a document without a byte order mark, which would shift the XML library's
/// positions, and without leading white space: some servers send it while they work, and XML
/// readers refuse it before a declaration. Fails if the text contains NUL, which XML cannot
/// represent.
pub(super) fn body(bytes: &[u8]) -> Result<&str, XmlError> {
    let text = std::str::from_utf8(bytes).map_err(|_| XmlError::NotUtf8)?;
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let text = text.trim_ascii_start();
    // The library would drop this second one too.
    if text.starts_with(BYTE_ORDER_MARK) {
        return Err(outside());
    }
    // No reference can represent NUL, so a document that quoted it could not be parsed.
    if text.contains('\0') {
        return Err(XmlError::Syntax("it contains NUL".into()));
    }
    Ok(text)
}

fn read_tree(text: &str, elements: usize) -> Result<Element, XmlError> {
    let mut reader = Reader::from_str(text);
    let mut tree = Tree {
        elements_left: elements,
        ..Tree::default()
    };
    loop {
        // Positions before and after an event are the span of its tag.
        let start = position(&reader);
        let event = reader.read_event().map_err(|error| syntax(&error))?;
        let end = position(&reader);
        match event {
            Event::Start(tag) => {
                tree.count()?;
                tree.open(element(&tag, start..end, TagForm::Pair)?)?;
            }
            Event::Empty(tag) => {
                tree.count()?;
                tree.attach(element(&tag, start..end, TagForm::Empty)?)?;
            }
            Event::End(_) => tree.close(start, end)?,
            Event::Text(text) if text.iter().all(u8::is_ascii_whitespace) => {}
            Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) => tree.require_open()?,
            // Only at the very start, see the module's documentation.
            Event::Decl(_) if start == 0 => {}
            Event::DocType(_) | Event::PI(_) | Event::Decl(_) => {
                return Err(XmlError::Declaration);
            }
            Event::Comment(_) => {}
            Event::Eof => return tree.finish(),
        }
    }
}

/// The elements parsed so far.
#[derive(Default)]
struct Tree {
    open: Vec<Element>,
    root: Option<Element>,
    /// Number of elements that may still begin.
    elements_left: usize,
}

impl Tree {
    fn count(&mut self) -> Result<(), XmlError> {
        let left = self.elements_left.checked_sub(1);
        self.elements_left = left.ok_or(XmlError::Elements)?;
        Ok(())
    }

    fn open(&mut self, element: Element) -> Result<(), XmlError> {
        if self.root.is_some() {
            return Err(outside());
        }
        if self.open.len() == MAXIMUM_DEPTH {
            return Err(XmlError::Depth);
        }
        self.open.push(element);
        Ok(())
    }

    fn close(&mut self, start: usize, end: usize) -> Result<(), XmlError> {
        let mut element = self.open.pop().ok_or_else(outside)?;
        // `start` is where the end tag begins. Both spans were open-ended until now.
        element.inner.end = start;
        element.outer.end = end;
        self.attach(element)
    }

    fn attach(&mut self, closed: Element) -> Result<(), XmlError> {
        match (self.open.last_mut(), &self.root) {
            (Some(parent), _) => parent.children.push(closed),
            (None, Some(_)) => return Err(outside()),
            (None, None) => self.root = Some(closed),
        }
        Ok(())
    }

    fn require_open(&self) -> Result<(), XmlError> {
        if self.open.is_empty() {
            return Err(outside());
        }
        Ok(())
    }

    fn finish(self) -> Result<Element, XmlError> {
        match self.root {
            Some(root) if self.open.is_empty() => Ok(root),
            Some(_) | None => Err(XmlError::Syntax(
                "an element is not closed, or there is none".into(),
            )),
        }
    }
}

/// Creates an element from its start tag.
fn element(tag: &BytesStart<'_>, span: Range<usize>, form: TagForm) -> Result<Element, XmlError> {
    Ok(Element {
        name: name(tag, span.clone())?,
        inner: span.end..span.end,
        outer: span,
        children: Vec::new(),
        form,
    })
}

/// Returns the span of an element's name, given the span of its start tag. The XML library accepts
/// any bytes as names and attributes; a tag built from such a name could have another meaning.
pub(super) fn name(tag: &BytesStart<'_>, span: Range<usize>) -> Result<Range<usize>, XmlError> {
    if span.len() > MAXIMUM_TAG_BYTES {
        return Err(XmlError::Syntax("a tag is longer than 4096 bytes".into()));
    }
    let attributes_are_proper = tag
        .attributes()
        .all(|attribute| attribute.is_ok_and(|attribute| !attribute.value.contains(&b'<')));
    if !attributes_are_proper {
        return Err(XmlError::Syntax(
            "an element has a malformed attribute".into(),
        ));
    }
    let name = tag.name();
    let is_name_byte =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:".contains(byte) || !byte.is_ascii();
    if name.as_ref().is_empty() || !name.as_ref().iter().all(is_name_byte) {
        return Err(XmlError::Syntax("an element has no proper name".into()));
    }
    // The tag's span begins with `<`.
    let name_start = span.start + 1;
    Ok(name_start..name_start + name.as_ref().len())
}

/// Text that a reference such as `amp` or `#65` represents.
pub(super) fn reference(name: &str) -> Result<String, XmlError> {
    let reference = format!("&{name};");
    let resolved = unescape(&reference).map_err(|error| unresolved(&error))?;
    Ok(resolved.into_owned())
}

pub(super) fn position(reader: &Reader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).expect("positions are inside the text")
}

pub(super) fn syntax(error: &quick_xml::Error) -> XmlError {
    XmlError::Syntax(quote::bounded(error, MAXIMUM_MESSAGE_BYTES))
}

fn unresolved(error: &EscapeError) -> XmlError {
    XmlError::Syntax(quote::bounded(error, MAXIMUM_MESSAGE_BYTES))
}

pub(super) fn outside() -> XmlError {
    XmlError::Syntax("there must be one root element and no text outside it".into())
}

pub(super) fn utf8(bytes: &[u8]) -> Result<&str, XmlError> {
    std::str::from_utf8(bytes).map_err(|_| XmlError::NotUtf8)
}

#[cfg(test)]
pub(super) mod tests;
