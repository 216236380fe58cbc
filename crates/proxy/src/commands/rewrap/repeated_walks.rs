//! The walks of `rewrap`: one over everything, then as many as necessary to prove that no keys
//! except those of new objects are needed.
//!
//! An upload carries the key of its beginning and becomes an object when it completes, perhaps
//! under a name that the walk has passed. So uploads are listed before and after a walk, and the
//! objects of those that are gone are checked. A request that began before a reload may also store
//! its object late: with `--check`, the command walks again over everything that was modified in
//! the meantime, until a walk finds nothing. The proxies are queried before the last walk, so that
//! it sees the objects that their requests have stored.
//!
//! AWS dates an object by the beginning of its upload, so the time of modification cannot replace
//! the comparison of uploads.

use std::io;
use std::sync::Arc;

use http::Method;
use time::OffsetDateTime;

use super::super::CommandEnd;
use super::super::command_run::CommandRun;
use super::super::keys_in_use::{OpenUploads, UploadKey};
use super::super::listing::{Item, ItemOrigin, VersionAge};
use super::super::object_selection::{Extent, ObjectTarget, Selection, VersionScope};
use super::super::object_walk::{ListingBackend, WalkEnd, Work};
use super::super::report::{Notable, ObjectReport, ObjectVerdict};
use super::super::{replica_keys, report::Resume};
use super::Rewrapper;
use super::key_report::{KeyReport, ReportBasis};
use crate::objects::call::read_bounded;
use crate::upload_state::bucket::Bucket;
use crate::upload_state::staged::state_bucket;

/// Largest number of walks after the first one.
const MOST_REPEATS: usize = 4;

/// Largest difference between the backend's clock and ours: it refuses requests beyond 15 minutes.
const CLOCKS: time::Duration = time::Duration::minutes(16);

/// Longest response about a bucket's versioning, in bytes.
const VERSIONING_BYTES: usize = 16 * 1024;

/// Walks as often as necessary, and reports the end.
pub(super) async fn run(
    run: CommandRun<'_>,
    selection: &Selection,
    rewrapper: &Arc<Rewrapper>,
) -> io::Result<CommandEnd> {
    let mut walks = RepeatedWalks {
        run,
        selection,
        rewrapper,
    };
    let walked = walks.walk().await?;
    let mut run = walks.run;
    let options = &rewrapper.options;
    let report = match &walked {
        WalkEnd::Interrupted(..) => KeyReport::default(),
        WalkEnd::Through => {
            let basis = ReportBasis {
                versions: selection.versions,
                is_complete: run.reporter().tally().is_complete(),
                is_check: options.is_check,
                asked_replicas: !options.replicas.is_empty(),
            };
            let active = rewrapper.parts.keys.active().name();
            rewrapper.observations().report(active, basis)
        }
    };
    Ok(match run.end(&walked, report.summary)? {
        CommandEnd::Complete if options.is_check && report.is_other_key_needed => {
            CommandEnd::KeyStillNeeded
        }
        end => end,
    })
}

struct RepeatedWalks<'a, 'o> {
    run: CommandRun<'o>,
    selection: &'a Selection,
    rewrapper: &'a Arc<Rewrapper>,
}

/// Scope of the next walk.
enum NextWalk {
    Everything,
    ModifiedSince(OffsetDateTime),
}

impl RepeatedWalks<'_, '_> {
    async fn walk(&mut self) -> io::Result<WalkEnd> {
        let store = ListingBackend::of(&self.rewrapper.parts);
        self.ask_for_versions().await;
        // The uploads are listed before the walk begins: one that completes during the walk may
        // become an object under a name that the walk has passed.
        let mut uploads = self.uploads().await?;
        let mut begun = OffsetDateTime::now_utc();
        let mut walked = self.run.walk(store, self.selection, self.rewrapper).await?;
        for round in 0.. {
            if matches!(walked, WalkEnd::Interrupted(..)) {
                return Ok(walked);
            }
            let now = self.uploads().await?;
            let nameless = self.look_at_ended(&uploads, &now).await?;
            uploads = now;
            let changed = self.rewrapper.observations().end_walk();
            let Some(next) = self.next(round, changed, nameless, begun) else {
                break;
            };
            self.ask_replicas().await;
            // Taken before the walk: objects that are modified during it belong to the next one.
            begun = OffsetDateTime::now_utc();
            walked = self.again(next).await?;
        }
        self.rewrapper.observations().count(&uploads);
        Ok(walked)
    }

    /// Returns the scope of the next walk, if one is needed.
    fn next(
        &self,
        round: usize,
        changed: u64,
        nameless: bool,
        begun: OffsetDateTime,
    ) -> Option<NextWalk> {
        let is_check = self.rewrapper.options.is_check;
        // A check walks at least twice, and again while a walk changes something.
        let is_due = nameless || is_check && (round == 0 || changed > 0);
        if is_due && round == MOST_REPEATS {
            self.rewrapper.observations().is_unsettled = true;
            return None;
        }
        is_due.then(|| {
            if nameless {
                NextWalk::Everything
            } else {
                // Earlier by the largest difference of the clocks: the backend's times are compared
                // with ours.
                NextWalk::ModifiedSince(begun - CLOCKS)
            }
        })
    }

