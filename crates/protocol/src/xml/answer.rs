//! Builder for XML responses that the proxy writes itself.
//!
//! They have S3's namespace and XML declaration, and text is escaped without loss. The declaration
//! is available separately: while S3 works it sends the declaration first, then white space, and
//! the document at the end. Not built here: error documents, which every XML reader must accept,
//! and pages of the backend in which spans are replaced.

use super::document::{Document, Element};
use super::escape::escape;
use crate::checksum::ChecksumAlgorithm;

/// XML declaration before a response document, on a line of its own.
pub(super) const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// XML markup under construction. Names of elements are not escaped: they are this crate's own, or
/// were parsed as names.
pub(super) struct Markup(String);

impl Markup {
    /// Builds a whole document, without the declaration.
    pub(super) fn document(root: &str, content: impl FnOnce(&mut Self)) -> String {
        let mut markup = Self(format!("<{root} xmlns=\"{NAMESPACE}\">"));
        content(&mut markup);
        markup.close(root);
        markup.0
    }

    /// Adds an element that contains elements.
    pub(super) fn nested(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.open(name);
        content(self);
        self.close(name);
    }

    /// Adds an element that contains text.
    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.open(name);
        self.0.push_str(&escape(text));
        self.close(name);
    }

    /// Adds an element if there is a text for it.
    pub(super) fn optional(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    /// Adds an element that contains a number.
    pub(super) fn number(&mut self, name: &str, number: impl Into<u64>) {
        self.text(name, &number.into().to_string());
    }

    /// Adds an ETag element; S3 writes the value with quotes.
    pub(super) fn quoted_etag(&mut self, etag: &str) {
        self.text("ETag", &format!("\"{etag}\""));
    }

    /// Adds a checksum element, which is named after its algorithm.
    pub(super) fn checksum(&mut self, algorithm: ChecksumAlgorithm, base64: &str) {
        self.text(&format!("Checksum{algorithm}"), base64);
    }

    /// Adds an element that contains `true` or `false`.
    pub(super) fn flag(&mut self, name: &str, truth: bool) {
        self.text(name, if truth { "true" } else { "false" });
    }

    /// Copies an element from another document without attributes and namespace prefixes, which
    /// have no meaning here. Unreadable text is left out: the names of owners are not worth an
    /// error.
    pub(super) fn copy(&mut self, document: &Document<'_>, element: &Element) {
        let name = document.name(element);
        if element.children.is_empty() {
            self.text(name, &document.text(element).unwrap_or_default());
            return;
        }
        self.nested(name, |markup| {
            for child in &element.children {
                markup.copy(document, child);
            }
        });
    }

    fn open(&mut self, name: &str) {
        self.0.push('<');
        self.0.push_str(name);
        self.0.push('>');
    }

    fn close(&mut self, name: &str) {
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
    }
}

/// Puts the declaration before a document.
pub(super) fn declared(document: &str) -> String {
    format!("{DECLARATION}{document}")
}
