//! Reused buffers, and the budget that all bodies share.
//!
//! Invariants: a buffer handed out is empty and has the pool's capacity; it comes back by itself
//! when the last `Bytes` over it is dropped. The budget is a fair queue: whoever asks first is
//! served first, so that many small bodies cannot starve a large one. The queue is bounded in length
//! and time, and while somebody waits in it, slow clients have to give up their shares
//! ([`super::pressure`]).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use s3proxy_envelope::layout::STORED_CHUNK_BYTES;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::pressure::Pressure;
use crate::telemetry::metrics::{self, Counted, Limit};

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

/// How long a request waits for its share of the budget before it is told to slow down.
const BUDGET_WAIT: Duration = Duration::from_secs(10);

/// Requests that wait for their share; more are told to slow down at once. Each holds its connection,
/// and perhaps one to the backend.
const QUEUE: usize = 1024;

/// Bytes are counted in units of this size, so that the count fits the semaphore.
const UNIT_BYTES: usize = 1024;

/// One budget over all bodies in flight.
pub(crate) struct BodyBudget {
    units: Arc<Semaphore>,
    total_units: usize,
    queue: Semaphore,
    pressure: Arc<Pressure>,
}

/// A share of the budget, given back when dropped.
#[must_use]
pub(crate) struct BodyShare {
    _permit: OwnedSemaphorePermit,
    _counted: Counted,
}

/// There is no share.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BudgetExhausted {
    #[error("no memory for another body became free within {} s", BUDGET_WAIT.as_secs())]
    TooLate,
    #[error("{QUEUE} others wait for memory for their bodies already")]
    TooMany,
}

impl BodyBudget {
    /// A budget of `bytes`; at least one streamed body always fits.
    pub(crate) fn new(bytes: usize) -> Self {
        let total_units = bytes.max(STREAM_BYTES).div_ceil(UNIT_BYTES);
        metrics::body_memory_limit(total_units * UNIT_BYTES);
        Self {
            units: Arc::new(Semaphore::new(total_units)),
            total_units,
            queue: Semaphore::new(QUEUE),
            pressure: Arc::default(),
        }
    }

    /// Whether bodies wait for memory.
    pub(crate) fn pressure(&self) -> &Arc<Pressure> {
        &self.pressure
    }

    /// Waits, in turn, for a share of `bytes`.
    pub(crate) async fn share(&self, bytes: usize) -> Result<BodyShare, BudgetExhausted> {
        let wanted = bytes.div_ceil(UNIT_BYTES).clamp(1, self.total_units);
        let units = u32::try_from(wanted).unwrap_or(u32::MAX);
        let permit = match Arc::clone(&self.units).try_acquire_many_owned(units) {
            Ok(permit) => Ok(permit),
            Err(_) => self.wait_for(units).await,
        };
        permit
            .map(|permit| BodyShare {
                _permit: permit,
                _counted: metrics::body_memory(wanted * UNIT_BYTES),
            })
            .inspect_err(|_| metrics::throttled(Limit::Memory))
    }

    async fn wait_for(&self, units: u32) -> Result<OwnedSemaphorePermit, BudgetExhausted> {
        let place = self.queue.try_acquire();
        let _place = place.map_err(|_| BudgetExhausted::TooMany)?;
        let bytes = usize::try_from(units).unwrap_or(usize::MAX) * UNIT_BYTES;
        let _wanted = self.pressure.want(bytes);
        let acquire = Arc::clone(&self.units).acquire_many_owned(units);
        match tokio::time::timeout(BUDGET_WAIT, acquire).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(BudgetExhausted::TooLate),
        }
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

    #[tokio::test(start_paused = true)]
    async fn a_full_budget_refuses_after_its_wait_and_recovers() {
        let budget = BodyBudget::new(STREAM_BYTES);
        let share = budget.share(STREAM_BYTES).await.expect("an empty budget");
        assert!(budget.share(1).await.is_err());
        drop(share);
        assert!(budget.share(1).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn slow_bodies_go_only_while_somebody_waits_for_a_share() {
        let budget = BodyBudget::new(STREAM_BYTES);
        let share = budget.share(STREAM_BYTES).await.expect("an empty budget");
        assert!(!budget.pressure().takes_one());
        let (waiting, ()) = tokio::join!(budget.share(1), async {
            tokio::task::yield_now().await;
            assert!(budget.pressure().takes_one());
            drop(share);
        });
        assert!(waiting.is_ok());
        assert!(!budget.pressure().takes_one());
    }
}
