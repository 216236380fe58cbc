//! Checksums of an upload: the algorithm that its creation requests, and the checks of its parts.
//!
//! An upload has one algorithm or none, and a type: full object, or composite (the checksum of the
//! parts' checksums). A part without a checksum gets one of the upload's algorithm, computed
//! while it passes. S3 refuses such a part in composite uploads; accepting it loses nothing.
//!
//! `object_checksum` determines the checksum of the completed object.

use http::{HeaderMap, HeaderValue};
use s3proxy_protocol::checksum::{ChecksumAlgorithm, ChecksumType};
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::headers::{self, CHECKSUM_ALGORITHM, CHECKSUM_TYPE};

/// Algorithm and type of an upload's checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UploadChecksum {
    pub(crate) algorithm: ChecksumAlgorithm,
    pub(crate) kind: ChecksumType,
}

impl UploadChecksum {
    /// Reads the request of CreateMultipartUpload. The messages of the refusals are S3's.
    pub(crate) fn asked_for(headers: &HeaderMap) -> Result<Option<Self>, S3Error> {
        let kind = match headers.get(CHECKSUM_TYPE) {
            None => None,
            Some(value) => Some(checksum_type(value)?),
        };
        let Some(algorithm) = headers.get(CHECKSUM_ALGORITHM) else {
            return match kind {
                None => Ok(None),
                Some(_) => Err(invalid_request(
                    "The x-amz-checksum-type header can only be used with the \
                     x-amz-checksum-algorithm header.",
                )),
            };
        };
        let algorithm = headers::value_text(algorithm)
            .and_then(|name| ChecksumAlgorithm::from_name(name.trim()))
            .ok_or_else(|| {
                invalid_request(format!(
                    "Checksum algorithm provided is unsupported. Please try again with any of the \
                     valid types: [{}]",
                    ChecksumAlgorithm::NAMES
                ))
            })?;
        let kind = kind.unwrap_or_else(|| ChecksumType::default_for(algorithm));
        if !kind.is_valid_for(algorithm) {
            return Err(invalid_request(format!(
                "The {kind} checksum type cannot be used with the {} checksum algorithm.",
                lower(algorithm)
            )));
        }
        Ok(Some(Self { algorithm, kind }))
    }

    /// Reads the texts in an upload's state; `None` if they are not known to this version.
    pub(crate) fn kept(algorithm: &str, kind: &str) -> Option<Self> {
        Some(Self {
            algorithm: ChecksumAlgorithm::from_name(algorithm)?,
            kind: ChecksumType::parse(kind)?,
        })
    }

    /// Adds the headers that announce the upload's checksums to a CreateMultipartUpload response.
    pub(crate) fn announce(self, headers: &mut HeaderMap) {
        let algorithm = HeaderValue::from_static(self.algorithm.as_str());
        headers.insert(CHECKSUM_ALGORITHM, algorithm);
        let kind = HeaderValue::from_static(self.kind.as_str());
        headers.insert(CHECKSUM_TYPE, kind);
    }

    /// Refuses a CompleteMultipartUpload that names another type.
    pub(crate) fn agrees(self, headers: &HeaderMap) -> Result<(), S3Error> {
        let Some(value) = headers.get(CHECKSUM_TYPE) else {
            return Ok(());
        };
        if checksum_type(value)? == self.kind {
            return Ok(());
        }
        Err(invalid_request(format!(
            "The upload was created using the {} checksum mode. The complete request must use the \
             same checksum mode.",
            self.kind
        )))
    }

    /// Refuses a part with a checksum of another algorithm.
    pub(crate) fn takes(self, sent: Option<ChecksumAlgorithm>) -> Result<(), S3Error> {
        match sent {
            Some(sent) if sent != self.algorithm => Err(invalid_request(format!(
                "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum \
                 Type: {}",
                lower(self.algorithm),
                lower(sent)
            ))),
            Some(_) | None => Ok(()),
        }
    }
}

