//! Reused buffers. Their memory is counted in [`super::budget`].
//!
//! Invariants: a buffer handed out is empty and has the pool's capacity; it comes back by itself
//! when the last `Bytes` over it is dropped.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use s3proxy_envelope::layout::STORED_CHUNK_BYTES;

/// Stored chunks in one piece: a piece is what goes into one write to a socket.
const CHUNKS_PER_PIECE: usize = 4;

/// Room for the head of a message before the first chunk.
const HEAD_ROOM_BYTES: usize = 64;

/// Capacity of every pooled buffer, in bytes.
pub(crate) const PIECE_BYTES: usize = CHUNKS_PER_PIECE * STORED_CHUNK_BYTES + HEAD_ROOM_BYTES;

/// What one streamed body may hold at once, in bytes: a piece being filled, pieces on their way
/// out and what the connection has read ahead.
pub(crate) const STREAM_BYTES: usize = 256 * 1024;

/// Buffers kept for reuse; beyond that they are freed.
const IDLE_BUFFERS: usize = 64;

/// Empty buffers of [`PIECE_BYTES`] capacity.
#[derive(Default)]
pub(crate) struct BufferPool {
    idle: Mutex<Vec<Vec<u8>>>,
}

impl BufferPool {
    /// An empty buffer with [`PIECE_BYTES`] capacity.
    pub(crate) fn take(&self) -> Vec<u8> {
        let mut buffer = self.any();
        buffer.clear();
        buffer
    }

    /// A buffer of [`PIECE_BYTES`] to be written over. What was written to it before is still
    /// there, so that nothing has to be zeroed that is about to be overwritten.
    pub(crate) fn take_full(&self) -> Vec<u8> {
        let mut buffer = self.any();
        buffer.resize(PIECE_BYTES, 0);
        buffer
    }

    fn any(&self) -> Vec<u8> {
        let reused = self.lock().pop();
        reused.unwrap_or_else(|| Vec::with_capacity(PIECE_BYTES))
    }

    /// Makes `buffer` readable by many; it returns to the pool when all have let go of it.
    pub(crate) fn freeze(self: &Arc<Self>, buffer: Vec<u8>) -> Bytes {
        Bytes::from_owner(Pooled {
            buffer,
            pool: Arc::clone(self),
        })
    }

    fn give_back(&self, buffer: Vec<u8>) {
        let mut idle = self.lock();
        if idle.len() < IDLE_BUFFERS && buffer.capacity() >= PIECE_BYTES {
            idle.push(buffer);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        // A panic elsewhere cannot leave the list in a bad state: pushes and pops are whole.
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
