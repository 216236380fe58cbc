//! Checksums of parts that this replica stored, for a CompleteMultipartUpload that names none.
//!
//! S3 computes a full-object checksum even then. A CRC of 4 bytes follows from the ETags of the parts,
//! but they carry only the beginning of a CRC-64/NVME. These values are therefore cached: an upload
//! whose parts all went through one replica completes with its checksum there.
//!
//! Invariant: a value belongs to one stored part, identified by its mark, and not to a part number.
//! Absent: parts of other replicas, and parts that were named from a listing, which has no marks.

use std::time::Duration;

use moka::sync::Cache;
use s3proxy_envelope::multipart::{Mark, PartEtag, UploadHash};
use s3proxy_protocol::checksum::{ChecksumType, ChecksumValue};

use crate::upload_state::part::StoredPart;
use crate::upload_state::selection::Selected;
use crate::upload_state::state::OpenUpload;
use crate::upload_state::upload_checksum::UploadChecksum;

/// Most values, of some 250 bytes each with what the cache needs: 8 MiB.
const MOST_VALUES: u64 = 32 * 1024;

/// No client is expected to pause for longer between the parts of an upload.
const IDLE: Duration = Duration::from_hours(24);

pub(crate) struct PartChecksums(Cache<(UploadHash, Mark), ChecksumValue>);

impl PartChecksums {
    pub(crate) fn new() -> Self {
        let cache = Cache::builder()
            .max_capacity(MOST_VALUES)
            .time_to_idle(IDLE);
        Self(cache.build())
    }

    /// Remembers the checksum of a part where its ETag has no room for it.
    pub(crate) fn remember(&self, upload: &OpenUpload, part: &StoredPart) {
        if let Some((algorithm, value)) = &part.checksum
            && upload.checksum.is_some_and(is_full_object)
            && upload.checksum.is_some_and(|of| of.algorithm == *algorithm)
            && value.as_bytes().len() > PartEtag::CHECKSUM_BYTES
        {
            let key = (upload.place.hash, part.etag.tag.mark());
            self.0.insert(key, value.clone());
        }
    }

    /// Adds what is remembered to the parts whose checksum is not known.
    pub(crate) fn fill_in(&self, upload: &OpenUpload, parts: &mut [Selected]) {
        if !upload.checksum.is_some_and(is_full_object) {
            return;
        }
        for part in parts.iter_mut().filter(|part| part.checksum.is_none()) {
            part.checksum = self.0.get(&(upload.place.hash, part.tag.mark()));
        }
    }
}

/// Of a composite upload, S3 wants every part's checksum named.
fn is_full_object(checksum: UploadChecksum) -> bool {
    checksum.kind == ChecksumType::FullObject
}
