//! The rest of a form after its file: more fields, the end, an epilogue.
//!
//! S3 ignores it (a browser sends a named submit button there), and so nothing of it is kept. It is
//! read nevertheless: a form that was cut short, or that has a second file, must not be taken for a
//! whole one.

use memchr::memmem;

use super::error::PostError;
use super::part_header::PartHeader;

/// Longest header of a field, in bytes.
const MAX_HEADER_BYTES: usize = 8 * 1024;

const END_OF_HEADER: &[u8] = b"\r\n\r\n";

/// Skips the rest of a form, from the delimiter that ended the file.
#[derive(Debug)]
pub(super) struct Rest {
    delimiter: Vec<u8>,
    state: FieldsState,
    /// The last bytes received, as far as the state needs them.
    seen: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FieldsState {
    /// Of the line of a delimiter.
    Delimiter,
    Header,
    Value,
    /// Of the line of the closing delimiter.
    Closing,
    Epilogue,
}

impl Rest {
    /// `delimiter` with the line break in front.
    pub(super) fn new(delimiter: &[u8]) -> Self {
        Self {
            delimiter: delimiter.to_vec(),
            state: FieldsState::Delimiter,
            seen: Vec::new(),
        }
    }

    /// Takes the next bytes.
    pub(super) fn pass_over(&mut self, mut input: &[u8]) -> Result<(), PostError> {
        while !input.is_empty() {
            let consumed = match self.state {
                FieldsState::Delimiter => self.delimiter_line(input[0])?,
                FieldsState::Header => self.header(input)?,
                FieldsState::Value => self.value(input),
                FieldsState::Closing => self.closing_line(input[0])?,
                FieldsState::Epilogue => input.len(),
            };
            input = &input[consumed..];
        }
        Ok(())
    }

    /// Whether the form may end here.
    pub(super) fn is_complete(&self) -> bool {
        match self.state {
            FieldsState::Closing | FieldsState::Epilogue => true,
            FieldsState::Delimiter | FieldsState::Header | FieldsState::Value => false,
        }
    }

    fn enter(&mut self, state: FieldsState) {
        self.state = state;
        self.seen.clear();
    }

    /// Two hyphens, or blanks and a line break (RFC 2046: "transport padding").
    fn delimiter_line(&mut self, byte: u8) -> Result<usize, PostError> {
        match (self.seen.as_slice(), byte) {
            ([b'-'], b'-') => self.enter(FieldsState::Closing),
            ([b'\r'], b'\n') => self.enter(FieldsState::Header),
            ([b' '], b' ' | b'\t') => {}
            ([], b' ' | b'\t') => self.seen.push(b' '),
            ([], b'-') => self.seen.push(byte),
            ([] | [b' '], b'\r') => self.seen = vec![byte],
            _ => return Err(PostError::Malformed("a delimiter must end its line")),
        }
        Ok(1)
    }

    fn closing_line(&mut self, byte: u8) -> Result<usize, PostError> {
        match byte {
            b' ' | b'\t' => {}
            b'\r' | b'\n' => self.enter(FieldsState::Epilogue),
            _ => return Err(PostError::Malformed("a delimiter must end its line")),
        }
        Ok(1)
    }

    fn header(&mut self, input: &[u8]) -> Result<usize, PostError> {
        let before = self.seen.len();
        let room = MAX_HEADER_BYTES - before;
        self.seen.extend_from_slice(&input[..input.len().min(room)]);
        let from = before.saturating_sub(END_OF_HEADER.len() - 1);
        let Some(at) = memmem::find(&self.seen[from..], END_OF_HEADER) else {
            if self.seen.len() == MAX_HEADER_BYTES {
                return Err(PostError::Malformed("the header of a field is too long"));
            }
            return Ok(input.len());
        };
        let header = PartHeader::parse(&self.seen[..from + at])?;
        if header.name.eq_ignore_ascii_case("file") {
            return Err(PostError::NumberOfFiles("the form has a second file"));
        }
        let consumed = from + at + END_OF_HEADER.len() - before;
        self.enter(FieldsState::Value);
        Ok(consumed)
    }

    fn value(&mut self, input: &[u8]) -> usize {
        let before = self.seen.len();
        self.seen.extend_from_slice(input);
        if let Some(at) = memmem::find(&self.seen, &self.delimiter) {
            let consumed = at + self.delimiter.len() - before;
            self.enter(FieldsState::Delimiter);
            return consumed;
        }
        let passed = self.seen.len().saturating_sub(self.delimiter.len() - 1);
        self.seen.drain(..passed);
        input.len()
    }
}
