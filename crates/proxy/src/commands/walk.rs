//! Concurrent processing of every object of a selection.
//!
//! Targets are walked one after the other. A separate task lists ahead into a bounded queue.
//! Objects are processed in tasks, so that the work of opening bodies spreads over all cores; their
//! results come back here, where they are reported and counted. A signal stops handing out objects;
//! those in flight are finished, unless a second signal arrives.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use super::ahead::Ahead;
use super::failures::remedy;
use super::frontier::{Frontier, Repeats, Turn};
use super::listing::{Item, Listing, Origin, QUEUE};
use super::missing;
use super::progress::Total;
use super::report::{Handled, Reporter, Resume, explained};
use super::selection::{Selection, Target, Versions};
use super::stop::{Signal, Stop};
use crate::backend::Backend;
use crate::failure::Outcome;
use crate::objects;
use crate::upload_state::bucket::Bucket;

/// Interval between two updates of the progress.
const TICK: Duration = Duration::from_millis(200);

/// A command's work on one object. Clones share their state.
pub(crate) trait Work: Send + Sync + 'static {
    fn handle(&self, item: &Item) -> impl Future<Output = Handled> + Send;
}

/// Converts the result for an object. A listed object may have been deleted since.
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
        Err(failure) => Handled {
            remedy: remedy(&failure),
            ..Handled::failed(explained(&failure))
        },
    }
}

/// Source of the objects.
#[derive(Clone, Copy)]
pub(crate) struct Store<'a> {
    pub(crate) backend: &'a Backend,
    pub(crate) state_prefix: &'a str,
}

impl<'a> Store<'a> {
    pub(crate) fn of(parts: &'a objects::Store) -> Self {
        Self {
            backend: &parts.backend,
            state_prefix: &parts.policy.state_prefix,
        }
    }
}

/// How a walk ended.
#[derive(Debug)]
pub(crate) enum Walked {
    /// The last object was reached.
    Through,
    /// A signal interrupted the walk.
    Interrupted(Signal, Resume),
}

/// Whether the objects of a walk were counted before in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    First,
    /// Most objects were counted, so there is no total to be reached.
    Repeated,
}

/// Walks all targets.
pub(crate) async fn walk<W: Work>(
    store: Store<'_>,
    selection: &Selection,
    pass: Pass,
    work: &Arc<W>,
    reporter: &mut Reporter<'_>,
    stop: &mut Stop,
) -> io::Result<Walked> {
    let repeats = match selection.versions {
        Versions::Current => Repeats::None,
        Versions::All => Repeats::Versions,
    };
    let listing = |index: usize, target: &Target| Listing {
        bucket: Bucket::new(store.backend, &target.bucket, None),
        target: target.clone(),
        extent: selection.extent,
        versions: selection.versions,
        start_after: selection.start_after.clone().filter(|_| index == 0),
        modified_since: selection.modified_since,
        state_prefix: store.state_prefix.to_owned(),
    };
    let targets = || selection.targets.iter().enumerate();
    let ahead = match pass {
        Pass::First => {
            let listings = targets().map(|(index, target)| listing(index, target));
            Some(Ahead::begin(listings.collect()))
        }
        Pass::Repeated => None,
    };
    reporter.progress().set_total(Total::Unknown);
    for (index, target) in targets() {
        let listing = listing(index, target);
        reporter.progress().begin(&match pass {
            Pass::First => target.to_string(),
            Pass::Repeated => format!("{target} (checking again)"),
        });
        let mut hall = Hall {
            limit: selection.concurrency.get(),
            frontier: Frontier::behind(listing.start_after.as_deref(), repeats),
            running: JoinSet::new(),
            listed: reporter.tally().objects(),
            list: List::Open,
            is_last: index + 1 == selection.targets.len(),
            ahead: ahead.as_ref(),
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

/// Objects of one target that are in flight.
struct Hall<'a> {
    limit: usize,
    frontier: Frontier,
    running: JoinSet<(Turn, Item, Handled)>,
    /// Number of objects handed out so far, for earlier targets, too.
    listed: u64,
    list: List,
    /// Whether this is the last target.
    is_last: bool,
    /// Counter of the total; `None` if there is no total to be reached.
    ahead: Option<&'a Ahead>,
}

/// Whether a target's list was read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Open,
    Ended,
}

impl Hall<'_> {
    /// Processes all objects; ends early, with the objects in flight, when a signal arrives.
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
                // In this order: a signal must not wait for a busy queue, and results come before
                // new objects.
                biased;
                signal = stop.requested() => {
                    // The second signal: abandon the objects in flight.
                    if stopped.replace(signal).is_some() {
                        self.running.abort_all();
                        return Ok(stopped);
                    }
                    // Ends the lister; items that are still in the queue are dropped, and so not
                    // counted as done.
                    queue.close();
                    reporter.note("Stopping: finishing objects in progress; press Ctrl-C again to stop now.");
                }
                Some(done) = self.running.join_next() => self.take(done, reporter)?,
                item = queue.recv(), if is_open && self.running.len() < self.limit => {
                    if let Some(item) = item {
                        self.begin(item, work);
                    } else {
                        self.list = List::Ended;
                        reporter.progress().set_total(self.total());
                        if let Some(Err(failure)) = ended(lister.take()).await {
                            reporter.not_listed(&target.to_string(), &explained(&failure))?;
                        }
                    }
                }
                _ = ticker.tick() => {
                    reporter.progress().set_total(self.total());
                    reporter.tick();
                }
            }
        }
    }

    /// Returns the total number of objects in all targets, as far as it is known.
    fn total(&self) -> Total {
        let Some(ahead) = self.ahead else {
            return Total::Unknown;
        };
        match (ahead.total(), self.list) {
            // Everything was handed out, so nothing is left to be counted.
            (_, List::Ended) if self.is_last => Total::Exactly(self.listed),
            (Total::AtLeast(counted), _) => Total::AtLeast(counted.max(self.listed)),
            (counted, _) => counted,
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
        reporter.progress().set_total(self.total());
        reporter.object(&item, &handled)
    }
}

async fn ended(lister: Option<JoinHandle<Outcome<()>>>) -> Option<Outcome<()>> {
    Some(lister?.await.unwrap_or_else(go_down))
}

/// Propagates a panic of a task. Tasks are cancelled only when nobody waits for them any more.
fn go_down<T>(error: JoinError) -> T {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => panic!("a task ended by itself: {error}"),
    }
}
