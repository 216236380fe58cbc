//! Response of `CreateMultipartUpload`.
//!
//! Only the upload ID is taken from the backend's response, since upload IDs are the backend's. The
//! client's response is built with the names that the client used. Response headers (checksum
//! algorithm and type, rules that abort the upload) are not handled here.

use super::answer::{Markup, declared};
use super::document::{Document, XmlError};

/// Parses the upload ID in a backend's `InitiateMultipartUploadResult`.
pub fn upload_id(bytes: &[u8]) -> Result<String, XmlError> {
    let document = Document::parse(bytes)?;
    if document.root_name() != "InitiateMultipartUploadResult" {
        return Err(XmlError::schema(
            "the document must be an InitiateMultipartUploadResult",
        ));
    }
    document
        .child_text(&document.root, "UploadId")?
        .filter(|id| !id.is_empty())
        .map(std::borrow::Cow::into_owned)
        .ok_or_else(|| XmlError::schema("an InitiateMultipartUploadResult must have an UploadId"))
}

/// Builds the response to the client.
#[must_use]
pub fn initiate_answer(bucket: &str, object_key: &str, upload_id: &str) -> String {
    declared(&Markup::document(
        "InitiateMultipartUploadResult",
        |markup| {
            markup.text("Bucket", bucket);
            markup.text("Key", object_key);
            markup.text("UploadId", upload_id);
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upload_id_comes_back_through_hostile_names() {
        let id = "2~<&\"'>\u{1}é";
        let answer = initiate_answer("b", "a<b>&\"'\u{7f}/c", id);
        assert_eq!(upload_id(answer.as_bytes()), Ok(id.to_owned()));
        assert!(answer.contains("<Key>a&lt;b&gt;&amp;&quot;&apos;&#x7F;/c</Key>"));
        assert!(answer.starts_with(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <InitiateMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
        ));
    }

    #[test]
    fn refuses_an_answer_without_an_upload_id() {
        for answer in [
            "<InitiateMultipartUploadResult/>",
            "<InitiateMultipartUploadResult><UploadId/></InitiateMultipartUploadResult>",
            "<Error><UploadId>u</UploadId></Error>",
            "",
        ] {
            assert!(upload_id(answer.as_bytes()).is_err(), "{answer}");
        }
    }
}
