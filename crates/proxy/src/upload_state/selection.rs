//! Selection of the stored parts that a CompleteMultipartUpload names: a pure comparison of lists.
//!
//! The client's ETags select the parts, even if a number was uploaded twice and is both a backend
//! part and staged: each ETag contains the backend's, which matches one of the two. Sizes come from
//! the lists, and plaintext lengths follow from them.
//!
//! The checksum of a part is the one that the client names, which must agree with the beginning that
//! the ETag carries. If it names none, that beginning is used if it is complete (CRC-32 and CRC-32C).
//! An ETag from a listing carries no checksum, so an upload that was resumed from a listing may end
//! without one. [`PartChecksums`](super::part_checksums) may know more.

use std::collections::HashMap;

use s3proxy_envelope::layout::{PADDED_FROM, PlaintextLength, message_plaintext_length};
use s3proxy_envelope::multipart::{Frame, PartEtag, PartNumber, PartTag};
use s3proxy_protocol::checksum::{ChecksumAlgorithm, ChecksumType, ChecksumValue, Checksummer};
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::etag::ETag;
use s3proxy_protocol::quote::quoted;
use s3proxy_protocol::xml::complete::{CompleteRequest, CompletedPart};

use crate::failure::Failure;
use crate::upload_state::part::Shelf;
use crate::upload_state::upload_checksum::{UploadChecksum, lower};

/// S3's message for missing parts.
const INVALID_PART: &str = "One or more of the specified parts could not be found.  The part may \
     not have been uploaded, or the specified entity tag may not match the part's entity tag.";

/// A stored part, as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Present {
    pub(crate) number: PartNumber,
    /// ETag as the backend listed it.
    pub(crate) etag: ETag,
    /// Length in stored bytes.
    pub(crate) size: u64,
    pub(crate) shelf: Shelf,
}

/// A part that becomes part of the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selected {
    pub(crate) frame: Frame,
    /// ETag as the backend listed it.
    pub(crate) etag: ETag,
    pub(crate) shelf: Shelf,
    pub(crate) tag: PartTag,
    /// Checksum of the upload's algorithm, if known.
    pub(crate) checksum: Option<ChecksumValue>,
}

/// Reason why the client's list cannot be completed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SelectionError {
    #[error("the parts are not in ascending order")]
    Order,
    #[error("part {number} is not there with the ETag {}", quoted(.etag))]
    Missing { number: u16, etag: String },
    #[error("part {number} is followed by others and has {size} bytes")]
    TooSmall {
        number: u16,
        etag: String,
        size: u64,
    },
    #[error("the checksum of part {number} is missing")]
    NoChecksum {
        number: u16,
        algorithm: ChecksumAlgorithm,
    },
}

impl SelectionError {
    /// S3's error for the failure, in plaintext terms.
    pub(crate) fn into_failure(self, upload_id: &str) -> Failure {
        let part = |number: u16, etag| [("PartNumber", number.to_string()), ("ETag", etag)];
        match self {
            Self::Order => Failure::Refused(S3Error::new(
                ErrorCode::InvalidPartOrder,
                "The list of parts was not in ascending order. Parts must be ordered by part \
                 number.",
            )),
            Self::Missing { number, etag } => Failure::Explained(
                S3Error::new(ErrorCode::InvalidPart, INVALID_PART),
                [("UploadId", upload_id.to_owned())]
                    .into_iter()
                    .chain(part(number, etag))
                    .collect(),
            ),
            Self::TooSmall { number, etag, size } => Failure::Explained(
                S3Error::new(
                    ErrorCode::EntityTooSmall,
                    "Your proposed upload is smaller than the minimum allowed size",
                ),
                [
                    ("ProposedSize", size.to_string()),
                    ("MinSizeAllowed", PADDED_FROM.0.to_string()),
                ]
                .into_iter()
                .chain(part(number, etag))
                .collect(),
            ),
            Self::NoChecksum { number, algorithm } => Failure::Refused(S3Error::new(
                ErrorCode::InvalidRequest,
                format!(
                    "The upload was created using a {} checksum. The complete request must \
                     include the checksum for each part. It was missing for part {number} in the \
                     request.",
                    lower(algorithm)
                ),
            )),
        }
    }
}

