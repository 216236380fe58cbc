//! The file of a form: everything from its first byte to the next delimiter.
//!
//! The end is found by the delimiter, never by arithmetic alone, and where a length was announced
//! to somebody else it has to agree. Then only the end of the form may follow the file. Where the
//! length is not needed beforehand, the rest of the form is read ([`Rest`]) and ignored, as S3
//! ignores it: it becomes no content, and no field of it has a meaning.
//!
//! The only CR of a delimiter is its first byte. Therefore at most one incomplete delimiter is held
//! back at the end of a slice, and its bytes are known: those of the delimiter.

use std::ops::Range;

use memchr::{memmem, memrchr};

use super::boundary::Boundary;
use super::error::PostError;
use super::policy::LengthRange;
use super::rest::Rest;

/// Bytes after the closing delimiter of a form whose length counts. RFC 2046 has no line break
/// there; nearly every client sends one.
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
    state: FileState,
    received: u64,
    /// Exact length of the file, if it had to be announced before the end.
    length: Option<u64>,
    range: LengthRange,
}

#[derive(Debug)]
enum FileState {
    /// Inside the file; this many bytes of a possible delimiter have arrived.
    Inside { matched: usize },
    /// So many bytes of [`CLOSING`] have come.
    Closing { matched: usize },
    /// The file is complete; the bytes after it have no meaning.
    Behind(Rest),
}

/// Result of one decoding step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedFile {
    /// Number of bytes of the input that were consumed.
    pub consumed: usize,
    /// Bytes of the file that this step produced.
    pub content: Content,
}

impl DecodedFile {
    fn without_content(consumed: usize) -> Self {
        Self {
            consumed,
            content: Content::Input(0..0),
        }
    }
}

/// Location of the file's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A range of the input.
    Input(Range<usize>),
    /// Bytes of an earlier input that were held back as a possible delimiter.
    HeldBack(Vec<u8>),
}

impl FileDecoder {
    /// `length` is the file's length where it has been announced already: then the file must be the
    /// form's last field, and the form must end after it. The policy's `range` is checked at the
    /// end, and as soon as it is exceeded.
    #[must_use]
    pub fn new(boundary: &Boundary, length: Option<u64>, range: LengthRange) -> Self {
        Self {
            delimiter: boundary.delimiter().to_vec(),
            state: FileState::Inside { matched: 0 },
            received: 0,
            length,
            range,
        }
    }

    /// Decodes a part of `input`, which must not be empty. A step may produce content without
    /// consuming any input.
    pub fn decode(&mut self, input: &[u8]) -> Result<DecodedFile, PostError> {
        let step = match &mut self.state {
            FileState::Inside { matched: 0 } => self.search(input),
            &mut FileState::Inside { matched } => self.continue_match(input, matched),
            &mut FileState::Closing { matched } => self.closing(input, matched)?,
            FileState::Behind(rest) => {
                rest.pass_over(input)?;
                DecodedFile::without_content(input.len())
            }
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
        let is_complete = match &self.state {
            FileState::Inside { .. } => false,
            FileState::Closing { matched } => [2, 4].contains(matched),
            FileState::Behind(rest) => rest.is_complete(),
        };
        if !is_complete {
            return Err(PostError::Malformed("it ends before its closing delimiter"));
        }
        if self.length.is_some_and(|length| length != self.received) {
            return Err(wrong_end());
        }
        self.range.check(self.received)
    }

    fn search(&mut self, input: &[u8]) -> DecodedFile {
        if let Some(at) = memmem::find(input, &self.delimiter) {
            self.state = self.behind_delimiter();
            return DecodedFile {
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
        self.state = FileState::Inside {
            matched: input.len() - end,
        };
        DecodedFile {
            consumed: input.len(),
            content: Content::Input(0..end),
        }
    }

    fn behind_delimiter(&self) -> FileState {
        match self.length {
            Some(_) => FileState::Closing { matched: 0 },
            None => FileState::Behind(Rest::new(&self.delimiter)),
        }
    }

    fn continue_match(&mut self, input: &[u8], matched: usize) -> DecodedFile {
        let wanted = &self.delimiter[matched..];
        let common = wanted
            .iter()
            .zip(input)
            .take_while(|(wanted, byte)| wanted == byte)
            .count();
        let content = if common == wanted.len() {
            self.state = self.behind_delimiter();
            Content::Input(0..0)
        } else if common == input.len() {
            self.state = FileState::Inside {
                matched: matched + common,
            };
            Content::Input(0..0)
        } else {
            // Not a delimiter after all: hand out its bytes first. The input was consumed only as
            // far as it matched, so a CR after that starts a new search.
            self.state = FileState::Inside { matched: 0 };
            Content::HeldBack(self.delimiter[..matched + common].to_vec())
        };
        DecodedFile {
            consumed: common,
            content,
        }
    }

    fn closing(&mut self, input: &[u8], matched: usize) -> Result<DecodedFile, PostError> {
        let wanted = &CLOSING[matched..];
        let count = input.len().min(wanted.len());
        // Compare as much as has arrived, and refuse any byte after the end.
        if input[..count] != wanted[..count] || input.len() > wanted.len() {
            return Err(PostError::NumberOfFiles(
                "the file of a form of this size must be its last field, with nothing after it, and \
                 must not contain the form's boundary",
            ));
        }
        self.state = FileState::Closing {
            matched: matched + count,
        };
        Ok(DecodedFile::without_content(count))
    }
}

fn wrong_end() -> PostError {
    PostError::Malformed(
        "its closing delimiter is not where Content-Length says; after a large file it must be \
         followed by one CR LF and nothing else",
    )
}

#[cfg(test)]
mod tests;
