//! The sweep: removes leftovers of uploads.
//!
//! Uploads can end at the backend without the proxy's knowledge: by a lifecycle rule, by a request
//! that bypasses the proxy, or when a replica dies. Their state and staged parts are left over. A
//! folder's name is the hash of bucket, key and upload id: uploads in progress are hashed, and a
//! folder without one may be a leftover.
//!
//! The list of uploads only saves requests: state of listed uploads stays. Other state is removed
//! only on evidence, upload by upload (`evidence`), since some servers leave uploads out of the
//! list. States that name no upload, which earlier versions wrote, stay unless the operator vouches
//! for the list. Then the list has to be complete and correct: a misread key would make its upload
//! look ended. Every reading of a key counts therefore, and a key that the backend itself could not
//! write ends the sweep.
//!
//! States are listed first and uploads after them. State that is younger than the requested age, or
//! of unknown age, is kept. Staged parts are removed before their state. If all states are in one
//! separate bucket, the uploads of *every* bucket are listed: those that the credential can list
//! and those that are named.
//!
//! Removing twice does no harm, so replicas need not coordinate.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use http::Method;
use s3proxy_envelope::multipart::UploadHash;
use s3proxy_envelope::names::{BucketStr, KeyStr, UploadIdStr};
use s3proxy_protocol::percent::{self, Plus};
use s3proxy_protocol::xml::buckets::bucket_names;
use s3proxy_protocol::xml::listing::ListEntry;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::backend::{Backend, Request, Service};
use crate::config::resolved::{Policy, StateBucket};
use crate::failure::{Failure, Outcome};
use crate::objects::call::read_bounded;
use crate::objects::listing_walk::ListingWalk;
use crate::upload_state::bucket::{self, Bucket, NotRemoved, parameter};
use crate::upload_state::evidence::{Evidence, StateFolder};
use crate::upload_state::staged::{folder_id, folders};

/// Minimum age of leftovers that are removed, unless another age is requested.
pub(crate) const DEFAULT_AGE: Duration = Duration::from_hours(24);

/// Concurrent requests for evidence.
const QUESTIONS_AT_ONCE: usize = 8;

/// Longest page of buckets that is read, in bytes.
const MAX_PAGE_BYTES: usize = 8 * 1024 * 1024;

/// Most buckets of one account (S3 User Guide, "Bucket quotas").
const MOST_BUCKETS: usize = 1_000_000;

/// Most entries that one sweep examines; the next one continues with the rest.
const MOST_ENTRIES: usize = 200_000;

/// A bucket that receives uploads.
#[derive(Debug, Clone)]
pub(crate) struct UploadBucket {
    pub(crate) name: String,
    pub(crate) service: Option<Service>,
}

/// Treatment of leftovers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Leftovers are removed.
    Remove,
    /// Leftovers are only listed.
    Show,
}

/// Treatment of states that name no upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nameless {
    /// States without a name stay.
    Stay,
    /// States without a name are removed if the backend's list does not show their upload.
    ByList,
}

/// Settings of one sweep.
pub(crate) struct Sweep<'a> {
    pub(crate) backend: &'a Backend,
    pub(crate) policy: &'a Policy,
    pub(crate) older_than: Duration,
    pub(crate) mode: Mode,
    pub(crate) nameless: Nameless,
}

/// Result of the sweep of one bucket.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Uploads in progress that have state here.
    pub(crate) in_progress: usize,
    /// Folders of unlisted uploads that are too young, or of unknown age.
    pub(crate) young: usize,
    /// States that stay because they name no upload.
    pub(crate) nameless: usize,
    /// Ended uploads with leftovers that are due.
    pub(crate) ended: usize,
    /// Keys of their leftovers: removed, or to be removed if the mode is [`Mode::Show`].
    pub(crate) objects: Vec<String>,
    pub(crate) not_removed: Vec<NotRemoved>,
}

/// One folder: leftovers of an upload, or state of one in progress.
#[derive(Debug, Default)]
struct Folder {
    id: String,
    entries: Vec<ListEntry>,
}

