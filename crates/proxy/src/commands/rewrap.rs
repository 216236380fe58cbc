//! `s3proxy rewrap`: moves current objects to the key that new ones get, by their metadata alone.
//!
//! Objects that are up to date are skipped, so an interrupted command can be repeated. Old versions
//! are never rewrapped, since a copy of one would become the current version. They are counted or,
//! if requested, deleted once their content has a new version. At the end the command lists every
//! key that is still needed ([`key_report`]). Before it reports that no other key is, it repeats
//! the walk as often as necessary ([`repeated_walks`]).

mod key_report;
mod repeated_walks;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use s3proxy_envelope::header::Envelope;
use serde_json::json;

use self::key_report::KeyObservations;
use super::command_run::{CommandRun, command_end};
use super::inspect::older;
use super::listing::{Item, VersionAge};
use super::object_selection::Selection;
use super::object_walk::{Work, report_of};
use super::report::{Format, ObjectReport, ObjectVerdict, shown};
use super::rewriting::{self, ReplacedVersion, StoredAgain, is_versioned, settle_replaced};
use super::write_options::{RunMode, WriteOptions};
use super::{CommandEnd, copy_condition_probe, keys_in_use};
use crate::app::{self, StartError};
use crate::config::resolved::Config;
use crate::failure::{Failure, Outcome};
use crate::objects::read::{self, Found, Source};
use crate::objects::rekey::{Conditions, Rewrapped, is_right, rewrap as rewrap_object};
use crate::objects::replaced::retry_replaced;
use crate::objects::stored::Form;
use crate::objects::{self, ObjectRef, OwnedCall};

/// Options of the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewrapOptions {
    /// What happens to objects that have the right key already.
    pub up_to_date: UpToDate,
    /// How objects are replaced.
    pub write: WriteOptions,
    /// Whether the exit status reports that another key is or may be needed.
    pub is_check: bool,
    /// Admin listeners of the running proxies, `HOST:PORT`, which are queried for the keys that
    /// their requests in flight seal under.
    pub replicas: Vec<String>,
}

/// What happens to objects that have the right key already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpToDate {
    /// Skip objects that have the right key.
    Skip,
    /// Rewrap all objects: a key may have been rotated inside its service, under the same name.
    RewrapAgain,
}

/// Runs the command.
pub async fn rewrap(
    config: Config,
    selection: Selection,
    format: Format,
    options: RewrapOptions,
) -> Result<CommandEnd, StartError> {
    let parts = app::store_without_clients(config).await?;
    let conditions = match options.write.mode {
        RunMode::DryRun => BTreeMap::new(),
        RunMode::Apply => {
            let (buckets, writers) = (selection.buckets(), options.write.writers);
            copy_condition_probe::honoured(&parts, buckets, writers).await?
        }
    };
    let rewrapper = Arc::new(Rewrapper {
        parts: Arc::clone(&parts),
        conditions,
        options,
        observations: Mutex::default(),
    });
    let mut output = anstream::stdout();
    let run = CommandRun::begin("rewrap", format, &mut output)?;
    let end = repeated_walks::run(run, &selection, &rewrapper).await;
    Ok(command_end(end))
}

struct Rewrapper {
    parts: Arc<objects::Store>,
    /// Conditions on copies that the backend honours, by bucket.
    conditions: BTreeMap<String, Conditions>,
    options: RewrapOptions,
    observations: Mutex<KeyObservations>,
}

/// Result for one object.
struct RewrapResult {
    verdict: ObjectVerdict,
    /// Key of the object before; `None` if it is not sealed, or in an older format.
    from: Option<String>,
    to: String,
    rewrapped: Option<Rewrapped>,
    bytes: u64,
}

impl Work for Rewrapper {
    async fn handle(&self, item: &Item) -> ObjectReport {
        let result = retry_replaced(|| self.rewrap(item)).await;
        let report = report_of(item, result, RewrapResult::report);
        if matches!(report.verdict, ObjectVerdict::Failed(_)) {
            self.observations().note_failure(item);
        }
        report
    }
}

impl Rewrapper {
    async fn rewrap(&self, item: &Item) -> Outcome<RewrapResult> {
        let name = item.name()?;
        let source = item.source_by_now(&name);
        let owned = OwnedCall::by_operator(&self.parts);
        let found = read::describe(&owned.call(), &source).await?;
        let mut result = self.begin(item.age, source.object, &found);
        let Form::Sealed(envelope) = &found.form else {
            return Ok(result);
        };
        let key = &envelope.key_name;
        match &result.verdict {
            ObjectVerdict::Done(_) => {
                let rewrapped = self.copy(item, &source, &found, envelope).await;
                match &rewrapped {
                    // Another write came first; the caller reads the object again.
                    Ok(_) | Err(Failure::Replaced) => {}
                    Err(_) => self.needs(key, |need| need.current += 1),
                }
                result.rewrapped = Some(rewrapped?);
                self.observations().changed += 1;
            }
            ObjectVerdict::Would(_) => self.needs(key, |need| need.current += 1),
            ObjectVerdict::Skipped(OLD_VERSION) => self.needs(key, |need| need.old += 1),
            ObjectVerdict::Skipped(_) | ObjectVerdict::Failed(_) => {}
        }
        Ok(result)
    }

