//! Every operation of S3's API, and which one a request is.
//!
//! [`Operation`] is closed, and so is what selects it: method, whether a bucket and a key are
//! named, one sub-resource, and the parameters that may stand beside it. [`classify`] refuses
//! everything else with `NotImplemented`, since an operation nobody here knows may carry object
//! data around the encryption. The table stands in `table.rs`, one line an operation; operations
//! that cannot work on sealed data are in it, as [`Kind::Unsupported`], so that they have a name
//! in logs and grants.
//!
//! Absent: older spellings of operations that are the same on the wire (`PutBucketLifecycle`,
//! `GetBucketNotification`), and what other AWS services answer under their own hosts.

mod answers;
mod classify;
mod documents;
mod table;

pub use answers::{SentRequest, successes};
pub use classify::{classify, forwarded_parameters};
pub use documents::{AnswerDocument, Presence, RequestDocument};
pub use table::{Level, Operation, Selector, has_parameter};

/// What the proxy does for an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Goes on without a body.
    Forward,
    /// Goes on with a document that is read, bounded, and written anew.
    ForwardXml,
    /// A CORS preflight: goes on unsigned, rate-limited.
    Preflight,
    /// The list of buckets, filtered by grants.
    ListBuckets,
    /// A bucket's end: the state prefix is cleared first.
    DeleteBucket,
    /// A page of objects or versions, rewritten in plaintext terms.
    ListObjects,
    /// Uploads in progress.
    ListMultipartUploads,
    /// Parts of an upload in progress.
    ListParts,
    /// A read that is opened.
    GetObject,
    /// The head of such a read.
    HeadObject,
    /// Sizes, ETag, parts and checksums in plaintext terms.
    GetObjectAttributes,
    /// A write that is sealed.
    PutObject,
    /// The same from a browser's form.
    PostObject,
    /// A server-side copy under a re-wrapped key.
    CopyObject,
    /// One deletion, with its conditions mapped.
    DeleteObject,
    /// A batch of deletions, judged key by key.
    DeleteObjects,
    /// Goes on like [`Kind::ForwardXml`], unless its body asks for a SELECT.
    RestoreObject,
    /// Starts an upload in parts.
    CreateMultipartUpload,
    /// A part that is sealed.
    UploadPart,
    /// A part whose source is opened and sealed again.
    UploadPartCopy,
    /// Ends an upload.
    CompleteMultipartUpload,
    /// Gives an upload up.
    AbortMultipartUpload,
    /// Cannot work on sealed data, or is a plain write to a backend that does not know it:
    /// `NotImplemented`.
    Unsupported,
}

/// Which grant an operation needs. Copies need [`Access::Read`] on their source besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Access {
    /// The content of an object, or what is known about it.
    Read,
    /// Making or changing an object.
    Write,
    /// Removing an object.
    Delete,
    /// Names in a bucket, and whether and where the bucket is.
    List,
    /// Configuration of a bucket, buckets themselves, and ACLs.
    Admin,
}

#[cfg(test)]
mod tests;
