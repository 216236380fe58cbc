//! Why a form is refused, and what S3 answers to it.
//!
//! Every variant is the client's fault. No variant carries the value of a field: values may be
//! tokens, and the text of an error reaches the log.

use crate::error::{ErrorCode, S3Error};
use crate::quote::quoted;

/// Why a form is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// `Content-Type` names no usable boundary.
    #[error("the Content-Type must be multipart/form-data with one boundary of 1 to 70 characters")]
    Boundary,
    /// The body is not the form that it should be.
    #[error("The body of your POST request is not well-formed multipart/form-data: {0}")]
    Malformed(&'static str),
    /// Too much stands before the file.
    #[error(
        "Your POST request fields preceding the upload file were too large: at most {0} bytes in at \
         most {1} fields"
    )]
    TooMuchBeforeFile(usize, usize),
    /// No file, or more than one, or something behind it.
    #[error("POST requires exactly one file upload per request: {0}")]
    NumberOfFiles(&'static str),
    /// The same field twice.
    #[error("the form has the field {} more than once; names count without case", quoted(.0))]
    DuplicateField(String),
    /// A line break, or another control character, in a value.
    #[error("the value of the form's field {} must have no line break and no control character", quoted(.0))]
    ControlCharacter(String),
    /// A field that every form needs.
    #[error(
        "Bucket POST must contain a field named '{0}'. If it is specified, please check the order \
         of the fields"
    )]
    MissingField(&'static str),
    /// A field whose value means nothing here.
    #[error("the form's field {} is not valid: {reason}", quoted(.0), reason = .1)]
    InvalidField(String, &'static str),
    /// A field that would change what is stored in a way that is not known here.
    #[error("the form's field {} is not supported; leave it out", quoted(.0))]
    UnsupportedField(String),
    /// The policy cannot be read.
    #[error("Invalid Policy: {0}")]
    PolicyDocument(String),
    /// The policy's time is over.
    #[error("Invalid according to Policy: Policy expired")]
    Expired,
    /// A condition does not hold.
    #[error("Invalid according to Policy: Policy Condition failed: [\"{0}\", \"${1}\"]")]
    ConditionFailed(&'static str, String),
    /// A field that no condition is about.
    #[error("Invalid according to Policy: Extra input fields: {0}")]
    ExtraField(String),
    /// The file is shorter than the policy allows.
    #[error("Your proposed upload is smaller than the minimum allowed size of {0} bytes")]
    TooSmall(u64),
    /// The file is longer than the policy allows.
    #[error("Your proposed upload exceeds the maximum allowed size of {0} bytes")]
    TooLarge(u64),
}

impl PostError {
    /// What S3 answers.
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
