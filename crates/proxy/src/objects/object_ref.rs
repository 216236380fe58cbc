//! Names of stored objects.

use http::Method;
use s3proxy_envelope::multipart::{UploadHash, UploadName};
use s3proxy_envelope::names::{BucketStr, KeyStr, UploadIdStr};
use s3proxy_protocol::error::S3Error;
use s3proxy_protocol::name::{BucketName, ObjectKey};

use crate::backend::Request;

/// An object at the backend, or one version of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ObjectRef<'a> {
    pub(crate) bucket: &'a BucketName,
    pub(crate) key: &'a ObjectKey,
    /// Version id; without one the current version is meant.
    pub(crate) version: Option<&'a str>,
}

/// Bucket and key of an object, owned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ObjectName {
    pub(crate) bucket: BucketName,
    pub(crate) key: ObjectKey,
}

impl ObjectName {
    /// Validates names that are not a client's, such as listed ones. Refuses names that no backend
    /// has.
    pub(crate) fn parse(bucket: &str, key: &str) -> Result<Self, S3Error> {
        Ok(Self {
            bucket: BucketName::new(bucket)?,
            key: ObjectKey::new(key)?,
        })
    }

    /// The object's current version.
    pub(crate) fn current(&self) -> ObjectRef<'_> {
        self.at(None)
    }

    /// A version of the object; the current one without an id.
    pub(crate) fn at<'a>(&'a self, version: Option<&'a str>) -> ObjectRef<'a> {
        ObjectRef {
            bucket: &self.bucket,
            key: &self.key,
            version,
        }
    }
}

impl<'a> ObjectRef<'a> {
    /// Another version of the object; the current one without an id.
    pub(crate) fn at(self, version: Option<&'a str>) -> Self {
        Self { version, ..self }
    }

    /// Bucket and key, without the version.
    pub(crate) fn name(self) -> ObjectName {
        ObjectName {
            bucket: self.bucket.clone(),
            key: self.key.clone(),
        }
    }

    /// Makes a request for the object, without headers.
    pub(crate) fn request(self, method: Method) -> Request {
        let mut request = Request::new(method, Some(self.bucket.as_str()), Some(self.key.as_str()));
        if let Some(version) = self.version {
            let version = ("versionId".to_owned(), Some(version.to_owned()));
            request.query.push(version);
        }
        request
    }

    /// Hash of an upload to the object.
    pub(crate) fn upload_hash(self, upload_id: &str) -> UploadHash {
        UploadHash::new(
            BucketStr(self.bucket.as_str()),
            KeyStr(self.key.as_str()),
            UploadIdStr(upload_id),
        )
    }

    /// Full name of an upload to the object.
    pub(crate) fn upload_name(self, upload_id: &str) -> UploadName {
        UploadName {
            bucket: self.bucket.as_str().to_owned(),
            object_key: self.key.as_str().to_owned(),
            upload_id: upload_id.to_owned(),
        }
    }
}
