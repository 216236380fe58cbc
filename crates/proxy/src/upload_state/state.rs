//! State of an upload: stored when it is created, read by any replica that needs it, and cached
//! there.
//!
//! The state object is stored next to the data and holds the envelope of the future object; its
//! sealed part holds data for later requests. A state that is missing, or does not open for this
//! upload, is `NoSuchUpload`: ids are the backend's, and a client can send any text as one.
//!
//! The state is written with the upload's encryption headers except for an SSE-C key, since not
//! every request that reads it sends that key (AbortMultipartUpload does not). It is sealed anyway.
//! Staged parts are written with all of the headers. Object-lock headers are not sent. A bucket's
//! default retention may still apply to state objects, which then stay as long.
//!
//! The cache only saves requests: another replica may end the upload at any time, which the
//! backend's response then shows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use moka::sync::Cache;
use s3proxy_envelope::dek::Dek;
use s3proxy_envelope::header::Envelope;
use s3proxy_envelope::multipart::{Mark, PartNumber, SealedUploadState, UploadHash, UploadState};
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::ids;

use crate::backend::{Request, RequestBody};
use crate::failure::{Failure, Outcome};
use crate::keys::KeyError;
use crate::objects::call::{expect_success, read_bounded};
use crate::objects::{ObjectName, ObjectRef, StoreCall};
use crate::stored_fault::StoredFault;
use crate::telemetry::audit::Stored;
use crate::telemetry::metrics;
use crate::upload_state::part_checksums::PartChecksums;
use crate::upload_state::staged::StatePlace;
use crate::upload_state::upload_checksum::UploadChecksum;
use crate::upload_state::{UploadCaches, UploadCall};

/// Longest state that is read, in bytes: an envelope of 16 KiB and a few headers.
pub(crate) const MAX_STATE_BYTES: usize = 64 * 1024;

/// Capacity of the cache, in bytes.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;

/// Time after which an unused upload is evicted, with its key.
const CACHE_IDLE: Duration = Duration::from_hours(1);

/// Memory of one number in the set of staged parts, in bytes, its share of tree nodes included.
const STAGED_BYTES: usize = 8;

/// Bytes of a cache entry besides its texts.
const ENTRY_BYTES: usize = 1024;

const ENCRYPTION_PREFIX: &str = "x-amz-server-side-encryption";
const CUSTOMER_KEY_PREFIX: &str = "x-amz-server-side-encryption-customer-";
const CUSTOMER_KEY_DIGEST: &str = "x-amz-server-side-encryption-customer-key-md5";

/// An upload in progress, with its data key.
pub(crate) struct OpenUpload {
    /// Upload id at the backend.
    pub(crate) id: String,
    /// The object that the upload makes.
    pub(crate) object: ObjectName,
    pub(crate) place: StatePlace,
    /// Envelope of the future object.
    pub(crate) envelope: Envelope,
    pub(crate) dek: Dek,
    pub(crate) checksum: Option<UploadChecksum>,
    /// Sealed part of the state. It may contain an SSE-C key and is zeroized on drop.
    state: UploadState,
    /// Part numbers that are known here to be staged.
    staged: Mutex<BTreeSet<PartNumber>>,
    /// Stored size of part number 1, if parts must be equal.
    first_size: OnceLock<u64>,
    /// Parts with which this replica completed the upload, to recognize a repeated Complete.
    completed: OnceLock<Vec<(PartNumber, Mark)>>,
    /// Held by a Complete in this replica: two would overwrite each other's tail.
    pub(crate) completing: tokio::sync::Mutex<()>,
}

impl OpenUpload {
    fn new(
        object: ObjectName,
        place: StatePlace,
        id: &str,
        envelope: Envelope,
        dek: Dek,
        state: UploadState,
    ) -> Option<Self> {
        let checksum = match (&state.checksum_algorithm, &state.checksum_type) {
            (None, None) => None,
            (Some(algorithm), Some(kind)) => Some(UploadChecksum::kept(algorithm, kind)?),
            (Some(_), None) | (None, Some(_)) => return None,
        };
        Some(Self {
            id: id.to_owned(),
            object,
            place,
            envelope,
            dek,
            checksum,
            state,
            staged: Mutex::default(),
            first_size: OnceLock::new(),
            completed: OnceLock::new(),
            completing: tokio::sync::Mutex::default(),
        })
    }

