//! Listing of a target's objects, page by page, into a queue of bounded length, or into a counter.
//!
//! Keys under the state prefix are the proxy's own and never handed out. Delete markers are not
//! objects. A list that makes no progress is an error, as everywhere.

use s3proxy_protocol::xml::listing::{EntryKind, ListEntry, ListPage};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::mpsc;

use super::ahead::Counter;
use super::selection::{Extent, Target, Versions};
use crate::effective_name::is_state_key;
use crate::failure::{Failure, Outcome};
use crate::objects::listing_walk::{ListingWalk, check_entries};
use crate::upload_state::bucket::{Bucket, is_not_implemented, listing_query, not_s3, parameter};

/// Capacity of the queue: one page.
pub(super) const QUEUE: usize = 1000;

/// One object, or one version of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Item {
    pub(crate) bucket: String,
    pub(crate) key: String,
    /// Version id; only lists of versions contain it.
    pub(crate) version: Option<String>,
    pub(crate) age: Age,
    /// Whether a list contained the object. If not, it may never have existed.
    pub(crate) origin: Origin,
}

/// Whether clients get this version without naming it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Age {
    Current,
    Old,
}

/// Origin of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    Listed,
    Named,
}

/// A list to read, with its starting point.
pub(super) struct Listing {
    pub(super) bucket: Bucket,
    pub(super) target: Target,
    pub(super) extent: Extent,
    pub(super) versions: Versions,
    pub(super) start_after: Option<String>,
    pub(super) modified_since: Option<OffsetDateTime>,
    pub(super) state_prefix: String,
}

/// Marker that nobody takes objects any more.
struct Abandoned;

