//! ListBuckets, filtered by bucket name.
//!
//! A client sees the buckets in its grants, in the backend's order and with everything that the
//! backend reports about them. The continuation token stays, so a page may have fewer buckets than
//! its limit, or none, without being the last.

use super::document::{Document, Edit, XmlError, splice};

/// Removes from a `ListAllMyBucketsResult` all buckets for which `shown` is false. The rest of the
/// document stays as it is.
pub fn filter_buckets(
    bytes: &[u8],
    mut shown: impl FnMut(&str) -> bool,
) -> Result<String, XmlError> {
    let document = list(bytes)?;
    let mut edits = Vec::new();
    for list in document.children(&document.root, "Buckets") {
        for bucket in document.children(list, "Bucket") {
            // A bucket without a name cannot be authorised, so it is not shown.
            let name = document.child_text(bucket, "Name")?;
            if !name.is_some_and(|name| shown(&name)) {
                edits.push(Edit::remove(bucket));
            }
        }
    }
    Ok(splice(document.text, edits))
}

/// Names in a page of buckets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketNames {
    /// Bucket names in the backend's order.
    pub names: Vec<String>,
    /// Token for the next page, if there is one.
    pub continuation_token: Option<String>,
}

/// Parses the names in a `ListAllMyBucketsResult`.
pub fn bucket_names(bytes: &[u8]) -> Result<BucketNames, XmlError> {
    let document = list(bytes)?;
    let mut names = Vec::new();
    for list in document.children(&document.root, "Buckets") {
        for bucket in document.children(list, "Bucket") {
            let name = document.child_text(bucket, "Name")?;
            let name = name.ok_or_else(|| XmlError::schema("a Bucket must have a Name"))?;
            names.push(name.into_owned());
        }
    }
    let token = document.child_text(&document.root, "ContinuationToken")?;
    Ok(BucketNames {
        names,
        continuation_token: token.filter(|text| !text.is_empty()).map(Into::into),
    })
}

fn list(bytes: &[u8]) -> Result<Document<'_>, XmlError> {
    let document = Document::parse_page(bytes)?;
    match document.root_name() {
        "ListAllMyBucketsResult" => Ok(document),
        _ => Err(XmlError::schema(
            "the document must be a ListAllMyBucketsResult",
        )),
    }
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
    fn reads_names_and_where_the_list_goes_on() {
        let page = PAGE.replace("<Bucket/>", "");
        let read = bucket_names(page.as_bytes()).unwrap();
        assert_eq!(read.names, ["one", "two"]);
        assert_eq!(read.continuation_token.as_deref(), Some("t"));
        assert!(bucket_names(PAGE.as_bytes()).is_err());
        assert!(bucket_names(b"<Error/>").is_err());
    }

    #[test]
    fn refuses_another_document() {
        assert!(filter_buckets(b"<Error/>", |_| true).is_err());
    }
}
