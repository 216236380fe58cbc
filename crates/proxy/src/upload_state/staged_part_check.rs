//! Authentication of a staged part while it is copied into the tail.
//!
//! The stored bytes are copied unchanged, so the backend's bytes have to be opened on the way: a
//! byte altered since the part was stored would make an object that never opens. The check fails
//! the stream that carries the bytes before its end, and the backend cannot take it for complete.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use s3proxy_envelope::dek::Dek;
use s3proxy_envelope::layout::message_length;
use s3proxy_envelope::message::OpenError;
use s3proxy_envelope::multipart::{Frame, Mark};
use s3proxy_envelope::object::ObjectOpener;
use zeroize::Zeroizing;

use crate::stored_fault::StoredFault;

/// Size of the plaintext buffer: four chunks.
const OPENED_BYTES: usize = 64 * 1024;

/// Check of one staged part, shared by the pieces that it is cut into. Clones share the state.
#[derive(Clone)]
pub(crate) struct StagedCheck(Arc<Mutex<CheckState>>);

struct CheckState {
    opener: ObjectOpener,
    /// Plaintext buffer. Its content is discarded.
    opened: Zeroizing<Vec<u8>>,
    /// Stored bytes that have not been checked yet.
    left: u64,
    fault: Option<StoredFault>,
}

/// Error of the stream: the stored bytes are not those of the part.
#[derive(Debug, thiserror::Error)]
#[error("a staged part is not authentic")]
pub(crate) struct NotAuthentic;

impl StagedCheck {
    /// Makes the check for a part with this frame and mark; an unknown mark is not compared.
    pub(crate) fn new(dek: &Dek, frame: Frame, mark: Mark) -> Self {
        Self(Arc::new(Mutex::new(CheckState {
            opener: ObjectOpener::part(dek, frame, mark),
            opened: Zeroizing::new(vec![0; OPENED_BYTES]),
            left: message_length(frame.length()),
            fault: None,
        })))
    }

    /// Checks the next stored bytes. Success for the last of them means that the part is authentic.
    pub(crate) fn take(&self, stored: &[u8]) -> Result<(), NotAuthentic> {
        let mut state = self.state();
        let taken = state.take(stored);
        taken.map_err(|error| {
            state.fault = Some(StoredFault::from(error).within("a staged part"));
            NotAuthentic
        })
    }

    /// Reason why the part is not authentic. Returned once.
    pub(crate) fn fault(&self) -> Option<StoredFault> {
        self.state().fault.take()
    }

    fn state(&self) -> MutexGuard<'_, CheckState> {
        // Poison is ignored: after a panic the stream is gone, and so is the upload of the tail.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CheckState {
    fn take(&mut self, stored: &[u8]) -> Result<(), OpenError> {
        let mut rest = stored;
        loop {
            let progress = self.opener.push_into(rest, &mut self.opened)?;
            rest = &rest[progress.consumed..];
            // Without progress the opener needs more input than is left.
            if rest.is_empty() || (progress.consumed, progress.written) == (0, 0) {
                break;
            }
        }
        self.left = self.left.saturating_sub(stored.len() as u64);
        // All bytes of the part have arrived, so the opener must be done.
        if self.left == 0 && !self.opener.is_complete() {
            return Err(OpenError::Truncated);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use s3proxy_envelope::layout::{PlaintextLength, StoredLength};
    use s3proxy_envelope::message::MessageHead;
    use s3proxy_envelope::multipart::PartNumber;
    use s3proxy_envelope::object::ObjectSealer;

    use super::*;
    use crate::objects::write::seal_whole;

    const LENGTH: usize = 100_000;

    fn frame() -> Frame {
        let number = PartNumber::new(7).unwrap();
        Frame::new(number, PlaintextLength(LENGTH as u64)).unwrap()
    }

    fn part(dek: &Dek) -> (MessageHead, Vec<u8>) {
        let start = |buffer| ObjectSealer::part(dek, frame(), buffer);
        let stored = StoredLength(message_length(frame().length()));
        let (head, bytes) = seal_whole(start, stored, &vec![5; LENGTH]);
        (head, bytes.to_vec())
    }

    fn passes(dek: &Dek, mark: Mark, stored: &[u8], cut: usize) -> bool {
        let check = StagedCheck::new(dek, frame(), mark);
        let mut pieces = stored.chunks(cut);
        let passes = pieces.all(|piece| check.take(piece).is_ok());
        assert_eq!(check.fault().is_none(), passes);
        passes
    }

    #[test]
    fn a_part_passes_however_it_is_cut_and_no_altered_byte_does() {
        let dek = Dek::generate();
        let (head, stored) = part(&dek);
        for cut in [1000, 16_400, 70_000, usize::MAX] {
            assert!(passes(&dek, Mark::of(&head), &stored, cut), "{cut}");
            assert!(passes(&dek, Mark::UNKNOWN, &stored, cut), "{cut}");
        }
        let (other, _) = part(&dek);
        assert!(!passes(&dek, Mark::of(&other), &stored, 16_400));
        for position in [0, 30, 56, 50_000, stored.len() - 1] {
            let mut forged = stored.clone();
            forged[position] ^= 1;
            assert!(!passes(&dek, Mark::UNKNOWN, &forged, 16_400), "{position}");
        }
    }
}
