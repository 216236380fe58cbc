//! RestoreObject's body: detects a SELECT request.
//!
//! Restoring an archived object returns the sealed object unchanged, which works. A SELECT would
//! run a query over the stored bytes as if they were the content, and write the result, unsealed,
//! to another bucket. This module only examines the body.

use super::document::{Document, Element, XmlError};

/// Kind of restore request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreRequest {
    /// Restores the object itself.
    Archive,
    /// Runs a query over the object's content.
    Select,
}

/// Determines the kind of a `RestoreRequest`. An empty body, for which S3 uses its defaults,
/// restores the archive.
pub fn restore_request(bytes: &[u8]) -> Result<RestoreRequest, XmlError> {
    if bytes.is_empty() {
        return Ok(RestoreRequest::Archive);
    }
    let document = Document::parse(bytes)?;
    if document.root_name() != "RestoreRequest" {
        return Err(XmlError::schema("the document must be a RestoreRequest"));
    }
    // S3 defines these three as children of the root only, so the root's children are all there is
    // to check.
    let select = |element: &Element| {
        ["SelectParameters", "OutputLocation", "Type"].contains(&document.name(element))
    };
    if document.root.children.iter().any(select) {
        Ok(RestoreRequest::Select)
    } else {
        Ok(RestoreRequest::Archive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_select_from_a_restore() {
        for (body, expected) in [
            ("", RestoreRequest::Archive),
            (
                "<RestoreRequest xmlns='u'><Days>1</Days><GlacierJobParameters><Tier>Bulk</Tier></GlacierJobParameters></RestoreRequest>",
                RestoreRequest::Archive,
            ),
            (
                "<RestoreRequest><Type>SELECT</Type></RestoreRequest>",
                RestoreRequest::Select,
            ),
            (
                "<a:RestoreRequest xmlns:a='u'><a:SelectParameters/></a:RestoreRequest>",
                RestoreRequest::Select,
            ),
            (
                "<RestoreRequest><OutputLocation/></RestoreRequest>",
                RestoreRequest::Select,
            ),
        ] {
            assert_eq!(restore_request(body.as_bytes()), Ok(expected), "{body}");
        }
        assert!(restore_request(b"<Other/>").is_err());
        assert!(restore_request(b"x").is_err());
    }
}
