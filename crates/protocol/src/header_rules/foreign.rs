//! `x-amz-*` headers that an operation does not have: ignored where S3 ignores them and nothing is
//! lost, refused where they may carry meaning.

use http::Method;
use http::header::{HeaderMap, HeaderName};

use super::{
    ATTRIBUTES, CONFIGURATION, CONTENT, COPY_SOURCE, CUSTOMER_KEY, DELETION, DIRECTIVES,
    ENCRYPTION, ENDS_HERE, EVERY, GRANTS, METADATA_PREFIX, Names, OBJECT_LOCK, SOURCE_CUSTOMER_KEY,
    STORAGE, is_listed, writes_object_data,
};
use crate::error::{ErrorCode, S3Error};
use crate::operation::{Kind, Operation};
use crate::quote::quoted;

/// What becomes of an `x-amz-*` header that an operation does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Foreign {
    /// Any of them may change the stored object: all are refused.
    Refused,
    /// S3 ignores those of its other operations; one that nobody knows may be an option of a later
    /// S3, and the change would be made without it.
    IgnoredIfKnown,
    /// The response shows what was read, but a condition must not be dropped.
    IgnoredUnlessCondition,
    /// The operation is refused itself, or asks about another request.
    Ignored,
}

fn foreign(operation: Operation) -> Foreign {
    if writes_object_data(operation) {
        return Foreign::Refused;
    }
    match operation.kind() {
        Kind::Unsupported | Kind::Preflight => Foreign::Ignored,
        _ if [Method::GET, Method::HEAD].contains(operation.method()) => {
            Foreign::IgnoredUnlessCondition
        }
        _ => Foreign::IgnoredIfKnown,
    }
}

/// Whether S3 refuses encryption headers with an operation: the object's encryption was chosen
/// when it, or its upload, was created.
fn refuses_encryption(operation: Operation) -> bool {
    matches!(
        operation.kind(),
        Kind::GetObject
            | Kind::HeadObject
            | Kind::GetObjectAttributes
            | Kind::UploadPart
            | Kind::UploadPartCopy
            | Kind::CompleteMultipartUpload
    )
}

/// A condition of S3's own, as future ones will be named too.
fn is_condition(name: &str) -> bool {
    name.starts_with("x-amz-if-")
}

/// Whether some operation of S3 has the header.
fn is_of_s3(name: &str) -> bool {
    const LISTS: &[Names] = &[
        EVERY,
        CONTENT,
        STORAGE,
        GRANTS,
        ENCRYPTION,
        CUSTOMER_KEY,
        SOURCE_CUSTOMER_KEY,
        OBJECT_LOCK,
        COPY_SOURCE,
        DIRECTIVES,
        DELETION,
        ATTRIBUTES,
        CONFIGURATION,
    ];
    LISTS.iter().any(|names| names.contains(&name))
        || name.starts_with(METADATA_PREFIX)
        || name.starts_with("x-amz-checksum-")
        || [
            "x-amz-copy-source-range",
            "x-amz-optional-object-attributes",
        ]
        .contains(&name)
}

/// Judges the `x-amz-*` headers that an operation does not have.
///
/// Writes of objects refuse all of them with `NotImplemented`; deletions and changes of
/// configuration those that no operation of S3 has; reads and listings conditions only. Encryption
/// headers are refused with `InvalidArgument` where S3 does.
pub(crate) fn refuse_unknown(operation: Operation, headers: &HeaderMap) -> Result<(), S3Error> {
    let foreign_names = headers.keys().map(HeaderName::as_str).filter(|name| {
        name.starts_with("x-amz-") && !ENDS_HERE.contains(name) && !is_listed(operation, name)
    });
    for name in foreign_names {
        if ENCRYPTION.contains(&name) && refuses_encryption(operation) {
            return Err(S3Error::new(
                ErrorCode::InvalidArgument,
                format!("{name} header is not supported for this operation."),
            ));
        }
        let is_refused = match foreign(operation) {
            Foreign::Refused => true,
            Foreign::IgnoredIfKnown => !is_of_s3(name),
            Foreign::IgnoredUnlessCondition => is_condition(name),
            Foreign::Ignored => false,
        };
        if is_refused {
            return Err(unknown(operation, name));
        }
    }
    Ok(())
}

fn unknown(operation: Operation, name: &str) -> S3Error {
    if name == "x-amz-write-offset-bytes" {
        return S3Error::new(
            ErrorCode::NotImplemented,
            "Appending to an object is not supported: an encrypted object is written whole.",
        );
    }
    S3Error::new(
        ErrorCode::NotImplemented,
        format!(
            "The header {} is not supported for {operation:?}.",
            quoted(name)
        ),
    )
}
