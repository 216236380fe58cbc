//! Pages of ListObjects (both versions) and ListObjectVersions.
//!
//! [`ListPage::parse`] reads keys, sizes, ETags, versions and common prefixes, decoded if the page
//! has `encoding-type=url`. [`ListPage::render_with`] writes the page with other sizes and ETags
//! and without hidden entries. Checksum elements describe stored bytes and are always removed, as
//! is metadata that the caller hides; KeyCount is corrected. Everything else stays as the backend
//! sent it, byte for byte, including `IsTruncated`, markers and tokens: a page may have fewer
//! entries than its limit, or none.

use std::borrow::Cow;

use super::document::{Document, Edit, Element, XmlError, splice};
use super::page::{Encoding, checksum_removals, edit_page, encoding, is_truncated, required};
use super::truth::truth;

pub use super::page::{PageEdit, PrefixEdit};

/// Kind of an entry in a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// An object in ListObjects.
    Object,
    /// A version of an object in ListObjectVersions.
    Version,
    /// A delete marker in ListObjectVersions; it has neither size nor ETag.
    DeleteMarker,
}

/// One entry of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListEntry {
    /// Kind of the entry.
    pub kind: EntryKind,
    /// Decoded key.
    pub key: String,
    /// ETag as the backend wrote it, with or without quotes.
    pub etag: Option<String>,
    /// Stored size in bytes.
    pub size: Option<u64>,
    /// Version ID, in ListObjectVersions.
    pub version_id: Option<String>,
    /// Modification time as the backend wrote it.
    pub last_modified: Option<String>,
    /// Whether this is the key's current version; false if the page does not specify it.
    pub is_latest: bool,
}

/// Edit of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryEdit {
    /// Keeps the entry as it is.
    Keep,
    /// Removes the entry.
    Hide,
    /// Replaces ETag and size by those that clients see.
    Replace {
        /// ETag with its quotes.
        etag: String,
        /// Size of the plaintext in bytes.
        size: u64,
    },
}

/// A parsed page of the backend.
#[derive(Debug)]
pub struct ListPage<'text> {
    document: Document<'text>,
    encoding: Encoding,
    entries: Vec<ListEntry>,
    common_prefixes: Vec<String>,
    /// Indices of the entries among the root's children, in the order of `entries`.
    entry_positions: Vec<usize>,
    /// Indices of the prefixes among the root's children, in the order of `common_prefixes`.
    prefix_positions: Vec<usize>,
}

impl<'text> ListPage<'text> {
    /// Parses a page. Fails if it does not match S3's schema.
    pub fn parse(bytes: &'text [u8]) -> Result<Self, XmlError> {
        let document = Document::parse_page(bytes)?;
        if !["ListBucketResult", "ListVersionsResult"].contains(&document.root_name()) {
            return Err(XmlError::schema(
                "the document must be a ListBucketResult or a ListVersionsResult",
            ));
        }
        let encoding = encoding(&document)?;
        let mut page = Self {
            encoding,
            entries: Vec::new(),
            common_prefixes: Vec::new(),
            entry_positions: Vec::new(),
            prefix_positions: Vec::new(),
            document,
        };
        let document = &page.document;
        for (position, element) in document.root.children.iter().enumerate() {
            let name = document.name(element);
            if let Some(kind) = entry_kind(name) {
                page.entries.push(entry(document, element, kind, encoding)?);
                page.entry_positions.push(position);
            } else if name == "CommonPrefixes" {
                let prefix = required(document, element, "Prefix")?;
                page.common_prefixes.push(encoding.decode(prefix));
                page.prefix_positions.push(position);
            }
        }
        Ok(page)
    }

    /// Entries in the page's order.
    #[must_use]
    pub fn entries(&self) -> &[ListEntry] {
        &self.entries
    }

    /// Decoded common prefixes in the page's order.
    #[must_use]
    pub fn common_prefixes(&self) -> &[String] {
        &self.common_prefixes
    }