/// Whether every part of the request is in `present`, which makes listing staged parts unnecessary.
pub(crate) fn all_present(request: &CompleteRequest, present: &[Present]) -> bool {
    let index = index(present);
    request
        .parts
        .iter()
        .all(|part| find(&index, part).is_some())
}

/// Selects the parts that the client names.
pub(crate) fn select(
    request: &CompleteRequest,
    present: &[Present],
    upload: Option<UploadChecksum>,
) -> Result<Vec<Selected>, SelectionError> {
    if !request.is_ascending() {
        return Err(SelectionError::Order);
    }
    let index = index(present);
    let mut selected = Vec::with_capacity(request.parts.len());
    for part in &request.parts {
        let missing = || SelectionError::Missing {
            number: part.number,
            etag: part.etag.clone(),
        };
        let (found, etag) = find(&index, part).ok_or_else(missing)?;
        // The proxy stores no part of this length: to the client it does not exist.
        let length = message_plaintext_length(found.size).ok_or_else(missing)?;
        selected.push(Selected {
            frame: Frame::new(found.number, length).ok_or_else(missing)?,
            checksum: checksum(part, etag.tag, length, upload).map_err(|fault| match fault {
                ChecksumFault::Contradiction => missing(),
                ChecksumFault::Missing(algorithm) => SelectionError::NoChecksum {
                    number: part.number,
                    algorithm,
                },
            })?,
            etag: found.etag.clone(),
            shelf: found.shelf,
            tag: etag.tag,
        });
    }
    // By plaintext length: the stored length of a part is larger, and S3's limit is the client's.
    let followed = selected.len().saturating_sub(1);
    for (part, named) in selected[..followed].iter().zip(&request.parts) {
        if part.frame.length() < PADDED_FROM {
            return Err(SelectionError::TooSmall {
                number: named.number,
                etag: named.etag.clone(),
                size: part.frame.length().0,
            });
        }
    }
    Ok(selected)
}

type Index<'p> = HashMap<(u16, &'p str), &'p Present>;

fn index(present: &[Present]) -> Index<'_> {
    present
        .iter()
        .map(|part| ((part.number.get(), part.etag.as_str()), part))
        .collect()
}

fn find<'p>(index: &Index<'p>, part: &CompletedPart) -> Option<(&'p Present, PartEtag)> {
    let etag = PartEtag::parse(&part.etag)?;
    let found = index.get(&(part.number, etag.backend.as_str()))?;
    Some((found, etag))
}

enum ChecksumFault {
    Contradiction,
    Missing(ChecksumAlgorithm),
}

/// Checksum of a part in the upload's algorithm, as far as it is known.
fn checksum(
    part: &CompletedPart,
    tag: PartTag,
    length: PlaintextLength,
    upload: Option<UploadChecksum>,
) -> Result<Option<ChecksumValue>, ChecksumFault> {
    let beginning = match tag {
        PartTag::Marked { checksum, .. } => Some(checksum),
        PartTag::Listed => None,
    };
    // Zeros mean that the part had no checksum when it was stored.
    let beginning = beginning.filter(|bytes| *bytes != [0; 4]);
    if let (Some((_, named)), Some(beginning)) = (&part.checksum, beginning)
        && !named.as_bytes().starts_with(&beginning)
    {
        return Err(ChecksumFault::Contradiction);
    }
    let Some(upload) = upload else {
        return Ok(None);
    };
    if let Some((algorithm, named)) = &part.checksum {
        return if *algorithm == upload.algorithm {
            Ok(Some(named.clone()))
        } else {
            Err(ChecksumFault::Contradiction)
        };
    }
    let whole = beginning.and_then(|bytes| ChecksumValue::from_bytes(upload.algorithm, &bytes));
    // The CRC of an empty part is zero, which the ETag cannot distinguish from none.
    let nothing = (length.0 == 0).then(|| Checksummer::new(upload.algorithm).finish());
    match (whole.or(nothing), upload.kind, tag) {
        (Some(whole), _, _) => Ok(Some(whole)),
        (None, ChecksumType::Composite, PartTag::Marked { .. }) => {
            Err(ChecksumFault::Missing(upload.algorithm))
        }
        (None, ChecksumType::Composite | ChecksumType::FullObject, _) => Ok(None),
    }
}

#[cfg(test)]
mod tests;
