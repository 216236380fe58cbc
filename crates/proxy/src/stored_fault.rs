//! Faults of stored data: described for the log, and classified for the metrics.
//!
//! Clients learn neither. The classes tell an operator whether data was altered, truncated, or
//! belongs to another object; the description comes from the code that found the fault.

use std::fmt;

use s3proxy_envelope::header::{EnvelopeError, PrivateMapError};
use s3proxy_envelope::legacy::LegacyError;
use s3proxy_envelope::message::OpenError;
use s3proxy_envelope::multipart::{SealListError, UploadStateError};

use crate::telemetry::metrics::OpenFailure;

/// Stored data differs from the sealed data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct StoredFault {
    pub(crate) kind: OpenFailure,
    reason: String,
}

impl StoredFault {
    /// Makes the fault of unreadable or inconsistent metadata about the seal.
    pub(crate) fn malformed(reason: impl fmt::Display) -> Self {
        Self::new(OpenFailure::Malformed, &reason)
    }

    /// Makes the fault of an impossible length.
    pub(crate) fn truncated(reason: impl fmt::Display) -> Self {
        Self::new(OpenFailure::Truncated, &reason)
    }

    /// Adds the place of the fault, for the log.
    pub(crate) fn within(self, place: &str) -> Self {
        let reason = format!("{place}: {}", self.reason);
        Self { reason, ..self }
    }

    fn new(kind: OpenFailure, reason: &dyn fmt::Display) -> Self {
        Self {
            kind,
            reason: reason.to_string(),
        }
    }
}

impl From<OpenError> for StoredFault {
    fn from(error: OpenError) -> Self {
        Self::new(kind_of(error), &error)
    }
}

fn kind_of(error: OpenError) -> OpenFailure {
    match error {
        OpenError::Length(_) | OpenError::Trailing | OpenError::Truncated => OpenFailure::Truncated,
        OpenError::Commitment
        | OpenError::Head
        | OpenError::Chunk(_)
        | OpenError::Mark(_)
        | OpenError::Padding => OpenFailure::Tampered,
        // The ranges are our own, so the stored data contradicts itself.
        OpenError::RangeBeyondEnd(_) => OpenFailure::Malformed,
    }
}

impl From<LegacyError> for StoredFault {
    fn from(error: LegacyError) -> Self {
        let kind = match error {
            LegacyError::Length(_) | LegacyError::OtherLength => OpenFailure::Truncated,
            LegacyError::NotAuthentic | LegacyError::Changed => OpenFailure::Tampered,
            LegacyError::RangeBeyondEnd(_) => OpenFailure::Malformed,
        };
        Self::new(kind, &error)
    }
}

impl From<EnvelopeError> for StoredFault {
    fn from(error: EnvelopeError) -> Self {
        Self::malformed(error)
    }
}

impl From<SealListError> for StoredFault {
    fn from(error: SealListError) -> Self {
        let kind = match error {
            SealListError::Open(open) => kind_of(open),
            // A truncated body does not end in its footer.
            SealListError::Sum | SealListError::TailLength { .. } | SealListError::Footer => {
                OpenFailure::Truncated
            }
            SealListError::Padding => OpenFailure::Tampered,
            SealListError::NoParts
            | SealListError::Order(_)
            | SealListError::MapTooLong
            | SealListError::ChecksumLength(_)
            | SealListError::Algorithm
            | SealListError::TooShort(_)
            | SealListError::TooLong
            | SealListError::NoRoom
            | SealListError::Entries
            | SealListError::Cbor(_) => OpenFailure::Malformed,
        };
        Self::new(kind, &error)
    }
}

impl From<PrivateMapError> for StoredFault {
    fn from(error: PrivateMapError) -> Self {
        let kind = match error {
            PrivateMapError::Open(open) => kind_of(open),
            PrivateMapError::Cbor(_) => OpenFailure::Malformed,
        };
        Self::new(kind, &error)
    }
}

impl From<UploadStateError> for StoredFault {
    fn from(error: UploadStateError) -> Self {
        let kind = match error {
            UploadStateError::Open(open) => kind_of(open),
            UploadStateError::Cbor(_) | UploadStateError::Envelope(_) => OpenFailure::Malformed,
        };
        Self::new(kind, &error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_altered_is_told_from_what_was_cut_and_what_cannot_be_read() {
        for (fault, kind) in [
            (
                StoredFault::from(OpenError::Chunk(3)),
                OpenFailure::Tampered,
            ),
            (OpenError::Commitment.into(), OpenFailure::Tampered),
            (OpenError::Truncated.into(), OpenFailure::Truncated),
            (OpenError::Length(7).into(), OpenFailure::Truncated),
            (LegacyError::NotAuthentic.into(), OpenFailure::Tampered),
            (LegacyError::OtherLength.into(), OpenFailure::Truncated),
            (EnvelopeError::Prefix.into(), OpenFailure::Malformed),
            (
                SealListError::Open(OpenError::Commitment).into(),
                OpenFailure::Tampered,
            ),
            (SealListError::Footer.into(), OpenFailure::Truncated),
            (SealListError::NoParts.into(), OpenFailure::Malformed),
            (
                PrivateMapError::Open(OpenError::Chunk(0)).into(),
                OpenFailure::Tampered,
            ),
        ] {
            assert_eq!(fault.kind, kind, "{fault}");
        }
    }

    #[test]
    fn the_words_say_where_it_was_found() {
        let fault = StoredFault::from(OpenError::Truncated).within("a staged part");
        let said = "a staged part: the stored bytes end before the object does";
        assert_eq!(fault.to_string(), said);
        assert_eq!(fault.kind, OpenFailure::Truncated);
    }
}
