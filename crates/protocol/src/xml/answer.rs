//! Answers that the proxy writes from the start.
//!
//! They have S3's namespace and its declaration, and text is escaped exactly. The declaration can
//! be had apart from the document: S3 sends it first, then white space while it works, and the
//! document at last. Absent: error documents, which every reader has to accept, and pages that are
//! the backend's with some spans exchanged.

use super::document::{Document, Element};
use super::escape::escape;
use crate::checksum::ChecksumAlgorithm;

/// What stands before an answer's document, on its own line.
pub(super) const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// A document while it is written. Names of elements are this crate's own, or were read as such.
pub(super) struct Markup(String);

impl Markup {
    /// A whole document without declaration.
    pub(super) fn document(root: &str, content: impl FnOnce(&mut Self)) -> String {
        let mut markup = Self(format!("<{root} xmlns=\"{NAMESPACE}\">"));
        content(&mut markup);
        markup.close(root);
        markup.0
    }

    /// An element with elements inside.
    pub(super) fn nested(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.open(name);
        content(self);
        self.close(name);
    }

    /// An element with text inside.
    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.open(name);
        self.0.push_str(&escape(text));
        self.close(name);
    }

    /// An element that is there only where the text is.
    pub(super) fn optional(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    /// An element with a number inside.
    pub(super) fn number(&mut self, name: &str, number: impl Into<u64>) {
        self.text(name, &number.into().to_string());
    }

    /// An entity tag, which S3 writes with its quotes.
    pub(super) fn quoted_etag(&mut self, etag: &str) {
        self.text("ETag", &format!("\"{etag}\""));
    }

    /// A checksum, whose element is named after the algorithm.
    pub(super) fn checksum(&mut self, algorithm: ChecksumAlgorithm, base64: &str) {
        self.text(&format!("Checksum{algorithm}"), base64);
    }

    /// A truth value.
    pub(super) fn flag(&mut self, name: &str, truth: bool) {
        self.text(name, if truth { "true" } else { "false" });
    }

    /// An element of another document, without attributes and namespace prefixes, which would mean
    /// nothing here. What is said of people is not worth an error, so unreadable text is left out.
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

/// A document behind its declaration.
pub(super) fn declared(document: &str) -> String {
    format!("{DECLARATION}{document}")
}

/// An entity tag without its quotes, or as it is where it has none.
pub(super) fn unquoted(etag: &str) -> &str {
    let etag = etag.trim();
    etag.strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(etag)
}
