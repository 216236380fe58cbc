//! Names that enter bindings and hashes, each with a type of its own.
//!
//! A bucket in the place of a key would bind a data key to another object. With these types such
//! an exchange does not compile. The text is used as it is: whether a name is valid is not decided
//! here.

/// Name of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketStr<'a>(pub &'a str);

/// Key of an object, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyStr<'a>(pub &'a str);

/// Id of a multipart upload, as the backend assigned it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadIdStr<'a>(pub &'a str);
