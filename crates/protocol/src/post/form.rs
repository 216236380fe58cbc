//! Parser for the fields of a form, up to the beginning of its file.
//!
//! Incremental and bounded: at most [`MAX_HEAD_BYTES`] before the file are buffered, and the result
//! does not depend on how the body is split into slices. The parser stops at the file's first byte,
//! where [`FileDecoder`](super::FileDecoder) takes over.

use memchr::memmem;

use super::boundary::Boundary;
use super::error::PostError;
use super::fields::FormFields;
use super::part_header::PartHeader;

/// Maximum size in bytes of everything before the file, delimiters included (S3 API Reference,
/// "POST Object": 20 KB).
pub const MAX_HEAD_BYTES: usize = 20 * 1024;

/// Fields before the file. S3 names no limit but that of bytes, which lets browsers send some 200.
pub(super) const MAX_FIELDS: usize = 256;

/// The line break that the first delimiter may lack is put in front, so that all are alike.
const VIRTUAL_LINE_BREAK: &[u8] = b"\r\n";

/// Incremental parser of a form, up to its file.
pub struct FormParser {
    boundary: Boundary,
    /// [`VIRTUAL_LINE_BREAK`] and the part of the body that has arrived.
    buffer: Vec<u8>,
    /// Offset in `buffer` of the first byte that is not parsed yet.
    at: usize,
    state: FormState,
    fields: FormFields,
}

/// Next part of the form.
enum FormState {
    /// The first delimiter.
    Start,
    /// The two bytes after a delimiter.
    BehindDelimiter,
    /// The header of a part.
    Header,
    /// The value of the field with this name.
    Value(String),
}

/// Result of parsing everything before the file.
#[derive(Debug)]
pub struct FormHead {
    /// Fields before the file.
    pub fields: FormFields,
    /// `filename` of the file's part; empty if it has none.
    pub file_name: String,
    /// Number of bytes in the body before the file's first byte.
    pub length: usize,
}

impl FormParser {
    /// Creates a parser at the beginning of a body.
    #[must_use]
    pub fn new(boundary: Boundary) -> Self {
        Self {
            boundary,
            buffer: VIRTUAL_LINE_BREAK.to_vec(),
            at: 0,
            state: FormState::Start,
            fields: FormFields::default(),
        }
    }

    /// Parses the next bytes. Returns the fields once the file's part has been reached; the file
    /// begins at offset [`FormHead::length`] of the body, which may be inside `input`.
    pub fn push(&mut self, input: &[u8]) -> Result<Option<FormHead>, PostError> {
        let room = VIRTUAL_LINE_BREAK.len() + MAX_HEAD_BYTES - self.buffer.len();
        self.buffer
            .extend_from_slice(&input[..input.len().min(room)]);
        // Parse before complaining about the length: the rest of `input` may be the file itself.
        while let Some(progress) = self.step()? {
            if let Progress::File(head) = progress {
                return Ok(Some(head));
            }
        }
        if input.len() >= room {
            return Err(match self.state {
                FormState::Start => self.end(),
                FormState::BehindDelimiter | FormState::Header | FormState::Value(_) => {
                    PostError::TooMuchBeforeFile(MAX_HEAD_BYTES, MAX_FIELDS)
                }
            });
        }
        Ok(None)
    }

    /// The form ended, or went on too long, and no file had come.
    #[must_use]
    pub fn end(&self) -> PostError {
        PostError::Malformed(match self.state {
            FormState::Start => "it does not have the delimiter that Content-Type names",
            FormState::BehindDelimiter | FormState::Header | FormState::Value(_) => {
                "it ends before its closing delimiter"
            }
        })
    }

    fn step(&mut self) -> Result<Option<Progress>, PostError> {
        // Every step sets the next state, unless it fails: the parser is not used after an error.
        match std::mem::replace(&mut self.state, FormState::Start) {
            FormState::Start => Ok(self.first_delimiter()),
            FormState::BehindDelimiter => self.behind_delimiter(),
            FormState::Header => self.header(),
            FormState::Value(name) => self.value(name),
        }
    }

    /// Passes over the preamble (RFC 2046, section 5.1.1), mostly an empty one.
    fn first_delimiter(&mut self) -> Option<Progress> {
        let delimiter = self.boundary.delimiter();
        let Some(length) = memmem::find(&self.buffer[self.at..], delimiter) else {
            // Only a possible beginning of the delimiter is scanned twice.
            let beginning = self.buffer.len().saturating_sub(delimiter.len() - 1);
            self.at = self.at.max(beginning);
            return None;
        };
        self.at += length + delimiter.len();
        self.state = FormState::BehindDelimiter;
        Some(Progress::More)
    }