    /// Headers of the SSE-C key, for requests that read or write objects encrypted with it.
    pub(crate) fn customer_key(&self) -> HeaderMap {
        self.kept(|name| name.starts_with(CUSTOMER_KEY_PREFIX))
    }

    /// All encryption headers that objects of this upload are written with.
    pub(crate) fn encryption(&self) -> HeaderMap {
        self.kept(|_| true)
    }

    fn kept(&self, wanted: fn(&str) -> bool) -> HeaderMap {
        self.state
            .headers
            .iter()
            .filter(|(name, _)| wanted(name))
            .filter_map(|(name, value)| {
                let name = HeaderName::try_from(name.as_str()).ok()?;
                let mut value = HeaderValue::from_bytes(value).ok()?;
                // It may be an SSE-C key, which must not appear in debug output.
                value.set_sensitive(true);
                Some((name, value))
            })
            .collect()
    }

    /// Refuses a part without the upload's SSE-C key, as S3 does. The backend cannot check this for
    /// a staged part.
    pub(crate) fn refuse_other_customer_key(&self, headers: &HeaderMap) -> Result<(), S3Error> {
        let kept = self.state.headers.get(CUSTOMER_KEY_DIGEST);
        let sent = headers.get(CUSTOMER_KEY_DIGEST).map(HeaderValue::as_bytes);
        match (kept, sent) {
            (None, None) => Ok(()),
            (Some(kept), Some(sent)) if kept.as_slice() == sent => Ok(()),
            (None, Some(_)) => Err(S3Error::new(
                ErrorCode::InvalidRequest,
                "The multipart upload was created without a customer's key; send none with its \
                 parts.",
            )),
            (Some(_), _) => Err(S3Error::new(
                ErrorCode::InvalidRequest,
                "The multipart upload initiate requested encryption. Subsequent part requests \
                 must include the appropriate encryption parameters.",
            )),
        }
    }

    /// Marks the upload as completed with these parts.
    pub(crate) fn end(&self, parts: Vec<(PartNumber, Mark)>) {
        let _ = self.completed.set(parts);
    }

    /// Parts with which this replica completed the upload.
    pub(crate) fn completed(&self) -> Option<&[(PartNumber, Mark)]> {
        self.completed.get().map(Vec::as_slice)
    }

    /// Stored size of part number 1, if it is known here.
    pub(crate) fn first_size(&self) -> Option<u64> {
        self.first_size.get().copied()
    }

    /// Records the stored size of part number 1. Only the first value is kept.
    pub(crate) fn learnt_first_size(&self, size: u64) {
        let _ = self.first_size.set(size);
    }

    /// Records that the part of this number is staged.
    pub(crate) fn saw_staged(&self, number: PartNumber) {
        self.known_staged().insert(number);
    }

    /// Takes the number out of the known staged parts, if it is among them.
    pub(crate) fn take_staged(&self, number: PartNumber) -> Option<PartNumber> {
        self.known_staged().take(&number)
    }

