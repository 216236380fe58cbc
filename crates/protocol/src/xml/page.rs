//! Parts that all listing pages have in common: encoding, elements of the page itself, common
//! prefixes, and checksums.

use std::borrow::Cow;

use super::document::{Document, Edit, Element, XmlError};
use super::escape::escape;
use super::truth::truth;
use crate::percent::{self, Plus};

/// Edit of an element of the page itself, such as the marker for the next page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageEdit<'a> {
    /// Sets the element to this key, in the page's encoding.
    Key(&'a str),
    /// Sets the element to this text.
    Text(&'a str),
    /// Removes the element.
    Remove,
}

/// Edit of a common prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrefixEdit {
    /// Keeps the prefix.
    Keep,
    /// Removes the prefix.
    Hide,
}

/// Encoding of keys and prefixes in a page.
#[derive(Debug, Clone, Copy)]
pub(super) enum Encoding {
    Plain,
    Url,
}

impl Encoding {
    /// Decodes a key. Text that is not validly encoded is used unchanged: some servers announce the
    /// encoding and do not apply it to common prefixes or markers.
    pub(super) fn decode(self, text: Cow<'_, str>) -> String {
        match self {
            Self::Plain => text.into_owned(),
            Self::Url => percent::decode(&text, Plus::Space).unwrap_or_else(|_| text.into_owned()),
        }
    }
}

/// Encoding that the page announces.
pub(super) fn encoding(document: &Document<'_>) -> Result<Encoding, XmlError> {
    match document
        .child_text(&document.root, "EncodingType")?
        .as_deref()
    {
        None | Some("") => Ok(Encoding::Plain),
        Some(name) if name.eq_ignore_ascii_case("url") => Ok(Encoding::Url),
        Some(_) => Err(XmlError::schema("the EncodingType must be url")),
    }
}

/// Whether the backend has more pages.
pub(super) fn is_truncated(document: &Document<'_>) -> bool {
    matches!(
        document.child_text(&document.root, "IsTruncated"),
        Ok(Some(text)) if truth(&text) == Some(true)
    )
}

/// Edits of elements of the page itself.
pub(super) fn edit_page(
    document: &Document<'_>,
    encoding: Encoding,
    page_edits: &[(&str, PageEdit<'_>)],
) -> impl Iterator<Item = Edit> {
    page_edits
        .iter()
        .filter_map(move |(name, edit)| page_edit(document, encoding, name, *edit))
}

/// Edit for an element of the page itself, which is added if it is absent.
fn page_edit(
    document: &Document<'_>,
    encoding: Encoding,
    name: &str,
    edit: PageEdit<'_>,
) -> Option<Edit> {
    let element = document.child(&document.root, name);
    let text = match (edit, encoding) {
        (PageEdit::Remove, _) => return element.map(Edit::remove),
        (PageEdit::Key(key), Encoding::Url) => Cow::Owned(percent::encode_path(key)),
        (PageEdit::Key(text), Encoding::Plain) | (PageEdit::Text(text), _) => Cow::Borrowed(text),
    };
    if let Some(element) = element {
        return Some(document.replace_text(element, &text));
    }
    // In a page with a namespace prefix, an element without it would be in another namespace.
    let prefix = document.prefix(&document.root);
    let text = escape(&text);
    let markup = format!("<{prefix}{name}>{text}</{prefix}{name}>");
    Some(document.append_inside(&document.root, &markup))
}

/// Removes the checksums of an entry: they describe stored bytes.
pub(super) fn checksum_removals(
    document: &Document<'_>,
    entry: &Element,
) -> impl Iterator<Item = Edit> {
    entry
        .children
        .iter()
        .filter(|child| document.name(child).starts_with("Checksum"))
        .map(Edit::remove)
}

/// Text of an element that each entry has to have.
pub(super) fn required<'text>(
    document: &Document<'text>,
    element: &Element,
    name: &'static str,
) -> Result<Cow<'text, str>, XmlError> {
    document
        .child_text(element, name)?
        .ok_or_else(|| XmlError::schema(format!("an entry must have a {name}")))
}
