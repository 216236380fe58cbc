//! Works around faults of the embedded store by changing requests before it handles them.
//!
//! - A suffix range longer than the object is all of the object (RFC 9110, section 14.1.2). The
//!   store fails to seek there, and the proxy asks for longer suffixes than the client did.
//! - A listing asked for with `encoding-type=url` says that its keys are URL-encoded, but they are
//!   not. The proxy would decode `100%`, which cannot be decoded. The store is not asked for it.
//! - A key that is the name of a folder has no object. The store fails to read the folder, with 500;
//!   clients that look for an object before they list the folder expect 404.
//!
//! The store's access check is the hook that runs before a request is handled.

use std::path::{Component, Path, PathBuf};

use async_trait::async_trait;
use s3s::access::S3Access;
use s3s::dto::{GetObjectInput, HeadObjectInput, ListObjectsInput, ListObjectsV2Input, Range};
use s3s::{S3, S3Request, S3Result, s3_error};
use s3s_fs::FileSystem;

/// Access check that permits everything to signed requests, as the store's own check does.
pub(super) struct StoreWorkarounds {
    /// A second handle to the same files, to look up an object's length.
    pub(super) files: FileSystem,
    /// The store's folder, which has one folder for each bucket.
    pub(super) root: PathBuf,
}

impl StoreWorkarounds {
    fn refuse_folder(&self, bucket: &str, key: &str) -> S3Result<()> {
        let key = Path::new(key);
        // The store refuses other keys itself.
        let stays_inside = key
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if stays_inside && self.root.join(bucket).join(key).is_dir() {
            return Err(s3_error!(NoSuchKey));
        }
        Ok(())
    }

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
impl S3Access for StoreWorkarounds {
    async fn head_object(&self, request: &mut S3Request<HeadObjectInput>) -> S3Result<()> {
        self.refuse_folder(&request.input.bucket, &request.input.key)
    }

    async fn get_object(&self, request: &mut S3Request<GetObjectInput>) -> S3Result<()> {
        self.refuse_folder(&request.input.bucket, &request.input.key)?;
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
