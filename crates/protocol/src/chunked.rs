//! `aws-chunked`: the framing that SDKs put around a body that they sign, or whose checksum they
//! send, as it streams.
//!
//! [`ChunkDecoder`] is a state machine over slices: it says which part of a slice is payload and
//! copies none of it. A chunk's signature is checked when its last byte has arrived, before any byte
//! of the next chunk is handed out, and a body that is cut or goes on too long is an error. What is
//! buffered (chunk headers, trailers) is bounded.
//!
//! Tolerated, because clients differ: chunks of any size (S3 wants 8 KiB of all but the last), bare
//! line feeds in trailers, an empty line before or among the trailers, a missing last line end.
//!
//! Absent: what the trailers mean, and checksums (`payload`); HTTP's own chunked coding.

use std::collections::HashSet;
use std::ops::Range;

use aws_lc_rs::digest;
use http::{HeaderName, HeaderValue};
use memchr::memchr;

use crate::error::{ErrorCode, S3Error};
use crate::sigv4::{PayloadMode, Signature, Verified, hex};

#[cfg(test)]
mod tests;

/// A size in hexadecimal, `;chunk-signature=` and 64 digits take about 100 bytes.
const LONGEST_HEADER: usize = 1024;
const LONGEST_TRAILERS: usize = 8 * 1024;
/// Empty lines that may stand behind the end.
const LAST_LINE_ENDS: u8 = 2;
const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Why an `aws-chunked` body was refused. The client is at fault, or somebody on the way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// The framing of a chunk cannot be read.
    #[error("the aws-chunked body is malformed: {0}")]
    Malformed(&'static str),
    /// A chunk's or the trailers' signature is not the one that the client's key gives.
    #[error("the signature of a chunk or of the trailers does not match what arrived")]
    SignatureMismatch,
    /// The body ended before its last chunk, or the chunks are not as long as announced.
    #[error("the chunks do not add up to x-amz-decoded-content-length")]
    Incomplete,
    /// Trailers are missing, not announced, or cannot be read.
    #[error("the body's trailers are malformed: {0}")]
    Trailer(&'static str),
}

impl ChunkError {
    /// What S3 answers.
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

/// Which signatures a body has, and whether somebody can check them.
pub enum ChunkMode {
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`.
    Signed(Box<Verified>),
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER`.
    SignedTrailer(Box<Verified>),
    /// As [`ChunkMode::Signed`] where nobody has the key: signatures are read and ignored.
    SignedUnchecked,
    /// As [`ChunkMode::SignedTrailer`] where nobody has the key.
    SignedTrailerUnchecked,
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`.
    UnsignedTrailer,
}

impl ChunkMode {
    /// The mode of a verified request's body; none where it is not `aws-chunked`.
    #[must_use]
    pub fn checked(payload: &PayloadMode, verified: Verified) -> Option<Self> {
        match payload {
            PayloadMode::Unsigned | PayloadMode::Sha256(_) => None,
            PayloadMode::SignedChunks => Some(Self::Signed(Box::new(verified))),
            PayloadMode::SignedChunksTrailer => Some(Self::SignedTrailer(Box::new(verified))),
            PayloadMode::UnsignedChunksTrailer => Some(Self::UnsignedTrailer),
        }
    }

    /// The mode of a body whose signatures nobody can check (`auth = none`).
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

/// The trailers that a body ended with: those announced, each once.
#[derive(Debug, Default)]
pub struct Trailers(Vec<(HeaderName, HeaderValue)>);

impl Trailers {
    /// The value of a trailer.
    #[must_use]
    pub fn get(&self, name: &HeaderName) -> Option<&HeaderValue> {
        let found = self.0.iter().find(|(trailer, _)| trailer == name);
        found.map(|(_, value)| value)
    }
}

/// What became of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Step {
    /// How many bytes of the slice are done with. Less than all of it only where payload ended.
    pub consumed: usize,
    /// Which bytes of the slice are payload; often none.
    pub payload: Range<usize>,
}

/// Takes an `aws-chunked` body apart.
pub struct ChunkDecoder {
    signatures: Signatures,
    ending: Ending,
    state: State,
    /// The current line of framing, as far as it has arrived.
    line: Vec<u8>,
    /// What no chunk has been announced for yet.
    unannounced_length: u64,
    expected_trailers: HashSet<HeaderName>,
    trailers: Trailers,
    trailer_bytes: usize,
    /// The trailers as their signature covers them.
    signed_trailers: Vec<u8>,
}

enum Signatures {
    Checked {
        chain: Box<Verified>,
        /// What the current chunk's header claims, and its digest so far.
        chunk: Option<(Signature, digest::Context)>,
    },
    Ignored,
    Absent,
}

#[derive(Clone, Copy)]
enum Ending {
    LastChunk,
    Trailers,
}

#[derive(Clone)]
enum State {
    Header,
    Payload { remaining: u64 },
    PayloadEnd,
    Trailers,
    Closing { line_ends: u8 },
    Failed(ChunkError),
}

impl ChunkDecoder {
    /// Starts before the first chunk. `decoded_length` is `x-amz-decoded-content-length`,
    /// `expected_trailers` what `x-amz-trailer` announces.
    #[must_use]
    pub fn new(mode: ChunkMode, decoded_length: u64, expected_trailers: Vec<HeaderName>) -> Self {
        let checked = |chain| Signatures::Checked { chain, chunk: None };
        let (signatures, ending) = match mode {
            ChunkMode::Signed(chain) => (checked(chain), Ending::LastChunk),
            ChunkMode::SignedTrailer(chain) => (checked(chain), Ending::Trailers),
            ChunkMode::SignedUnchecked => (Signatures::Ignored, Ending::LastChunk),
            ChunkMode::SignedTrailerUnchecked => (Signatures::Ignored, Ending::Trailers),
            ChunkMode::UnsignedTrailer => (Signatures::Absent, Ending::Trailers),
        };
        Self {
            signatures,
            ending,
            state: State::Header,
            line: Vec::new(),
            unannounced_length: decoded_length,
            expected_trailers: expected_trailers.into_iter().collect(),
            trailers: Trailers::default(),
            trailer_bytes: 0,
            signed_trailers: Vec::new(),
        }
    }

    /// Takes the next bytes of the body. To be called again with what was not consumed, until the
    /// body ends; then [`ChunkDecoder::finish`]. After an error the answer stays that error.
    pub fn decode(&mut self, input: &[u8]) -> Result<Step, ChunkError> {
        let step = self.step(input);
        if let Err(error) = &step {
            self.state = State::Failed(error.clone());
        }
        step
    }

    /// Whether all that is required has arrived. Bytes that still follow are to be decoded too:
    /// anything but a line end is an error.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        match self.state {
            State::Closing { .. } => true,
            State::Trailers => self.line.is_empty() && self.trailers_complete().is_ok(),
            State::Header | State::Payload { .. } | State::PayloadEnd | State::Failed(_) => false,
        }
    }

    /// To be called when the body has ended: says whether it was whole.
    pub fn finish(self) -> Result<Trailers, ChunkError> {
        match &self.state {
            State::Failed(error) => return Err(error.clone()),
            State::Header | State::Payload { .. } | State::PayloadEnd => {
                return Err(ChunkError::Incomplete);
            }
            State::Trailers | State::Closing { .. } if !self.line.is_empty() => {
                return Err(ChunkError::Incomplete);
            }
            State::Trailers => self.trailers_complete()?,
            State::Closing { .. } => {}
        }
        Ok(self.trailers)
    }

    fn step(&mut self, input: &[u8]) -> Result<Step, ChunkError> {
        let mut consumed = 0;
        while consumed < input.len() {
            let rest = &input[consumed..];
            match self.state.clone() {
                State::Failed(error) => return Err(error),
                State::Payload { remaining } => {
                    let length = self.take_payload(rest, remaining)?;
                    let payload = consumed..consumed + length;
                    consumed += length;
                    return Ok(Step { consumed, payload });
                }
                State::Header | State::PayloadEnd | State::Trailers | State::Closing { .. } => {
                    consumed += self.take_framing(rest)?;
                }
            }
        }
        let payload = consumed..consumed;
        Ok(Step { consumed, payload })
    }

    fn take_payload(&mut self, rest: &[u8], remaining: u64) -> Result<usize, ChunkError> {
        let length = usize::try_from(remaining).map_or(rest.len(), |most| most.min(rest.len()));
        let remaining = remaining - length as u64;
        if let Signatures::Checked { chunk, .. } = &mut self.signatures {
            let (_, context) = chunk.as_mut().expect("a chunk's header sets its digest up");
            context.update(&rest[..length]);
        }
        if remaining == 0 {
            self.signatures.end_chunk()?;
            self.state = State::PayloadEnd;
        } else {
            self.state = State::Payload { remaining };
        }
        Ok(length)
    }

    /// Buffers up to the end of a line and handles the line when it is there.
    fn take_framing(&mut self, rest: &[u8]) -> Result<usize, ChunkError> {
        let line_end = memchr(b'\n', rest);
        let length = line_end.map_or(rest.len(), |index| index + 1);
        let (longest, too_long) = match self.state {
            State::Trailers => (
                LONGEST_TRAILERS - self.trailer_bytes,
                ChunkError::Trailer("they must be shorter than 8 KiB"),
            ),
            State::PayloadEnd => (2, ChunkError::Malformed("a chunk must end with CRLF")),
            State::Closing { .. } => (2, ChunkError::Malformed("bytes follow behind its end")),
            State::Header | State::Payload { .. } | State::Failed(_) => (
                LONGEST_HEADER,
                ChunkError::Malformed("a chunk's header must be shorter than 1 KiB"),
            ),
        };
        if self.line.len() + length > longest {
            return Err(too_long);
        }
        self.line.extend_from_slice(&rest[..length]);
        if line_end.is_some() {
            let mut line = std::mem::take(&mut self.line);
            self.take_line(&line)?;
            line.clear();
            self.line = line;
        }
        Ok(length)
    }

    fn take_line(&mut self, line: &[u8]) -> Result<(), ChunkError> {
        match self.state.clone() {
            State::Header => self.take_header(line),
            State::PayloadEnd if line == b"\r\n" => {
                self.state = State::Header;
                Ok(())
            }
            State::PayloadEnd => Err(ChunkError::Malformed("a chunk must end with CRLF")),
            State::Trailers => self.take_trailer_line(line),
            State::Closing { line_ends } if line.trim_ascii().is_empty() && line_ends > 0 => {
                self.state = State::Closing {
                    line_ends: line_ends - 1,
                };
                Ok(())
            }
            State::Closing { .. } => Err(ChunkError::Malformed("bytes follow behind its end")),
            State::Payload { .. } => unreachable!("payload has no lines"),
            State::Failed(error) => Err(error),
        }
    }

    /// `size[;chunk-signature=signature]CRLF`.
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
        if size > 0 {
            self.state = State::Payload { remaining: size };
            return Ok(());
        }
        self.signatures.end_chunk()?;
        if self.unannounced_length > 0 {
            return Err(ChunkError::Incomplete);
        }
        self.state = match self.ending {
            Ending::LastChunk => CLOSING,
            Ending::Trailers => State::Trailers,
        };
        Ok(())
    }

    fn take_trailer_line(&mut self, line: &[u8]) -> Result<(), ChunkError> {
        self.trailer_bytes += line.len();
        let line = line.trim_ascii();
        if line.is_empty() {
            // Some clients send an empty line ahead of the trailers or of their signature.
            if self.trailers_complete().is_ok() {
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
        match &mut self.signatures {
            Signatures::Checked { chain, .. } => {
                let signature = Signature::from_hex(value).ok_or(ChunkError::SignatureMismatch)?;
                let digest = digest::digest(&digest::SHA256, &self.signed_trailers);
                let digest = hex::encode(digest.as_ref());
                if !chain.extend("AWS4-HMAC-SHA256-TRAILER", &digest, signature) {
                    return Err(ChunkError::SignatureMismatch);
                }
            }
            Signatures::Ignored => {}
            Signatures::Absent => {
                return Err(ChunkError::Trailer("unsigned chunks have no signature"));
            }
        }
        self.state = CLOSING;
        Ok(())
    }

    /// Whether the body may end here, without `x-amz-trailer-signature`. Where nothing was announced
    /// there is nothing that it would vouch for.
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
        // Only expected ones are kept, each once, so that counting them is enough.
        if self.trailers.0.len() == self.expected_trailers.len() {
            Ok(())
        } else {
            Err(ChunkError::Trailer(
                "x-amz-trailer names one that is absent",
            ))
        }
    }
}

const CLOSING: State = State::Closing {
    line_ends: LAST_LINE_ENDS,
};

impl Signatures {
    fn begin_chunk(&mut self, extension: Option<&[u8]>) -> Result<(), ChunkError> {
        const MISSING: ChunkError =
            ChunkError::Malformed("a signed chunk's header must be size;chunk-signature=signature");
        let claimed = extension.map(|text| text.strip_prefix(b"chunk-signature=").ok_or(MISSING));
        match (self, claimed.transpose()?) {
            (Self::Checked { chunk, .. }, Some(text)) => {
                let signature = Signature::from_hex(text).ok_or(ChunkError::SignatureMismatch)?;
                *chunk = Some((signature, digest::Context::new(&digest::SHA256)));
                Ok(())
            }
            (Self::Checked { .. }, None) => Err(MISSING),
            (Self::Ignored, _) | (Self::Absent, None) => Ok(()),
            (Self::Absent, Some(_)) => Err(ChunkError::Malformed(
                "an unsigned chunk's header must be its size alone",
            )),
        }
    }

    fn end_chunk(&mut self) -> Result<(), ChunkError> {
        match self {
            Self::Checked { chain, chunk } => {
                let (signature, context) =
                    chunk.take().expect("a chunk's header sets its digest up");
                let digest = hex::encode(context.finish().as_ref());
                let digests = format!("{EMPTY_SHA256}\n{digest}");
                if chain.extend("AWS4-HMAC-SHA256-PAYLOAD", &digests, signature) {
                    Ok(())
                } else {
                    Err(ChunkError::SignatureMismatch)
                }
            }
            Self::Ignored | Self::Absent => Ok(()),
        }
    }
}

fn chunk_size(digits: &[u8]) -> Result<u64, ChunkError> {
    const SHAPE: ChunkError =
        ChunkError::Malformed("a chunk's size must be 1 to 16 hexadecimal digits");
    if digits.is_empty() || digits.len() > 16 {
        return Err(SHAPE);
    }
    digits.iter().try_fold(0_u64, |size, &character| {
        let digit = hex::digit(character).ok_or(SHAPE)?;
        Ok(size << 4 | u64::from(digit))
    })
}
