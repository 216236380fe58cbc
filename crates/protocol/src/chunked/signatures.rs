//! The signatures inside an `aws-chunked` body: one for each chunk, one for the trailers, each naming
//! the one before it.
//!
//! The digest of a chunk is only ever compared through its signature, in constant time.

use aws_lc_rs::digest;

use super::{ChunkError, ChunkMode};
use crate::sigv4::{Signature, Verified, hex};

const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What the body's signatures are to us.
pub(super) enum Signatures {
    Checked {
        chain: Box<Verified>,
        /// What the current chunk's header claims, and its digest so far.
        chunk: Option<(Signature, digest::Context)>,
    },
    Ignored,
    Absent,
}

impl Signatures {
    pub(super) fn new(mode: ChunkMode) -> Self {
        match mode {
            ChunkMode::Signed(chain) | ChunkMode::SignedTrailer(chain) => {
                Self::Checked { chain, chunk: None }
            }
            ChunkMode::SignedUnchecked | ChunkMode::SignedTrailerUnchecked => Self::Ignored,
            ChunkMode::UnsignedTrailer => Self::Absent,
        }
    }

    pub(super) fn are_absent(&self) -> bool {
        match self {
            Self::Checked { .. } | Self::Ignored => false,
            Self::Absent => true,
        }
    }

    pub(super) fn begin_chunk(&mut self, extension: Option<&[u8]>) -> Result<(), ChunkError> {
        const MISSING: ChunkError =
            ChunkError::Malformed("a signed chunk's header must be size;chunk-signature=signature");
        let claimed = extension.map(|text| text.strip_prefix(b"chunk-signature=").ok_or(MISSING));
        match (self, claimed.transpose()?) {
            (Self::Checked { chunk, .. }, Some(text)) => {
                let signature = Signature::from_hex(text).ok_or(ChunkError::SignatureMismatch)?;
                *chunk = Some((signature, digest::Context::new(&digest::SHA256)));
                Ok(())
            }
            (Self::Checked { .. }, None) => Err(MISSING),
            (Self::Ignored, _) | (Self::Absent, None) => Ok(()),
            (Self::Absent, Some(_)) => Err(ChunkError::Malformed(
                "an unsigned chunk's header must be its size alone",
            )),
        }
    }

    pub(super) fn end_chunk(&mut self) -> Result<(), ChunkError> {
        match self {
            Self::Checked { chain, chunk } => {
                let (signature, context) =
                    chunk.take().expect("a chunk's header sets its digest up");
                let digest = hex::encode(context.finish().as_ref());
                let digests = format!("{EMPTY_SHA256}\n{digest}");
                if chain.extend("AWS4-HMAC-SHA256-PAYLOAD", &digests, signature) {
                    Ok(())
                } else {
                    Err(ChunkError::SignatureMismatch)
                }
            }
            Self::Ignored | Self::Absent => Ok(()),
        }
    }

    /// Takes payload of the current chunk.
    pub(super) fn update(&mut self, payload: &[u8]) {
        if let Self::Checked { chunk, .. } = self {
            let (_, context) = chunk.as_mut().expect("a chunk's header sets its digest up");
            context.update(payload);
        }
    }

    /// Takes the signature behind the trailers, `name:value` and a line feed each.
    pub(super) fn end_trailers(
        &mut self,
        trailers: &[u8],
        claimed: &[u8],
    ) -> Result<(), ChunkError> {
        match self {
            Self::Checked { chain, .. } => {
                let signature =
                    Signature::from_hex(claimed).ok_or(ChunkError::SignatureMismatch)?;
                let digest = digest::digest(&digest::SHA256, trailers);
                let digest = hex::encode(digest.as_ref());
                if chain.extend("AWS4-HMAC-SHA256-TRAILER", &digest, signature) {
                    Ok(())
                } else {
                    Err(ChunkError::SignatureMismatch)
                }
            }
            Self::Ignored => Ok(()),
            Self::Absent => Err(ChunkError::Trailer("unsigned chunks have no signature")),
        }
    }
}
