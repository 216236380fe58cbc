//! Opening: stored bytes in, authenticated plaintext out.
//!
//! One machine serves a whole object, a range of it, and the parts of a multipart body. It is given
//! the messages to expect, in order, and the chunks wanted of each. The first chunk may be trimmed
//! at its start and the last one at its end, after they were authenticated whole.

use std::vec::IntoIter;

use super::object_context;
use crate::{
    dek::Dek,
    layout::{
        PlaintextLength, PlaintextRange, STORED_CHUNK_BYTES, StoredLength, chunk_length, chunk_of,
        message_length, plaintext_length, position_in_chunk,
    },
    message::{HEAD_BYTES, MessageCipher, MessageHead, OpenError, TAG_BYTES},
    multipart::{Frame, Mark},
};

/// Result of one push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Number of stored bytes consumed.
    pub consumed: usize,
    /// Number of plaintext bytes written.
    pub written: usize,
}

/// Opener of a stored body, or of the stored bytes that hold a plaintext range.
pub struct ObjectOpener {
    dek: Dek,
    stage: Stage,
    later: IntoIter<Planned>,
    end: End,
    /// Beginning of a head or chunk that has not arrived completely.
    split: Vec<u8>,
}

enum Stage {
    Head(Planned),
    Chunks(Chunks),
    /// All messages were opened.
    End,
}

/// Bytes that may follow the last message.
pub(crate) enum End {
    /// Padding of exactly this many zeros.
    Padding(u64),
    /// Any bytes, which were not requested.
    Ignored,
}

/// An expected message, from its head or (if the head is given) from a chunk.
pub(crate) struct Planned {
    pub(crate) context: Context,
    pub(crate) expected: Expected,
    pub(crate) length: PlaintextLength,
    pub(crate) wanted: Wanted,
}

#[derive(Clone, Copy)]
pub(crate) enum Context {
    Object,
    Part(Frame),
}

/// Knowledge about a head before it arrives.
#[derive(Clone, Copy)]
pub(crate) enum Expected {
    Exactly(MessageHead),
    Mark(Mark),
    Anything,
}

/// Chunks of a message that will arrive, and the part of their plaintext to release.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) first_chunk: u64,
    last_chunk: u64,
    skip: usize,
    plaintext: u64,
}

impl Wanted {
    /// Selects from a plaintext position to the end of the message.
    pub(crate) fn from(first: u64, length: PlaintextLength) -> Self {
        Self {
            first_chunk: chunk_of(first),
            last_chunk: chunk_of(length.0),
            skip: position_in_chunk(first),
            plaintext: length.0 - first,
        }
    }

    pub(crate) fn range(range: PlaintextRange) -> Self {
        Self {
            first_chunk: chunk_of(range.first),
            last_chunk: chunk_of(range.last),
            skip: position_in_chunk(range.first),
            plaintext: range.last - range.first + 1,
        }
    }
}

impl ObjectOpener {
    /// Opens a whole object of layout 1. The commitment is checked here, before any byte of the
    /// body.
    pub fn whole(dek: &Dek, head: &MessageHead, stored: StoredLength) -> Result<Self, OpenError> {
        let length = plaintext_length(stored).ok_or(OpenError::Length(stored.0))?;
        // Only to fail early: the chunks' cipher is derived again from the head in the body.
        MessageCipher::open(dek, head, &object_context(length))?;
        Ok(Self::whole_object(
            dek,
            Expected::Exactly(*head),
            length,
            stored,
        ))
    }

    /// Opens a whole object of layout 2 below 5 MiB, whose envelope has no head. The commitment is
    /// checked once the first 56 bytes were pushed, before any plaintext is released.
    pub fn whole_headless(dek: &Dek, stored: StoredLength) -> Result<Self, OpenError> {
        let length = plaintext_length(stored).ok_or(OpenError::Length(stored.0))?;
        Ok(Self::whole_object(dek, Expected::Anything, length, stored))
    }

    /// Opens the stored bytes of a [`ChunkSpan`](crate::layout::ChunkSpan) of an object that is one
    /// message. The commitment is checked here. Bytes after the span are ignored.
    pub fn range(
        dek: &Dek,
        head: &MessageHead,
        stored: StoredLength,
        range: PlaintextRange,
    ) -> Result<Self, OpenError> {
        let length = plaintext_length(stored).ok_or(OpenError::Length(stored.0))?;
        if range.first > range.last || range.last >= length.0 {
            return Err(OpenError::RangeBeyondEnd(length.0));
        }
        let cipher = MessageCipher::open(dek, head, &object_context(length))?;
        let chunks = Chunks::new(cipher, length, Wanted::range(range));
        Ok(Self::new(
            dek,
            Stage::Chunks(chunks),
            Vec::new(),
            End::Ignored,
        ))
    }

