use http::HeaderValue;

use super::*;
use crate::xml::document::Document;

fn parse(values: &[&str]) -> Result<ObjectAttributes, S3Error> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(
            OBJECT_ATTRIBUTES,
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    ObjectAttributes::parse(&headers)
}

#[test]
fn one_list_and_several_headers_ask_for_the_same() {
    for values in [
        &["ETag,ObjectSize"][..],
        &["ETag", "ObjectSize"],
        &[" ObjectSize ,, ETag, ", "ETag"],
    ] {
        let wanted = parse(values).unwrap();
        for attribute in ObjectAttribute::ALL {
            let expected =
                [ObjectAttribute::ETag, ObjectAttribute::ObjectSize].contains(&attribute);
            assert_eq!(
                wanted.contains(attribute),
                expected,
                "{values:?} {attribute:?}"
            );
        }
    }
}

#[test]
fn unknown_names_and_none_at_all_are_invalid_arguments() {
    for values in [
        &[][..],
        &[""],
        &[","],
        &["etag"],
        &["ETag,Nothing"],
        &["ETag", "ObjectSize ETag"],
        &["ETag;ObjectSize"],
        &["é"],
    ] {
        let refused = parse(values).unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidArgument, "{values:?}");
    }
}

fn everything(value: &ChecksumValue) -> AttributesAnswer<'_> {
    AttributesAnswer {
        etag: Some("e-2"),
        checksum: Some((ChecksumAlgorithm::Crc32, value)),
        checksum_type: Some("COMPOSITE"),
        parts: Some(ObjectParts {
            total: 2,
            page: Some(ObjectPartsPage {
                part_number_marker: 0,
                next_part_number_marker: 1,
                max_parts: 1,
                is_truncated: true,
                parts: vec![ObjectPart {
                    number: 1,
                    size: 5,
                    checksum: Some((ChecksumAlgorithm::Crc32, value)),
                }],
            }),
        }),
        storage_class: Some("STANDARD"),
        object_size: Some(9),
    }
}

const ELEMENTS: [&str; 5] = [
    "<ETag>e-2</ETag>",
    "<Checksum><ChecksumCRC32>y/Q5Jg==</ChecksumCRC32><ChecksumType>COMPOSITE</ChecksumType></Checksum>",
    "<ObjectParts><PartsCount>2</PartsCount><PartNumberMarker>0</PartNumberMarker>\
     <NextPartNumberMarker>1</NextPartNumberMarker><MaxParts>1</MaxParts><IsTruncated>true</IsTruncated>\
     <Part><PartNumber>1</PartNumber><Size>5</Size><ChecksumCRC32>y/Q5Jg==</ChecksumCRC32></Part></ObjectParts>",
    "<StorageClass>STANDARD</StorageClass>",
    "<ObjectSize>9</ObjectSize>",
];

fn document(content: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <GetObjectAttributesResponse xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{content}</GetObjectAttributesResponse>"
    )
}

#[test]
fn the_answer_has_what_is_asked_for_and_nothing_else() {
    let value = ChecksumValue::from_base64(ChecksumAlgorithm::Crc32, b"y/Q5Jg==").unwrap();
    let answer = everything(&value);
    let all = parse(&["ObjectSize,StorageClass,ObjectParts,Checksum,ETag"]).unwrap();
    assert_eq!(answer.render(&all), document(&ELEMENTS.concat()));
    for (attribute, element) in ObjectAttribute::ALL.into_iter().zip(ELEMENTS) {
        let wanted = parse(&[attribute.as_str()]).unwrap();
        assert_eq!(answer.render(&wanted), document(element));
    }
}

#[test]
fn what_is_not_known_is_left_out() {
    let all = parse(&["ETag,Checksum,ObjectParts,StorageClass,ObjectSize"]).unwrap();
    assert_eq!(AttributesAnswer::default().render(&all), document(""));
    let counted = AttributesAnswer {
        parts: Some(ObjectParts {
            total: 10_000,
            page: None,
        }),
        ..AttributesAnswer::default()
    };
    let expected = "<ObjectParts><PartsCount>10000</PartsCount></ObjectParts>";
    assert_eq!(counted.render(&all), document(expected));
}

#[test]
fn hostile_text_stays_text() {
    let hostile = "<ObjectSize>1</ObjectSize>&\"'\u{1}";
    let answer = AttributesAnswer {
        etag: Some(hostile),
        ..AttributesAnswer::default()
    };
    let rendered = answer.render(&parse(&["ETag"]).unwrap());
    let document = Document::parse(rendered.as_bytes()).unwrap();
    let read = document.child_text(&document.root, "ETag").unwrap();
    assert_eq!(read.as_deref(), Some(hostile));
    assert_eq!(document.root.children.len(), 1);
}
