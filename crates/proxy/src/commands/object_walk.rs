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
use tokio::time::{Interval, MissedTickBehavior};

use super::failures::remedy;
use super::listing::{Item, ItemOrigin, Listing, QUEUE};
use super::missing;
use super::object_count::ObjectCount;
use super::object_selection::{ObjectTarget, Selection};
use super::progress::Total;
use super::report::{ObjectReport, Reporter, Resume, explained};
use super::resume_point::{ObjectTicket, Repeats, ResumePoint};
use super::stop_signals::{StopSignal, StopSignals};
use crate::backend::Backend;
use crate::failure::Outcome;
use crate::objects;
use crate::upload_state::bucket::Bucket;

/// Interval between two updates of the progress.
const TICK: Duration = Duration::from_millis(200);

/// Returns a timer for updates of the progress.
pub(super) fn ticker() -> Interval {
    let mut ticker = tokio::time::interval(TICK);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticker
}

/// Message after the first signal.
const STOPPING: &str = "Stopping: finishing objects in progress; press Ctrl-C again to stop now.";

/// A command's work on one object. Clones share their state.
pub(crate) trait Work: Send + Sync + 'static {
    fn handle(&self, item: &Item) -> impl Future<Output = ObjectReport> + Send;
}

/// Makes the report about an object. A listed object may have been deleted since.
pub(crate) fn report_of<T>(
    item: &Item,
    result: Outcome<T>,
    report: impl FnOnce(T) -> ObjectReport,
) -> ObjectReport {
    match result {
        Ok(found) => report(found),
        Err(failure) if missing(&failure) && item.origin == ItemOrigin::Listed => {
            ObjectReport::skipped("gone")
        }
        Err(failure) => ObjectReport {
            remedy: remedy(&failure),
            ..ObjectReport::failed(explained(&failure))
        },
    }
}

/// Source of the objects.
#[derive(Clone, Copy)]
pub(crate) struct ListingBackend<'a> {
    pub(crate) backend: &'a Backend,
    pub(crate) state_prefix: &'a str,
}

impl<'a> ListingBackend<'a> {
    pub(crate) fn of(parts: &'a objects::Store) -> Self {
        Self {
            backend: &parts.backend,
            state_prefix: &parts.policy.state_prefix,
        }
    }
}

/// How a walk ended.
#[derive(Debug)]
pub(crate) enum WalkEnd {
    /// The last object was reached.
    Through,
    /// A signal interrupted the walk.
    Interrupted(StopSignal, Resume),
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
    store: ListingBackend<'_>,
    selection: &Selection,
    pass: Pass,
    work: &Arc<W>,
    reporter: &mut Reporter<'_>,
    stop: &mut StopSignals,
) -> io::Result<WalkEnd> {
    let repeats = Repeats::from(selection.versions);
    let count = match pass {
        Pass::First => Some(ObjectCount::begin(listings(selection, store).collect())),
        Pass::Repeated => None,
    };
    reporter.progress().set_total(Total::Unknown);
    for (index, listing) in listings(selection, store).enumerate() {
        let target = &selection.targets[index];
        reporter.progress().begin(&match pass {
            Pass::First => target.to_string(),
            Pass::Repeated => format!("{target} (checking again)"),
        });
        let mut target_walk = TargetWalk {
            limit: selection.concurrency.get(),
            resume_point: ResumePoint::after(listing.start_after.as_deref(), repeats),
            running: JoinSet::new(),
            listed: reporter.tally().objects(),
            list: ListState::Open,
            is_last: index + 1 == selection.targets.len(),
            count: count.as_ref(),
        };
        let walking = target_walk.run(listing, target, work, reporter, stop);
        if let Some(signal) = walking.await? {
            let resume = target_walk.resume(&selection.targets[index..]);
            return Ok(WalkEnd::Interrupted(signal, resume));
        }
    }
    Ok(WalkEnd::Through)
}

/// Returns the listing of each target.
fn listings(selection: &Selection, store: ListingBackend<'_>) -> impl Iterator<Item = Listing> {
    let targets = selection.targets.iter().enumerate();
    targets.map(move |(index, target)| Listing {
        bucket: Bucket::new(store.backend, &target.bucket, None),
        target: target.clone(),
        extent: selection.extent,
        versions: selection.versions,
        start_after: selection.start_after.clone().filter(|_| index == 0),
        modified_since: selection.modified_since,
        state_prefix: store.state_prefix.to_owned(),
    })
}