/// Receiver of the objects.
#[derive(Clone, Copy)]
enum Sink<'s> {
    Queue(&'s mpsc::Sender<Item>),
    Counter(&'s Counter),
}

impl Listing {
    /// Sends every object to the queue. Ends early if the queue is closed.
    pub(super) async fn run(self, queue: mpsc::Sender<Item>) -> Outcome<()> {
        self.read(Sink::Queue(&queue)).await
    }

    /// Counts every object that [`Self::run`] would send, up to the counter's bound.
    pub(super) async fn count(&self, counter: &Counter) -> Outcome<()> {
        self.read(Sink::Counter(counter)).await
    }

    async fn read(&self, sink: Sink<'_>) -> Outcome<()> {
        match (self.extent, self.versions) {
            (Extent::Object, Versions::Current) => {
                let key = &self.target.prefix;
                // The result does not matter: this is the only object.
                let _ = self
                    .hand(sink, key, None, Age::Current, Origin::Named)
                    .await;
                Ok(())
            }
            (Extent::Prefix, Versions::Current) => self.current(sink).await,
            (Extent::Prefix | Extent::Object, Versions::All) => self.all_versions(sink).await,
        }
    }

    async fn current(&self, sink: Sink<'_>) -> Outcome<()> {
        let mut token: Option<String> = None;
        let mut course = ListingWalk::new();
        loop {
            let mut query = vec![parameter("list-type", "2")];
            query.extend(listing_query(&self.target.prefix));
            // SeaweedFS and others accept it on the first page only.
            match (&token, &self.start_after) {
                (Some(token), _) => query.push(parameter("continuation-token", token)),
                (None, Some(key)) => query.push(parameter("start-after", key)),
                (None, None) => {}
            }
            let text = self.bucket.page(query).await?;
            let page = ListPage::parse(&text).map_err(not_s3)?;
            let entries = page.entries();
            check_entries(entries.len())?;
            // An abandoned queue ends the listing like the last page.
            if self.hand_out(entries, sink).await.is_err() || !page.is_truncated() {
                return Ok(());
            }
            let next = page.text_of_page("NextContinuationToken").map_err(not_s3)?;
            token = Some(course.go_on(entries.len(), next)?);
        }
    }

    async fn all_versions(&self, sink: Sink<'_>) -> Outcome<()> {
        let mut marker = self.start_after.clone().map(|key| (key, None));
        let mut course = ListingWalk::new();
        loop {
            let mut query = vec![("versions".to_owned(), None)];
            query.extend(listing_query(&self.target.prefix));
            if let Some((key, version)) = &marker {
                query.push(parameter("key-marker", key));
                let version: &Option<String> = version;
                let version = version.as_deref();
                query.extend(version.map(|id| parameter("version-id-marker", id)));
            }
            let text = match self.bucket.page(query).await {
                Err(failure) if is_not_implemented(&failure) => return Err(no_versions()),
                text => text?,
            };
            let page = ListPage::parse(&text).map_err(not_s3)?;
            let entries = page.entries();
            check_entries(entries.len())?;
            // Entries named `Contents` in a list of versions: the server ignored `?versions`.
            if entries.iter().any(|entry| entry.kind == EntryKind::Object) {
                return Err(no_versions());
            }
            if self.hand_out(entries, sink).await.is_err() || !page.is_truncated() {
                return Ok(());
            }
            let key = page.key_of_page("NextKeyMarker").map_err(not_s3)?;
            let version = page.text_of_page("NextVersionIdMarker").map_err(not_s3)?;
            let next = key.map(|key| (key, version));
            marker = Some(course.go_on(entries.len(), next)?);
        }
    }

    async fn hand_out(&self, entries: &[ListEntry], sink: Sink<'_>) -> Result<(), Abandoned> {
        for entry in entries {
            let age = match entry.kind {
                EntryKind::Object => Age::Current,
                EntryKind::Version if entry.is_latest => Age::Current,
                EntryKind::Version => Age::Old,
                EntryKind::DeleteMarker => continue,
            };
            if self.names(&entry.key) && self.is_recent(entry) {
                let version = entry.version_id.as_deref();
                self.hand(sink, &entry.key, version, age, Origin::Listed)
                    .await?;
            }
        }
        // A page may have nothing to hand out, so the queue is checked after every page.
        match sink {
            Sink::Queue(queue) if queue.is_closed() => Err(Abandoned),
            Sink::Queue(_) | Sink::Counter(_) => Ok(()),
        }
    }

    async fn hand(
        &self,
        sink: Sink<'_>,
        key: &str,
        version: Option<&str>,
        age: Age,
        origin: Origin,
    ) -> Result<(), Abandoned> {
        let is_taken = match sink {
            Sink::Queue(queue) => {
                let item = self.item(key, version, age, origin);
                queue.send(item).await.is_ok()
            }
            Sink::Counter(counter) => counter.add(),
        };
        is_taken.then_some(()).ok_or(Abandoned)
    }

    fn names(&self, key: &str) -> bool {
        let is_named = match self.extent {
            Extent::Prefix => true,
            Extent::Object => key == self.target.prefix,
        };
        // Some backends include the starting key itself.
        let is_behind = self.start_after.as_deref() != Some(key);
        is_named && is_behind && !is_state_key(key, &self.state_prefix)
    }

    /// Returns whether the object is recent enough; an unknown time counts as recent.
    fn is_recent(&self, entry: &ListEntry) -> bool {
        let Some(since) = self.modified_since else {
            return true;
        };
        let modified = entry.last_modified.as_deref();
        let modified = modified.and_then(|text| OffsetDateTime::parse(text.trim(), &Rfc3339).ok());
        modified.is_none_or(|modified| modified >= since)
    }

    fn item(&self, key: &str, version: Option<&str>, age: Age, origin: Origin) -> Item {
        Item {
            bucket: self.target.bucket.clone(),
            key: key.to_owned(),
            version: version.map(str::to_owned),
            age,
            origin,
        }
    }
}

fn no_versions() -> Failure {
    Failure::Unusable("no list of versions; leave --versions out")
}
