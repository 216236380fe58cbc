//! Streaming parser for documents in requests, element by element.
//!
//! The caller names the elements that it expects, and refuses an unknown one at its start tag:
//! nothing after it is read, and no tree is built. A hostile document therefore costs no more
//! memory than its own bytes. Bounds: depth, number of elements, length of tags (and thereby of
//! attributes), and length of each text. Text between elements is refused.

use quick_xml::Reader;
use quick_xml::events::Event;

use super::document::{MAXIMUM_DEPTH, XmlError, body, name, outside, reference, syntax, utf8};

/// A document that is parsed once, from start to end.
pub(super) struct DocumentStream<'text> {
    text: &'text str,
    reader: Reader<&'text [u8]>,
    /// Number of open elements.
    depth: usize,
    /// Number of elements that may still begin.
    elements_left: usize,
}

impl<'text> DocumentStream<'text> {
    /// Creates a parser for a document of at most `elements` elements, including the root.
    pub(super) fn new(bytes: &'text [u8], elements: usize) -> Result<Self, XmlError> {
        let text = body(bytes)?;
        let mut reader = Reader::from_str(text);
        // `<a/>` arrives as a start and an end, so that `depth` counts both the same way.
        reader.config_mut().expand_empty_elements = true;
        Ok(Self {
            text,
            reader,
            depth: 0,
            elements_left: elements,
        })
    }

    /// Opens the root element and returns its name without its namespace prefix.
    pub(super) fn root(&mut self) -> Result<&'text str, XmlError> {
        self.next_element()?.ok_or_else(outside)
    }

    /// Opens the next child of the open element and returns its name without its namespace prefix.
    /// At the end of the open element, closes that and returns `None`.
    pub(super) fn child(&mut self) -> Result<Option<&'text str>, XmlError> {
        self.next_element()
    }

    /// Returns the text of the open element, unescaped and untrimmed, and closes the element. Fails
    /// if it is longer than `bytes` or contains elements.
    pub(super) fn text(&mut self, bytes: usize) -> Result<String, XmlError> {
        let mut text = String::new();
        loop {
            match self.event()? {
                Event::Text(part) => text.push_str(within(utf8(&part)?, bytes)?),
                Event::CData(part) => text.push_str(within(utf8(&part)?, bytes)?),
                Event::GeneralRef(part) => {
                    text.push_str(&reference(within(utf8(&part)?, bytes)?)?);
                }
                Event::Comment(_) => {}
                Event::End(_) => {
                    self.depth -= 1;
                    return Ok(text);
                }
                Event::Start(_) | Event::Empty(_) => {
                    return Err(XmlError::schema(
                        "an element in a place that takes only text",
                    ));
                }
                Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {
                    return Err(XmlError::Declaration);
                }
                Event::Eof => return Err(unclosed()),
            }
            // Many short pieces (comments or references between them) may add up to a long text.
            within(&text, bytes)?;
        }
    }

    /// Reads to the end of the document: only white space and comments may follow the root.
    pub(super) fn finish(&mut self) -> Result<(), XmlError> {
        loop {
            match self.event()? {
                Event::Eof => return Ok(()),
                Event::Comment(_) => {}
                Event::Text(text) if text.iter().all(u8::is_ascii_whitespace) => {}
                _ => return Err(outside()),
            }
        }
    }

    /// Number of bytes that have been read.
    #[cfg(test)]
    pub(super) fn position(&self) -> u64 {
        self.reader.buffer_position()
    }

    fn next_element(&mut self) -> Result<Option<&'text str>, XmlError> {
        loop {
            let start = super::document::position(&self.reader);
            match self.event()? {
                Event::Start(tag) => {
                    let end = super::document::position(&self.reader);
                    let name = name(&tag, start..end)?;
                    // Counted before anything is done with the element, so that empty ones count
                    // too.
                    self.elements_left = self
                        .elements_left
                        .checked_sub(1)
                        .ok_or(XmlError::Elements)?;
                    if self.depth == MAXIMUM_DEPTH {
                        return Err(XmlError::Depth);
                    }
                    self.depth += 1;
                    let name = &self.text[name];
                    return Ok(Some(name.rsplit_once(':').map_or(name, |(_, local)| local)));
                }
                Event::End(_) => {
                    self.depth = self.depth.checked_sub(1).ok_or_else(outside)?;
                    return Ok(None);
                }
                Event::Text(text) if text.iter().all(u8::is_ascii_whitespace) => {}
                Event::Comment(_) => {}
                Event::Decl(_) if self.depth == 0 => {}
                Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) if self.depth == 0 => {
                    return Err(outside());
                }
                Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) | Event::Empty(_) => {
                    return Err(XmlError::schema("text in a place that takes only elements"));
                }
                Event::Decl(_) | Event::DocType(_) | Event::PI(_) => {
                    return Err(XmlError::Declaration);
                }
                Event::Eof => return Err(unclosed()),
            }
        }
    }

    fn event(&mut self) -> Result<Event<'text>, XmlError> {
        self.reader.read_event().map_err(|error| syntax(&error))
    }
}

