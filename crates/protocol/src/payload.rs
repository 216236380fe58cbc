//! Conditions that a body's plaintext must meet before the backend may complete a write.
//!
//! [`PayloadExpectation`] parses them from the headers: the body's SHA-256, `Content-MD5`, a
//! checksum in a header or announced as a trailer, and the length. [`PayloadVerifier`] sees the
//! plaintext stream through and checks all of them at the end. Digests that nothing is compared
//! with are not computed.
//!
//! Not handled here: the framing of `aws-chunked` (see `chunked`), and checksums of something other
//! than this body, such as those in a `CompleteMultipartUpload` (see
//! [`PayloadExpectation::without_checksum`]).

use aws_lc_rs::digest;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName};
use md5::{Digest as _, Md5};

use crate::checksum::{ChecksumAlgorithm, ChecksumValue, Checksummer};
use crate::chunked::Trailers;
use crate::error::{ErrorCode, S3Error};
use crate::headers::DECODED_CONTENT_LENGTH;
use crate::sigv4::PayloadMode;

mod headers;
#[cfg(test)]
mod tests;

/// Reason for which the headers about a body are invalid, or do not match the body. The fault is
/// the client's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// `Content-MD5` is not an MD5 digest.
    #[error("Content-MD5 must be the Base64 of 16 bytes, sent once")]
    InvalidContentMd5,
    /// More than one checksum was sent, or one in a header and one in a trailer.
    #[error("at most one x-amz-checksum- header or trailer may be sent")]
    SeveralChecksums,
    /// A checksum's value is not Base64 of its algorithm's length.
    #[error("the value of {0} must be the Base64 of a {1} checksum")]
    InvalidChecksum(HeaderName, ChecksumAlgorithm),
    /// A checksum of an algorithm that is not supported.
    #[error("{0} is not supported; use one of {names}", names = ChecksumAlgorithm::NAMES)]
    UnknownChecksum(HeaderName),
    /// `x-amz-trailer` names a trailer that is not a checksum.
    #[error("x-amz-trailer may name a supported x-amz-checksum- trailer only")]
    UnsupportedTrailer,
    /// `x-amz-trailer` was sent with a body that has no trailers.
    #[error("x-amz-trailer needs an x-amz-content-sha256 that ends in -TRAILER")]
    TrailerWithoutChunks,
    /// The announced trailer is missing.
    #[error("the trailer {0} was announced and must be sent")]
    MissingTrailer(HeaderName),
    /// `x-amz-sdk-checksum-algorithm` names no algorithm.
    #[error(
        "x-amz-sdk-checksum-algorithm must be one of {}",
        ChecksumAlgorithm::NAMES
    )]
    InvalidSdkAlgorithm,
    /// `x-amz-sdk-checksum-algorithm` was sent without a checksum, or with one of another
    /// algorithm.
    #[error(
        "x-amz-sdk-checksum-algorithm must go with the x-amz-checksum- or x-amz-trailer of that algorithm"
    )]
    SdkAlgorithmMismatch,
    /// The decoded length of an `aws-chunked` body is missing.
    #[error("x-amz-decoded-content-length is required with a streaming x-amz-content-sha256")]
    MissingDecodedLength,
    /// A length is not a number.
    #[error("{0} must be a number of bytes, sent once")]
    InvalidLength(HeaderName),
    /// The body is shorter or longer than announced.
    #[error("the body has {received} bytes where {announced} were announced")]
    Incomplete {
        /// Number of bytes in the headers.
        announced: u64,
        /// Number of bytes that arrived.
        received: u64,
    },
    /// The body does not match `x-amz-content-sha256`.
    #[error("the body's SHA-256 is not the one in x-amz-content-sha256")]
    ContentSha256Mismatch,
    /// The body does not match `Content-MD5`.
    #[error("the body's MD5 is not the one in Content-MD5")]
    ContentMd5Mismatch,
    /// The body does not match the checksum.
    #[error("the body's {0} checksum is not the one that was sent")]
    ChecksumMismatch(ChecksumAlgorithm),
}

