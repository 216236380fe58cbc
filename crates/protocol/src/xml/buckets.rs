//! ListBuckets, filtered by name.
//!
//! A client sees the buckets that its grants name, in the backend's order and with everything the
//! backend says about them. The continuation token stays, so that a page may have fewer buckets
//! than its limit, or none, and still not be the last.

use super::document::{Document, Edit, XmlError, splice};

/// Writes a `ListAllMyBucketsResult` again with only the buckets that `shown` holds for; the rest
/// of the document stays as it is.
pub fn filter_buckets(
    bytes: &[u8],
    mut shown: impl FnMut(&str) -> bool,
) -> Result<String, XmlError> {
    let document = Document::parse(bytes)?;
    if document.root_name() != "ListAllMyBucketsResult" {
        return Err(XmlError::schema(
            "the document must be a ListAllMyBucketsResult",
        ));
    }
    let mut edits = Vec::new();
    for list in document.children(&document.root, "Buckets") {
        for bucket in document.children(list, "Bucket") {
            // A bucket without a name cannot be judged, so it is not shown.
            let name = document.child_text(bucket, "Name")?;
            if !name.is_some_and(|name| shown(&name)) {
                edits.push(Edit::remove(bucket));
            }
        }
    }
    Ok(splice(document.text, edits))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "<?xml version=\"1.0\"?>\n<ListAllMyBucketsResult xmlns=\"u\"><Owner><ID>o</ID></Owner><Buckets>\
        <Bucket><Name>one</Name><New>x</New></Bucket><Bucket><Name>two</Name></Bucket><Bucket/></Buckets>\
        <ContinuationToken>t</ContinuationToken></ListAllMyBucketsResult>";

    #[test]
    fn leaves_out_what_is_not_shown_and_keeps_the_rest() {
        let filtered = filter_buckets(PAGE.as_bytes(), |name| name == "one").unwrap();
        let expected = PAGE
            .replace("<Bucket><Name>two</Name></Bucket>", "")
            .replace("<Bucket/>", "");
        assert_eq!(filtered, expected);
    }

    #[test]
    fn refuses_another_document() {
        assert!(filter_buckets(b"<Error/>", |_| true).is_err());
    }
}
