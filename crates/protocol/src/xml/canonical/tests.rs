use proptest::prelude::*;

use super::super::document::Document;
use super::*;

const TAGGING: Shape = Shape {
    root: "Tagging",
    elements: Some(&["TagSet", "Tag", "Key", "Value"]),
    maximum_bytes: 4096,
};

const OPEN: Shape = Shape {
    root: "a",
    elements: None,
    maximum_bytes: 1024 * 1024,
};

const ROOT: &str = "<a xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";

fn written(document: &str) -> Result<String, XmlError> {
    rewrite(document.as_bytes(), &OPEN)
}

#[test]
fn elements_and_texts_are_all_that_is_left() {
    for (document, content) in [
        ("<a/>", ""),
        ("<a></a>", ""),
        (
            "\u{FEFF}<?xml version='1.0'?>\n<!-- secret --><a x='secret'>\n <b>1</b> <!-- s --> </a>\n",
            "<b>1</b>",
        ),
        (
            "<x:a xmlns:x='u' x:y='z'><x:b>&lt;&#65;&amp;]]</x:b><c/></x:a>",
            "<b>&lt;A&amp;]]</b><c></c>",
        ),
        ("<a><b><![CDATA[<&>]]> x</b></a>", "<b>&lt;&amp;&gt; x</b>"),
        ("<a> text </a>", " text "),
        ("<a><b> é😀 </b></a>", "<b> é😀 </b>"),
    ] {
        assert_eq!(
            written(document),
            Ok(format!("{ROOT}{content}</a>")),
            "{document}"
        );
    }
}

#[test]
fn the_type_of_a_grantee_goes_on() {
    let grantee =
        "<a><Grantee xmlns:i='http://www.w3.org/2001/XMLSchema-instance' i:type=\"Group\"/></a>";
    assert_eq!(
        written(grantee),
        Ok(format!(
            "{ROOT}<Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
             xsi:type=\"Group\"></Grantee></a>"
        ))
    );
    // Values that could end the attribute or begin markup.
    for attribute in ["i:type='a b'", "i:type='&lt;'", "i:type=''' b", "i:type=x"] {
        assert!(
            written(&format!("<a {attribute}/>")).is_err(),
            "{attribute}"
        );
    }
}

#[test]
fn whatever_is_no_document_of_the_shape_is_refused() {
    for document in [
        "",
        "  ",
        // Plain content, such as a card number, must not get through as a document.
        "PAN=4111111111111111",
        "<b/>",
        "<a",
        "<a>",
        "</a>",
        "<a></b>",
        "<a/><a/>",
        "<a/>text",
        "text<a/>",
        "<a>text<b/></a>",
        "<a><b/>text</a>",
        "<a><b/>&#65;</a>",
        "<!DOCTYPE a><a/>",
        "<?php?><a/>",
        "<a><?xml version='1.0'?></a>",
        "<a>x<?xml?>y</a>",
        "<a/><?xml version='1.0'?>",
        "<a>\0</a>",
        "<a>&#0;</a>",
        "<a>&other;</a>",
        "<a><é/></a>",
        "<a><:/></a>",
    ] {
        assert!(written(document).is_err(), "{document}");
    }
    assert!(rewrite(b"<a>\xff</a>", &OPEN).is_err());
}

#[test]
fn a_closed_shape_has_no_other_elements() {
    let document = |inner: &str| format!("<Tagging><TagSet>{inner}</TagSet></Tagging>");
    let known = document("<Tag><Key>k</Key><Value>v</Value></Tag>");
    assert!(rewrite(known.as_bytes(), &TAGGING).is_ok());
    let unknown = document("<Tag><Data>content</Data></Tag>");
    assert!(rewrite(unknown.as_bytes(), &TAGGING).is_err());
}

#[test]
fn depth_elements_and_length_are_bounded() {
    let nested = |depth| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
    assert!(written(&nested(MAXIMUM_DEPTH)).is_ok());
    assert_eq!(written(&nested(MAXIMUM_DEPTH + 1)), Err(XmlError::Depth));
    let wide = |elements| format!("<a>{}</a>", "<b/>".repeat(elements));
    // The root counts as an element too.
    assert!(written(&wide(MAXIMUM_ELEMENTS - 1)).is_ok());
    assert!(written(&wide(MAXIMUM_ELEMENTS)).is_err());
    let long = |length| format!("<Tagging>{}</Tagging>", "x".repeat(length));
    assert!(rewrite(long(4096).as_bytes(), &TAGGING).is_err());
    // Within the limit as received, but too long when escaped.
    assert!(rewrite(long(1000).replace('x', "'").as_bytes(), &TAGGING).is_err());
}

#[test]
fn a_root_is_named_without_reading_on() {
    for (document, name) in [
        // Broken after the root's start tag, which is as far as it is parsed.
        ("<Tagging><broken", Some("Tagging")),
        ("<?xml version='1.0'?>\n<s3:Tagging/>", Some("Tagging")),
        ("content", None),
        ("{}", None),
        ("", None),
        ("<!DOCTYPE html><html/>", None),
    ] {
        assert_eq!(
            root_name(document.as_bytes()).ok().as_deref(),
            name,
            "{document}"
        );
    }
}

proptest! {
    #[test]
    fn a_written_document_is_read_as_it_was_and_written_the_same(
        texts in proptest::collection::vec("\\PC{0,20}", 0..8)
    ) {
        let mut document = String::from("<a>");
        for text in &texts {
            document.push_str("<b>");
            document.push_str(&escape(text));
            document.push_str("</b>");
        }
        document.push_str("</a>");
        let once = rewrite(document.as_bytes(), &OPEN).unwrap();
        let twice = rewrite(once.as_bytes(), &OPEN).unwrap();
        prop_assert_eq!(&once, &twice);
        let tree = Document::parse(once.as_bytes()).unwrap();
        let read: Vec<String> = tree.root.children.iter()
            .map(|child| tree.text(child).unwrap().into_owned())
            .collect();
        prop_assert_eq!(read, texts);
    }

    #[test]
    fn no_input_is_relayed_or_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(written) = rewrite(&bytes, &OPEN) {
            prop_assert!(written.starts_with("<a "));
        }
    }
}