    fn behind_delimiter(&mut self) -> Result<Option<Progress>, PostError> {
        // Two bytes decide. With fewer, wait for more.
        match self.buffer[self.at..] {
            [b'\r', b'\n', ..] => {
                self.at += 2;
                self.state = FormState::Header;
                Ok(Some(Progress::More))
            }
            [b'-', b'-', ..] => Err(PostError::NumberOfFiles(
                "the form has no field named 'file'",
            )),
            [] | [b'\r' | b'-'] => {
                self.state = FormState::BehindDelimiter;
                Ok(None)
            }
            [_, ..] => Err(PostError::Malformed("a delimiter must end its line")),
        }
    }

    fn header(&mut self) -> Result<Option<Progress>, PostError> {
        let rest = &self.buffer[self.at..];
        let Some(length) = memmem::find(rest, b"\r\n\r\n") else {
            self.state = FormState::Header;
            return Ok(None);
        };
        let header = PartHeader::parse(&rest[..length])?;
        self.at += length + 4;
        if header.name.eq_ignore_ascii_case("file") {
            return Ok(Some(Progress::File(FormHead {
                fields: std::mem::take(&mut self.fields),
                file_name: header.file_name.unwrap_or_default(),
                length: self.at - VIRTUAL_LINE_BREAK.len(),
            })));
        }
        self.state = FormState::Value(header.name);
        Ok(Some(Progress::More))
    }

    fn value(&mut self, name: String) -> Result<Option<Progress>, PostError> {
        let delimiter = self.boundary.delimiter();
        let rest = &self.buffer[self.at..];
        let Some(length) = memmem::find(rest, delimiter) else {
            self.state = FormState::Value(name);
            return Ok(None);
        };
        let value = std::str::from_utf8(&rest[..length])
            .map_err(|_| PostError::Malformed("the value of every field must be UTF-8"))?
            .to_owned();
        self.at += length + delimiter.len();
        self.state = FormState::BehindDelimiter;
        // Bounds the quadratic search for duplicates in `add`.
        if self.fields.len() == MAX_FIELDS {
            return Err(PostError::TooMuchBeforeFile(MAX_HEAD_BYTES, MAX_FIELDS));
        }
        self.fields.add(&name, value)?;
        Ok(Some(Progress::More))
    }
}

/// Result of one parsing step.
enum Progress {
    More,
    File(FormHead),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parser() -> FormParser {
        FormParser::new(Boundary::from_content_type("multipart/form-data; boundary=edge").unwrap())
    }

    fn field(name: &str, value: &str) -> String {
        format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    }

    const FILE: &str =
        "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\n";

    type Outcome = Result<Option<(Vec<(String, String)>, String, usize)>, PostError>;

    fn parse(pieces: &[&[u8]]) -> Outcome {
        let mut parser = parser();
        for piece in pieces {
            if let Some(head) = parser.push(piece)? {
                let fields = head.fields.iter();
                let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
                return Ok(Some((fields.collect(), head.file_name, head.length)));
            }
        }
        Ok(None)
    }

    #[test]
    fn fields_and_file_are_found() {
        let before = field("Key", "a/ü") + &field("x-amz-meta-a", "") + FILE;
        let body = before.clone() + "content\r\n--edge--\r\n";
        let expected = vec![
            ("key".to_owned(), "a/ü".to_owned()),
            ("x-amz-meta-a".to_owned(), String::new()),
        ];
        let expected = (expected, "a.txt".to_owned(), before.len());
        assert_eq!(parse(&[body.as_bytes()]), Ok(Some(expected)));
    }

    #[test]
    fn a_preamble_is_passed_over() {
        let form = field("key", "k") + FILE;
        for preamble in ["\r\n", "\r\n\r\n", "a\r\n--edg\r\n", "--edg\n--edge\r\n"] {
            let body = format!("{preamble}{form}content");
            let fields = vec![("key".to_owned(), "k".to_owned())];
            let length = preamble.len() + form.len();
            let expected = Ok(Some((fields, "a.txt".to_owned(), length)));
            assert_eq!(parse(&[body.as_bytes()]), expected, "{preamble:?}");
            let bytes: Vec<&[u8]> = body.as_bytes().chunks(1).collect();
            assert_eq!(parse(&bytes), expected, "{preamble:?}");
        }
        let endless = "\r\n".repeat(MAX_HEAD_BYTES) + &form;
        let refused = kind(&parse(&[endless.as_bytes()]));
        assert_eq!(refused, Some(ErrorKind::Malformed));
    }

    #[test]
    fn a_form_that_ends_without_a_file_says_what_it_lacks() {
        for (body, expected) in [
            ("--egde\r\n", "the delimiter that Content-Type names"),
            ("--edge\r\n", "ends before its closing delimiter"),
        ] {
            let mut parser = parser();
            assert!(parser.push(body.as_bytes()).unwrap().is_none());
            assert!(parser.end().to_string().contains(expected), "{body:?}");
        }
    }