impl Sweep<'_> {
    /// Sweeps each bucket separately, and reports each result.
    pub(crate) async fn buckets(
        &self,
        named: Vec<UploadBucket>,
        mut tell: impl FnMut(&str, Outcome<Found>),
    ) {
        match &self.policy.state_bucket {
            StateBucket::Same => {
                for upload_bucket in named {
                    let found = self.bucket(&upload_bucket, std::slice::from_ref(&upload_bucket));
                    let found = found.await;
                    tell(&upload_bucket.name, found);
                }
            }
            StateBucket::Named(name) => {
                let found = self.common_bucket(name, named).await;
                tell(name, found);
            }
        }
    }

    /// Sweeps the bucket that holds the states of all other buckets.
    async fn common_bucket(&self, name: &str, named: Vec<UploadBucket>) -> Outcome<Found> {
        let service = named.iter().find_map(|bucket| bucket.service.clone());
        let mut all = named;
        let known: BTreeSet<String> = all.iter().map(|bucket| bucket.name.clone()).collect();
        // A bucket that is left out would make its uploads look ended.
        let listed = list_buckets(self.backend, service.as_ref()).await?;
        let new = listed.into_iter().filter(|name| !known.contains(name));
        all.extend(new.map(|name| UploadBucket {
            name,
            service: service.clone(),
        }));
        let place = UploadBucket {
            name: name.to_owned(),
            service,
        };
        self.bucket(&place, &all).await
    }

    async fn bucket(&self, place: &UploadBucket, uploads: &[UploadBucket]) -> Outcome<Found> {
        let place = self.access(place);
        // Before the uploads: one that begins later cannot have a folder in this list.
        let mut left = self.folders(&place).await?;
        let mut found = Found::default();
        if left.is_empty() {
            return Ok(found);
        }
        for bucket in uploads {
            found.in_progress += self.take_uploads_of(bucket, &mut left).await?;
        }
        let due = self.due(left);
        found.young = due.young;
        let mut judged = stream::iter(due.folders)
            .map(|folder| self.judge(&place, folder))
            .buffer_unordered(QUESTIONS_AT_ONCE);
        while let Some((folder, evidence)) = judged.next().await {
            match (evidence, self.nameless) {
                (Ok(Evidence::InProgress), _) => found.in_progress += 1,
                (Ok(Evidence::Nameless), Nameless::Stay) => found.nameless += 1,
                (Ok(Evidence::Ended), _) | (Ok(Evidence::Nameless), Nameless::ByList) => {
                    found.ended += 1;
                    self.remove(&place, folder, &mut found).await;
                }
                (Err(failure), _) => {
                    // Without evidence nothing is removed.
                    let key = format!("{}{}/", folders(&self.policy.state_prefix), folder.id);
                    found.not_removed.push(NotRemoved { key, failure });
                }
            }
        }
        Ok(found)
    }

    async fn judge(&self, place: &Bucket, folder: Folder) -> (Folder, Outcome<Evidence>) {
        let state = StateFolder {
            place,
            prefix: &self.policy.state_prefix,
            id: &folder.id,
        };
        let evidence = state.evidence().await;
        (folder, evidence)
    }

    fn access(&self, bucket: &UploadBucket) -> Bucket {
        Bucket::new(self.backend, &bucket.name, bucket.service.clone())
    }

    /// Folders of all uploads, by id.
    async fn folders(&self, place: &Bucket) -> Outcome<HashMap<String, Folder>> {
        let prefix = &self.policy.state_prefix;
        let mut found: HashMap<String, Folder> = HashMap::new();
        let mut entries = 0;
        place
            // Old versions and delete markers are leftovers too, so they are walked as well.
            .walk(&folders(prefix), |entry| {
                if let Some(id) = folder_id(&entry.key, prefix) {
                    let folder = found.entry(id.to_owned()).or_default();
                    id.clone_into(&mut folder.id);
                    folder.entries.push(entry.clone());
                    entries += 1;
                }
                if entries < MOST_ENTRIES {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })
            .await?;
        Ok(found)
    }

    /// Takes the folders of uploads in progress out of `left`, and returns their number.
    async fn take_uploads_of(
        &self,
        bucket: &UploadBucket,
        left: &mut HashMap<String, Folder>,
    ) -> Outcome<usize> {
        let mut in_progress = 0;
        let mut unreadable = false;
        self.access(bucket)
            .each_upload(|upload| {
                unreadable |= upload.object_key.contains(char::REPLACEMENT_CHARACTER);
                for key in readings(&upload.object_key) {
                    let hash = UploadHash::new(
                        BucketStr(&bucket.name),
                        KeyStr(&key),
                        UploadIdStr(&upload.upload_id),
                    );
                    in_progress += usize::from(left.remove(&hash.id()).is_some());
                }
            })
            .await?;
        // The hash of an unreadable key is unknown, so any folder could belong to it.
        if unreadable {
            return Err(Failure::Unusable("an upload with an undecodable key"));
        }
        Ok(in_progress)
    }

    fn due(&self, left: HashMap<String, Folder>) -> Due {
        let offset = time::Duration::seconds(self.backend.clock_offset());
        // By the backend's clock, which wrote the times that are compared.
        let now = OffsetDateTime::now_utc().saturating_add(offset);
        due(left, now, self.older_than)
    }

    async fn remove(&self, place: &Bucket, folder: Folder, found: &mut Found) {
        let is_state = |entry: &ListEntry| entry.key.ends_with("/state");
        let (states, parts): (Vec<_>, Vec<_>) = folder.entries.into_iter().partition(is_state);
        for entries in [parts, states] {
            let not_removed = match self.mode {
                Mode::Show => Vec::new(),
                Mode::Remove => place.remove(&entries).await,
            };
            let stays = |key: &str| not_removed.iter().any(|left| left.key == key);
            let gone = entries.into_iter().map(|entry| entry.key);
            found.objects.extend(gone.filter(|key| !stays(key)));
            let is_complete = not_removed.is_empty();
            found.not_removed.extend(not_removed);
            if !is_complete {
                // The next sweep needs the state to find the rest.
                return;
            }
        }
    }
}

