//! The sweep: removing what uploads have left behind.
//!
//! Uploads end at the backend without the proxy hearing of it: by a lifecycle rule, by a request
//! around the proxy, by a replica that died in between. Their state and staged parts then stay. A
//! folder's name is the hash of bucket, key and upload id, so the uploads in progress are hashed and
//! a folder without one may be left over.
//!
//! The list of uploads only saves requests: what it shows stays. What it does not show is removed on
//! evidence alone, upload by upload (`evidence`), since some servers leave uploads out of it. States
//! that name no upload, which earlier versions wrote, stay unless somebody vouches for the list; then it
//! has to be complete and free of errors, and a key that is misread would make its upload look ended,
//! so every reading of it counts, and a key that the backend itself could not write ends the sweep.
//!
//! States are listed first and uploads after. Nothing is removed that is younger than the age asked
//! for, or of unknown age. Staged parts go before their state. Where all states lie in one bucket of
//! their own, the uploads of *every* bucket are listed: those that the credential can list and those
//! that are named.
//!
//! Removing twice does no harm, so replicas need not agree on who sweeps.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use http::Method;
use s3proxy_envelope::multipart::UploadHash;
use s3proxy_protocol::percent::{self, Plus};
use s3proxy_protocol::xml::buckets::bucket_names;
use s3proxy_protocol::xml::listing::ListEntry;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::bucket::{self, Bucket, NotRemoved, parameter};
use super::evidence::{Evidence, StateFolder};
use super::staged::{folder_id, folders};
use crate::backend::{Backend, Request, Service};
use crate::config::resolved::{Policy, StateBucket};
use crate::execute::course::Course;
use crate::execute::{Outcome, answer};
use crate::respond::Failure;

/// Left-overs of this age are removed unless another is asked for.
pub(crate) const DEFAULT_AGE: Duration = Duration::from_hours(24);

/// Uploads that the backend is asked for side by side.
const QUESTIONS_AT_ONCE: usize = 8;

/// Longest page of buckets that is read.
const MAX_PAGE_BYTES: usize = 8 * 1024 * 1024;

/// The most buckets of one account (S3 User Guide, "Bucket quotas").
const MOST_BUCKETS: usize = 1_000_000;

/// The most entries that one sweep looks at; the next one goes on with what is left.
const MOST_ENTRIES: usize = 200_000;

/// A bucket that uploads go to.
#[derive(Debug, Clone)]
pub(crate) struct UploadBucket {
    pub(crate) name: String,
    pub(crate) service: Option<Service>,
}

/// What is done with left-overs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They are removed.
    Remove,
    /// They are only shown.
    Show,
}

/// What becomes of states that name no upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nameless {
    /// They stay.
    Stay,
    /// They go where the backend's list does not show their upload.
    ByList,
}

/// A sweep that was asked for.
pub(crate) struct Sweep<'a> {
    pub(crate) backend: &'a Backend,
    pub(crate) policy: &'a Policy,
    pub(crate) older_than: Duration,
    pub(crate) mode: Mode,
    pub(crate) nameless: Nameless,
}

/// What was found in one bucket, and what became of it.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Uploads in progress with state here.
    pub(crate) in_progress: usize,
    /// Uploads that are not listed, whose state is too young, or of unknown age.
    pub(crate) young: usize,
    /// States that stay because they name no upload.
    pub(crate) nameless: usize,
    /// Ended uploads whose left-overs are due.
    pub(crate) ended: usize,
    /// What is left of them: removed, or to be removed where it is only shown.
    pub(crate) objects: Vec<String>,
    pub(crate) not_removed: Vec<NotRemoved>,
}

/// One folder: what is left of an upload, or belongs to one in progress.
#[derive(Debug, Default)]
struct Folder {
    id: String,
    entries: Vec<ListEntry>,
}

impl Sweep<'_> {
    /// Sweeps each bucket by itself, and tells of each.
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

    /// Sweeps the bucket that holds the states of all others.
    async fn common_bucket(&self, name: &str, named: Vec<UploadBucket>) -> Outcome<Found> {
        let service = named.iter().find_map(|bucket| bucket.service.clone());
        let mut all = named;
        let known: BTreeSet<String> = all.iter().map(|bucket| bucket.name.clone()).collect();
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

    /// The folders of all uploads, by id.
    async fn folders(&self, place: &Bucket) -> Outcome<HashMap<String, Folder>> {
        let prefix = &self.policy.state_prefix;
        let mut found: HashMap<String, Folder> = HashMap::new();
        let mut entries = 0;
        place
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

    /// Takes out what belongs to uploads in progress, and counts it.
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
                    let hash = UploadHash::of(&bucket.name, &key, &upload.upload_id);
                    in_progress += usize::from(left.remove(&hash.id()).is_some());
                }
            })
            .await?;
        if unreadable {
            return Err(Failure::Unusable("an upload whose key cannot be read"));
        }
        Ok(in_progress)
    }

    fn due(&self, left: HashMap<String, Folder>) -> Due {
        let offset = time::Duration::seconds(self.backend.clock_offset());
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
                // The state is what the next sweep finds the rest by.
                return;
            }
        }
    }
}

/// What a listed key may be: as it stands, or URL-encoded without saying so.
fn readings(key: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let decoded = [Plus::Literal, Plus::Space];
    let decoded = decoded.map(|plus| percent::decode(key, plus).ok().map(Cow::Owned));
    [Cow::Borrowed(key)]
        .into_iter()
        .chain(decoded.into_iter().flatten())
}

/// What may go.
struct Due {
    folders: Vec<Folder>,
    young: usize,
}

fn due(left: HashMap<String, Folder>, now: OffsetDateTime, older_than: Duration) -> Due {
    let count = left.len();
    let is_old = |folder: &Folder| {
        let age = folder.newest().map(|newest| now - newest);
        age.is_some_and(|age| age >= older_than)
    };
    let folders: Vec<Folder> = left.into_values().filter(is_old).collect();
    Due {
        young: count - folders.len(),
        folders,
    }
}

impl Folder {
    /// When something was last written to it; `None` if that is not known of everything.
    fn newest(&self) -> Option<OffsetDateTime> {
        let times = self.entries.iter().map(|entry| {
            let text = entry.last_modified.as_deref()?;
            OffsetDateTime::parse(text.trim(), &Rfc3339).ok()
        });
        times.collect::<Option<Vec<_>>>()?.into_iter().max()
    }
}

/// The buckets that the proxy's credential can list.
pub(crate) async fn list_buckets(
    backend: &Backend,
    service: Option<&Service>,
) -> Outcome<Vec<String>> {
    let mut names = Vec::new();
    let mut token: Option<String> = None;
    let mut course = Course::new();
    loop {
        let mut request = Request::new(Method::GET, None, None);
        request.service = service.cloned();
        let page = token.as_deref();
        request
            .query
            .extend(page.map(|token| parameter("continuation-token", token)));
        let answered = bucket::send(backend, request).await?;
        let text = answer::read_bounded(answered.body, MAX_PAGE_BYTES).await?;
        let page = bucket_names(&text)
            .map_err(|_| Failure::Unusable("a list of buckets that is not S3's"))?;
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