impl PayloadError {
    /// The error response that S3 sends in this case.
    #[must_use]
    pub fn s3_error(&self) -> S3Error {
        S3Error::new(self.code(), self.to_string())
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::InvalidContentMd5 => ErrorCode::InvalidDigest,
            Self::SeveralChecksums
            | Self::InvalidChecksum(..)
            | Self::UnsupportedTrailer
            | Self::InvalidSdkAlgorithm
            | Self::SdkAlgorithmMismatch
            | Self::InvalidLength(_) => ErrorCode::InvalidRequest,
            Self::UnknownChecksum(_) => ErrorCode::NotImplemented,
            Self::TrailerWithoutChunks | Self::MissingTrailer(_) => {
                ErrorCode::MalformedTrailerError
            }
            Self::MissingDecodedLength => ErrorCode::MissingContentLength,
            Self::Incomplete { .. } => ErrorCode::IncompleteBody,
            Self::ContentSha256Mismatch => ErrorCode::XAmzContentSHA256Mismatch,
            Self::ContentMd5Mismatch | Self::ChecksumMismatch(_) => ErrorCode::BadDigest,
        }
    }
}

/// Length and digests that a request's headers state for its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadExpectation {
    length: Option<u64>,
    content_sha256: Option<[u8; 32]>,
    content_md5: Option<[u8; 16]>,
    checksum: ExpectedChecksum,
}

/// Source of the checksum to compare with.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ExpectedChecksum {
    None,
    Known(ChecksumAlgorithm, ChecksumValue),
    Trailer(ChecksumAlgorithm),
}

impl PayloadExpectation {
    /// Parses the expectation of a request whose checksum headers describe its body.
    pub fn from_headers(headers: &HeaderMap, mode: &PayloadMode) -> Result<Self, PayloadError> {
        let mut expectation = Self::without_checksum(headers, mode)?;
        expectation.checksum = match (
            headers::header_checksum(headers)?,
            headers::trailer_checksum(headers, mode)?,
        ) {
            (Some(_), Some(_)) => return Err(PayloadError::SeveralChecksums),
            (Some((algorithm, value)), None) => ExpectedChecksum::Known(algorithm, value),
            (None, Some(algorithm)) => ExpectedChecksum::Trailer(algorithm),
            (None, None) => ExpectedChecksum::None,
        };
        // After the checksum itself: the SDK's header only repeats the algorithm.
        headers::check_sdk_algorithm(headers, expectation.checksum.algorithm())?;
        Ok(expectation)
    }

    /// Like [`PayloadExpectation::from_headers`], but for a request whose checksum headers do not
    /// describe its body: `CompleteMultipartUpload` has those of the whole object.
    pub fn without_checksum(headers: &HeaderMap, mode: &PayloadMode) -> Result<Self, PayloadError> {
        let content_sha256 = match mode {
            PayloadMode::Sha256(digest) => Some(*digest),
            PayloadMode::Unsigned
            | PayloadMode::SignedChunks
            | PayloadMode::SignedChunksTrailer
            | PayloadMode::UnsignedChunksTrailer => None,
        };
        // The Content-Length of a chunked body includes the framing, so it says nothing about the
        // plaintext.
        let length = if mode.is_chunked() {
            let decoded = headers::length(headers, &DECODED_CONTENT_LENGTH)?;
            Some(decoded.ok_or(PayloadError::MissingDecodedLength)?)
        } else {
            headers::length(headers, &CONTENT_LENGTH)?
        };
        Ok(Self {
            length,
            content_sha256,
            content_md5: headers::content_md5(headers)?,
            checksum: ExpectedChecksum::None,
        })
    }

    /// Length of the plaintext in bytes; `None` if it is known only when the body ends.
    #[must_use]
    pub fn decoded_length(&self) -> Option<u64> {
        self.length
    }

    /// The checksum that was sent in a header.
    #[must_use]
    pub fn known_checksum(&self) -> Option<(ChecksumAlgorithm, &ChecksumValue)> {
        match &self.checksum {
            ExpectedChecksum::Known(algorithm, value) => Some((*algorithm, value)),
            ExpectedChecksum::Trailer(_) | ExpectedChecksum::None => None,
        }
    }

