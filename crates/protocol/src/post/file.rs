//! The file in a form: from its first byte to the closing delimiter.
//!
//! The end is always found by the delimiter, never by arithmetic alone. If a length was already
//! announced to the backend, the two must agree. A delimiter before the end is refused in any case:
//! RFC 2046 forbids it inside a part, and the beginning of a second part must not become content.
//!
//! The only CR of a delimiter is its first byte. Therefore at most one incomplete delimiter is held
//! back at the end of a slice, and its bytes are known: those of the delimiter.

use std::ops::Range;

use memchr::{memmem, memrchr};

use super::boundary::Boundary;
use super::error::PostError;
use super::policy::LengthRange;

/// The bytes after the closing delimiter's boundary. RFC 2046 ends with the two hyphens; nearly all
/// clients send a line break too.
const CLOSING: &[u8] = b"--\r\n";

/// Possible lengths of the file, in bytes, computed from the length of the body and of the fields
/// before the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileBounds {
    /// Length if a line break follows the closing delimiter, as browsers send it.
    pub with_line_break: Option<u64>,
    /// Length if the form ends with the closing delimiter.
    pub without_line_break: u64,
}

impl FileBounds {
    /// Computes the lengths; `rest` is the number of bytes in the body from the file's first byte
    /// on.
    pub fn new(boundary: &Boundary, rest: u64) -> Result<Self, PostError> {
        let delimiter = boundary.delimiter().len() as u64;
        // 2 bytes for the hyphens of the closing delimiter.
        let longest = rest.checked_sub(delimiter + 2);
        let longest = longest.ok_or(PostError::Malformed(
            "it is too short to hold the closing delimiter",
        ))?;
        Ok(Self {
            with_line_break: longest.checked_sub(2),
            without_line_break: longest,
        })
    }
}

/// Extracts the file from a form, slice by slice.
#[derive(Debug)]
pub struct FileDecoder {
    delimiter: Vec<u8>,
    state: State,
    received: u64,
    /// Exact length of the file, if it had to be announced before the end.
    length: Option<u64>,
    range: LengthRange,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Inside the file; this many bytes of a possible delimiter have arrived.
    Inside { matched: usize },
    /// After the delimiter; this many bytes of [`CLOSING`] have arrived.
    Behind { matched: usize },
}

/// Result of one decoding step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Number of bytes of the input that were consumed.
    pub consumed: usize,
    /// Bytes of the file that this step produced.
    pub content: Content,
}

/// Source of a step's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A range of the input.
    Input(Range<usize>),
    /// Bytes of an earlier input that were held back as a possible delimiter.
    HeldBack(Vec<u8>),
}

impl FileDecoder {
    /// Creates a decoder. `length` is the file's length if it has already been announced. The
    /// policy's `range` is checked at the end, and its maximum also as bytes arrive.
    #[must_use]
    pub fn new(boundary: &Boundary, length: Option<u64>, range: LengthRange) -> Self {
        Self {
            delimiter: boundary.delimiter().to_vec(),
            state: State::Inside { matched: 0 },
            received: 0,
            length,
            range,
        }
    }

    /// Decodes a part of `input`, which must not be empty. A step may produce content without
    /// consuming any input.
    pub fn decode(&mut self, input: &[u8]) -> Result<Step, PostError> {
        let step = match self.state {
            State::Inside { matched: 0 } => self.search(input),
            State::Inside { matched } => self.continue_match(input, matched),
            State::Behind { matched } => self.closing(input, matched)?,
        };
        self.received += match &step.content {
            Content::Input(range) => range.len() as u64,
            Content::HeldBack(bytes) => bytes.len() as u64,
        };
        if let Some(length) = self.length
            && self.received > length
        {
            return Err(wrong_end());
        }
        self.range.check_longest(self.received)?;
        Ok(step)
    }

    /// Ends the body. Fails if the form is incomplete or the file's length is not the announced one
    /// or not within the policy's range.
    pub fn finish(&self) -> Result<(), PostError> {
        match self.state {
            // 2: it ended with the hyphens. 4: a line break followed.
            State::Behind { matched: 2 | 4 } => {}
            State::Behind { .. } | State::Inside { .. } => {
                return Err(PostError::Malformed("it ends before its closing delimiter"));
            }
        }
        if self.length.is_some_and(|length| length != self.received) {
            return Err(wrong_end());
        }
        self.range.check(self.received)
    }

    fn search(&mut self, input: &[u8]) -> Step {
        if let Some(at) = memmem::find(input, &self.delimiter) {
            self.state = State::Behind { matched: 0 };
            return Step {
                consumed: at + self.delimiter.len(),
                content: Content::Input(0..at),
            };
        }
        // Only the last bytes can be the beginning of a delimiter. It is shorter than a whole one,
        // which `find` would have found.
        let tail = input.len().saturating_sub(self.delimiter.len() - 1);
        let candidate = memrchr(b'\r', &input[tail..])
            .map(|at| tail + at)
            .filter(|&at| self.delimiter.starts_with(&input[at..]));
        let end = candidate.unwrap_or(input.len());
        self.state = State::Inside {
            matched: input.len() - end,
        };
        Step {
            consumed: input.len(),
            content: Content::Input(0..end),
        }
    }

    fn continue_match(&mut self, input: &[u8], matched: usize) -> Step {
        let wanted = &self.delimiter[matched..];
        let common = wanted
            .iter()
            .zip(input)
            .take_while(|(wanted, byte)| wanted == byte)
            .count();
        let content = if common == wanted.len() {
            self.state = State::Behind { matched: 0 };
            Content::Input(0..0)
        } else if common == input.len() {
            self.state = State::Inside {
                matched: matched + common,
            };
            Content::Input(0..0)
        } else {
            // Not a delimiter after all: hand out its bytes first. The input was consumed only as
            // far as it matched, so a CR after that starts a new search.
            self.state = State::Inside { matched: 0 };
            Content::HeldBack(self.delimiter[..matched + common].to_vec())
        };
        Step {
            consumed: common,
            content,
        }
    }

