//! State of uploads: what the engine keeps about a multipart upload until it completes.
//!
//! Each upload of a client is an upload at the backend with the same id; parts are sealed one by
//! one and sent there as they arrive. The upload's state and its staged parts are stored next to
//! the data. Staged parts are those that can only be the last one. Completing adds the tail, which
//! makes one readable object of the parts.
//!
//! Invariants: any replica can serve any step; nothing is visible before the backend's own
//! completion; every step can be repeated.
//!
//! The tail is stored under the highest number, 10000. A client's part is never stored there (one
//! with that number is always staged). A tail left by a failed Complete is therefore never taken
//! for a part, and no part is overwritten by a tail.

pub(crate) mod attempts;
pub(crate) mod bucket;
pub(crate) mod evidence;
pub(crate) mod object_checksum;
pub(crate) mod part;
mod part_checksums;
pub(crate) mod periodic_sweep;
pub(crate) mod selection;
pub(crate) mod staged;
mod staged_part_check;
pub(crate) mod state;
pub(crate) mod stored_parts;
pub(crate) mod sweep;
pub(crate) mod tail;
pub(crate) mod upload_checksum;

use std::sync::Arc;

use s3proxy_envelope::multipart::PartNumber;
use s3proxy_protocol::error::S3Error;

use self::attempts::Attempts;
use self::state::UploadCache;
use crate::failure::Failure;
use crate::objects::StoreCall;

/// Part number of the tail. The backend's part of this number is never a client's.
pub(crate) const TAIL_NUMBER: PartNumber = PartNumber::MAX;

/// Part number whose length the others must have, if parts have to be equal.
const FIRST_NUMBER: PartNumber = PartNumber::MIN;

/// Knowledge of this replica about uploads, which only saves requests.
#[derive(Clone)]
pub(crate) struct UploadCaches {
    pub(crate) open: Arc<UploadCache>,
    pub(crate) attempts: Arc<Attempts>,
}

impl UploadCaches {
    pub(crate) fn new() -> Self {
        Self {
            open: Arc::new(UploadCache::new()),
            attempts: Arc::new(Attempts::new()),
        }
    }
}

/// A call of the engine about uploads.
#[derive(Clone, Copy)]
pub(crate) struct UploadCall<'a> {
    pub(crate) call: StoreCall<'a>,
    pub(crate) caches: &'a UploadCaches,
}

/// Reason for the end of an attempt to complete an upload.
pub(crate) enum CompletionError {
    Failed(Failure),
    /// The upload changed during the attempt; the next one lists it again.
    Changed(Failure),
}

impl From<Failure> for CompletionError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<S3Error> for CompletionError {
    fn from(error: S3Error) -> Self {
        Self::Failed(error.into())
    }
}
