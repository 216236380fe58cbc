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

use super::super::listing::{Age, Item, Origin};
use super::super::needed::{UploadKey, Uploads};
use super::super::report::{Closing, Handled, Notable, Resume, Verdict};
use super::super::selection::{Extent, Selection, Target, Versions};
use super::super::session::Session;
use super::super::walk::{Store, Walked, Work};
use super::super::{Ended, replicas};
use super::closing::{Basis, Needed};
use super::{Check, Rewrapper};
use crate::objects::call::read_bounded;
use crate::upload_state::bucket::Bucket;
use crate::upload_state::staged::state_bucket;

/// Number of walks after the first one.
const MOST_ROUNDS: usize = 4;

/// Largest difference between the backend's clock and ours: it refuses requests beyond 15 minutes.
const CLOCKS: time::Duration = time::Duration::minutes(16);

/// Longest response about a bucket's versioning, in bytes.
const VERSIONING_BYTES: usize = 16 * 1024;

/// Walks as often as necessary, and reports the end.
pub(super) async fn run(
    session: Session<'_>,
    selection: &Selection,
    rewrapper: &Arc<Rewrapper>,
) -> io::Result<Ended> {
    let mut rounds = Rounds {
        session,
        selection,
        rewrapper,
    };
    let walked = rounds.walk().await?;
    let Rounds { mut session, .. } = rounds;
    let asked = &rewrapper.asked;
    let (mut closing, mut needed) = (Closing::default(), Needed::No);
    match &walked {
        Walked::Interrupted(..) => {}
        Walked::Through => {
            let basis = Basis {
                versions: selection.versions,
                is_complete: session.reporter().tally().is_complete(),
                is_check: asked.check == Check::ByStatus,
                asked_replicas: !asked.replicas.is_empty(),
            };
            let active = rewrapper.parts.keys.active().name();
            (closing, needed) = rewrapper.seen().closing(active, basis);
        }
    }
    let ended = session.end(&walked, closing)?;
    Ok(match (ended, needed, asked.check) {
        (Ended::Everything, Needed::Yes, Check::ByStatus) => Ended::Found,
        (ended, _, _) => ended,
    })
}

struct Rounds<'a, 'o> {
    session: Session<'o>,
    selection: &'a Selection,
    rewrapper: &'a Arc<Rewrapper>,
}

/// Scope of the next walk.
enum Next {
    Everything,
    ModifiedSince(OffsetDateTime),
}

impl Rounds<'_, '_> {
    async fn walk(&mut self) -> io::Result<Walked> {
        let store = Store::of(&self.rewrapper.parts);
        self.ask_for_versions().await;
        // The uploads are listed before the walk begins: one that completes during the walk may
        // become an object under a name that the walk has passed.
        let mut uploads = self.uploads().await?;
        let mut begun = OffsetDateTime::now_utc();
        let mut walked = self
            .session
            .walk(store, self.selection, self.rewrapper)
            .await?;
        for round in 0.. {
            if matches!(walked, Walked::Interrupted(..)) {
                return Ok(walked);
            }
            let now = self.uploads().await?;
            let nameless = self.look_at_ended(&uploads, &now).await?;
            uploads = now;
            let changed = self.rewrapper.seen().end_round();
            let Some(next) = self.next(round, changed, nameless, begun) else {
                break;
            };
            self.ask_replicas().await;
            // Taken before the walk: objects that are modified during it belong to the next one.
            begun = OffsetDateTime::now_utc();
            walked = self.again(next).await?;
        }
        self.rewrapper.seen().count(&uploads);
        Ok(walked)
    }

    /// Returns the scope of the next walk, if one is needed.
    fn next(
        &self,
        round: usize,
        changed: u64,
        nameless: bool,
        begun: OffsetDateTime,
    ) -> Option<Next> {
        let is_check = self.rewrapper.asked.check == Check::ByStatus;
        // A check walks at least twice, and again while a walk changes something.
        let is_due = nameless || is_check && (round == 0 || changed > 0);
        if is_due && round == MOST_ROUNDS {
            self.rewrapper.seen().is_unsettled = true;
            return None;
        }
        is_due.then(|| {
            if nameless {
                Next::Everything
            } else {
                // Earlier by the largest difference of the clocks: the backend's times are compared
                // with ours.
                Next::ModifiedSince(begun - CLOCKS)
            }
        })
    }