    fn known_staged(&self) -> std::sync::MutexGuard<'_, BTreeSet<PartNumber>> {
        // Poison is ignored: set operations are complete or did not happen.
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn memory(&self) -> u32 {
        let headers = &self.state.headers;
        let texts: usize = headers
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        let private = self.envelope.private.as_ref().map_or(0, Vec::len);
        let staged = self.known_staged().len() * STAGED_BYTES;
        let completed = self.completed().map_or(0, size_of_val::<[_]>);
        let names = self.id.len() + self.object.key.as_str().len();
        let bytes = ENTRY_BYTES + names + texts + private + staged + completed;
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

/// Uploads that this replica handled recently.
pub(crate) struct UploadCache {
    open: Cache<UploadHash, Arc<OpenUpload>>,
    pub(crate) part_checksums: PartChecksums,
}

impl UploadCache {
    pub(crate) fn new() -> Self {
        let cache = Cache::builder()
            .max_capacity(CACHE_BYTES)
            .time_to_idle(CACHE_IDLE)
            .weigher(|_, upload: &Arc<OpenUpload>| upload.memory());
        Self {
            open: cache.build(),
            part_checksums: PartChecksums::new(),
        }
    }

    /// Weighs an upload again after it grew: the cache weighs an entry only when it is inserted.
    pub(crate) fn reweigh(&self, upload: &OpenUpload) {
        let hash = upload.place.hash;
        if let Some(kept) = self.open.get(&hash) {
            self.open.insert(hash, kept);
        }
    }
}

/// Headers of a new upload that later requests need.
pub(crate) fn headers_to_keep(outgoing: &HeaderMap) -> BTreeMap<String, Vec<u8>> {
    outgoing
        .iter()
        .filter(|(name, _)| name.as_str().starts_with(ENCRYPTION_PREFIX))
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect()
}

/// Makes a request for an object in the upload's folder.
pub(crate) fn request(
    call: &StoreCall<'_>,
    place: &StatePlace,
    method: Method,
    key: &str,
) -> Request {
    call.addressed(Request::new(method, Some(&place.bucket), Some(key)))
}

fn state_key(place: &StatePlace) -> String {
    place.hash.state_key(&place.prefix)
}

/// Stores the state of a new upload, and caches it.
pub(crate) async fn store(
    uploads: &UploadCall<'_>,
    object: ObjectRef<'_>,
    upload_id: &str,
    envelope: Envelope,
    dek: Dek,
    state: UploadState,
) -> Outcome<()> {
    let call = &uploads.call;
    let place = StatePlace::new(&call.store.policy, object, upload_id);
    let name = object.upload_name(upload_id);
    let bytes = state.seal(&dek, &envelope, &name);
    let hash = place.hash;
    let mut outgoing = request(call, &place, Method::PUT, &state_key(&place));
    let upload = OpenUpload::new(object.name(), place, upload_id, envelope, dek, state)
        .expect("a new state is of this version");
    // AbortMultipartUpload has to read the state without the client's SSE-C key.
    outgoing.headers = upload.kept(|name| !name.starts_with(CUSTOMER_KEY_PREFIX));
    outgoing.body = RequestBody::Held(Bytes::from(bytes));
    call.expect_success(outgoing).await?;
    uploads.caches.open.open.insert(hash, Arc::new(upload));
    Ok(())
}

/// An upload in progress that receives a part, or completes.
pub(crate) async fn load_for_writing(
    uploads: &UploadCall<'_>,
    object: ObjectRef<'_>,
    upload_id: &str,
) -> Outcome<Arc<OpenUpload>> {
    let upload = load(uploads, object, upload_id).await?;
    let key = &upload.envelope.key_name;
    uploads.call.writes(|| Stored::sealed(key));
    Ok(upload)
}

/// An upload in progress, from the cache or from its state.
pub(crate) async fn load(
    uploads: &UploadCall<'_>,
    object: ObjectRef<'_>,
    upload_id: &str,
) -> Outcome<Arc<OpenUpload>> {
    let place = StatePlace::new(&uploads.call.store.policy, object, upload_id);
    if let Some(upload) = uploads.caches.open.open.get(&place.hash) {
        return match upload.completed() {
            None => Ok(upload),
            // Completed here, even if the backend still lists it for a moment.
            Some(_) => Err(no_such_upload()),
        };
    }
    let hash = place.hash;
    let upload = Arc::new(read(&uploads.call, object, place, upload_id).await?);
    uploads.caches.open.open.insert(hash, Arc::clone(&upload));
    Ok(upload)
}

/// An upload that may have ended, if it is still cached or its state still exists.
pub(crate) async fn remembered(
    uploads: &UploadCall<'_>,
    object: ObjectRef<'_>,
    upload_id: &str,
) -> Option<Arc<OpenUpload>> {
    let call = &uploads.call;
    let place = StatePlace::new(&call.store.policy, object, upload_id);
    match uploads.caches.open.open.get(&place.hash) {
        Some(upload) => Some(upload),
        None => read(call, object, place, upload_id)
            .await
            .ok()
            .map(Arc::new),
    }
}

/// Evicts an upload that has ended, or whose state may be gone.
pub(crate) fn forget(caches: &UploadCaches, hash: &UploadHash) {
    caches.open.open.invalidate(hash);
}

async fn read(
    call: &StoreCall<'_>,
    object: ObjectRef<'_>,
    place: StatePlace,
    upload_id: &str,
) -> Outcome<OpenUpload> {
    let outgoing = request(call, &place, Method::GET, &state_key(&place));
    let response = call.send(outgoing).await?;
    let missing = response.status == StatusCode::NOT_FOUND;
    let backed = match expect_success(response).await {
        Ok(backed) => backed,
        // A missing state bucket is a misconfiguration, not a missing upload.
        Err(failure) if missing && !is_about_bucket(&failure) => return Err(no_such_upload()),
        Err(failure) => return Err(failure),
    };
    let bytes = read_bounded(backed.body, MAX_STATE_BYTES).await?;
    let refused = |reason: &dyn std::fmt::Display| {
        tracing::warn!(%reason, "unusable state of a multipart upload");
        no_such_upload()
    };
    let sealed = SealedUploadState::parse(&bytes).map_err(|error| refused(&error))?;
    let dek = match call
        .store
        .keys
        .unwrap(call.place(object), &sealed.envelope)
        .await
    {
        Ok(dek) => dek,
        // An operator can add the key, list it in the rule or repair the service; then the upload
        // can continue. It must not look as if it were gone.
        Err(
            error @ (KeyError::Missing(_)
            | KeyError::OtherPlace { .. }
            | KeyError::WeakBinding { .. }
            | KeyError::Service { .. }),
        ) => return Err(error.into()),
        // Damaged, or another object's state: to the client the upload does not exist.
        Err(error @ (KeyError::Unwrap | KeyError::Misfit(_))) => return Err(refused(&error)),
    };
    let state = sealed.open(&dek, upload_id).map_err(|error| {
        metrics::open_failed(StoredFault::from(error).kind);
        refused(&error)
    })?;
    OpenUpload::new(object.name(), place, upload_id, sealed.envelope, dek, state)
        .ok_or_else(|| refused(&"its checksum algorithm or type is of another version"))
}

fn is_about_bucket(failure: &Failure) -> bool {
    failure.is_backend_code("NoSuchBucket")
}

/// S3's error for uploads that do not exist or no longer exist.
pub(crate) fn no_such_upload() -> Failure {
    Failure::Refused(ids::no_such_upload())
}

/// Whether the upload has ended, according to the backend or to the proxy.
pub(crate) fn is_gone(failure: &Failure) -> bool {
    failure.code() == Some(ErrorCode::NoSuchUpload.as_str())
}

#[cfg(test)]
mod tests {
    use s3proxy_envelope::dek::Binding;
    use s3proxy_envelope::header::{Flags, Layout};
    use s3proxy_envelope::kek::Kek;
    use s3proxy_envelope::names::{BucketStr, KeyStr, UploadIdStr};

    use super::*;

    fn upload(id: &str) -> OpenUpload {
        let kek = Kek::generate();
        let dek = Dek::generate();
        let binding = Binding::new(
            Layout::Multipart,
            Flags::KEY_BOUND,
            BucketStr("bucket"),
            KeyStr("key"),
        );
        let envelope = Envelope {
            layout: Layout::Multipart,
            key_name: "local:0".to_owned(),
            wrapped_dek: dek.wrap(&kek, &binding),
            head: None,
            flags: Flags::KEY_BOUND,
            private: None,
            encrypted_kek: None,
        };
        let place = StatePlace {
            bucket: "bucket".to_owned(),
            prefix: ".s3proxy/".to_owned(),
            hash: UploadHash::new(BucketStr("bucket"), KeyStr("key"), UploadIdStr(id)),
        };
        let state = UploadState {
            checksum_algorithm: None,
            checksum_type: None,
            headers: BTreeMap::new(),
        };
        let object = ObjectName::parse("bucket", "key").unwrap();
        OpenUpload::new(object, place, id, envelope, dek, state).unwrap()
    }

    #[test]
    fn an_upload_weighs_more_once_it_grew() {
        let cache = UploadCache::new();
        let open = Arc::new(upload("id"));
        cache.open.insert(open.place.hash, Arc::clone(&open));
        let weight = || {
            cache.open.run_pending_tasks();
            cache.open.weighted_size()
        };
        let before = weight();
        let numbers = (1..=10_000).map(|number| PartNumber::new(number).unwrap());
        for number in numbers.clone() {
            open.saw_staged(number);
        }
        cache.reweigh(&open);
        let staged = weight();
        assert!(staged >= before + 10_000 * 4, "{before} to {staged}");
        open.end(numbers.map(|number| (number, Mark::UNKNOWN)).collect());
        cache.reweigh(&open);
        assert!(weight() >= staged + 10_000 * 10);
    }
}