    async fn again(&mut self, next: NextWalk) -> io::Result<WalkEnd> {
        let selection = Selection {
            start_after: None,
            modified_since: match next {
                NextWalk::Everything => None,
                NextWalk::ModifiedSince(since) => Some(since),
            },
            ..self.selection.clone()
        };
        let store = ListingBackend::of(&self.rewrapper.parts);
        let recheck = Arc::new(Recheck(Arc::clone(self.rewrapper)));
        let walked = self.run.walk_again(store, &selection, &recheck).await?;
        Ok(match walked {
            WalkEnd::Through => WalkEnd::Through,
            // Everything was walked once, and has to be walked again.
            WalkEnd::Interrupted(signal, _) => {
                let targets = self.selection.targets.iter().map(ObjectTarget::to_string);
                let resume = Resume {
                    start_after: None,
                    targets: targets.collect(),
                };
                WalkEnd::Interrupted(signal, resume)
            }
        })
    }

    /// Lists the uploads; their states are next to the data, or all in one bucket.
    async fn uploads(&mut self) -> io::Result<OpenUploads> {
        let policy = &self.rewrapper.parts.policy;
        let buckets = self.selection.buckets().into_iter();
        let mut places: Vec<&str> = buckets.map(|name| state_bucket(policy, name)).collect();
        // With one state bucket for all, every entry is the same.
        places.dedup();
        let mut uploads = OpenUploads::default();
        for place in places {
            let bucket = Bucket::new(&self.rewrapper.parts.backend, place, None);
            if let Err(error) = uploads.add(&bucket, &policy.state_prefix).await {
                let target = format!("{place} (uploads in progress)");
                self.run
                    .reporter()
                    .not_listed(&target, &error.to_string())?;
            }
        }
        Ok(uploads)
    }

    /// Checks the objects that uploads may have become. Returns whether one of those uploads has no
    /// known name, so that it may be any object.
    async fn look_at_ended(&mut self, before: &OpenUploads, now: &OpenUploads) -> io::Result<bool> {
        let mut nameless = false;
        for ended in now.since(before) {
            match &ended.upload {
                None => nameless |= self.rewrapper.may_need_another(ended),
                Some(upload) => {
                    let selects = self.selection.selects(&upload.bucket, &upload.object_key);
                    if selects && self.rewrapper.may_need_another(ended) {
                        self.look_at(&upload.bucket, &upload.object_key).await?;
                    }
                }
            }
        }
        Ok(nameless)
    }

    async fn look_at(&mut self, bucket: &str, key: &str) -> io::Result<()> {
        let recheck = Arc::new(Recheck(Arc::clone(self.rewrapper)));
        match self.selection.versions {
            VersionScope::Current => {
                let item = Item {
                    bucket: bucket.to_owned(),
                    key: key.to_owned(),
                    version: None,
                    age: VersionAge::Current,
                    // As if listed: the upload may have been aborted, or the object deleted since.
                    origin: ItemOrigin::Listed,
                };
                let report = recheck.handle(&item).await;
                self.run.reporter().object(&item, &report)
            }
            VersionScope::All => {
                let object = Selection {
                    targets: vec![ObjectTarget {
                        bucket: bucket.to_owned(),
                        prefix: key.to_owned(),
                    }],
                    extent: Extent::Object,
                    start_after: None,
                    ..self.selection.clone()
                };
                let store = ListingBackend::of(&self.rewrapper.parts);
                self.run
                    .walk_again(store, &object, &recheck)
                    .await
                    .map(drop)
            }
        }
    }

    async fn ask_replicas(&self) {
        let replicas = &self.rewrapper.options.replicas;
        // In a block, so that the lock is not held during the queries.
        let wanted = {
            let mut observations = self.rewrapper.observations();
            let active = self.rewrapper.parts.keys.active().name();
            observations.wanted.insert(active.to_owned());
            observations.wanted.clone()
        };
        let reasons = replica_keys::ask(replicas, &wanted).await;
        self.rewrapper.observations().replicas = reasons;
    }

    /// Finds out whether buckets have versions. A check has to know even if no object is left to
    /// show it.
    async fn ask_for_versions(&self) {
        if !self.rewrapper.options.is_check {
            return;
        }
        for name in self.selection.buckets() {
            let bucket = Bucket::new(&self.rewrapper.parts.backend, name, None);
            let mut request = bucket.request(Method::GET, None);
            request.query = vec![("versioning".to_owned(), None)];
            // Servers without versions refuse; without permission the objects' version ids decide.
            let Ok(backed) = bucket.send(request).await else {
                continue;
            };
            let document = read_bounded(backed.body, VERSIONING_BYTES).await;
            let has_status = document.is_ok_and(|text| {
                let status: &[u8] = b"<Status>";
                text.windows(status.len()).any(|window| window == status)
            });
            self.rewrapper.observations().versions |= has_status;
        }
    }
}

/// Another pass over counted objects: only its actions and new failures are reported.
struct Recheck(Arc<Rewrapper>);

impl Work for Recheck {
    async fn handle(&self, item: &Item) -> ObjectReport {
        let failed_before = self.0.observations().has_failed(item);
        let report = self.0.handle(item).await;
        let notable = match report.verdict {
            ObjectVerdict::Skipped(_) | ObjectVerdict::Would(_) => Notable::Never,
            ObjectVerdict::Failed(_) if failed_before => Notable::Never,
            ObjectVerdict::Done(_) | ObjectVerdict::Failed(_) => report.notable,
        };
        ObjectReport { notable, ..report }
    }
}

impl Rewrapper {
    /// Returns whether the object of an upload may be under a key other than those of new objects.
    fn may_need_another(&self, upload: &UploadKey) -> bool {
        let observations = self.observations();
        let wanted = |name: &str| {
            name == self.parts.keys.active().name() || observations.wanted.contains(name)
        };
        upload.key_name.as_deref().is_none_or(|name| !wanted(name))
    }
}
