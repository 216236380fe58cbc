//! The bytes of every benchmark object, and the body that sends them.
//!
//! Contents come from one random-looking pattern that repeats, so an object of any size costs the
//! generator neither memory nor time: its body is a list of slices of the pattern. The period is a
//! prime, so it never aligns with a chunk, a page or a power of two: if a proxy drops, repeats or
//! swaps any of those, the bytes differ.
//!
//! Absent on purpose: randomness. Two runs move the same bytes.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The smallest prime above 1 MiB.
const PERIOD: usize = 1_048_583;

/// Bytes of a body handed to hyper at a time; about as much as SDKs read from a file at once.
pub(crate) const PIECE: usize = 128 * 1024;

/// The repeating content of all objects, from its first byte on.
#[derive(Clone)]
pub(crate) struct Pattern(Bytes);

impl Pattern {
    pub(crate) fn new() -> Self {
        // SplitMix64: hard to compress, the same in every run, and no dependency.
        let mut state: u64 = 0x0073_3370_726f_7879;
        let mut bytes = Vec::with_capacity(PERIOD + 8);
        while bytes.len() < PERIOD {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = state;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
        }
        bytes.truncate(PERIOD);
        Self(bytes.into())
    }

    /// The `length` bytes of content at `offset`, as slices of the pattern.
    pub(crate) fn slices(&self, offset: u64, length: u64) -> impl Iterator<Item = Bytes> {
        let mut position = Self::position(offset);
        let mut left = length;
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            // A slice ends with the pattern; the next one wraps around to its start.
            let room = PERIOD - position;
            let take = usize::try_from(left).map_or(room, |left| left.min(room));
            let slice = self.0.slice(position..position + take);
            position = (position + take) % PERIOD;
            left -= take as u64;
            Some(slice)
        })
    }

    /// Whether `bytes` equal an object's content at `offset`.
    pub(crate) fn matches(&self, offset: u64, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        self.slices(offset, bytes.len() as u64).all(|expected| {
            let (head, tail) = rest.split_at(expected.len());
            rest = tail;
            head == expected
        })
    }

    fn position(offset: u64) -> usize {
        usize::try_from(offset % PERIOD as u64).expect("a remainder of a usize fits one")
    }
}

/// A body of prepared slices. A clone is cheap and starts from the beginning.
pub(crate) struct Segments {
    slices: Arc<[Bytes]>,
    next: usize,
    left: u64,
    length: u64,
}

impl Segments {
    pub(crate) fn new(slices: impl IntoIterator<Item = Bytes>) -> Self {
        let slices: Arc<[Bytes]> = slices
            .into_iter()
            .flat_map(pieces)
            .filter(|slice| !slice.is_empty())
            .collect();
        let length = slices.iter().map(|slice| slice.len() as u64).sum();
        Self {
            slices,
            next: 0,
            left: length,
            length,
        }
    }

    pub(crate) fn empty() -> Self {
        Self::new([])
    }

    /// Bytes on the wire, including framing.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }
}

fn pieces(slice: Bytes) -> impl Iterator<Item = Bytes> {
    (0..slice.len())
        .step_by(PIECE)
        .map(move |start| slice.slice(start..slice.len().min(start + PIECE)))
}

impl Clone for Segments {
    fn clone(&self) -> Self {
        Self {
            slices: Arc::clone(&self.slices),
            next: 0,
            left: self.length,
            length: self.length,
        }
    }
}

impl Body for Segments {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(slice) = self.slices.get(self.next).cloned() else {
            return Poll::Ready(None);
        };
        self.next += 1;
        self.left -= slice.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pattern: &Pattern, offset: u64, length: u64) -> Vec<u8> {
        pattern.slices(offset, length).flatten().collect()
    }

    #[test]
    fn content_at_an_offset_is_the_same_however_it_is_cut() {
        let pattern = Pattern::new();
        let whole = read(&pattern, 0, 3 * PERIOD as u64);
        for (offset, length) in [(0, 1), (PERIOD - 1, 2), (PERIOD, 100), (70_000, PERIOD)] {
            let expected = &whole[offset..offset + length];
            assert_eq!(read(&pattern, offset as u64, length as u64), expected);
            assert!(pattern.matches(offset as u64, expected));
        }
    }

    #[test]
    fn a_changed_moved_or_swapped_byte_does_not_match() {
        let pattern = Pattern::new();
        let mut bytes = read(&pattern, 5, PERIOD as u64 + 10);
        assert!(!pattern.matches(6, &bytes));
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert!(!pattern.matches(5, &bytes));
    }

    #[test]
    fn a_cloned_body_starts_over_at_its_full_length() {
        let pattern = Pattern::new();
        let mut body = Segments::new(pattern.slices(0, 300_000));
        let frames = poll_all(&mut body);
        assert_eq!(frames, read(&pattern, 0, 300_000));
        assert!(body.is_end_stream());
        let mut again = body.clone();
        assert_eq!(again.size_hint().exact(), Some(300_000));
        assert_eq!(poll_all(&mut again), frames);
    }

    fn poll_all(body: &mut Segments) -> Vec<u8> {
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut all = Vec::new();
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut *body).poll_frame(&mut context) {
            let data = frame.into_data().expect("only data frames are sent");
            assert!(data.len() <= PIECE);
            all.extend_from_slice(&data);
        }
        all
    }
}