    /// Opens one part that is stored alone: a staged part, whose stored length gives its frame.
    #[must_use]
    pub fn part(dek: &Dek, frame: Frame, mark: Mark) -> Self {
        let length = frame.length();
        let planned = Planned {
            context: Context::Part(frame),
            expected: Expected::Mark(mark),
            length,
            wanted: Wanted::from(0, length),
        };
        Self::new(dek, Stage::Head(planned), Vec::new(), End::Padding(0))
    }

    /// Opens messages that follow each other; the head of the first may have been read already.
    pub(crate) fn sequence(
        dek: &Dek,
        first_head: Option<&MessageHead>,
        planned: Vec<Planned>,
    ) -> Result<Self, OpenError> {
        let mut later = planned.into_iter();
        let stage = match (later.next(), first_head) {
            (None, _) => Stage::End,
            (Some(planned), None) => Stage::Head(planned),
            (Some(planned), Some(head)) => Stage::Chunks(planned.start(dek, head)?),
        };
        Ok(Self {
            later,
            ..Self::new(dek, stage, Vec::new(), End::Ignored)
        })
    }

    fn whole_object(
        dek: &Dek,
        expected: Expected,
        length: PlaintextLength,
        stored: StoredLength,
    ) -> Self {
        let planned = Planned {
            context: Context::Object,
            expected,
            length,
            wanted: Wanted::from(0, length),
        };
        // Never negative: this length was found as the inverse of `stored_length`.
        let padding = stored.0 - message_length(length);
        Self::new(dek, Stage::Head(planned), Vec::new(), End::Padding(padding))
    }

    fn new(dek: &Dek, stage: Stage, later: Vec<Planned>, end: End) -> Self {
        Self {
            dek: dek.duplicate(),
            stage,
            later: later.into_iter(),
            end,
            split: Vec::new(),
        }
    }

    /// Appends authenticated plaintext to `out` while its spare capacity holds the next chunk's
    /// plaintext (16384 bytes always do), and returns the number of stored bytes consumed. `out` is
    /// never reallocated, and keeps its previous contents after an error.
    pub fn push(&mut self, stored: &[u8], out: &mut Vec<u8>) -> Result<usize, OpenError> {
        let start = out.len();
        // No more can come out than went in, so no more has to be initialised.
        let bound = (self.split.len() + stored.len()).min(out.capacity() - start);
        out.resize(start + bound, 0);
        match self.push_into(stored, &mut out[start..]) {
            Ok(progress) => {
                out.truncate(start + progress.written);
                Ok(progress.consumed)
            }
            Err(error) => {
                out.truncate(start);
                Err(error)
            }
        }
    }

    /// Works as [`ObjectOpener::push`] on a buffer that is already initialised, from its start.
    /// Bytes after `written` are scratch and must not be used.
    pub fn push_into(&mut self, stored: &[u8], out: &mut [u8]) -> Result<Progress, OpenError> {
        let mut rest = stored;
        let mut written = 0;
        loop {
            match &mut self.stage {
                Stage::Head(planned) => {
                    let Some(head) = whole_unit(&mut self.split, &mut rest, HEAD_BYTES) else {
                        break;
                    };
                    let head = MessageHead::from_slice(head).expect("a unit of 56 bytes");
                    self.stage = Stage::Chunks(planned.start(&self.dek, &head)?);
                    self.split.clear();
                }
                Stage::Chunks(chunks) => {
                    let bytes = chunks.next_length();
                    let came = self.split.len() + rest.len();
                    // Stop only if the chunk is complete and does not fit; an incomplete one is
                    // buffered in `split`.
                    if out.len() - written < bytes && came >= bytes + TAG_BYTES {
                        break;
                    }
                    let unit = whole_unit(&mut self.split, &mut rest, bytes + TAG_BYTES);
                    let Some(sealed) = unit else {
                        break;
                    };
                    let room = &mut out[written..written + bytes];
                    written += chunks.open(sealed, room)?;
                    self.split.clear();
                    if chunks.are_done() {
                        self.stage = self.later.next().map_or(Stage::End, Stage::Head);
                    }
                }
                Stage::End => {
                    self.end.take(rest)?;
                    rest = &[];
                    break;
                }
            }
        }
        Ok(Progress {
            consumed: stored.len() - rest.len(),
            written,
        })
    }

