//! Works around faults of the embedded store by changing requests before it handles them.
//!
//! - A suffix range longer than the object means the whole object (RFC 9110, section 14.1.2). The
//!   store fails to seek there, and the proxy requests longer suffixes than the client did.
//! - A listing requested with `encoding-type=url` is announced as URL-encoded, but its keys are
//!   not. The proxy would try to decode a key like `100%`. `encoding-type` is therefore removed.
//!
//! The store's access check is the hook that runs before a request is handled.

use async_trait::async_trait;
use s3s::access::S3Access;
use s3s::dto::{GetObjectInput, HeadObjectInput, ListObjectsInput, ListObjectsV2Input, Range};
use s3s::{S3, S3Request, S3Result};
use s3s_fs::FileSystem;

/// Access check that permits everything to signed requests, as the store's own check does.
pub(super) struct Repairs {
    /// A second handle to the same files, to look up an object's length.
    pub(super) files: FileSystem,
}

impl Repairs {
    async fn object_bytes(&self, request: &S3Request<GetObjectInput>) -> S3Result<u64> {
        let described = request.clone().map_input(|input| HeadObjectInput {
            bucket: input.bucket,
            key: input.key,
            ..HeadObjectInput::default()
        });
        let answer = self.files.head_object(described).await?;
        let length = answer.output.content_length.unwrap_or_default();
        Ok(u64::try_from(length).expect("a file's length is not negative"))
    }
}

#[async_trait]
impl S3Access for Repairs {
    async fn get_object(&self, request: &mut S3Request<GetObjectInput>) -> S3Result<()> {
        if let Some(Range::Suffix { length }) = request.input.range {
            let length = length.min(self.object_bytes(request).await?);
            request.input.range = Some(Range::Suffix { length });
        }
        Ok(())
    }

    async fn list_objects(&self, request: &mut S3Request<ListObjectsInput>) -> S3Result<()> {
        request.input.encoding_type = None;
        Ok(())
    }

    async fn list_objects_v2(&self, request: &mut S3Request<ListObjectsV2Input>) -> S3Result<()> {
        request.input.encoding_type = None;
        Ok(())
    }
}
