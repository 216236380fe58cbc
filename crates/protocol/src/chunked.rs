//! Decoder for `aws-chunked`, the framing around a body whose signature or checksum the client
//! computes while it streams.
//!
//! [`ChunkDecoder`] is a state machine over slices: it returns the range of a slice that is payload
//! and copies none of it. A chunk's signature is checked when its last byte has arrived, before any
//! byte of the next chunk is returned. A body that is truncated or too long is an error. Buffers
//! (chunk headers, trailers) are bounded.
//!
//! Tolerated, because clients differ: chunks of any size (S3 wants at least 8 KiB for all but the
//! last), bare line feeds in trailers, an empty line before or among the trailers, and a missing
//! last line end.
//!
//! Not handled here: the meaning of trailers, and checksums (see `payload`), and HTTP's own chunked
//! transfer coding.

use std::collections::HashSet;
use std::ops::Range;

use http::{HeaderName, HeaderValue};
use memchr::memchr;

use crate::error::{ErrorCode, S3Error};
use crate::hex;
use crate::sigv4::{PayloadMode, Verified};

use signatures::Signatures;

mod signatures;
#[cfg(test)]
mod tests;

/// Longest chunk header in bytes. A hexadecimal size, `;chunk-signature=` and 64 digits need about
/// 100.
const LONGEST_HEADER: usize = 1024;
/// Longest trailer section in bytes.
const LONGEST_TRAILERS: usize = 8 * 1024;
/// Number of empty lines tolerated after the end of the body.
const LAST_LINE_ENDS: u8 = 2;
const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";