fn within(text: &str, bytes: usize) -> Result<&str, XmlError> {
    if text.len() > bytes {
        return Err(XmlError::Text);
    }
    Ok(text)
}

fn unclosed() -> XmlError {
    XmlError::Syntax("an element is not closed, or there is none".into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::document::tests::markup;
    use super::super::document::{Document, Element};
    use super::*;

    fn text_of(markup: &str, bytes: usize) -> Result<String, XmlError> {
        let mut stream = DocumentStream::new(markup.as_bytes(), 4)?;
        assert_eq!(stream.root()?, "a");
        let text = stream.text(bytes)?;
        stream.finish()?;
        Ok(text)
    }

    #[test]
    fn text_is_read_however_it_is_written() {
        for (markup, text) in [
            ("<a>x</a>", "x"),
            ("<a> x\n</a> <!-- -->\n", " x\n"),
            ("<a/>", ""),
            ("<a></a>", ""),
            ("<a>&lt;&amp;&#65;&#x1;</a>", "<&A\u{1}"),
            ("<a>x<![CDATA[<&amp;]]>y</a>", "x<&amp;y"),
            ("<a>x<!-- & -->&gt;</a>", "x>"),
            ("<a>\u{FEFF}x</a>", "\u{FEFF}x"),
            (
                "\u{FEFF}<?xml version=\"1.0\"?>\n<n:a xmlns:n='u'>x</n:a>\n",
                "x",
            ),
        ] {
            assert_eq!(text_of(markup, 16).as_deref(), Ok(text), "{markup}");
        }
    }

    #[test]
    fn text_ends_at_its_bound() {
        assert_eq!(text_of("<a>1234</a>", 4).as_deref(), Ok("1234"));
        for markup in [
            "<a>12345</a>",
            "<a>123<![CDATA[45]]></a>",
            "<a>1234&amp;</a>",
            "<a>1<!-- -->2<!-- -->3<!-- -->4<!-- -->5</a>",
        ] {
            assert_eq!(text_of(markup, 4), Err(XmlError::Text), "{markup}");
        }
    }

    #[test]
    fn documents_that_are_not_one_tree_are_refused() {
        for markup in [
            "<a>",
            "<a><b/></a>",
            "<a></b>",
            "<a/><a/>",
            "<a/>x",
            "<a/><!DOCTYPE a>",
            "<a>&e;</a>",
            "<!DOCTYPE a><a/>",
            "<?php x?><a/>",
        ] {
            let read = text_of(markup, 16);
            assert!(read.is_err(), "{markup}: {read:?}");
        }
        for markup in [
            "",
            " ",
            "x",
            "</a>",
            "x<a/>",
            "&lt;<a/>",
            "<></>",
            "\u{FEFF}\u{FEFF}<a/>",
        ] {
            let stream = DocumentStream::new(markup.as_bytes(), 4);
            let root = stream.and_then(|mut stream| stream.root().map(str::to_owned));
            assert!(root.is_err(), "{markup}: {root:?}");
        }
    }

    #[test]
    fn elements_depth_and_tags_are_bounded() {
        let read = |markup: &str, elements: usize| -> Result<(), XmlError> {
            let mut stream = DocumentStream::new(markup.as_bytes(), elements)?;
            stream.root()?;
            while stream.depth > 0 {
                stream.child()?;
            }
            stream.finish()
        };
        assert_eq!(read("<a><b/><b></b><b/></a>", 4), Ok(()));
        assert_eq!(read("<a><b/><b></b><b/></a>", 3), Err(XmlError::Elements));
        let nested = |depth: usize| "<a>".repeat(depth) + &"</a>".repeat(depth);
        assert_eq!(read(&nested(16), 100), Ok(()));
        assert_eq!(read(&nested(17), 100), Err(XmlError::Depth));
        for tag in [
            format!("<a x='{}'/>", "y".repeat(5000)),
            format!("<{}/>", "y".repeat(5000)),
        ] {
            let refused = matches!(read(&tag, 100), Err(XmlError::Syntax(_)));
            assert!(refused, "{} bytes of a tag", tag.len());
        }
    }

    /// Names and texts of a tree in the form in which a stream returns them; `None` if a stream
    /// would refuse the tree.
    fn leaves(document: &Document<'_>, element: &Element, found: &mut Vec<String>) -> Option<()> {
        found.push(document.name(element).to_owned());
        if element.children.is_empty() {
            found.push(document.text(element).ok()?.into_owned());
            return Some(());
        }
        document
            .text(element)
            .ok()?
            .trim()
            .is_empty()
            .then_some(())?;
        let mut children = element.children.iter();
        children.try_for_each(|child| leaves(document, child, found))
    }

    /// Reads elements in the structure of the tree: those without children as texts.
    fn follow(
        stream: &mut DocumentStream<'_>,
        element: &Element,
        found: &mut Vec<String>,
    ) -> Result<(), XmlError> {
        if element.children.is_empty() {
            found.push(stream.text(usize::MAX)?);
            return Ok(());
        }
        for child in &element.children {
            found.push(
                stream
                    .child()?
                    .expect("the tree has a child here")
                    .to_owned(),
            );
            follow(stream, child, found)?;
        }
        assert_eq!(stream.child()?, None);
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn a_stream_reads_the_names_and_texts_of_the_tree(
            before in markup(),
            inside in markup(),
        ) {
            for markup in [
                before.clone(),
                format!("<a>{inside}</a>"),
                format!("<a><b>{inside}</b>{before}<c/></a>"),
            ] {
                let Ok(document) = Document::parse(markup.as_bytes()) else {
                    continue;
                };
                let mut of_tree = Vec::new();
                let readable = leaves(&document, &document.root, &mut of_tree);
                let mut stream = DocumentStream::new(markup.as_bytes(), 1000).expect("UTF-8");
                let mut of_stream = Vec::new();
                let read = stream.root().and_then(|root| {
                    of_stream.push(root.to_owned());
                    follow(&mut stream, &document.root, &mut of_stream)?;
                    stream.finish()
                });
                // Documents accepted by the stream must mean the same to the tree. The stream is
                // stricter.
                if read.is_ok() {
                    prop_assert!(readable.is_some());
                    prop_assert_eq!(of_stream, of_tree);
                }
            }
        }

        #[test]
        fn no_bytes_break_the_reading(bytes in prop::collection::vec(any::<u8>(), 0..64), markup in markup()) {
            for text in [bytes.as_slice(), markup.as_bytes()] {
                let Ok(mut stream) = DocumentStream::new(text, 8) else {
                    continue;
                };
                let mut steps = 0;
                while stream.root().is_ok() && stream.child().is_ok() && stream.text(8).is_ok() {
                    steps += 1;
                    prop_assert!(steps < 64);
                }
            }
        }
    }

    #[test]
    fn messages_stay_short_whatever_the_document_holds() {
        let name = "y".repeat(1_000_000);
        for markup in [format!("<a></{name}>"), format!("<a>&{name};</a>")] {
            let error = text_of(&markup, 2_000_000).unwrap_err().to_string();
            assert!(error.len() < 500, "{} bytes", error.len());
        }
    }
}