    /// Returns whether every plaintext byte was released and, for a whole object, the padding was
    /// seen.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        match (&self.stage, &self.end) {
            (Stage::Head(_) | Stage::Chunks(_), _) => false,
            (Stage::End, End::Padding(left)) => *left == 0,
            (Stage::End, End::Ignored) => true,
        }
    }

    /// Ends the body; an error if it was cut short.
    pub fn finish(self) -> Result<(), OpenError> {
        if self.is_complete() {
            Ok(())
        } else {
            Err(OpenError::Truncated)
        }
    }
}

impl Planned {
    /// Checks the head that arrived and derives the chunks' cipher.
    fn start(&self, dek: &Dek, head: &MessageHead) -> Result<Chunks, OpenError> {
        let cipher = match self.context {
            Context::Object => MessageCipher::open(dek, head, &object_context(self.length)),
            Context::Part(frame) => MessageCipher::open(dek, head, &frame.context()),
        };
        // The head is compared before `cipher?`, for the more specific error.
        match (self.expected, self.context) {
            (Expected::Exactly(expected), _) if expected != *head => return Err(OpenError::Head),
            (Expected::Mark(mark), Context::Part(frame)) if !mark.fits(head) => {
                return Err(OpenError::Mark(frame.number().get()));
            }
            (Expected::Exactly(_) | Expected::Mark(_) | Expected::Anything, _) => {}
        }
        Ok(Chunks::new(cipher?, self.length, self.wanted))
    }
}

impl End {
    fn take(&mut self, stored: &[u8]) -> Result<(), OpenError> {
        match self {
            Self::Ignored => Ok(()),
            Self::Padding(left) => {
                *left = left
                    .checked_sub(stored.len() as u64)
                    .ok_or(OpenError::Trailing)?;
                if stored.iter().all(|octet| *octet == 0) {
                    Ok(())
                } else {
                    Err(OpenError::Padding)
                }
            }
        }
    }
}

/// Chunks of the message that is arriving.
struct Chunks {
    cipher: MessageCipher,
    length: PlaintextLength,
    next: u64,
    wanted: Wanted,
}

impl Chunks {
    fn new(cipher: MessageCipher, length: PlaintextLength, wanted: Wanted) -> Self {
        Self {
            cipher,
            length,
            next: wanted.first_chunk,
            wanted,
        }
    }

    fn next_length(&self) -> usize {
        chunk_length(self.length, self.next)
    }

    fn are_done(&self) -> bool {
        self.next > self.wanted.last_chunk
    }

    /// Opens the next chunk into `out`, which is as long as its plaintext, moves the wanted bytes
    /// to the front and returns their number.
    fn open(&mut self, sealed: &[u8], out: &mut [u8]) -> Result<usize, OpenError> {
        self.cipher.open_chunk(self.next, sealed, out)?;
        // Only the first chunk is trimmed at its start.
        let skip = std::mem::take(&mut self.wanted.skip);
        let available = out.len() - skip;
        let taken = usize::try_from(self.wanted.plaintext)
            .map_or(available, |wanted| wanted.min(available));
        if skip > 0 {
            out.copy_within(skip..skip + taken, 0);
        }
        self.next += 1;
        self.wanted.plaintext -= taken as u64;
        Ok(taken)
    }
}

/// Returns the next `length` bytes: a slice of `stored` if they arrived in one piece, else
/// assembled in `split`.
fn whole_unit<'unit, 'stored: 'unit>(
    split: &'unit mut Vec<u8>,
    stored: &mut &'stored [u8],
    length: usize,
) -> Option<&'unit [u8]> {
    if split.is_empty()
        && let Some((unit, rest)) = stored.split_at_checked(length)
    {
        *stored = rest;
        return Some(unit);
    }
    // Room for the largest unit, once: the buffer never grows afterwards.
    split.reserve_exact(STORED_CHUNK_BYTES - split.len());
    let (now, later) = stored.split_at(stored.len().min(length - split.len()));
    split.extend_from_slice(now);
    *stored = later;
    (split.len() == length).then_some(&split[..])
}
