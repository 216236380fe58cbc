//! Sealing: plaintext of an announced length in, the stored form out.

use thiserror::Error;

use super::object_context;
use crate::{
    dek::Dek,
    layout::{
        CHUNK_BYTES, PlaintextLength, STORED_CHUNK_BYTES, StoredLength, message_length,
        stored_length,
    },
    message::{HEAD_BYTES, MessageCipher, MessageHead, Salt, TAG_BYTES},
    multipart::Frame,
};

/// Why sealing stopped: the client sent another length than it announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SealError {
    /// More plaintext arrived than announced.
    #[error("the body is longer than the {announced} bytes that were announced")]
    TooLong {
        /// Announced length in bytes.
        announced: u64,
    },
    /// Less plaintext arrived than announced.
    #[error("the body ended {missing} bytes before the {announced} that were announced")]
    TooShort {
        /// Announced length in bytes.
        announced: u64,
        /// Number of bytes that did not arrive.
        missing: u64,
    },
}

/// Sealer of one message: an object's body (padding included), or one part of a multipart upload.
///
/// Push plaintext; when `push` takes less than it was given, `take` a full buffer; at the end call
/// `finish` and take the rest from the [`SealedTail`].
pub struct ObjectSealer {
    cipher: MessageCipher,
    head: MessageHead,
    length: PlaintextLength,
    stored: StoredLength,
    /// Number of announced plaintext bytes that were not pushed yet.
    missing: u64,
    next_chunk: u64,
    buffer: Vec<u8>,
    /// Number of plaintext bytes at the end of `buffer` whose chunk is not full yet. A chunk is
    /// begun only if the buffer has room for all of it, so these bytes never have to be released.
    unsealed: usize,
}

impl ObjectSealer {
    /// Seals an object of layout 1, or of layout 2 below 5 MiB, under a fresh salt.
    ///
    /// The capacity of `buffer` determines the size of the pieces and must hold a message head and
    /// a stored chunk; the buffer is never reallocated.
    #[must_use]
    pub fn new(dek: &Dek, length: PlaintextLength, buffer: Vec<u8>) -> Self {
        Self::object_with(dek, &Salt::fresh(), length, buffer)
    }

    /// Seals one part of a multipart upload: its message, without padding.
    #[must_use]
    pub fn part(dek: &Dek, frame: Frame, buffer: Vec<u8>) -> Self {
        Self::part_with(dek, &Salt::fresh(), frame, buffer)
    }

    pub(crate) fn object_with(
        dek: &Dek,
        salt: &Salt,
        length: PlaintextLength,
        buffer: Vec<u8>,
    ) -> Self {
        let created = MessageCipher::create(dek, salt, &object_context(length));
        Self::start(created, length, stored_length(length), buffer)
    }

    pub(crate) fn part_with(dek: &Dek, salt: &Salt, frame: Frame, buffer: Vec<u8>) -> Self {
        let length = frame.length();
        let created = MessageCipher::create(dek, salt, &frame.context());
        Self::start(
            created,
            length,
            StoredLength(message_length(length)),
            buffer,
        )
    }

    fn start(
        (cipher, head): (MessageCipher, MessageHead),
        length: PlaintextLength,
        stored: StoredLength,
        buffer: Vec<u8>,
    ) -> Self {
        let mut buffer = emptied(buffer);
        buffer.extend_from_slice(head.as_bytes());
        Self {
            cipher,
            head,
            length,
            stored,
            missing: length.0,
            next_chunk: 0,
            buffer,
            unsealed: 0,
        }
    }

    /// Returns salt and commitment; the envelope of layout 1 repeats them, and a part's mark is
    /// taken from them.
    #[must_use]
    pub fn head(&self) -> &MessageHead {
        &self.head
    }

    /// Returns the total number of bytes that will be released.
    #[must_use]
    pub fn stored_length(&self) -> StoredLength {
        self.stored
    }

