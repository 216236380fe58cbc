//! Pool of reused buffers. Their memory is counted in [`super::budget`].
//!
//! Invariants: a buffer handed out has the pool's capacity; it returns to the pool when the last
//! `Bytes` over it is dropped.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use s3proxy_envelope::layout::STORED_CHUNK_BYTES;

/// Number of stored chunks per piece; a piece is one write to a socket.
const CHUNKS_PER_PIECE: usize = 4;

/// Room for the head of a message before the first chunk, in bytes.
const HEAD_ROOM_BYTES: usize = 64;

/// Capacity of every pooled buffer, in bytes.
pub(crate) const PIECE_BYTES: usize = CHUNKS_PER_PIECE * STORED_CHUNK_BYTES + HEAD_ROOM_BYTES;

/// Most memory that one streamed body may hold at once, in bytes: a piece being filled, pieces on
/// their way out, and the connection's read-ahead.
pub(crate) const STREAM_BYTES: usize = 256 * 1024;

/// Returns the memory for sealing a body that is held whole, in bytes: the plaintext and the stored
/// form exist at the same time.
pub(crate) const fn sealing_bytes(length: usize) -> usize {
    2 * length + PIECE_BYTES
}

/// Number of idle buffers that are kept; further ones are freed.
const IDLE_BUFFERS: usize = 64;

/// Pool of buffers with [`PIECE_BYTES`] capacity.
#[derive(Default)]
pub(crate) struct BufferPool {
    idle: Mutex<Vec<Vec<u8>>>,
}

impl BufferPool {
    /// Returns an empty buffer with [`PIECE_BYTES`] capacity.
    pub(crate) fn take(&self) -> Vec<u8> {
        let mut buffer = self.any();
        buffer.clear();
        buffer
    }

    /// Returns a buffer of length [`PIECE_BYTES`] to be overwritten. It may contain old data, so
    /// that bytes that are about to be overwritten need not be zeroed.
    pub(crate) fn take_full(&self) -> Vec<u8> {
        let mut buffer = self.any();
        buffer.resize(PIECE_BYTES, 0);
        buffer
    }

    fn any(&self) -> Vec<u8> {
        let reused = self.lock().pop();
        reused.unwrap_or_else(|| Vec::with_capacity(PIECE_BYTES))
    }

    /// Converts `buffer` to shared bytes; it returns to the pool when the last of them is dropped.
    pub(crate) fn freeze(self: &Arc<Self>, buffer: Vec<u8>) -> Bytes {
        Bytes::from_owner(Pooled {
            buffer,
            pool: Arc::clone(self),
        })
    }

    fn give_back(&self, buffer: Vec<u8>) {
        let mut idle = self.lock();
        // A buffer that lost capacity is dropped, so that every pooled one has all of it.
        if idle.len() < IDLE_BUFFERS && buffer.capacity() >= PIECE_BYTES {
            idle.push(buffer);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        // A poisoned lock is usable: pushes and pops are atomic.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Pooled {
    buffer: Vec<u8>,
    pool: Arc<BufferPool>,
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_returns_to_the_pool_when_its_last_reader_drops_it() {
        let pool = Arc::new(BufferPool::default());
        let mut buffer = pool.take();
        buffer.extend_from_slice(b"sealed");
        let address = buffer.as_ptr();
        let bytes = pool.freeze(buffer);
        let other = bytes.slice(1..3);
        drop(bytes);
        let meanwhile = pool.take();
        assert_ne!(meanwhile.as_ptr(), address, "still read by another");
        drop(other);
        let again = pool.take();
        assert_eq!(again.as_ptr(), address);
        assert!(again.is_empty());
    }
}
