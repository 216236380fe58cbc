//! Ids that a server assigns: of versions and of multipart uploads.
//!
//! S3 defines them as opaque text (S3 User Guide, "How S3 Versioning works"; S3 API Reference,
//! `CreateMultipartUpload`). They are compared and passed on, never interpreted. Both are without
//! quotes and percent-decoded. An empty id is none: servers take it for an absent parameter, and a
//! request for something else.

use std::fmt;

use crate::error::{ErrorCode, S3Error};

/// Id of an object's version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VersionId(String);

/// Id of a multipart upload.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UploadId(String);

impl VersionId {
    /// Returns `None` if the text is empty.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        non_empty(text).map(Self)
    }

    /// Fails with `InvalidArgument` if the text is empty.
    pub fn parse(text: &str) -> Result<Self, S3Error> {
        Self::new(text).ok_or_else(|| {
            S3Error::new(
                ErrorCode::InvalidArgument,
                "Version id cannot be the empty string",
            )
        })
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl UploadId {
    /// Returns `None` if the text is empty.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        non_empty(text).map(Self)
    }

    /// Fails with `NoSuchUpload` if the text is empty.
    pub fn parse(text: &str) -> Result<Self, S3Error> {
        Self::new(text).ok_or_else(no_such_upload)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The error for an upload that does not exist, or has ended.
#[must_use]
pub fn no_such_upload() -> S3Error {
    S3Error::new(
        ErrorCode::NoSuchUpload,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have \
         been aborted or completed.",
    )
}

fn non_empty(text: impl Into<String>) -> Option<String> {
    Some(text.into()).filter(|text| !text.is_empty())
}

impl fmt::Display for VersionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_not_empty() {
        assert_eq!(VersionId::new(""), None);
        assert_eq!(UploadId::new(""), None);
        let refused = VersionId::parse("").unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidArgument);
        assert_eq!(UploadId::new(" u").unwrap().as_str(), " u");
    }
}
