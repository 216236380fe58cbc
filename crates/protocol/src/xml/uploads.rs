//! Pages of `ListMultipartUploads`.
//!
//! They are parsed and written like pages of objects: decisions depend on keys, upload IDs and
//! common prefixes; entries can be hidden; and everything else stays as the backend sent it, byte
//! for byte, including markers. Checksums in the page describe stored bytes and are always removed.

use super::document::{Document, Edit, XmlError, splice};
use super::page::{
    Encoding, PageEdit, PrefixEdit, checksum_removals, edit_page, encoding, is_truncated, required,
};

/// One upload in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedUpload {
    /// Decoded key.
    pub object_key: String,
    /// Upload ID.
    pub upload_id: String,
    /// Time at which the upload was created, as the backend wrote it.
    pub initiated: String,
}

/// Edit of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadEdit {
    /// Keeps the upload, without checksum elements.
    Keep,
    /// Removes the upload.
    Hide,
}

/// A parsed page of the backend.
#[derive(Debug)]
pub struct UploadsPage<'text> {
    document: Document<'text>,
    encoding: Encoding,
    uploads: Vec<ListedUpload>,
    common_prefixes: Vec<String>,
    next_key_marker: Option<String>,
    next_upload_id_marker: Option<String>,
}

impl<'text> UploadsPage<'text> {
    /// Parses a page. Fails if it does not match S3's schema.
    pub fn parse(bytes: &'text [u8]) -> Result<Self, XmlError> {
        let document = Document::parse_page(bytes)?;
        if document.root_name() != "ListMultipartUploadsResult" {
            return Err(XmlError::schema(
                "the document must be a ListMultipartUploadsResult",
            ));
        }
        let root = &document.root;
        let encoding = encoding(&document)?;
        let uploads = document.children(root, "Upload").map(|element| {
            Ok(ListedUpload {
                object_key: encoding.decode(required(&document, element, "Key")?),
                upload_id: required(&document, element, "UploadId")?.into_owned(),
                initiated: document
                    .child_text(element, "Initiated")?
                    .map(|time| time.trim().to_owned())
                    .unwrap_or_default(),
            })
        });
        let prefixes = document
            .children(root, "CommonPrefixes")
            .map(|element| Ok(encoding.decode(required(&document, element, "Prefix")?)));
        let key_marker = document.child_text(root, "NextKeyMarker")?;
        let upload_id_marker = document.child_text(root, "NextUploadIdMarker")?;
        Ok(Self {
            uploads: uploads.collect::<Result<_, XmlError>>()?,
            common_prefixes: prefixes.collect::<Result<_, XmlError>>()?,
            next_key_marker: key_marker
                .filter(|marker| !marker.is_empty())
                .map(|marker| encoding.decode(marker)),
            next_upload_id_marker: upload_id_marker
                .filter(|marker| !marker.is_empty())
                .map(std::borrow::Cow::into_owned),
            document,
            encoding,
        })
    }

    /// Uploads in the page's order.
    #[must_use]
    pub fn uploads(&self) -> &[ListedUpload] {
        &self.uploads
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

    /// Decoded key at which the next page begins.
    #[must_use]
    pub fn next_key_marker(&self) -> Option<&str> {
        self.next_key_marker.as_deref()
    }

    /// ID of the upload, among those of the key, after which the next page begins.
    #[must_use]
    pub fn next_upload_id_marker(&self) -> Option<&str> {
        self.next_upload_id_marker.as_deref()
    }

    #[cfg(test)]
    pub fn render(
        &self,
        edit_upload: impl FnMut(&ListedUpload) -> UploadEdit,
        edit_prefix: impl FnMut(&str) -> PrefixEdit,
    ) -> String {
        self.render_with(edit_upload, edit_prefix, &[])
    }

    /// Writes the page with edits: the closures return those of uploads and common prefixes, and
    /// `page_edits` has those of elements of the page itself.
    pub fn render_with(
        &self,
        mut edit_upload: impl FnMut(&ListedUpload) -> UploadEdit,
        mut edit_prefix: impl FnMut(&str) -> PrefixEdit,
        page_edits: &[(&str, PageEdit<'_>)],
    ) -> String {
        let root = &self.document.root;
        let mut edits = Vec::new();
        let elements = self.document.children(root, "Upload");
        for (upload, element) in self.uploads.iter().zip(elements) {
            match edit_upload(upload) {
                UploadEdit::Hide => edits.push(Edit::remove(element)),
                UploadEdit::Keep => edits.extend(checksum_removals(&self.document, element)),
            }
        }
        let elements = self.document.children(root, "CommonPrefixes");
        for (prefix, element) in self.common_prefixes.iter().zip(elements) {
            match edit_prefix(prefix) {
                PrefixEdit::Keep => {}
                PrefixEdit::Hide => edits.push(Edit::remove(element)),
            }
        }
        edits.extend(edit_page(&self.document, self.encoding, page_edits));
        splice(self.document.text, edits)
    }
}

#[cfg(test)]
mod tests;