    /// Takes as much plaintext as there is room for and returns its length; each chunk is encrypted
    /// in place once it is full. If that is less than all, the buffer is full: `take` it and
    /// continue.
    pub fn push(&mut self, plaintext: &[u8]) -> Result<usize, SealError> {
        if plaintext.len() as u64 > self.missing {
            return Err(SealError::TooLong {
                announced: self.length.0,
            });
        }
        let mut rest = plaintext;
        while !rest.is_empty() && self.has_room() {
            let (now, later) = rest.split_at(rest.len().min(CHUNK_BYTES - self.unsealed));
            self.buffer.extend_from_slice(now);
            self.unsealed += now.len();
            self.missing -= now.len() as u64;
            rest = later;
            if self.unsealed == CHUNK_BYTES {
                self.seal_chunk();
            }
        }
        Ok(plaintext.len() - rest.len())
    }

    /// Releases the buffer if it cannot take another chunk, and continues with the one that `next`
    /// makes.
    pub fn take(&mut self, next: impl FnOnce() -> Vec<u8>) -> Option<Vec<u8>> {
        (!self.has_room()).then(|| self.replace_buffer(next))
    }

    /// Ends the plaintext. The rest (the last chunk, the padding) comes from the returned tail.
    pub fn finish(self) -> Result<SealedTail, SealError> {
        if self.missing > 0 {
            return Err(SealError::TooShort {
                announced: self.length.0,
                missing: self.missing,
            });
        }
        let padding = self.stored.0 - message_length(self.length);
        Ok(SealedTail {
            sealer: self,
            left: Left::LastChunk { padding },
        })
    }

    /// Returns whether plaintext can be taken: a chunk is begun only if all of it fits.
    fn has_room(&self) -> bool {
        let next = usize::try_from(self.missing).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        self.unsealed > 0 || self.buffer.capacity() - self.buffer.len() >= next + TAG_BYTES
    }

    fn seal_chunk(&mut self) {
        let start = self.buffer.len() - self.unsealed;
        let tag = self
            .cipher
            .seal_chunk(self.next_chunk, &mut self.buffer[start..]);
        self.buffer.extend_from_slice(tag.as_ref());
        self.next_chunk += 1;
        self.unsealed = 0;
    }

    fn replace_buffer(&mut self, next: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
        std::mem::replace(&mut self.buffer, emptied(next()))
    }
}

/// The rest of the stored form, once all plaintext has arrived.
pub struct SealedTail {
    sealer: ObjectSealer,
    left: Left,
}

enum Left {
    LastChunk { padding: u64 },
    Padding(u64),
    Nothing,
}

impl SealedTail {
    /// Returns the next piece, never empty; `None` when everything was released. `next` is called
    /// only if more follows.
    pub fn take(&mut self, next: impl FnOnce() -> Vec<u8>) -> Option<Vec<u8>> {
        // The last chunk is sealed even if it is empty: it marks the end of the message.
        if let Left::LastChunk { padding } = self.left
            && self.sealer.has_room()
        {
            self.sealer.seal_chunk();
            self.left = Left::Padding(padding);
        }
        if let Left::Padding(padding) = self.left {
            self.left = self.pad(padding);
        }
        match self.left {
            Left::Nothing => {
                let last = std::mem::take(&mut self.sealer.buffer);
                (!last.is_empty()).then_some(last)
            }
            Left::LastChunk { .. } | Left::Padding(_) => Some(self.sealer.replace_buffer(next)),
        }
    }

    fn pad(&mut self, padding: u64) -> Left {
        let buffer = &mut self.sealer.buffer;
        let room = buffer.capacity() - buffer.len();
        let zeros = usize::try_from(padding).map_or(room, |padding| padding.min(room));
        buffer.resize(buffer.len() + zeros, 0);
        match padding - zeros as u64 {
            0 => Left::Nothing,
            padding => Left::Padding(padding),
        }
    }
}

/// Clears the buffer.
///
/// # Panics
/// If it cannot hold a message head and a stored chunk: sealing would never make progress.
fn emptied(mut buffer: Vec<u8>) -> Vec<u8> {
    buffer.clear();
    assert!(
        buffer.capacity() >= HEAD_BYTES + STORED_CHUNK_BYTES,
        "a sealing buffer holds at least {} bytes",
        HEAD_BYTES + STORED_CHUNK_BYTES
    );
    buffer
}
