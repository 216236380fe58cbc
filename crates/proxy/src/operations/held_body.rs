//! Bodies that are held whole in memory.
//!
//! Memory is reserved as the body arrives, not because its length was announced: none before the
//! first byte, a little for the first bytes, and the full amount once enough has arrived to trust
//! the sender. Nothing is reserved in between: otherwise bodies could wait for each other, each
//! with half of its memory.

use s3proxy_protocol::payload::VerifiedPayload;

use crate::body::budget::{BodyShare, BodyStage};
use crate::body::buffers::PIECE_BYTES;
use crate::body::inbound::{Inbound, Inflow};
use crate::failure::{Failure, Outcome};
use crate::operations::Job;

/// Lengths in bytes up to which a body is covered by its first shares.
const BEGINNINGS: [usize; 2] = [4 * 1024, 64 * 1024];

/// Memory that a body needs while it is held and processed.
#[derive(Clone, Copy)]
pub(crate) struct HeldMemory {
    /// Bytes per byte of the body.
    pub(crate) per_byte: usize,
    /// Additional bytes, independent of the body's length.
    pub(crate) besides: usize,
}

impl HeldMemory {
    /// Memory for the body alone.
    pub(crate) const ONCE: Self = Self {
        per_byte: 1,
        besides: 0,
    };

    /// Memory for the plaintext and the stored form, which exist at the same time while sealing.
    pub(crate) const SEALED: Self = Self {
        per_byte: 2,
        besides: PIECE_BYTES,
    };

    fn of(self, length: usize) -> usize {
        self.per_byte * length + self.besides
    }
}

/// A verified body in memory.
pub(crate) struct HeldBody {
    pub(crate) bytes: Vec<u8>,
    pub(crate) verified: VerifiedPayload,
    pub(crate) share: HeldShare,
}

/// Memory of a held body, released when dropped.
#[must_use]
pub(crate) struct HeldShare(Vec<BodyShare>);

/// Reads a whole body of at most `longest` bytes.
pub(crate) async fn read(
    job: &Job<'_>,
    mut inbound: Inbound,
    longest: u64,
    memory: HeldMemory,
) -> Outcome<HeldBody> {
    let longest = usize::try_from(longest).expect("a held body fits memory");
    let mut bytes = Vec::new();
    let mut share = HeldShare(Vec::new());
    let mut covered = 0;
    loop {
        let inflow = std::future::poll_fn(|context| inbound.poll_payload(context)).await;
        match inflow.map_err(Failure::from)? {
            Inflow::Payload(piece) => {
                let length = bytes.len() + piece.len();
                if length > covered {
                    covered = share.cover(job, length, longest, memory).await?;
                    // Exact: a doubling buffer would exceed the reserved memory.
                    bytes.reserve_exact(covered.max(length) - bytes.len());
                }
                bytes.extend_from_slice(&piece);
            }
            Inflow::End(verified) => {
                return Ok(HeldBody {
                    bytes,
                    verified,
                    share,
                });
            }
        }
    }
}

impl HeldShare {
    /// Waits for memory for at least `length` bytes of a body. Returns the number of bytes that are
    /// covered now.
    async fn cover(
        &mut self,
        job: &Job<'_>,
        length: usize,
        longest: usize,
        memory: HeldMemory,
    ) -> Outcome<usize> {
        // A body that reached its full length, however short, needs the memory for processing too.
        let beginning = BEGINNINGS.into_iter().find(|bytes| *bytes >= length);
        let (covered, wanted, stage) = match beginning.filter(|_| length < longest) {
            Some(bytes) => {
                let bytes = bytes.min(longest);
                (bytes, bytes, BodyStage::Beginning)
            }
            None => (longest, memory.of(longest), BodyStage::UnderWay),
        };
        let has: usize = self.0.iter().map(BodyShare::bytes).sum();
        let more = wanted.saturating_sub(has);
        let budget = &job.call.store.budget;
        self.0
            .push(budget.share_for(job.call.holder(), more, stage).await?);
        if stage == BodyStage::UnderWay {
            // The earlier shares of this body are booked as underway too.
            self.0.iter_mut().for_each(BodyShare::mark_under_way);
        }
        Ok(covered)
    }
}