    /// Algorithm of the checksum that will arrive as a trailer.
    #[must_use]
    pub fn trailer_algorithm(&self) -> Option<ChecksumAlgorithm> {
        match self.checksum {
            ExpectedChecksum::Trailer(algorithm) => Some(algorithm),
            ExpectedChecksum::Known(..) | ExpectedChecksum::None => None,
        }
    }

    /// Trailers for the chunk decoder to expect.
    #[must_use]
    pub fn expected_trailers(&self) -> Vec<HeaderName> {
        self.trailer_algorithm()
            .map(ChecksumAlgorithm::header_name)
            .into_iter()
            .collect()
    }

    /// Creates the verifier, with only the digests that are compared at the end.
    #[must_use]
    pub fn verifier(self) -> PayloadVerifier {
        PayloadVerifier {
            received: 0,
            sha256: self
                .content_sha256
                .is_some()
                .then(|| digest::Context::new(&digest::SHA256)),
            md5: self.content_md5.is_some().then(Md5::new),
            checksummer: self.checksum.algorithm().map(Checksummer::new),
            expectation: self,
        }
    }
}

impl ExpectedChecksum {
    fn algorithm(&self) -> Option<ChecksumAlgorithm> {
        match self {
            Self::None => None,
            Self::Known(algorithm, _) | Self::Trailer(algorithm) => Some(*algorithm),
        }
    }
}

/// Computes the expected digests of the plaintext as it streams through.
pub struct PayloadVerifier {
    expectation: PayloadExpectation,
    received: u64,
    sha256: Option<digest::Context>,
    md5: Option<Md5>,
    checksummer: Option<Checksummer>,
}

/// Result of a body that matches its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedPayload {
    /// The checksum that the client sent, verified.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumValue)>,
}

impl PayloadVerifier {
    /// Adds the next piece of plaintext.
    pub fn update(&mut self, plaintext: &[u8]) {
        self.received += plaintext.len() as u64;
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(plaintext);
        }
        if let Some(md5) = &mut self.md5 {
            md5.update(plaintext);
        }
        if let Some(checksummer) = &mut self.checksummer {
            checksummer.update(plaintext);
        }
    }

    /// Checks the whole body. `trailers` are those of the chunk decoder, or empty.
    pub fn finish(self, trailers: &Trailers) -> Result<VerifiedPayload, PayloadError> {
        let Self {
            expectation,
            received,
            ..
        } = self;
        // The length first: a truncated body fails every digest too, but `IncompleteBody` names the
        // cause.
        if let Some(announced) = expectation.length
            && announced != received
        {
            return Err(PayloadError::Incomplete {
                announced,
                received,
            });
        }
        let sha256 = self.sha256.map(digest::Context::finish);
        // Both are absent or both are present, since `verifier` starts a digest only if needed.
        if sha256.as_ref().map(AsRef::as_ref)
            != expectation
                .content_sha256
                .as_ref()
                .map(<[u8; 32]>::as_slice)
        {
            return Err(PayloadError::ContentSha256Mismatch);
        }
        if self.md5.map(|md5| md5.finalize().into()) != expectation.content_md5 {
            return Err(PayloadError::ContentMd5Mismatch);
        }
        let checksum = sent_checksum(expectation.checksum, trailers)?;
        if let (Some((algorithm, sent)), Some(checksummer)) = (&checksum, self.checksummer)
            && *sent != checksummer.finish()
        {
            return Err(PayloadError::ChecksumMismatch(*algorithm));
        }
        Ok(VerifiedPayload { checksum })
    }
}

fn sent_checksum(
    expected: ExpectedChecksum,
    trailers: &Trailers,
) -> Result<Option<(ChecksumAlgorithm, ChecksumValue)>, PayloadError> {
    match expected {
        ExpectedChecksum::None => Ok(None),
        ExpectedChecksum::Known(algorithm, value) => Ok(Some((algorithm, value))),
        ExpectedChecksum::Trailer(algorithm) => {
            let name = algorithm.header_name();
            let Some(value) = trailers.get(&name) else {
                return Err(PayloadError::MissingTrailer(name));
            };
            headers::checksum_value(name, algorithm, value).map(Some)
        }
    }
}