/// Objects of one target that are in flight.
struct TargetWalk<'a> {
    limit: usize,
    resume_point: ResumePoint,
    running: JoinSet<(ObjectTicket, Item, ObjectReport)>,
    /// Number of objects handed out so far, for earlier targets, too.
    listed: u64,
    list: ListState,
    /// Whether this is the last target.
    is_last: bool,
    /// Count of all objects; `None` if there is no total to be reached.
    count: Option<&'a ObjectCount>,
}

/// Whether a target's list was read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListState {
    Open,
    Ended,
}

impl TargetWalk<'_> {
    /// Processes all objects; ends early, with the objects in flight, when a signal arrives.
    async fn run<W: Work>(
        &mut self,
        listing: Listing,
        target: &ObjectTarget,
        work: &Arc<W>,
        reporter: &mut Reporter<'_>,
        stop: &mut StopSignals,
    ) -> io::Result<Option<StopSignal>> {
        let (sender, mut queue) = mpsc::channel(QUEUE);
        let mut lister = Some(tokio::spawn(listing.run(sender)));
        let mut ticker = ticker();
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
                    if stopped.replace(signal).is_some() {
                        // The second signal: abandon the objects in flight.
                        self.running.abort_all();
                        return Ok(stopped);
                    }
                    // Ends the lister. Items in the queue are dropped, and so not counted as done.
                    queue.close();
                    reporter.note(STOPPING);
                }
                Some(done) = self.running.join_next() => self.take(done, reporter)?,
                item = queue.recv(), if is_open && self.running.len() < self.limit => {
                    match item {
                        Some(item) => self.begin(item, work),
                        None => self.end_list(lister.take(), target, reporter).await?,
                    }
                }
                _ = ticker.tick() => {
                    reporter.progress().set_total(self.total());
                    reporter.tick();
                }
            }
        }
    }

    /// Returns how to resume; `rest` starts with this target.
    fn resume(&self, rest: &[ObjectTarget]) -> Resume {
        Resume {
            start_after: self.resume_point.done_up_to().map(str::to_owned),
            targets: rest.iter().map(ObjectTarget::to_string).collect(),
        }
    }

    /// Notes that the target's list was read to its end, or broke off.
    async fn end_list(
        &mut self,
        lister: Option<JoinHandle<Outcome<()>>>,
        target: &ObjectTarget,
        reporter: &mut Reporter<'_>,
    ) -> io::Result<()> {
        self.list = ListState::Ended;
        reporter.progress().set_total(self.total());
        let Some(lister) = lister else { return Ok(()) };
        match lister.await.unwrap_or_else(resume_panic) {
            Ok(()) => Ok(()),
            Err(failure) => reporter.not_listed(&target.to_string(), &explained(&failure)),
        }
    }

    /// Returns the total number of objects in all targets, as far as it is known.
    fn total(&self) -> Total {
        let Some(count) = self.count else {
            return Total::Unknown;
        };
        match (count.total(), self.list) {
            // Everything was handed out, so nothing is left to be counted.
            (_, ListState::Ended) if self.is_last => Total::Exactly(self.listed),
            (Total::AtLeast(counted), _) => Total::AtLeast(counted.max(self.listed)),
            (counted, _) => counted,
        }
    }

    fn begin<W: Work>(&mut self, item: Item, work: &Arc<W>) {
        self.listed += 1;
        let ticket = self.resume_point.begin(&item.key);
        let work = Arc::clone(work);
        self.running.spawn(async move {
            let report = work.handle(&item).await;
            (ticket, item, report)
        });
    }

    fn take(
        &mut self,
        done: Result<(ObjectTicket, Item, ObjectReport), JoinError>,
        reporter: &mut Reporter<'_>,
    ) -> io::Result<()> {
        let (ticket, item, report) = done.unwrap_or_else(resume_panic);
        self.resume_point.end(ticket);
        reporter.progress().set_total(self.total());
        reporter.object(&item, &report)
    }
}

/// Propagates a panic of a task. Tasks are cancelled only when nobody waits for them any more.
fn resume_panic<T>(error: JoinError) -> T {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => panic!("a task was cancelled while its result was awaited: {error}"),
    }
}