/// Reason for which an `aws-chunked` body was refused. The fault is the client's, or the body was
/// altered on its way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// The framing of a chunk cannot be parsed.
    #[error("the aws-chunked body is malformed: {0}")]
    Malformed(&'static str),
    /// The signature of a chunk or of the trailers does not match the client's key and the content.
    #[error("the signature of a chunk or of the trailers does not match what arrived")]
    SignatureMismatch,
    /// The body ended before its last chunk, or its chunks do not have the announced total length.
    #[error("the chunks do not add up to x-amz-decoded-content-length")]
    Incomplete,
    /// Trailers are missing, unannounced or unparsable.
    #[error("the body's trailers are malformed: {0}")]
    Trailer(&'static str),
}

impl ChunkError {
    /// The error response that S3 sends in this case.
    #[must_use]
    pub fn s3_error(&self) -> S3Error {
        let code = match self {
            Self::Malformed(_) => ErrorCode::InvalidRequest,
            Self::SignatureMismatch => ErrorCode::SignatureDoesNotMatch,
            Self::Incomplete => ErrorCode::IncompleteBody,
            Self::Trailer(_) => ErrorCode::MalformedTrailerError,
        };
        S3Error::new(code, self.to_string())
    }
}

/// Kind of signatures in a body, and whether they can be checked.
pub enum ChunkMode {
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`.
    Signed(Box<Verified>),
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER`.
    SignedTrailer(Box<Verified>),
    /// Like [`ChunkMode::Signed`], but without the client's key: signatures are parsed and ignored.
    SignedUnchecked,
    /// Like [`ChunkMode::SignedTrailer`], but without the client's key.
    SignedTrailerUnchecked,
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`.
    UnsignedTrailer,
}

impl ChunkMode {
    /// Mode for the body of a verified request; `None` if it is not `aws-chunked`.
    #[must_use]
    pub fn checked(payload: &PayloadMode, verified: Verified) -> Option<Self> {
        match payload {
            PayloadMode::Unsigned | PayloadMode::Sha256(_) => None,
            PayloadMode::SignedChunks => Some(Self::Signed(Box::new(verified))),
            PayloadMode::SignedChunksTrailer => Some(Self::SignedTrailer(Box::new(verified))),
            PayloadMode::UnsignedChunksTrailer => Some(Self::UnsignedTrailer),
        }
    }

    /// Mode for the body of a request that is not authenticated (`auth = none`); `None` if it is
    /// not `aws-chunked`.
    #[must_use]
    pub fn unchecked(payload: &PayloadMode) -> Option<Self> {
        match payload {
            PayloadMode::Unsigned | PayloadMode::Sha256(_) => None,
            PayloadMode::SignedChunks => Some(Self::SignedUnchecked),
            PayloadMode::SignedChunksTrailer => Some(Self::SignedTrailerUnchecked),
            PayloadMode::UnsignedChunksTrailer => Some(Self::UnsignedTrailer),
        }
    }
}

/// Trailers at the end of a body: exactly the announced ones, each once.
#[derive(Debug, Default)]
pub struct Trailers(Vec<(HeaderName, HeaderValue)>);

impl Trailers {
    /// Value of the trailer `name`.
    #[must_use]
    pub fn get(&self, name: &HeaderName) -> Option<&HeaderValue> {
        let found = self.0.iter().find(|(trailer, _)| trailer == name);
        found.map(|(_, value)| value)
    }
}

/// Result of decoding one slice.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct DecodedChunk {
    /// Number of bytes of the slice that were consumed: fewer than all only after a run of payload.
    pub consumed: usize,
    /// Range of the slice that is payload; often empty.
    pub payload: Range<usize>,
}

/// Incremental decoder of an `aws-chunked` body.
pub struct ChunkDecoder {
    signatures: Signatures,
    ending: Ending,
    state: ChunkState,
    /// Current line of framing, as far as it has arrived.
    line: Vec<u8>,
    /// Remaining decoded length, not yet announced by any chunk header.
    unannounced_length: u64,
    expected_trailers: HashSet<HeaderName>,
    trailers: Trailers,
    trailer_bytes: usize,
    /// Trailers in the form that their signature covers: `name:value` and a line feed each.
    signed_trailers: Vec<u8>,
}

/// The last section of a body.
#[derive(Clone, Copy)]
enum Ending {
    LastChunk,
    Trailers,
}

/// Next part of the body.
#[derive(Clone)]
enum ChunkState {
    /// A chunk's header, of which a part may be in `line`.
    Header,
    /// Payload of a chunk, with this many bytes still missing.
    Payload { remaining: u64 },
    /// CRLF after a chunk's payload.
    PayloadEnd,
    /// Lines of the trailer section.
    Trailers,
    /// Only line ends may follow, at most this many.
    Closing { line_ends: u8 },
    /// The body was refused with this error.
    Failed(ChunkError),
}

impl ChunkDecoder {
    /// Creates a decoder before the first chunk. `decoded_length` is the value of
    /// `x-amz-decoded-content-length` in bytes, `expected_trailers` lists the names in
    /// `x-amz-trailer`.
    #[must_use]
    pub fn new(mode: ChunkMode, decoded_length: u64, expected_trailers: Vec<HeaderName>) -> Self {
        let ending = match mode {
            ChunkMode::Signed(_) | ChunkMode::SignedUnchecked => Ending::LastChunk,
            ChunkMode::SignedTrailer(_)
            | ChunkMode::SignedTrailerUnchecked
            | ChunkMode::UnsignedTrailer => Ending::Trailers,
        };
        let signatures = Signatures::new(mode);
        Self {
            signatures,
            ending,
            state: ChunkState::Header,
            line: Vec::new(),
            unannounced_length: decoded_length,
            expected_trailers: expected_trailers.into_iter().collect(),
            trailers: Trailers::default(),
            trailer_bytes: 0,
            signed_trailers: Vec::new(),
        }
    }

    /// Decodes the next bytes of the body. Call it again with the bytes that it did not consume,
    /// until the body ends; then call [`ChunkDecoder::finish`]. Once it has returned an error, it
    /// returns that error every time.
    pub fn decode(&mut self, input: &[u8]) -> Result<DecodedChunk, ChunkError> {
        if let ChunkState::Failed(error) = &self.state {
            return Err(error.clone());
        }
        let step = self.step(input);
        if let Err(error) = &step {
            self.state = ChunkState::Failed(error.clone());
        }
        step
    }

    /// To be called when the body has ended: says whether it was whole.
    pub fn finish(self) -> Result<Trailers, ChunkError> {
        match &self.state {
            ChunkState::Failed(error) => return Err(error.clone()),
            ChunkState::Header | ChunkState::Payload { .. } | ChunkState::PayloadEnd => {
                return Err(ChunkError::Incomplete);
            }
            // Half a line of a trailer: the rest of it is missing.
            ChunkState::Trailers if !self.line.is_empty() => return Err(ChunkError::Incomplete),
            ChunkState::Trailers => self.trailers_complete()?,
            ChunkState::Closing { .. } => {}
        }
        Ok(self.trailers)
    }

    fn step(&mut self, input: &[u8]) -> Result<DecodedChunk, ChunkError> {
        let mut consumed = 0;
        while consumed < input.len() {
            let rest = &input[consumed..];
            match self.state.clone() {
                ChunkState::Failed(error) => return Err(error),
                ChunkState::Payload { remaining } => {
                    // Return at each run of payload: a step describes one range only, and a chunk's
                    // signature has to be checked before the next chunk's bytes are handed out.
                    let length = self.take_payload(rest, remaining)?;
                    let payload = consumed..consumed + length;
                    consumed += length;
                    return Ok(DecodedChunk { consumed, payload });
                }
                ChunkState::Header
                | ChunkState::PayloadEnd
                | ChunkState::Trailers
                | ChunkState::Closing { .. } => {
                    consumed += self.take_framing(rest)?;
                }
            }
        }
        let payload = consumed..consumed;
        Ok(DecodedChunk { consumed, payload })
    }

    fn take_payload(&mut self, rest: &[u8], remaining: u64) -> Result<usize, ChunkError> {
        let length = usize::try_from(remaining).map_or(rest.len(), |most| most.min(rest.len()));
        let remaining = remaining - length as u64;
        self.signatures.update(&rest[..length]);
        if remaining == 0 {
            self.signatures.end_chunk()?;
            self.state = ChunkState::PayloadEnd;
        } else {
            self.state = ChunkState::Payload { remaining };
        }
        Ok(length)
    }

    /// Buffers bytes up to the end of a line, and handles the line once it is complete.
    fn take_framing(&mut self, rest: &[u8]) -> Result<usize, ChunkError> {
        let line_end = memchr(b'\n', rest);
        let length = line_end.map_or(rest.len(), |index| index + 1);
        let (longest, too_long) = match self.state {
            ChunkState::Trailers => (
                LONGEST_TRAILERS - self.trailer_bytes,
                ChunkError::Trailer("they must be shorter than 8 KiB"),
            ),
            ChunkState::PayloadEnd => (2, ChunkError::Malformed("a chunk must end with CRLF")),
            ChunkState::Closing { .. } => (2, ChunkError::Malformed("bytes follow its end")),
            ChunkState::Header | ChunkState::Payload { .. } | ChunkState::Failed(_) => (
                LONGEST_HEADER,
                ChunkError::Malformed("a chunk's header must be shorter than 1 KiB"),
            ),
        };
        // Refuse foreign bytes at once: after the end, no line feed may ever come.
        let closing = matches!(self.state, ChunkState::Closing { .. });
        let only_line_ends = || rest[..length].iter().all(u8::is_ascii_whitespace);
        if self.line.len() + length > longest || (closing && !only_line_ends()) {
            return Err(too_long);
        }
        self.line.extend_from_slice(&rest[..length]);
        if line_end.is_some() {
            // Move the line out to borrow it beside `self`, then put its allocation back.
            let mut line = std::mem::take(&mut self.line);
            self.take_line(&line)?;
            line.clear();
            self.line = line;
        }
        Ok(length)
    }

    fn take_line(&mut self, line: &[u8]) -> Result<(), ChunkError> {
        match self.state.clone() {
            ChunkState::Header => self.take_header(line),
            ChunkState::PayloadEnd if line == b"\r\n" => {
                self.state = ChunkState::Header;
                Ok(())
            }
            ChunkState::PayloadEnd => Err(ChunkError::Malformed("a chunk must end with CRLF")),
            ChunkState::Trailers => self.take_trailer_line(line),
            ChunkState::Closing { line_ends } if line_ends > 0 => {
                self.state = ChunkState::Closing {
                    line_ends: line_ends - 1,
                };
                Ok(())
            }
            ChunkState::Closing { .. } => Err(ChunkError::Malformed("bytes follow its end")),
            ChunkState::Payload { .. } => unreachable!("payload has no lines"),
            ChunkState::Failed(error) => Err(error),
        }
    }

    /// Parses `size[;chunk-signature=signature]CRLF`.
    fn take_header(&mut self, line: &[u8]) -> Result<(), ChunkError> {
        let line = line
            .strip_suffix(b"\r\n")
            .ok_or(ChunkError::Malformed("a chunk's header must end with CRLF"))?;
        let (size, extension) = match memchr(b';', line) {
            Some(index) => (&line[..index], Some(&line[index + 1..])),
            None => (line, None),
        };
        let size = chunk_size(size)?;
        self.signatures.begin_chunk(extension)?;
        self.unannounced_length = self
            .unannounced_length
            .checked_sub(size)
            .ok_or(ChunkError::Incomplete)?;
        // The chunk of size zero is the last one. It is signed like any other.
        if size > 0 {
            self.state = ChunkState::Payload { remaining: size };
            return Ok(());
        }
        self.signatures.end_chunk()?;
        if self.unannounced_length > 0 {
            return Err(ChunkError::Incomplete);
        }
        self.state = match self.ending {
            Ending::LastChunk => CLOSING,
            Ending::Trailers => ChunkState::Trailers,
        };
        Ok(())
    }

    fn take_trailer_line(&mut self, line: &[u8]) -> Result<(), ChunkError> {
        self.trailer_bytes += line.len();
        let line = line.trim_ascii();
        if line.is_empty() {
            // Some clients send an empty line before the trailers or before their signature. An
            // empty line therefore ends the trailers only if they are unsigned and complete.
            if self.signatures.are_absent() && self.trailers_complete().is_ok() {
                self.state = CLOSING;
            }
            return Ok(());
        }
        let colon = memchr(b':', line).ok_or(ChunkError::Trailer("each must be name:value"))?;
        let name = HeaderName::from_bytes(&line[..colon])
            .map_err(|_| ChunkError::Trailer("each must have a header's name"))?;
        let value = line[colon + 1..].trim_ascii();
        if name == TRAILER_SIGNATURE {
            return self.take_trailer_signature(value);
        }
        if !self.expected_trailers.contains(&name) {
            return Err(ChunkError::Trailer("each must be named in x-amz-trailer"));
        }
        if self.trailers.get(&name).is_some() {
            return Err(ChunkError::Trailer("each must be sent once"));
        }
        // The signature covers trimmed values and a line feed, not the CRLF that was sent.
        self.signed_trailers
            .extend_from_slice(name.as_str().as_bytes());
        self.signed_trailers.push(b':');
        self.signed_trailers.extend_from_slice(value);
        self.signed_trailers.push(b'\n');
        let value = HeaderValue::from_bytes(value)
            .map_err(|_| ChunkError::Trailer("each must have a header's value"))?;
        self.trailers.0.push((name, value));
        Ok(())
    }

    fn take_trailer_signature(&mut self, value: &[u8]) -> Result<(), ChunkError> {
        self.all_trailers_arrived()?;
        self.signatures.end_trailers(&self.signed_trailers, value)?;
        self.state = CLOSING;
        Ok(())
    }

    /// Checks whether the body may end here, without `x-amz-trailer-signature`. If no trailers were
    /// announced, there is nothing for that signature to cover.
    fn trailers_complete(&self) -> Result<(), ChunkError> {
        self.all_trailers_arrived()?;
        match self.signatures {
            Signatures::Checked { .. } if !self.expected_trailers.is_empty() => Err(
                ChunkError::Trailer("x-amz-trailer-signature must end signed trailers"),
            ),
            Signatures::Checked { .. } | Signatures::Ignored | Signatures::Absent => Ok(()),
        }
    }

    fn all_trailers_arrived(&self) -> Result<(), ChunkError> {
        // Only expected trailers are kept, each once, so comparing the counts is enough.
        if self.trailers.0.len() == self.expected_trailers.len() {
            Ok(())
        } else {
            Err(ChunkError::Trailer(
                "x-amz-trailer names one that is absent",
            ))
        }
    }
}

const CLOSING: ChunkState = ChunkState::Closing {
    line_ends: LAST_LINE_ENDS,
};

fn chunk_size(digits: &[u8]) -> Result<u64, ChunkError> {
    const SHAPE: ChunkError =
        ChunkError::Malformed("a chunk's size must be 1 to 16 hexadecimal digits");
    // 16 digits fit a `u64`, so that the shift below cannot overflow.
    if digits.is_empty() || digits.len() > 16 {
        return Err(SHAPE);
    }
    digits.iter().try_fold(0_u64, |size, &character| {
        let digit = hex::digit(character).ok_or(SHAPE)?;
        Ok(size << 4 | u64::from(digit))
    })
}
