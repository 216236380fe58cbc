//! Every object of a selection, so many at a time.
//!
//! Targets are walked one after the other. A task of its own lists ahead into a bounded queue;
//! objects are worked on in tasks, so that the work of opening bodies spreads over all cores, and
//! their results come back here, where they are told and counted. A signal stops handing out; what
//! is in hand is finished, unless a second signal comes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use super::frontier::{Frontier, Repeats, Turn};
use super::listing::{Item, Listing, Origin, QUEUE};
use super::missing;
use super::report::{Handled, Reporter, Resume, explained};
use super::selection::{Selection, Target, Versions};
use super::stop::{Signal, Stop};
use crate::backend::Backend;
use crate::execute::multipart::bucket::Bucket;
use crate::execute::{Outcome, Parts};

/// Between two looks at how far it is.
const TICK: Duration = Duration::from_millis(200);

/// What a command does with an object. Clones share what they have learnt.
pub(crate) trait Work: Send + Sync + 'static {
    fn handle(&self, item: &Item) -> impl Future<Output = Handled> + Send;
}

/// What is said of an object that was looked at. One that was listed may be gone since.
pub(crate) fn handled<T>(
    item: &Item,
    looked: Outcome<T>,
    tell: impl FnOnce(T) -> Handled,
) -> Handled {
    match looked {
        Ok(found) => tell(found),
        Err(failure) if missing(&failure) && item.origin == Origin::Listed => {
            Handled::skipped("gone")
        }
        Err(failure) => Handled::failed(explained(&failure)),
    }
}

/// Where objects are found.
#[derive(Clone, Copy)]
pub(crate) struct Store<'a> {
    pub(crate) backend: &'a Backend,
    pub(crate) state_prefix: &'a str,
}

impl<'a> Store<'a> {
    pub(crate) fn of(parts: &'a Parts) -> Self {
        Self {
            backend: &parts.backend,
            state_prefix: &parts.policy.state_prefix,
        }
    }
}

/// How a walk ended.
#[derive(Debug)]
pub(crate) enum Walked {
    /// With the last object.
    Through,
    /// Because of a signal.
    Interrupted(Signal, Resume),
}

/// Walks all targets.
pub(crate) async fn walk<W: Work>(
    store: Store<'_>,
    selection: &Selection,
    work: &Arc<W>,
    reporter: &mut Reporter<'_>,
    stop: &mut Stop,
) -> io::Result<Walked> {
    let mut start_after = selection.start_after.clone();
    let repeats = match selection.versions {
        Versions::Current => Repeats::None,
        Versions::All => Repeats::Versions,
    };
    for (index, target) in selection.targets.iter().enumerate() {
        let start_after = start_after.take();
        reporter.progress().begin(&target.to_string());
        let mut hall = Hall {
            limit: selection.concurrency.get(),
            frontier: Frontier::behind(start_after.as_deref(), repeats),
            running: JoinSet::new(),
            listed: reporter.tally().objects(),
        };
        let listing = Listing {
            bucket: Bucket::new(store.backend, &target.bucket, None),
            target: target.clone(),
            extent: selection.extent,
            versions: selection.versions,
            start_after,
            modified_since: selection.modified_since,
            state_prefix: store.state_prefix.to_owned(),
        };
        if let Some(signal) = hall.walk(listing, target, work, reporter, stop).await? {
            let rest = selection.targets[index..].iter().map(Target::to_string);
            let resume = Resume {
                start_after: hall.frontier.done_up_to().map(str::to_owned),
                targets: rest.collect(),
            };
            return Ok(Walked::Interrupted(signal, resume));
        }
    }
    Ok(Walked::Through)
}

/// One target's objects in hand.
struct Hall {
    limit: usize,
    frontier: Frontier,
    running: JoinSet<(Turn, Item, Handled)>,
    /// Objects handed out so far, by earlier targets too.
    listed: u64,
}

impl Hall {
    /// Ends with the last object, or with what is in hand when a signal comes.
    async fn walk<W: Work>(
        &mut self,
        listing: Listing,
        target: &Target,
        work: &Arc<W>,
        reporter: &mut Reporter<'_>,
        stop: &mut Stop,
    ) -> io::Result<Option<Signal>> {
        let (sender, mut queue) = mpsc::channel(QUEUE);
        let mut lister = Some(tokio::spawn(listing.run(sender)));
        let mut ticker = tokio::time::interval(TICK);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut stopped = None;
        loop {
            let is_open = lister.is_some() && stopped.is_none();
            if !is_open && self.running.is_empty() {
                return Ok(stopped);
            }
            tokio::select! {
                biased;
                signal = stop.requested() => {
                    if stopped.replace(signal).is_some() {
                        self.running.abort_all();
                        return Ok(stopped);
                    }
                    queue.close();
                    reporter.note("Stopping: what is in hand is finished; a second signal cuts it off.");
                }
                Some(done) = self.running.join_next() => self.take(done, reporter)?,
                item = queue.recv(), if is_open && self.running.len() < self.limit => {
                    if let Some(item) = item {
                        self.begin(item, work);
                    } else {
                        reporter.progress().listed(self.listed);
                        if let Some(Err(failure)) = ended(lister.take()).await {
                            reporter.not_listed(&target.to_string(), &explained(&failure))?;
                        }
                    }
                }
                _ = ticker.tick() => reporter.tick(),
            }
        }
    }

    fn begin<W: Work>(&mut self, item: Item, work: &Arc<W>) {
        self.listed += 1;
        let turn = self.frontier.begin(&item.key);
        let work = Arc::clone(work);
        self.running.spawn(async move {
            let handled = work.handle(&item).await;
            (turn, item, handled)
        });
    }

    fn take(
        &mut self,
        done: Result<(Turn, Item, Handled), JoinError>,
        reporter: &mut Reporter<'_>,
    ) -> io::Result<()> {
        let (turn, item, handled) = done.unwrap_or_else(go_down);
        self.frontier.end(turn);
        reporter.object(&item, &handled)
    }
}

async fn ended(lister: Option<JoinHandle<Outcome<()>>>) -> Option<Outcome<()>> {
    Some(lister?.await.unwrap_or_else(go_down))
}

/// A panic in a task is one here. Tasks are cancelled only when nobody waits for them any more.
fn go_down<T>(error: JoinError) -> T {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => panic!("a task ended by itself: {error}"),
    }
}
