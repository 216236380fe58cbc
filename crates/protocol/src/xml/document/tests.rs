use proptest::prelude::*;

use super::*;

fn text_of(markup: &str) -> Result<String, XmlError> {
    let document = Document::parse(markup.as_bytes())?;
    document.text(&document.root).map(Cow::into_owned)
}

#[test]
fn reads_text_however_it_is_written() {
    for (markup, text) in [
        ("<a>x</a>", "x"),
        ("<a> x\n</a>", " x\n"),
        ("<a/>", ""),
        ("<a></a>", ""),
        ("<a>&lt;&amp;&#65;&#x1;</a>", "<&A\u{1}"),
        ("<a>x<![CDATA[<&amp;]]>y</a>", "x<&amp;y"),
        ("<a>x<!-- & -->&gt;</a>", "x>"),
        ("<a>x<b>no</b>y</a>", "xy"),
        ("<a>\u{FEFF}x<!-- --></a>", "\u{FEFF}x"),
        ("<a>\u{FEFF}x</a>", "\u{FEFF}x"),
        (
            "\u{FEFF}<?xml version=\"1.0\"?>\n<n:a xmlns:n='u'>x</n:a>\n",
            "x",
        ),
    ] {
        assert_eq!(text_of(markup).as_deref(), Ok(text), "{markup}");
    }
}

#[test]
fn refuses_declarations_and_foreign_entities() {
    assert_eq!(text_of("<!DOCTYPE a><a/>"), Err(XmlError::Declaration));
    assert_eq!(text_of("<?php x?><a/>"), Err(XmlError::Declaration));
    assert_eq!(
        text_of("<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>"),
        Err(XmlError::Declaration)
    );
    assert!(matches!(text_of("<a>&e;</a>"), Err(XmlError::Syntax(_))));
    assert!(matches!(
        text_of("<a>x<!-- -->&e;</a>"),
        Err(XmlError::Syntax(_))
    ));
}

#[test]
fn an_xml_declaration_stands_only_at_the_start() {
    for markup in [
        "<a><?xml version='1.0'?></a>",
        "<a>x<?xml?>y</a>",
        "<a><b/><?xml version='1.0'?></a>",
        "<a/><?xml version='1.0'?>",
        "<!-- --><?xml version='1.0'?><a/>",
        "<?xml version='1.0'?><?xml version='1.0'?><a/>",
        "<a><?php x?></a>",
    ] {
        assert_eq!(text_of(markup), Err(XmlError::Declaration), "{markup}");
    }
    // Leading white space is removed, which puts the declaration at the start.
    let kept_alive = Document::parse(b" \r\n\t<?xml version='1.0'?>\n<a/>").unwrap();
    assert_eq!(kept_alive.text, "<?xml version='1.0'?>\n<a/>");
}

#[test]
fn refuses_what_is_not_one_document() {
    for markup in [
        "",
        " ",
        "x",
        "<a>",
        "<a></b>",
        "</a>",
        "<a/><b/>",
        "<a/>x",
        "x<a/>",
        "<a></a><b></b>",
        "&lt;<a/>",
        "<></>",
        "<a><\"<b>\"/></a>",
        "\u{FEFF}\u{FEFF}<a/>",
        " \u{FEFF}<a/>",
        "<a",
    ] {
        assert!(
            matches!(text_of(markup), Err(XmlError::Syntax(_))),
            "{markup}"
        );
    }
    let result = Document::parse(b"<a>\xff</a>");
    assert_eq!(result, Err(XmlError::NotUtf8));
}

#[test]
fn refuses_nul_in_every_place_and_spelling() {
    for markup in [
        "<a>\0</a>",
        "<a b='\0'/>",
        "<a><!-- \0 --></a>",
        "<a/>\0",
        "<a><![CDATA[\0]]></a>",
        "<a>&#0;</a>",
    ] {
        assert!(text_of(markup).is_err(), "{markup:?}");
    }
}

#[test]
fn refuses_deep_nesting() {
    let nested = |depth: usize| "<a>".repeat(depth) + &"</a>".repeat(depth);
    assert!(Document::parse(nested(16).as_bytes()).is_ok());
    assert_eq!(Document::parse(nested(17).as_bytes()), Err(XmlError::Depth));
}

