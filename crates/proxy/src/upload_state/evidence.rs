//! Evidence that an upload has ended, which the removal of leftovers requires.
//!
//! An upload's absence from a list proves nothing: some servers list uploads from a cache that is
//! empty after a restart or at another node. The state therefore names its upload, and the backend
//! is asked about exactly that one. Only `NoSuchUpload` counts. Ceph's gateway (16) returns
//! `NoSuchKey` instead, which counts if its list of uploads under that key does not show it either.
//!
//! The name in a state is not sealed, but the folder's name is its hash: an attacker cannot
//! redirect the question to another upload than the one that the folder was made for.
//!
//! A folder without a state is a leftover: the state is written before the client learns of the
//! upload, and removed last.

use http::{Method, StatusCode};
use s3proxy_envelope::multipart::{SealedUploadState, UploadName};
use s3proxy_protocol::xml::uploads::ListedUpload;

use crate::backend::Request;
use crate::failure::{Failure, Outcome};
use crate::objects::call::read_bounded;
use crate::upload_state::bucket::{Bucket, parameter};
use crate::upload_state::staged::folders;
use crate::upload_state::state::MAX_STATE_BYTES;

/// Knowledge about the upload that a folder belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// The upload has ended.
    Ended,
    /// The backend still has the upload.
    InProgress,
    /// The state names no upload (earlier versions wrote none), or cannot be read.
    Nameless,
}

/// The upload that a folder's state names.
pub(crate) enum StateOwner {
    Upload(UploadName),
    /// The state names none, or cannot be read.
    Nobody,
    /// There is no state.
    Gone,
}

/// One folder of state.
pub(crate) struct StateFolder<'a> {
    /// Bucket that contains the folder.
    pub(crate) place: &'a Bucket,
    /// Configured state prefix.
    pub(crate) prefix: &'a str,
    /// Name of the folder: the hash of the upload.
    pub(crate) id: &'a str,
}

impl StateFolder<'_> {
    /// Reads the state, and asks the backend about the upload that it names.
    pub(crate) async fn evidence(&self) -> Outcome<Evidence> {
        match self.named().await? {
            StateOwner::Gone => Ok(Evidence::Ended),
            StateOwner::Nobody => Ok(Evidence::Nameless),
            StateOwner::Upload(upload) => self.ask_for(&upload).await,
        }
    }

    /// Reads which upload the state names.
    pub(crate) async fn named(&self) -> Outcome<StateOwner> {
        let key = format!("{}{}/state", folders(self.prefix), self.id);
        let state = match self
            .place
            .send(self.place.request(Method::GET, Some(&key)))
            .await
        {
            Ok(backed) => read_bounded(backed.body, MAX_STATE_BYTES).await,
            Err(failure) if is(&failure, "NoSuchKey") => return Ok(StateOwner::Gone),
            Err(failure) => return Err(failure),
        };
        let state = match state {
            Ok(state) => state,
            Err(Failure::Unusable(_)) => return Ok(StateOwner::Nobody),
            Err(failure) => return Err(failure),
        };
        Ok(named_upload(&state, self.id).map_or(StateOwner::Nobody, StateOwner::Upload))
    }

    async fn ask_for(&self, upload: &UploadName) -> Outcome<Evidence> {
        let (bucket, key) = (
            Some(upload.bucket.as_str()),
            Some(upload.object_key.as_str()),
        );
        let mut request = Request::new(Method::GET, bucket, key);
        request.service = self.place.service().cloned();
        request.query = vec![
            parameter("uploadId", &upload.upload_id),
            parameter("max-parts", "1"),
        ];
        match self.place.send(request).await {
            Ok(_) => Ok(Evidence::InProgress),
            Err(failure) if is(&failure, "NoSuchUpload") => Ok(Evidence::Ended),
            Err(failure) if is(&failure, "NoSuchKey") => self.look_for(upload).await,
            Err(failure) => Err(failure),
        }
    }

    async fn look_for(&self, upload: &UploadName) -> Outcome<Evidence> {
        // No early end: the list must be complete before absence counts.
        let bucket = self.place.named(&upload.bucket);
        let mut evidence = Evidence::Ended;
        let see = |listed: &ListedUpload| {
            if listed.upload_id == upload.upload_id {
                evidence = Evidence::InProgress;
            }
        };
        bucket
            .each_upload_under(Some(&upload.object_key), see)
            .await?;
        Ok(evidence)
    }
}

/// The upload that a state names, if the folder was made for it.
pub(crate) fn named_upload(state: &[u8], id: &str) -> Option<UploadName> {
    let upload = SealedUploadState::parse(state).ok()?.upload?;
    // A state that was copied into another folder must not decide about that folder.
    (upload.hash().id() == id).then_some(upload)
}

/// Whether the backend returned this code with a 404. One from an intermediary does not count.
fn is(failure: &Failure, code: &str) -> bool {
    matches!(failure, Failure::Answer(answer)
        if answer.status == StatusCode::NOT_FOUND && answer.document.code == code)
}