    async fn again(&mut self, next: Next) -> io::Result<Walked> {
        let selection = Selection {
            start_after: None,
            modified_since: match next {
                Next::Everything => None,
                Next::ModifiedSince(since) => Some(since),
            },
            ..self.selection.clone()
        };
        let store = Store::of(&self.rewrapper.parts);
        let recheck = Arc::new(Recheck(Arc::clone(self.rewrapper)));
        let walked = self.session.walk_again(store, &selection, &recheck).await?;
        Ok(match walked {
            Walked::Through => Walked::Through,
            // Everything was walked once, and has to be walked again.
            Walked::Interrupted(signal, _) => {
                let targets = self.selection.targets.iter().map(Target::to_string);
                let resume = Resume {
                    start_after: None,
                    targets: targets.collect(),
                };
                Walked::Interrupted(signal, resume)
            }
        })
    }

    /// Lists the uploads; their states are next to the data, or all in one bucket.
    async fn uploads(&mut self) -> io::Result<Uploads> {
        let policy = &self.rewrapper.parts.policy;
        let buckets = self.selection.buckets().into_iter();
        let mut places: Vec<&str> = buckets.map(|name| state_bucket(policy, name)).collect();
        // With one state bucket for all, every entry is the same.
        places.dedup();
        let mut uploads = Uploads::default();
        for place in places {
            let bucket = Bucket::new(&self.rewrapper.parts.backend, place, None);
            if let Err(error) = uploads.add(&bucket, &policy.state_prefix).await {
                let target = format!("{place} (uploads in progress)");
                self.session
                    .reporter()
                    .not_listed(&target, &error.to_string())?;
            }
        }
        Ok(uploads)
    }

    /// Checks the objects that uploads may have become. Returns whether one of those uploads has no
    /// known name, so that it may be any object.
    async fn look_at_ended(&mut self, before: &Uploads, now: &Uploads) -> io::Result<bool> {
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
            Versions::Current => {
                let item = Item {
                    bucket: bucket.to_owned(),
                    key: key.to_owned(),
                    version: None,
                    age: Age::Current,
                    // As if listed: the upload may have been aborted, or the object deleted since.
                    origin: Origin::Listed,
                };
                let handled = recheck.handle(&item).await;
                self.session.reporter().object(&item, &handled)
            }
            Versions::All => {
                let object = Selection {
                    targets: vec![Target {
                        bucket: bucket.to_owned(),
                        prefix: key.to_owned(),
                    }],
                    extent: Extent::Object,
                    start_after: None,
                    ..self.selection.clone()
                };
                let store = Store::of(&self.rewrapper.parts);
                self.session
                    .walk_again(store, &object, &recheck)
                    .await
                    .map(drop)
            }
        }
    }

    async fn ask_replicas(&self) {
        let asked = &self.rewrapper.asked.replicas;
        // In a block, so that the lock is not held during the queries.
        let wanted = {
            let mut seen = self.rewrapper.seen();
            let active = self.rewrapper.parts.keys.active().name();
            seen.wanted.insert(active.to_owned());
            seen.wanted.clone()
        };
        let told = replicas::ask(asked, &wanted).await;
        self.rewrapper.seen().replicas = told;
    }

    /// Finds out whether buckets have versions. A check has to know even if no object is left to
    /// show it.
    async fn ask_for_versions(&self) {
        if self.rewrapper.asked.check != Check::ByStatus {
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
            self.rewrapper.seen().versions |= has_status;
        }
    }
}

/// Another pass over counted objects: only its actions and new failures are reported.
struct Recheck(Arc<Rewrapper>);

impl Work for Recheck {
    async fn handle(&self, item: &Item) -> Handled {
        let failed_before = self.0.seen().has_failed(item);
        let handled = self.0.handle(item).await;
        let notable = match handled.verdict {
            Verdict::Skipped(_) | Verdict::Would(_) => Notable::Never,
            Verdict::Failed(_) if failed_before => Notable::Never,
            Verdict::Done(_) | Verdict::Failed(_) => handled.notable,
        };
        Handled { notable, ..handled }
    }
}

impl Rewrapper {
    /// Returns whether the object of an upload may be under a key other than those of new objects.
    fn may_need_another(&self, upload: &UploadKey) -> bool {
        let seen = self.seen();
        let wanted =
            |name: &str| name == self.parts.keys.active().name() || seen.wanted.contains(name);
        upload.key_name.as_deref().is_none_or(|name| !wanted(name))
    }
}