fn checksum_type(value: &HeaderValue) -> Result<ChecksumType, S3Error> {
    headers::value_text(value)
        .and_then(|name| ChecksumType::parse(name.trim()))
        .ok_or_else(|| {
            invalid_request(
                "Value for x-amz-checksum-type header is invalid: use COMPOSITE or FULL_OBJECT.",
            )
        })
}

/// Lower-case name of an algorithm, as in S3's messages.
pub(crate) fn lower(algorithm: ChecksumAlgorithm) -> String {
    algorithm.as_str().to_ascii_lowercase()
}

fn invalid_request(message: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    S3Error::new(ErrorCode::InvalidRequest, message)
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn asked_for(pairs: &[(HeaderName, &'static str)]) -> Result<Option<(String, String)>, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(name, HeaderValue::from_static(value));
        }
        UploadChecksum::asked_for(&headers)
            .map(|asked| asked.map(|it| (it.algorithm.to_string(), it.kind.to_string())))
            .map_err(|error| error.code.to_string())
    }

    #[test]
    fn an_upload_gets_the_type_it_asks_for_or_its_algorithms_own() {
        for (algorithm, kind, expected) in [
            ("CRC32", None, "COMPOSITE"),
            ("crc32c", None, "COMPOSITE"),
            ("CRC64NVME", None, "FULL_OBJECT"),
            ("SHA1", None, "COMPOSITE"),
            ("SHA256", Some("COMPOSITE"), "COMPOSITE"),
            ("CRC32", Some("FULL_OBJECT"), "FULL_OBJECT"),
            ("XXHASH3", None, "COMPOSITE"),
            ("sha512", Some("COMPOSITE"), "COMPOSITE"),
        ] {
            let mut pairs = vec![(CHECKSUM_ALGORITHM, algorithm)];
            pairs.extend(kind.map(|kind| (CHECKSUM_TYPE, kind)));
            let asked = asked_for(&pairs).unwrap().unwrap();
            assert_eq!(asked, (algorithm.to_ascii_uppercase(), expected.to_owned()));
        }
        assert_eq!(asked_for(&[]), Ok(None));
    }

    #[test]
    fn types_and_algorithms_that_s3_does_not_pair_are_refused() {
        for pairs in [
            &[(CHECKSUM_TYPE, "COMPOSITE")][..],
            &[(CHECKSUM_ALGORITHM, "SHA3")],
            &[(CHECKSUM_ALGORITHM, "CRC32"), (CHECKSUM_TYPE, "WHOLE")],
            &[(CHECKSUM_ALGORITHM, "SHA1"), (CHECKSUM_TYPE, "FULL_OBJECT")],
            &[(CHECKSUM_ALGORITHM, "MD5"), (CHECKSUM_TYPE, "FULL_OBJECT")],
            &[
                (CHECKSUM_ALGORITHM, "XXHASH128"),
                (CHECKSUM_TYPE, "FULL_OBJECT"),
            ],
            &[
                (CHECKSUM_ALGORITHM, "CRC64NVME"),
                (CHECKSUM_TYPE, "COMPOSITE"),
            ],
        ] {
            assert_eq!(
                asked_for(pairs),
                Err("InvalidRequest".to_owned()),
                "{pairs:?}"
            );
        }
    }

    #[test]
    fn a_part_may_have_the_uploads_algorithm_or_none() {
        let upload = UploadChecksum::kept("CRC32", "COMPOSITE").unwrap();
        assert!(upload.takes(None).is_ok());
        assert!(upload.takes(Some(ChecksumAlgorithm::Crc32)).is_ok());
        let refused = upload.takes(Some(ChecksumAlgorithm::Sha1)).unwrap_err();
        assert_eq!(
            refused.message,
            "Checksum Type mismatch occurred, expected checksum Type: crc32, actual checksum Type: sha1"
        );
    }
}
