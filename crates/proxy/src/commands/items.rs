//! A command's own request about one object. The steps of `execute` serve requests, so a command
//! makes one itself, without a client and without a line in the log.

use std::sync::Arc;

use http::HeaderMap;
use s3proxy_protocol::name::{BucketName, ObjectKey};
use s3proxy_protocol::operation::Operation;

use super::listing::{Age, Item};
use crate::auth::Authenticated;
use crate::execute::source::Source;
use crate::execute::{Job, Outcome, Parts};
use crate::record::RequestRecord;

/// One object, with everything that its steps need.
pub(crate) struct Errand {
    parts: Arc<Parts>,
    request: Arc<Authenticated>,
    record: Arc<RequestRecord>,
}

impl Errand {
    /// Refuses names that no backend has.
    pub(crate) fn new(parts: &Arc<Parts>, operation: Operation, item: &Item) -> Outcome<Self> {
        let bucket = BucketName::new(item.bucket.as_str())?;
        let key = ObjectKey::new(item.key.as_str())?;
        Ok(Self {
            parts: Arc::clone(parts),
            request: Arc::new(Authenticated::of_operator(operation, bucket, key)),
            record: Arc::new(RequestRecord::untold()),
        })
    }

    pub(crate) fn job(&self) -> Job<'_> {
        Job {
            parts: &self.parts,
            request: &self.request,
            record: &self.record,
        }
    }
}

impl Item {
    /// Returns the object as a source to read from.
    pub(crate) fn source(&self) -> Source<'_> {
        Source {
            bucket: &self.bucket,
            object_key: &self.key,
            version: self.version.as_deref(),
            headers: HeaderMap::new(),
        }
    }

    /// Returns the object as a source to be changed. A version that was current when it was listed
    /// may not be current any more, so the current one is read.
    pub(crate) fn source_by_now(&self) -> Source<'_> {
        let version = match self.age {
            Age::Current => None,
            Age::Old => self.version.as_deref(),
        };
        Source {
            version,
            ..self.source()
        }
    }
}
