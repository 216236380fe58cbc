//! Memory gate for objects that are read and written concurrently.
//!
//! Reading takes a share of the body budget, and writing another. Many concurrent objects could
//! each hold the first and wait for the second until all time out. So an object begins only when
//! there is memory for both.

use std::sync::Arc;

use s3proxy_envelope::legacy::VerifiedBody;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::body::buffers::{PIECE_BYTES, STREAM_BYTES};
use crate::objects;
use crate::objects::read::Found;
use crate::objects::stored::Form;

const UNIT_BYTES: usize = 1024;

/// Memory for the seal of a multipart object, read and opened, in bytes.
const SEAL_BYTES: usize = 4 * 1024 * 1024;

/// Gate with as much memory as the body budget.
pub(super) struct MemoryGate {
    units: Arc<Semaphore>,
    total: usize,
}

impl MemoryGate {
    pub(super) fn new(body_memory_bytes: usize) -> Self {
        let total = body_memory_bytes.div_ceil(UNIT_BYTES).max(1);
        Self {
            units: Arc::new(Semaphore::new(total)),
            total,
        }
    }

    /// Waits for the memory of one object, in order of arrival and without a time limit.
    pub(super) async fn enter(
        &self,
        parts: &objects::Store,
        found: &Found,
    ) -> OwnedSemaphorePermit {
        let units = needed_bytes(parts.held_body_bytes, found).div_ceil(UNIT_BYTES);
        // An object that needs more than everything gets everything.
        let units = u32::try_from(units.clamp(1, self.total)).unwrap_or(u32::MAX);
        let entered = Arc::clone(&self.units).acquire_many_owned(units).await;
        entered.expect("the semaphore is never closed")
    }
}

fn needed_bytes(held_body_bytes: u64, found: &Found) -> usize {
    let reading = match &found.form {
        Form::Plain => 0,
        Form::Sealed(_) => STREAM_BYTES + SEAL_BYTES,
        Form::Legacy(_) => {
            let length = found.length;
            let blocks = VerifiedBody::memory_of(length) + 2 * VerifiedBody::block_bytes_of(length);
            STREAM_BYTES + blocks
        }
    };
    if found.length.0 <= held_body_bytes {
        let length = usize::try_from(found.stored.0).unwrap_or(usize::MAX / 8);
        return reading.min(length) + 2 * length + PIECE_BYTES;
    }
    reading + STREAM_BYTES
}
