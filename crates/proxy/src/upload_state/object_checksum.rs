//! The checksum of a completed object: computed from its parts' checksums, and compared with the
//! one that the client states.
//!
//! If every part's checksum is known the object's is computed, and a stated checksum must equal it.
//! If one is unknown (a part resumed from a listing), the stated checksum is kept unverified: readers
//! check the content against it. Without either the object has no checksum, and the parts' are not
//! kept. Seals have room for the parts' checksums of five algorithms only (FORMAT, "Body of a
//! multipart upload"); for others only the object's checksum is kept.

use http::HeaderMap;
use s3proxy_envelope::multipart::{self, SealFields, SealedPart, UploadHash};
use s3proxy_protocol::checksum::{
    ChecksumAlgorithm, ChecksumType, ChecksumValue, combine_crc, composite,
};
use s3proxy_protocol::error::{ErrorCode, S3Error};

use crate::upload_state::selection::Selected;
use crate::upload_state::upload_checksum::UploadChecksum;

/// The checksum of a completed object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Whole {
    pub(crate) algorithm: ChecksumAlgorithm,
    pub(crate) value: ChecksumValue,
    pub(crate) kind: ChecksumType,
}

impl Whole {
    /// Spelling in headers and documents: a composite checksum is followed by the number of parts.
    pub(crate) fn text(&self, parts: usize) -> String {
        let base64 = self.value.to_base64();
        match self.kind {
            ChecksumType::FullObject => base64,
            ChecksumType::Composite => format!("{base64}-{parts}"),
        }
    }
}

/// Known checksums of an object and its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObjectChecksums {
    pub(crate) whole: Option<Whole>,
    /// Set where every part has one of this algorithm, and the seal can hold it.
    parts: Option<multipart::ChecksumAlgorithm>,
}

/// Checksum of the whole object in the headers of a CompleteMultipartUpload.
pub(crate) fn stated(
    headers: &HeaderMap,
) -> Result<Option<(ChecksumAlgorithm, ChecksumValue)>, S3Error> {
    let mut found = None;
    for algorithm in ChecksumAlgorithm::ALL {
        let name = algorithm.header_name();
        let Some(value) = headers.get(&name) else {
            continue;
        };
        // A composite checksum is followed by the number of parts.
        let base64 = value.as_bytes().split(|octet| *octet == b'-').next();
        let value = base64
            .and_then(|base64| ChecksumValue::from_base64(algorithm, base64.trim_ascii()))
            .ok_or_else(|| invalid_request(format!("Value for {name} header is invalid.")))?;
        if found.replace((algorithm, value)).is_some() {
            return Err(invalid_request(
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not \
                 allowed.",
            ));
        }
    }
    Ok(found)
}

/// Determines the object's checksum, and refuses a stated one that contradicts it.
pub(crate) fn judge(
    upload: Option<UploadChecksum>,
    stated: Option<(ChecksumAlgorithm, ChecksumValue)>,
    parts: &[Selected],
) -> Result<ObjectChecksums, S3Error> {
    let Some(upload) = upload else {
        return without_algorithm(stated);
    };
    let UploadChecksum { algorithm, kind } = upload;
    if let Some((stated, _)) = &stated
        && *stated != algorithm
    {
        return Err(invalid_request(format!(
            "The upload was created using a {algorithm} checksum; the complete request must use \
             the same algorithm, and states one of {stated}."
        )));
    }
    // All or nothing: one unknown part leaves the checksum of the whole unknown.
    let known: Option<Vec<(&ChecksumValue, u64)>> = parts
        .iter()
        .map(|part| Some((part.checksum.as_ref()?, part.frame.length().0)))
        .collect();
    let computed = known.as_ref().and_then(|known| match kind {
        ChecksumType::FullObject => combine_crc(algorithm, known.iter().copied()),
        ChecksumType::Composite => {
            Some(composite(algorithm, known.iter().map(|(value, _)| *value)))
        }
    });
    let stated = stated.map(|(_, value)| value);
    if let (Some(computed), Some(stated)) = (&computed, &stated)
        && computed != stated
    {
        return Err(S3Error::new(
            ErrorCode::BadDigest,
            format!("The {algorithm} you specified did not match the calculated checksum."),
        ));
    }
    Ok(ObjectChecksums {
        // A stated value is unchecked if none could be computed: see above.
        whole: computed.or(stated).map(|value| Whole {
            algorithm,
            value,
            kind,
        }),
        parts: known.and_then(|_| multipart::ChecksumAlgorithm::from_name(algorithm.as_str())),
    })
}

/// Checksums for an upload that named no algorithm: the parts' checksums are unknown.
fn without_algorithm(
    stated: Option<(ChecksumAlgorithm, ChecksumValue)>,
) -> Result<ObjectChecksums, S3Error> {
    let whole = match stated {
        None => None,
        Some((algorithm, value)) => {
            let kind = ChecksumType::FullObject;
            if !kind.is_valid_for(algorithm) {
                return Err(invalid_request(format!(
                    "A {algorithm} checksum of a whole object cannot be sent with a multipart \
                     upload; use a CRC, or create the upload with x-amz-checksum-algorithm."
                )));
            }
            Some(Whole {
                algorithm,
                value,
                kind,
            })
        }
    };
    Ok(ObjectChecksums { whole, parts: None })
}

impl ObjectChecksums {
    /// Fields of the seal that describe the whole object.
    pub(crate) fn seal_fields(&self, hash: UploadHash) -> SealFields {
        let whole = self.whole.as_ref();
        let named = |whole: &Whole| {
            let name = whole.algorithm.as_str().to_owned();
            (name, whole.value.as_bytes().to_vec())
        };
        SealFields {
            checksums: whole.map(named).into_iter().collect(),
            upload_hash: Some(hash),
            checksum_type: whole.map(|whole| whole.kind.as_str().to_owned()),
            part_checksum: self.parts,
        }
    }

    /// Entry of a part in the seal.
    pub(crate) fn sealed_part(&self, part: &Selected) -> SealedPart {
        let checksum = match (self.parts, &part.checksum) {
            (Some(_), Some(value)) => value.as_bytes().to_vec(),
            (Some(_) | None, _) => Vec::new(),
        };
        SealedPart {
            frame: part.frame,
            mark: part.tag.mark(),
            checksum,
        }
    }
}

fn invalid_request(message: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    S3Error::new(ErrorCode::InvalidRequest, message)
}

#[cfg(test)]
mod tests;
