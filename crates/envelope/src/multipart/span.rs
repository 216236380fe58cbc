//! Random access to a multipart body: the stored bytes that hold a plaintext range, and their
//! opening.
//!
//! A span starts at a chunk, or at a part's head if it starts in the first chunk of the part; the
//! heads of later parts are within the span. So at most one head has to be read beforehand.

use super::{
    part::PartNumber,
    seal::{PlacedPart, Seal},
};
use crate::{
    dek::Dek,
    layout::{ChunkSpan, PlaintextRange},
    message::{MessageHead, OpenError},
    object::{Context, Expected, ObjectOpener, Planned, Wanted},
};

/// Stored bytes that hold a plaintext range of a multipart body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MultipartSpan {
    range: PlaintextRange,
    first: u64,
    last: u64,
    first_part: usize,
    last_part: usize,
    head: Option<u64>,
}

impl MultipartSpan {
    /// Returns the position of the first stored byte.
    #[must_use]
    pub fn stored_first(&self) -> u64 {
        self.first
    }

    /// Returns the position of the last stored byte, inclusive.
    #[must_use]
    pub fn stored_last(&self) -> u64 {
        self.last
    }

    /// Returns the position of the 56 bytes of head that opening this span needs beforehand; `None`
    /// if the span contains every head.
    #[must_use]
    pub fn head_position(&self) -> Option<u64> {
        self.head
    }
}

impl Seal {
    /// Returns the stored bytes that hold `range`; `None` if it ends beyond the plaintext.
    #[must_use]
    pub fn span(&self, range: PlaintextRange) -> Option<MultipartSpan> {
        if range.first > range.last || range.last >= self.length().0 {
            return None;
        }
        let (first_part, last_part) = (self.part_at(range.first), self.part_at(range.last));
        let (start, end) = (&self.parts[first_part], &self.parts[last_part]);
        // To the end of the first part, even if the range ends before: only the start is used.
        let in_start = chunks_of(start, range.first, start.plaintext_end() - 1);
        let in_end = chunks_of(end, range.last, range.last);
        let starts_in_first_chunk =
            Wanted::from(range.first - start.plaintext_first, start.frame.length()).first_chunk
                == 0;
        let head = (!starts_in_first_chunk).then_some(start.stored_first);
        Some(MultipartSpan {
            range,
            first: match head {
                Some(_) => start.stored_first + in_start.stored_first(),
                None => start.stored_first,
            },
            last: end.stored_first + in_end.stored_last(),
            first_part,
            last_part,
            head,
        })
    }

    /// Returns the plaintext range of a part; `None` if the part does not exist or is empty.
    #[must_use]
    pub fn part_range(&self, number: PartNumber) -> Option<PlaintextRange> {
        let found = self
            .parts
            .binary_search_by_key(&number, |part| part.frame.number())
            .ok()?;
        let part = &self.parts[found];
        PlaintextRange::new(part.plaintext_first, part.plaintext_end().checked_sub(1)?)
    }

    /// Opens the whole body: the stored bytes from its start. Bytes after the last part are
    /// ignored, since they held the seal, which was read already.
    pub fn open_whole(&self, dek: &Dek) -> Result<ObjectOpener, OpenError> {
        let all = self
            .parts
            .iter()
            .map(|part| planned(part, Wanted::from(0, part.frame.length())));
        ObjectOpener::sequence(dek, None, all.collect())
    }

    /// Opens a span of this seal. `head` is the head at [`MultipartSpan::head_position`]; its
    /// commitment is checked here.
    pub fn open_span(
        &self,
        dek: &Dek,
        span: &MultipartSpan,
        head: Option<&MessageHead>,
    ) -> Result<ObjectOpener, OpenError> {
        let head = match (span.head, head) {
            (None, _) => None,
            (Some(_), Some(head)) => Some(head),
            (Some(_), None) => return Err(OpenError::Head),
        };
        let parts = self
            // The span may come from another seal, so its part numbers and its end are checked
            // again.
            .parts
            .get(span.first_part..=span.last_part)
            .filter(|_| span.range.last < self.length().0)
            .ok_or(OpenError::RangeBeyondEnd(self.length().0))?;
        let all = parts.iter().map(|part| {
            // Zero for every part but the first.
            let first = span.range.first.saturating_sub(part.plaintext_first);
            if span.range.last >= part.plaintext_end() {
                return planned(part, Wanted::from(first, part.frame.length()));
            }
            let last = span.range.last - part.plaintext_first;
            planned(part, Wanted::range(PlaintextRange { first, last }))
        });
        ObjectOpener::sequence(dek, head, all.collect())
    }

    /// Returns the index of the part that holds a plaintext position below the length. Empty parts
    /// hold none.
    fn part_at(&self, position: u64) -> usize {
        self.parts
            .partition_point(|part| part.plaintext_end() <= position)
    }
}

fn planned(part: &PlacedPart, wanted: Wanted) -> Planned {
    Planned {
        context: Context::Part(part.frame),
        expected: Expected::Mark(part.mark),
        length: part.frame.length(),
        wanted,
    }
}

/// Returns the span, inside the part's message, of two positions inside the object.
fn chunks_of(part: &PlacedPart, first: u64, last: u64) -> ChunkSpan {
    let range = PlaintextRange {
        first: first - part.plaintext_first,
        last: last - part.plaintext_first,
    };
    ChunkSpan::of(range, part.frame.length())
}
