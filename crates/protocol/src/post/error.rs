//! Errors in forms, and the error responses that S3 sends for them.
//!
//! The fault is always the client's. No variant contains a field's value: values may be tokens, and
//! error texts are logged.

use crate::error::{ErrorCode, S3Error};
use crate::quote::quoted;

/// Reason for which a form is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// `Content-Type` has no usable boundary.
    #[error("the Content-Type must be multipart/form-data with one boundary of 1 to 70 characters")]
    Boundary,
    /// The body is not well-formed `multipart/form-data`.
    #[error("The body of your POST request is not well-formed multipart/form-data: {0}")]
    Malformed(&'static str),
    /// The fields before the file are too large or too many: maximum bytes, maximum number.
    #[error(
        "Your POST request fields preceding the upload file were too large: at most {0} bytes in at \
         most {1} fields"
    )]
    TooMuchBeforeFile(usize, usize),
    /// The form has no file, more than one, or something after the file.
    #[error("POST requires exactly one file upload per request: {0}")]
    NumberOfFiles(&'static str),
    /// A field appears twice.
    #[error("the form has the field {} more than once; names count without case", quoted(.0))]
    DuplicateField(String),
    /// A value contains a line break or another control character.
    #[error("the value of the form's field {} must have no line break and no control character", quoted(.0))]
    ControlCharacter(String),
    /// A required field is missing.
    #[error(
        "Bucket POST must contain a field named '{0}'. If it is specified, please check the order \
         of the fields"
    )]
    MissingField(&'static str),
    /// A field has an invalid value: name, reason.
    #[error("the form's field {} is not valid: {reason}", quoted(.0), reason = .1)]
    InvalidField(String, &'static str),
    /// An unsupported field that could change what is stored.
    #[error("the form's field {} is not supported; leave it out", quoted(.0))]
    UnsupportedField(String),
    /// The policy document cannot be parsed.
    #[error("Invalid Policy: {0}")]
    PolicyDocument(String),
    /// The policy has expired.
    #[error("Invalid according to Policy: Policy expired")]
    Expired,
    /// A condition of the policy is not met: operator, field.
    #[error("Invalid according to Policy: Policy Condition failed: [\"{0}\", \"${1}\"]")]
    ConditionFailed(&'static str, String),
    /// A field is not covered by any condition of the policy.
    #[error("Invalid according to Policy: Extra input fields: {0}")]
    ExtraField(String),
    /// The file is shorter than the policy allows: minimum in bytes.
    #[error("Your proposed upload is smaller than the minimum allowed size of {0} bytes")]
    TooSmall(u64),
    /// The file is longer than the policy allows: maximum in bytes.
    #[error("Your proposed upload exceeds the maximum allowed size of {0} bytes")]
    TooLarge(u64),
}

impl PostError {
    /// The error response that S3 sends in this case.
    #[must_use]
    pub fn s3_error(&self) -> S3Error {
        S3Error::new(self.code(), format!("{self}."))
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::Boundary | Self::Malformed(_) => ErrorCode::MalformedPOSTRequest,
            Self::TooMuchBeforeFile(..) => ErrorCode::MaxPostPreDataLengthExceededError,
            Self::NumberOfFiles(_) => ErrorCode::IncorrectNumberOfFilesInPostRequest,
            Self::DuplicateField(_)
            | Self::ControlCharacter(_)
            | Self::MissingField(_)
            | Self::InvalidField(..) => ErrorCode::InvalidArgument,
            Self::UnsupportedField(_) => ErrorCode::NotImplemented,
            Self::PolicyDocument(_) => ErrorCode::InvalidPolicyDocument,
            Self::Expired | Self::ConditionFailed(..) | Self::ExtraField(_) => {
                ErrorCode::AccessDenied
            }
            Self::TooSmall(_) => ErrorCode::EntityTooSmall,
            Self::TooLarge(_) => ErrorCode::EntityTooLarge,
        }
    }
}
