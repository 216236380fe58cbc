//! RestoreObject's body: whether it asks for a SELECT.
//!
//! Restoring brings a sealed object back as it is, which works. A SELECT would run a query over
//! what it takes for the content and write the answer, unsealed, to another bucket. The body is
//! only looked at here, and goes on as it came.

use super::document::{Document, Element, XmlError};

/// What a restore asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreRequest {
    /// The object itself.
    Archive,
    /// A query over its content.
    Select,
}

/// Reads a `RestoreRequest`. An empty body, which S3 takes for the defaults, is an archive's.
pub fn restore_request(bytes: &[u8]) -> Result<RestoreRequest, XmlError> {
    if bytes.is_empty() {
        return Ok(RestoreRequest::Archive);
    }
    let document = Document::parse(bytes)?;
    if document.root_name() != "RestoreRequest" {
        return Err(XmlError::schema("the document must be a RestoreRequest"));
    }
    // Neither name nor type occurs elsewhere in the document, so a look at all of it is exact.
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
