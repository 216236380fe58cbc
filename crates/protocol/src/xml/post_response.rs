//! Response to a form that requested status 201 (S3 API Reference, "POST Object").

use super::escape::escape_for_strict_readers;

/// The stored object.
#[derive(Debug, Clone, Copy)]
pub struct PostResponse<'a> {
    /// URL of the object.
    pub location: &'a str,
    /// Bucket name.
    pub bucket: &'a str,
    /// Object key.
    pub key: &'a str,
    /// ETag with its quotes.
    pub etag: &'a str,
}

/// Builds the response document, without a namespace as S3 does.
#[must_use]
pub fn post_response(response: &PostResponse<'_>) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse><Location>{}</Location>\
         <Bucket>{}</Bucket><Key>{}</Key><ETag>{}</ETag></PostResponse>",
        escape_for_strict_readers(response.location),
        escape_for_strict_readers(response.bucket),
        escape_for_strict_readers(response.key),
        escape_for_strict_readers(response.etag),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::document::Document;

    #[test]
    fn every_text_reads_back() {
        let text = post_response(&PostResponse {
            location: "http://localhost/b/a%26",
            bucket: "b",
            key: "a&<b>",
            etag: "\"e\"",
        });
        let document = Document::parse(text.as_bytes()).unwrap();
        assert_eq!(document.root_name(), "PostResponse");
        for (name, expected) in [("Key", "a&<b>"), ("ETag", "\"e\""), ("Bucket", "b")] {
            let read = document.child_text(&document.root, name).unwrap();
            assert_eq!(read.as_deref(), Some(expected));
        }
    }
}
