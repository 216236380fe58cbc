//! The operations of the S3 API, and the classification of requests.
//!
//! [`Operation`] is a closed list, and so are the properties that select one: method, presence of a
//! bucket and a key, one sub-resource, and the parameters allowed beside it. [`classify`] refuses
//! everything else with `NotImplemented`, since an unknown operation could carry object data past
//! the encryption. `table.rs` has one row per operation. Operations that cannot work on sealed data
//! are in the table as [`Kind::Unsupported`], so that logs and grants can name them.
//!
//! Not in the table: older spellings of operations that are the same on the wire
//! (`PutBucketLifecycle`, `GetBucketNotification`), and operations of other AWS services under
//! their own hosts.

mod answers;
mod classify;
mod documents;
mod table;

pub use answers::{SentRequest, successes};
pub use classify::{classify, forwarded_parameters};
pub use documents::{AnswerDocument, Presence, RequestDocument};
pub use table::{Level, Operation, Selector, has_parameter};

/// How the proxy handles an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Forwarded without a body.
    Forward,
    /// Forwarded with a document that is parsed, bounded and serialised again.
    ForwardXml,
    /// CORS preflight: forwarded unsigned and rate-limited.
    Preflight,
    /// List of buckets, filtered by grants.
    ListBuckets,
    /// Deletion of a bucket; the state prefix is cleared first.
    DeleteBucket,
    /// A page of objects or versions, rewritten in plaintext terms.
    ListObjects,
    /// List of uploads in progress.
    ListMultipartUploads,
    /// List of the parts of an upload in progress.
    ListParts,
    /// Read of an object, which is opened (decrypted).
    GetObject,
    /// Headers of an object as [`Kind::GetObject`] would return them.
    HeadObject,
    /// Sizes, ETag, parts and checksums of an object in plaintext terms.
    GetObjectAttributes,
    /// Write of an object, which is sealed (encrypted).
    PutObject,
    /// Upload by a browser's form; sealed like [`Kind::PutObject`].
    PostObject,
    /// Server-side copy with a rewrapped key.
    CopyObject,
    /// Deletion of one object, with its conditions mapped.
    DeleteObject,
    /// Batch of deletions, authorised key by key.
    DeleteObjects,
    /// Forwarded like [`Kind::ForwardXml`], unless the body asks for a SELECT.
    RestoreObject,
    /// Start of a multipart upload.
    CreateMultipartUpload,
    /// A part, which is sealed.
    UploadPart,
    /// A part copied from an object, which is opened and sealed again.
    UploadPartCopy,
    /// Completion of a multipart upload.
    CompleteMultipartUpload,
    /// Cancellation of a multipart upload.
    AbortMultipartUpload,
    /// Refused with `NotImplemented`: the operation cannot work on sealed data, or a backend that
    /// does not know it would treat it as a plain write.
    Unsupported,
}

/// Grant that an operation requires. Copies also need [`Access::Read`] on their source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Access {
    /// Read an object's content, metadata or tags.
    Read,
    /// Create or change an object.
    Write,
    /// Delete an object.
    Delete,
    /// List the names in a bucket, and see the bucket's existence and location.
    List,
    /// Manage buckets, their configuration and ACLs.
    Admin,
}

#[cfg(test)]
mod tests;