    /// Notes the object's keys, and decides about it. The verdict is `Done` for an object that has
    /// to be rewrapped now.
    fn begin(&self, age: VersionAge, object: ObjectRef<'_>, found: &Found) -> RewrapResult {
        let to = self.parts.storing(object).key.name().to_owned();
        // Also for objects that are skipped: their keys count in the summary.
        self.observe(found, &to);
        let (verdict, from) = match &found.form {
            Form::Plain => (ObjectVerdict::Skipped("plaintext"), None),
            Form::Legacy(_) => (ObjectVerdict::Skipped("older-format"), None),
            Form::Sealed(envelope) => {
                let is_right = is_right(&self.parts, object, envelope);
                let key = envelope.key_name.clone();
                (self.verdict(age, is_right), Some(key))
            }
        };
        RewrapResult {
            verdict,
            from,
            to,
            rewrapped: None,
            bytes: found.stored.0,
        }
    }

    /// Decides about a sealed object: rewrapped, to be rewrapped, or skipped.
    fn verdict(&self, age: VersionAge, is_right: bool) -> ObjectVerdict {
        let (up_to_date, mode) = (self.options.up_to_date, self.options.write.mode);
        match (age, is_right, up_to_date, mode) {
            // An old version cannot be rewrapped in place: a copy of it would become the current
            // one.
            (VersionAge::Old, _, _, _) => ObjectVerdict::Skipped(OLD_VERSION),
            (VersionAge::Current, true, UpToDate::Skip, _) => {
                ObjectVerdict::Skipped("right-already")
            }
            (VersionAge::Current, _, _, RunMode::DryRun) => ObjectVerdict::Would("rewrapped"),
            (VersionAge::Current, _, _, RunMode::Apply) => ObjectVerdict::Done("rewrapped"),
        }
    }

    /// Copies the object onto itself under the new key, and counts the remaining old version.
    async fn copy(
        &self,
        item: &Item,
        source: &Source<'_>,
        found: &Found,
        envelope: &Envelope,
    ) -> Outcome<Rewrapped> {
        let conditions = self.conditions.get(&item.bucket).copied();
        let conditions = conditions.unwrap_or(Conditions::Source);
        let owned = OwnedCall::by_operator(&self.parts);
        let rewrapped = rewrap_object(&owned.call(), source, found, envelope, conditions).await?;
        let (new, old) = (
            rewrapped.version.as_deref(),
            self.options.write.old_versions,
        );
        let settled = settle_replaced(&self.parts, item, found, new, old).await;
        // If the deletion failed, the old version is still there, and so is the need for its key.
        if !matches!(settled, Ok(ReplacedVersion::Gone)) {
            self.needs(&envelope.key_name, |need| need.old += 1);
        }
        settled.map(|_| rewrapped)
    }

    fn observe(&self, found: &Found, wanted: &str) {
        let mut observations = self.observations();
        observations.versions |= is_versioned(found);
        if !observations.wanted.contains(wanted) {
            observations.wanted.insert(wanted.to_owned());
        }
        if let Form::Legacy(_) = found.form {
            let (_, is_under_zero_key) = older(&found.headers, &self.parts.dek_tag);
            observations.saw_older_format(is_under_zero_key);
        }
    }

    fn needs(&self, key: &str, count: impl FnOnce(&mut keys_in_use::KeyUse)) {
        count(self.observations().walk.of(key));
    }

    fn observations(&self) -> MutexGuard<'_, KeyObservations> {
        // A poisoned lock is usable: each update of a count is complete or was not made.
        let locked = self.observations.lock();
        locked.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Word for old versions, which are never rewrapped.
const OLD_VERSION: &str = "old-version";

impl RewrapResult {
    fn report(self) -> ObjectReport {
        let remark = self.from.as_deref();
        let remark = remark.map(|from| format!("from {} to {}", shown(from), shown(&self.to)));
        let details = json!({
            "encryption_key": self.from,
            "new_encryption_key": self.verdict.is_change().then_some(self.to),
        });
        let stored = self.rewrapped.map(StoredAgain::from);
        rewriting::report(self.verdict, self.bytes, stored, remark, details)
    }
}