/// Possible meanings of a listed key: literal, or URL-encoded although the list does not say so.
fn readings(key: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let decoded = [Plus::Literal, Plus::Space];
    let decoded = decoded.map(|plus| percent::decode(key, plus).ok().map(Cow::Owned));
    [Cow::Borrowed(key)]
        .into_iter()
        .chain(decoded.into_iter().flatten())
}

/// Folders to be removed, and the number of others.
struct Due {
    folders: Vec<Folder>,
    young: usize,
}

fn due(left: HashMap<String, Folder>, now: OffsetDateTime, older_than: Duration) -> Due {
    let count = left.len();
    let is_old = |folder: &Folder| {
        let age = folder.newest().map(|newest| now - newest);
        // A time in the future gives a negative age, which is never old enough.
        age.is_some_and(|age| age >= older_than)
    };
    let folders: Vec<Folder> = left.into_values().filter(is_old).collect();
    Due {
        young: count - folders.len(),
        folders,
    }
}

impl Folder {
    /// Time of the last write to the folder; `None` if any entry's time is unknown.
    fn newest(&self) -> Option<OffsetDateTime> {
        let times = self.entries.iter().map(|entry| {
            let text = entry.last_modified.as_deref()?;
            OffsetDateTime::parse(text.trim(), &Rfc3339).ok()
        });
        times.collect::<Option<Vec<_>>>()?.into_iter().max()
    }
}

/// Buckets that the proxy's credential can list.
pub(crate) async fn list_buckets(
    backend: &Backend,
    service: Option<&Service>,
) -> Outcome<Vec<String>> {
    let mut names = Vec::new();
    let mut token: Option<String> = None;
    let mut course = ListingWalk::new();
    loop {
        let mut request = Request::new(Method::GET, None, None);
        request.service = service.cloned();
        let page = token.as_deref();
        request
            .query
            .extend(page.map(|token| parameter("continuation-token", token)));
        let answered = bucket::send(backend, request).await?;
        let text = read_bounded(answered.body, MAX_PAGE_BYTES).await?;
        let page = bucket_names(&text)
            .map_err(|_| Failure::Unusable("a malformed ListAllMyBucketsResult"))?;
        let listed = page.names.len();
        names.extend(page.names);
        if names.len() > MOST_BUCKETS {
            return Err(Failure::Unusable("more buckets than an account can have"));
        }
        match page.continuation_token {
            None => return Ok(names),
            Some(next) => token = Some(course.go_on(listed, Some(next))?),
        }
    }
}

#[cfg(test)]
mod tests;
