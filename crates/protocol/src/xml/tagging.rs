//! `Tagging` documents, converted to and from the header `x-amz-tagging` of PutObject.
//!
//! Parsed strictly, since anything else than keys and values would be lost. The backend checks the
//! number of tags and their characters.

use super::answer::Markup;
use super::document::{Document, Element, XmlError};
use crate::percent;

/// Parses `<Tagging><TagSet><Tag><Key/><Value/></Tag>…` into pairs of key and value.
pub fn parse(bytes: &[u8]) -> Result<Vec<(String, String)>, XmlError> {
    let document = Document::parse(bytes)?;
    if document.root_name() != "Tagging" {
        return Err(XmlError::schema("the document must be a Tagging"));
    }
    let [set] = document.root.children.as_slice() else {
        return Err(XmlError::schema("a Tagging must have one TagSet"));
    };
    if document.name(set) != "TagSet" {
        return Err(XmlError::schema("a Tagging must have one TagSet"));
    }
    set.children
        .iter()
        .map(|element| tag(&document, element))
        .collect()
}

fn tag(document: &Document<'_>, element: &Element) -> Result<(String, String), XmlError> {
    const SHAPE: &str = "a TagSet must have Tags with one Key and one Value each";
    // Exactly two children: a second Key or Value would be ignored otherwise.
    let (Some(key), Some(value), 2) = (
        document.child_text(element, "Key")?,
        document.child_text(element, "Value")?,
        element.children.len(),
    ) else {
        return Err(XmlError::schema(SHAPE));
    };
    if document.name(element) != "Tag" {
        return Err(XmlError::schema(SHAPE));
    }
    Ok((key.into_owned(), value.into_owned()))
}

/// Encodes tags as the value of `x-amz-tagging`.
#[must_use]
pub fn to_header(tags: &[(String, String)]) -> String {
    let pairs: Vec<String> = tags
        .iter()
        .map(|(key, value)| {
            let key = percent::encode_component(key);
            format!("{key}={}", percent::encode_component(value))
        })
        .collect();
    pairs.join("&")
}

/// Builds the document for `PutObjectTagging`.
#[must_use]
pub fn document(tags: &[(String, String)]) -> String {
    Markup::document("Tagging", |markup| {
        markup.nested("TagSet", |markup| {
            for (key, value) in tags {
                markup.nested("Tag", |markup| {
                    markup.text("Key", key);
                    markup.text("Value", value);
                });
            }
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_becomes_a_header() {
        for (document, header) in [
            ("<Tagging><TagSet/></Tagging>", ""),
            (
                "<Tagging xmlns='u'> <TagSet>\n<Tag><Key>a b</Key><Value>&amp;=</Value></Tag>\
                 <Tag><Value/><Key>ü</Key></Tag></TagSet></Tagging>",
                "a%20b=%26%3D&%C3%BC=",
            ),
        ] {
            assert_eq!(to_header(&parse(document.as_bytes()).unwrap()), header);
        }
    }

    #[test]
    fn a_document_is_read_as_it_was_written() {
        let tags = [("a b", "<&>"), ("ü", ""), ("", "'\"")];
        let tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned()));
        for tags in [&tags[..], &[]] {
            assert_eq!(parse(document(tags).as_bytes()).unwrap(), tags);
        }
    }

    #[test]
    fn what_would_be_lost_is_refused() {
        for document in [
            "",
            "a=b",
            "<TagSet/>",
            "<Tagging/>",
            "<Tagging><TagSet/><TagSet/></Tagging>",
            "<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>",
            "<Tagging><TagSet><Other><Key>a</Key><Value>b</Value></Other></TagSet></Tagging>",
            "<Tagging><TagSet><Tag><Key>a</Key><Key>b</Key></Tag></TagSet></Tagging>",
            "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value><More/></Tag></TagSet></Tagging>",
        ] {
            assert!(parse(document.as_bytes()).is_err(), "{document}");
        }
    }
}