    fn closing(&mut self, input: &[u8], matched: usize) -> Result<Step, PostError> {
        let wanted = &CLOSING[matched..];
        let count = input.len().min(wanted.len());
        // Compare as much as has arrived, and refuse any byte after the end.
        if input[..count] != wanted[..count] || input.len() > wanted.len() {
            return Err(PostError::NumberOfFiles(
                "the file must be the last field of the form, with nothing behind it, and must not \
                 contain the form's boundary",
            ));
        }
        self.state = State::Behind {
            matched: matched + count,
        };
        Ok(Step {
            consumed: count,
            content: Content::Input(0..0),
        })
    }
}

fn wrong_end() -> PostError {
    PostError::Malformed(
        "its closing delimiter is not where Content-Length says; behind a large file it must be \
         followed by one CR LF and nothing else",
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn boundary() -> Boundary {
        Boundary::from_content_type("multipart/form-data; boundary=edge").unwrap()
    }

    fn decode(
        pieces: &[&[u8]],
        length: Option<u64>,
        range: LengthRange,
    ) -> Result<Vec<u8>, PostError> {
        let mut decoder = FileDecoder::new(&boundary(), length, range);
        let mut content = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            while !input.is_empty() {
                let step = decoder.decode(input)?;
                match step.content {
                    Content::Input(range) => content.extend_from_slice(&input[range]),
                    Content::HeldBack(bytes) => content.extend_from_slice(&bytes),
                }
                input = &input[step.consumed..];
            }
        }
        decoder.finish().map(|()| content)
    }

    fn whole(body: &[u8]) -> Result<Vec<u8>, PostError> {
        decode(&[body], None, LengthRange::ANY)
    }

    #[test]
    fn a_file_ends_at_the_closing_delimiter_with_or_without_a_line_break() {
        for (content, end) in [
            ("", "\r\n--edge--"),
            ("content", "\r\n--edge--\r\n"),
            // Beginnings of a delimiter inside the content.
            ("\r\n--edg\r\r\n--", "\r\n--edge--\r\n"),
            ("\r\n\r\n", "\r\n--edge--\r\n"),
        ] {
            let body = format!("{content}{end}");
            assert_eq!(whole(body.as_bytes()).as_deref(), Ok(content.as_bytes()));
            let bounds = FileBounds::new(&boundary(), body.len() as u64).unwrap();
            let length = content.len() as u64;
            if end.ends_with('\n') {
                assert_eq!(bounds.with_line_break, Some(length));
            } else {
                assert_eq!(bounds.without_line_break, length);
            }
        }
        assert!(FileBounds::new(&boundary(), 9).is_err());
    }

    #[test]
    fn whatever_stands_behind_the_file_is_refused() {
        for body in [
            "a\r\n--edge--\r\nx",
            "a\r\n--edge--\r\n\r\n",
            "a\r\n--edge--x",
            "a\r\n--edge\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nb\r\n--edge--\r\n",
            "a\r\n--edgeless\r\n--edge--\r\n",
            "a\r\n--edge--\r\n--edge--\r\n",
        ] {
            let refused = whole(body.as_bytes());
            assert!(
                matches!(refused, Err(PostError::NumberOfFiles(_))),
                "{body:?}"
            );
        }
    }

    #[test]
    fn a_form_cut_short_is_refused() {
        let body = b"content\r\n--edge--\r\n";
        for end in 0..body.len() - 1 {
            let cut = whole(&body[..end]);
            // The line break is optional, so a form that ends after the hyphens is complete.
            let complete = body[..end].ends_with(b"\r\n--edge--");
            assert_eq!(cut.is_ok(), complete, "{end}");
        }
    }

    #[test]
    fn an_announced_length_must_be_the_one_that_comes() {
        let body = b"content\r\n--edge--\r\n";
        assert!(decode(&[body], Some(7), LengthRange::ANY).is_ok());
        for other in [6, 8] {
            assert!(decode(&[body], Some(other), LengthRange::ANY).is_err());
        }
    }

    #[test]
    fn the_length_must_be_inside_the_policys_range() {
        let body = b"content\r\n--edge--\r\n";
        for (minimum, maximum, expected) in [
            (7, 7, Ok(b"content".to_vec())),
            (0, 6, Err(PostError::TooLarge(6))),
            (8, 9, Err(PostError::TooSmall(8))),
        ] {
            let range = LengthRange::new(minimum, maximum);
            assert_eq!(decode(&[body], None, range), expected);
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(
            content in "[a\r\n\\-edg]{0,60}",
            end in prop::sample::select(vec!["\r\n--edge--\r\n", "\r\n--edge--", "\r\n--edge--\r", "\r\n--edge\r\n", ""]),
            cuts in proptest::collection::vec(0..80_usize, 0..8),
        ) {
            let body = format!("{content}{end}").into_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
            cuts.push(0);
            cuts.push(body.len());
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect();
            let expected = whole(&body);
            let bytes: Vec<&[u8]> = body.chunks(1).collect();
            prop_assert_eq!(&decode(&pieces, None, LengthRange::ANY), &expected);
            prop_assert_eq!(&decode(&bytes, None, LengthRange::ANY), &expected);
            // Besides being independent of the split, the result must be right.
            if !content.contains("\r\n--edge") && end.starts_with("\r\n--edge--") && !end.ends_with("--\r") {
                prop_assert_eq!(expected, Ok(content.into_bytes()));
            }
        }
    }
}