#[test]
fn a_tree_has_a_bounded_number_of_elements_and_short_tags() {
    let document = |elements: usize| format!("<a>{}</a>", "<b/>".repeat(elements - 1));
    let read = |elements| Document::parse(document(elements).as_bytes()).map(|_| ());
    assert_eq!(read(MAXIMUM_ELEMENTS), Ok(()));
    assert_eq!(read(MAXIMUM_ELEMENTS + 1), Err(XmlError::Elements));
    let page = |elements| Document::parse_page(document(elements).as_bytes()).map(|_| ());
    assert_eq!(page(MAXIMUM_PAGE_ELEMENTS), Ok(()));
    assert_eq!(page(MAXIMUM_PAGE_ELEMENTS + 1), Err(XmlError::Elements));
    // The number of elements times their size bounds the tree's memory.
    assert!(size_of::<Element>() <= 80);
    let attributes = "x='1' ".repeat(1000);
    let tag = text_of(&format!("<a {attributes}/>"));
    assert!(matches!(tag, Err(XmlError::Syntax(_))));
}

#[test]
fn messages_stay_short_whatever_the_document_holds() {
    let name = "y".repeat(1_000_000);
    for markup in [
        format!("<a></{name}>"),
        format!("<a>&{name};</a>"),
        format!("<a>&{name};<!-- --></a>"),
    ] {
        let error = text_of(&markup).unwrap_err().to_string();
        assert!(error.len() < 500, "{} bytes", error.len());
    }
}

#[test]
fn splices_spans_and_leaves_the_rest() {
    let markup = "<r  x='1'><a>1</a> <b/> <n:c /><!-- z --></r>";
    let document = Document::parse(markup.as_bytes()).unwrap();
    let [a, b, c] = document.root.children.as_slice() else {
        panic!("there are three children");
    };
    assert_eq!(document.name(c), "c");
    // Edits in another order than their spans.
    let edits = vec![
        document.append_inside(&document.root, "<d/>"),
        document.replace_text(a, "<2>"),
        document.replace_text(b, "3"),
        Edit::remove(c),
    ];
    assert_eq!(
        splice(document.text, edits),
        "<r  x='1'><a>&lt;2&gt;</a> <b>3</b> <!-- z --><d/></r>"
    );
    let empty = Document::parse(b"<r x='1' />").unwrap();
    let edit = empty.append_inside(&empty.root, "<d/>");
    assert_eq!(splice(empty.text, vec![edit]), "<r x='1'><d/></r>");
}

pub(in crate::xml) fn markup() -> impl Strategy<Value = String> {
    let pieces = [
        "<a>",
        "</a>",
        "<a/>",
        "<b x='>'>",
        "</b>",
        "<n:c />",
        "< a>",
        "<a / >",
        "<>",
        "</>",
        "<!-- - -->",
        "<![CDATA[<a>]]>",
        "<?xml version='1.0'?>",
        "<!DOCTYPE a>",
        "&amp;",
        "&#x41;",
        "&e;",
        "&",
        ";",
        " ",
        "\n",
        "é",
        "\u{FEFF}",
        "x",
        "<",
        ">",
        "/",
        "]]>",
        "</",
        "'",
        "\"",
        "=",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..12)
        .prop_map(|pieces| pieces.concat())
}

fn every<'tree>(element: &'tree Element, all: &mut Vec<&'tree Element>) {
    all.push(element);
    element.children.iter().for_each(|child| every(child, all));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]
    #[test]
    fn whatever_reads_as_a_document_has_spans_that_can_be_exchanged(
        before in markup(),
        inside in markup(),
        text in "[^\0]{0,9}",
    ) {
        // Random pieces are rarely a document, so most cases are wrapped in one.
        for markup in [
            before.clone(),
            format!("<a>{inside}</a>"),
            format!("{before}<a>{inside}<b/>{before}</a>"),
        ] {
            let Ok(document) = Document::parse(markup.as_bytes()) else {
                continue;
            };
            prop_assert_eq!(splice(document.text, Vec::new()), document.text);
            let mut all = Vec::new();
            every(&document.root, &mut all);
            for element in all {
                let outer = &document.text[element.outer.clone()];
                prop_assert!(outer.starts_with('<') && outer.ends_with('>'));
            }
            let edit = document.replace_text(&document.root, &text);
            let replaced = splice(document.text, vec![edit]);
            prop_assert_eq!(text_of(&replaced), Ok(text.clone()));
        }
    }
}