    #[test]
    fn malformed_forms_are_refused() {
        let malformed = ErrorKind::Malformed;
        for (body, expected) in [
            ("", None),
            ("--edg", None),
            ("--egde\r\n", None),
            ("preamble--edge\r\n", None),
            ("preamble\r\n--edgeless\r\n", Some(malformed)),
            ("--edge \r\n", Some(malformed)),
            ("--edge\n", Some(malformed)),
            ("--edge--\r\n", Some(ErrorKind::Files)),
            ("--edge\r\n\r\n\r\n", Some(malformed)),
            ("--edge\r\nContent-Type: a/b\r\n\r\nx", Some(malformed)),
            (
                &(field("key", "k") + "--edge--\r\n"),
                Some(ErrorKind::Files),
            ),
            (
                &(field("key", "k") + &field("KEY", "k") + FILE),
                Some(ErrorKind::Field),
            ),
            (&(field("key", "a\nb") + FILE), Some(ErrorKind::Field)),
            (&(field("acl", "a\r\nb") + FILE), Some(ErrorKind::Field)),
            (&field("key", "\r\n--edgeless"), Some(malformed)),
        ] {
            assert_eq!(kind(&parse(&[body.as_bytes()])), expected, "{body:?}");
        }
        let not_text = [
            field("key", "k").as_bytes(),
            b"--edge\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\xff\r\n--edge",
        ]
        .concat();
        assert_eq!(kind(&parse(&[&not_text])), Some(malformed));
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum ErrorKind {
        Malformed,
        Files,
        Field,
        Size,
        Other,
    }

    fn kind(outcome: &Outcome) -> Option<ErrorKind> {
        Some(match outcome.as_ref().err()? {
            PostError::Malformed(_) => ErrorKind::Malformed,
            PostError::NumberOfFiles(_) => ErrorKind::Files,
            PostError::DuplicateField(_) | PostError::ControlCharacter(_) => ErrorKind::Field,
            PostError::TooMuchBeforeFile(..) => ErrorKind::Size,
            _ => ErrorKind::Other,
        })
    }

    #[test]
    fn what_stands_before_the_file_is_bounded_in_bytes() {
        let around = field("x-ignore-a", "").len() + FILE.len();
        // One byte less than the limit, so that the parser sees that the file begins.
        let fits = field("x-ignore-a", &"x".repeat(MAX_HEAD_BYTES - around - 1)) + FILE + "content";
        let exact = parse(&[fits.as_bytes()]).unwrap().unwrap();
        assert_eq!(exact.2, MAX_HEAD_BYTES - 1);
        let longer = field("x-ignore-a", &"x".repeat(MAX_HEAD_BYTES - around + 1)) + FILE;
        assert_eq!(kind(&parse(&[longer.as_bytes()])), Some(ErrorKind::Size));
        let endless = field("x-ignore-a", &"x".repeat(10 * MAX_HEAD_BYTES));
        assert_eq!(kind(&parse(&[endless.as_bytes()])), Some(ErrorKind::Size));
    }

    #[test]
    fn what_stands_before_the_file_is_bounded_in_fields() {
        let fields = |count: usize| -> String {
            (0..count)
                .map(|number| field(&format!("f{number}"), ""))
                .collect()
        };
        assert!(
            parse(&[(fields(MAX_FIELDS) + FILE).as_bytes()])
                .unwrap()
                .is_some()
        );
        let more = fields(MAX_FIELDS + 1) + FILE;
        assert_eq!(kind(&parse(&[more.as_bytes()])), Some(ErrorKind::Size));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(
            values in proptest::collection::vec("[a-z\r\n\\-]{0,12}", 0..4),
            broken in proptest::option::of(0..200_usize),
            cuts in proptest::collection::vec(0..500_usize, 0..8),
            preamble in "([a-z\r\n\\-]{0,12}\r\n)?",
        ) {
            let mut body: Vec<u8> = [preamble]
                .into_iter()
                .chain(values.iter().enumerate().map(|(number, value)| {
                    field(&format!("f{number}"), value)
                }))
                .chain([FILE.to_owned() + "content\r\n--edge--\r\n"])
                .collect::<String>()
                .into_bytes();
            if let Some(at) = broken {
                let length = body.len();
                body[at % length] ^= 0x20;
            }
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % body.len()).collect();
            cuts.push(0);
            cuts.push(body.len());
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect();
            let bytes: Vec<&[u8]> = body.chunks(1).collect();
            let whole = parse(&[&body]);
            prop_assert_eq!(&parse(&pieces), &whole);
            prop_assert_eq!(&parse(&bytes), &whole);
        }
    }
}