    /// Whether the backend has more pages.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        is_truncated(&self.document)
    }

    /// Decoded key in an element of the page itself, such as `NextMarker`; `None` if it is absent
    /// or empty.
    pub fn key_of_page(&self, name: &str) -> Result<Option<String>, XmlError> {
        let text = self.text_of_page(name)?;
        Ok(text.map(|text| self.encoding.decode(Cow::Owned(text))))
    }

    /// Text in an element of the page itself, such as `NextContinuationToken`; `None` if it is
    /// absent or empty.
    pub fn text_of_page(&self, name: &str) -> Result<Option<String>, XmlError> {
        let text = self.document.child_text(&self.document.root, name)?;
        Ok(text.filter(|text| !text.is_empty()).map(Cow::into_owned))
    }

    #[cfg(test)]
    pub fn render(
        &self,
        edit_entry: impl FnMut(&ListEntry) -> EntryEdit,
        edit_prefix: impl FnMut(&str) -> PrefixEdit,
    ) -> String {
        self.render_with(edit_entry, edit_prefix, |_| false, &[])
    }

    /// Writes the page with edits: the closures return those of entries and common prefixes, and
    /// whether metadata of a name is hidden; `page_edits` has those of elements of the page itself.
    pub fn render_with(
        &self,
        mut edit_entry: impl FnMut(&ListEntry) -> EntryEdit,
        mut edit_prefix: impl FnMut(&str) -> PrefixEdit,
        hides_metadata: impl Fn(&str) -> bool,
        page_edits: &[(&str, PageEdit<'_>)],
    ) -> String {
        let children = &self.document.root.children;
        let mut edits = Vec::new();
        let mut shown = 0_usize;
        for (entry, position) in self.entries.iter().zip(&self.entry_positions) {
            let element = &children[*position];
            match edit_entry(entry) {
                EntryEdit::Hide => {
                    // Edits must not overlap, so nothing inside a removed entry is edited.
                    edits.push(Edit::remove(element));
                    continue;
                }
                EntryEdit::Keep => {}
                EntryEdit::Replace { etag, size } => {
                    edits.extend(self.replacement(element, "ETag", &etag));
                    edits.extend(self.replacement(element, "Size", &size.to_string()));
                }
            }
            shown += 1;
            edits.extend(checksum_removals(&self.document, element));
            edits.extend(self.metadata_removals(element, &hides_metadata));
        }
        for (prefix, position) in self.common_prefixes.iter().zip(&self.prefix_positions) {
            match edit_prefix(prefix) {
                PrefixEdit::Keep => shown += 1,
                PrefixEdit::Hide => edits.push(Edit::remove(&children[*position])),
            }
        }
        edits.extend(self.replacement(&self.document.root, "KeyCount", &shown.to_string()));
        edits.extend(edit_page(&self.document, self.encoding, page_edits));
        splice(self.document.text, edits)
    }

    fn replacement(&self, parent: &Element, name: &str, text: &str) -> Option<Edit> {
        let element = self.document.child(parent, name)?;
        Some(self.document.replace_text(element, text))
    }

    /// Of a listing with metadata, which is an extension: headers that are not the client's, and
    /// how the stored bytes are spread over disks.
    fn metadata_removals<'e>(
        &'e self,
        entry: &'e Element,
        hides_metadata: impl Fn(&str) -> bool + 'e,
    ) -> impl Iterator<Item = Edit> + 'e {
        let metadata = self.document.children(entry, "UserMetadata");
        let headers = metadata.flat_map(|metadata| &metadata.children);
        headers
            .filter(move |header| hides_metadata(self.document.name(header)))
            .chain(self.document.children(entry, "Internal"))
            .map(Edit::remove)
    }
}

fn entry_kind(name: &str) -> Option<EntryKind> {
    match name {
        "Contents" => Some(EntryKind::Object),
        "Version" => Some(EntryKind::Version),
        "DeleteMarker" => Some(EntryKind::DeleteMarker),
        _ => None,
    }
}

fn entry(
    document: &Document<'_>,
    element: &Element,
    kind: EntryKind,
    encoding: Encoding,
) -> Result<ListEntry, XmlError> {
    let size = document
        .child_text(element, "Size")?
        .map(|text| text.trim().parse::<u64>())
        .transpose()
        .map_err(|_| XmlError::schema("a Size must be a number of bytes"))?;
    Ok(ListEntry {
        kind,
        key: encoding.decode(required(document, element, "Key")?),
        etag: document.child_text(element, "ETag")?.map(Cow::into_owned),
        size,
        version_id: document
            .child_text(element, "VersionId")?
            .map(Cow::into_owned),
        last_modified: document
            .child_text(element, "LastModified")?
            .map(Cow::into_owned),
        is_latest: document
            .child_text(element, "IsLatest")?
            .is_some_and(|text| truth(&text) == Some(true)),
    })
}

#[cfg(test)]
mod tests;
