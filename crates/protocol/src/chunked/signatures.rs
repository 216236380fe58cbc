//! Signatures inside an `aws-chunked` body: one per chunk and one for the trailers, each chained to
//! the one before it (S3 API Reference, "Signature calculations: transferring a payload in multiple
//! chunks").
//!
//! The digest of a chunk is compared only through its signature, in constant time.

use aws_lc_rs::digest;

use super::{ChunkError, ChunkMode};
use crate::hex;
use crate::sigv4::{Signature, Verified};

/// SHA-256 of the empty string, in the string to sign of every chunk.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// How the signatures in a body are treated.
pub(super) enum Signatures {
    Checked {
        chain: Box<Verified>,
        /// Signature that the current chunk's header claims, and the digest of the chunk so far.
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
            // Signatures that are not checked may have any value.
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
                // S3's string to sign has the digest of the empty string before that of the chunk.
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

    /// Adds payload of the current chunk.
    pub(super) fn update(&mut self, payload: &[u8]) {
        if let Self::Checked { chunk, .. } = self {
            let (_, context) = chunk.as_mut().expect("a chunk's header sets its digest up");
            context.update(payload);
        }
    }

    /// Checks the signature after the trailers. `trailers` has `name:value` and a line feed for
    /// each.
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
