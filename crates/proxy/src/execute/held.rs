//! Bodies that are held whole.
//!
//! Memory is taken as the body arrives and never because it was announced: none before the first
//! byte, a little for the first bytes, and all that the body needs when so much of it has come that
//! its sender can be taken at its word. In between nothing is taken, so that bodies do not wait for
//! each other with half of their memory in hand.

use s3proxy_protocol::payload::VerifiedPayload;

use super::{Job, Outcome};
use crate::body::budget::{BodyShare, Stage};
use crate::body::buffers::PIECE_BYTES;
use crate::body::inbound::{Inbound, Inflow};
use crate::respond::Failure;

/// Lengths up to which a body is held by its first shares, in bytes.
const BEGINNINGS: [usize; 2] = [4 * 1024, 64 * 1024];

/// What a body takes while it is held and worked on.
#[derive(Clone, Copy)]
pub(crate) struct HeldMemory {
    /// Bytes for each byte of the body.
    pub(crate) per_byte: usize,
    /// Bytes besides.
    pub(crate) besides: usize,
}

impl HeldMemory {
    /// The body itself and nothing else.
    pub(crate) const ONCE: Self = Self {
        per_byte: 1,
        besides: 0,
    };

    /// Plaintext and stored form side by side, for a moment.
    pub(crate) const SEALED: Self = Self {
        per_byte: 2,
        besides: PIECE_BYTES,
    };

    fn of(self, length: usize) -> usize {
        self.per_byte * length + self.besides
    }
}

/// A body in memory, verified.
pub(crate) struct HeldBody {
    pub(crate) bytes: Vec<u8>,
    pub(crate) verified: VerifiedPayload,
    pub(crate) share: HeldShare,
}

/// The memory of a held body, given back when dropped.
#[must_use]
pub(crate) struct HeldShare(Vec<BodyShare>);

/// Reads all of a body, which has at most `longest` bytes.
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
    /// Waits for memory for at least `length` bytes of a body, and returns for how many there is.
    async fn cover(
        &mut self,
        job: &Job<'_>,
        length: usize,
        longest: usize,
        memory: HeldMemory,
    ) -> Outcome<usize> {
        let beginning = BEGINNINGS.into_iter().find(|bytes| *bytes >= length);
        let (covered, wanted, stage) = match beginning.filter(|_| length < longest) {
            Some(bytes) => {
                let bytes = bytes.min(longest);
                (bytes, bytes, Stage::Beginning)
            }
            None => (longest, memory.of(longest), Stage::Underway),
        };
        let has: usize = self.0.iter().map(BodyShare::bytes).sum();
        let more = wanted.saturating_sub(has);
        let budget = &job.parts.budget;
        self.0
            .push(budget.share_for(job.holder(), more, stage).await?);
        if stage == Stage::Underway {
            self.0.iter_mut().for_each(BodyShare::is_underway);
        }
        Ok(covered)
    }
}
