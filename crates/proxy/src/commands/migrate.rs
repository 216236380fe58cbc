//! `s3proxy migrate`: converts plaintext and objects of older proxies to format v1.
//!
//! Each object is read, sealed under a fresh data key, and stored in its place. That includes
//! objects whose data key was wrapped under 32 zero bytes, since such a data key must be considered
//! known. Objects in format v1 are skipped, so the command can be repeated. The settings that keep
//! older objects from clients (`plaintext_reads`, `legacy_reads`) do not apply to this command.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;

use super::CommandEnd;
use super::command_run::CommandRun;
use super::inspect::older;
use super::listing::{Item, VersionAge};
use super::memory_gate::MemoryGate;
use super::object_selection::{Selection, VersionScope};
use super::object_walk::{ListingBackend, WalkEnd, Work, report_of};
use super::report::{
    CommandSummary, Format, OLD_VERSIONS_NOT_CHECKED, ObjectReport, ObjectVerdict, Tally, counted,
    fields,
};
use super::rewriting::{self, ReplacedVersion, StoredAgain, is_versioned, settle_replaced};
use super::write_options::{RunMode, WriteOptions, Writers};
use crate::app::StartError;
use crate::config::resolved::{Config, Encryption};
use crate::failure::{Failure, Outcome};
use crate::objects::read::{self, Found, Source};
use crate::objects::replaced::retry_replaced;
use crate::objects::rewrite::{Condition, NewForm, Rewritten, rewrite};
use crate::objects::stored::Form;
use crate::objects::{self, OwnedCall, StoreCall};

/// Options of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MigrateOptions {
    /// Selection by format.
    pub only: MigrateFilter,
    /// How objects are replaced.
    pub write: WriteOptions,
}

/// Which objects are migrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum MigrateFilter {
    /// Plaintext and objects of older proxies
    All,
    /// Plaintext only
    Plaintext,
    /// Objects of older proxies
    Older,
    /// Objects of older proxies under the all-zero key, which is public
    ZeroKey,
}

/// Runs the command.
pub async fn migrate(
    config: Config,
    selection: Selection,
    format: Format,
    options: MigrateOptions,
) -> Result<CommandEnd, StartError> {
    let (parts, gate) = rewriting::begin(config, selection.buckets(), options.write).await?;
    let migrator = Arc::new(Migrator {
        parts: Arc::clone(&parts),
        gate,
        options,
        counts: Mutex::default(),
    });
    let mut output = anstream::stdout();
    let run = CommandRun::begin("migrate", format, &mut output)?;
    let store = ListingBackend::of(&parts);
    let own_summary = |_: &WalkEnd, _: &Tally| migrator.counts().summary(selection.versions);
    Ok(run
        .complete(store, &selection, &migrator, own_summary)
        .await)
}

struct Migrator {
    parts: Arc<objects::Store>,
    gate: MemoryGate,
    options: MigrateOptions,
    counts: Mutex<MigrationCounts>,
}

/// Counts for the summary.
#[derive(Default)]
struct MigrationCounts {
    /// Number of migrated objects that had been under the all-zero key.
    zero_migrated: u64,
    /// Number of current objects that are still under the all-zero key.
    zero_left: u64,
    /// Number of old versions in plaintext or an older format, by format.
    old: BTreeMap<&'static str, u64>,
    /// Number of old versions under the all-zero key.
    old_zero: u64,
    /// Whether a bucket has versions.
    versions: bool,
}

/// State of an object before its migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FormerState {
    format: &'static str,
    /// Whether the object opens with the all-zero key.
    zero: bool,
}

/// Result for one object.
struct MigrateResult {
    verdict: ObjectVerdict,
    before: Option<FormerState>,
    rewritten: Option<Rewritten>,
    bytes: u64,
    plaintext: u64,
}

impl Work for Migrator {
    async fn handle(&self, item: &Item) -> ObjectReport {
        let result = retry_replaced(|| self.migrate(item)).await;
        report_of(item, result, MigrateResult::report)
    }
}

impl Migrator {
    async fn migrate(&self, item: &Item) -> Outcome<MigrateResult> {
        let name = item.name()?;
        let source = item.source_by_now(&name);
        let owned = OwnedCall::by_operator(&self.parts);
        let call = &owned.call();
        let found = read::describe(call, &source).await?;
        self.counts().versions |= is_versioned(&found);
        let mut result = MigrateResult {
            verdict: ObjectVerdict::Skipped("v1-already"),
            before: former_state(&self.parts, &found),
            rewritten: None,
            bytes: found.stored.0,
            plaintext: found.length.0,
        };
        let Some(before) = result.before else {
            return Ok(result);
        };
        // A rewritten old version would become the current one.
        if item.age == VersionAge::Old {
            self.counts().keeps_old(before);
            result.verdict = ObjectVerdict::Skipped("old-version");
            return Ok(result);
        }
        if let Some(why) = self.reason_to_skip(item, before) {
            self.counts().zero_left += u64::from(before.zero);
            result.verdict = ObjectVerdict::Skipped(why);
            return Ok(result);
        }
        match self.options.write.mode {
            RunMode::DryRun => {
                self.counts().zero_left += u64::from(before.zero);
                result.verdict = ObjectVerdict::Would("migrated");
            }
            RunMode::Apply => {
                let rewritten = self.rewrite(call, item, (&source, &found), before).await?;
                result.verdict = ObjectVerdict::Done("migrated");
                result.rewritten = Some(rewritten);
            }
        }
        Ok(result)
    }

    /// Rewrites the current version, and counts the remaining old one.
    async fn rewrite(
        &self,
        call: &StoreCall<'_>,
        item: &Item,
        (source, found): (&Source<'_>, &Found),
        before: FormerState,
    ) -> Outcome<Rewritten> {
        let condition = match self.options.write.writers {
            Writers::Possible => Condition::Unchanged,
            Writers::Stopped => Condition::InPlace,
        };
        // Keeps many concurrent objects from waiting for each other's memory, see `memory_gate`.
        let _memory = self.gate.enter(&self.parts, found).await;
        let (target, form) = (source.object, NewForm::Sealed);
        let rewritten = match rewrite(call, target, source, found, form, condition).await {
            Ok(rewritten) => rewritten,
            // Not counted: the caller reads the object again.
            Err(Failure::Replaced) => return Err(Failure::Replaced),
            Err(failure) => {
                self.counts().zero_left += u64::from(before.zero);
                return Err(failure);
            }
        };
        // Counted even if the removal of the old version fails: the object itself has its new key.
        self.counts().zero_migrated += u64::from(before.zero);
        let (new, old) = (
            rewritten.version.as_deref(),
            self.options.write.old_versions,
        );
        match settle_replaced(&self.parts, item, found, new, old).await {
            Ok(ReplacedVersion::Gone) => {}
            Ok(ReplacedVersion::Kept) => self.counts().keeps_old(before),
            Err(failure) => {
                self.counts().keeps_old(before);
                return Err(failure);
            }
        }
        Ok(rewritten)
    }

    fn reason_to_skip(&self, item: &Item, before: FormerState) -> Option<&'static str> {
        let is_plain = before.format == PLAINTEXT;
        let is_wanted = match self.options.only {
            MigrateFilter::All => true,
            MigrateFilter::Plaintext => is_plain,
            MigrateFilter::Older => !is_plain,
            MigrateFilter::ZeroKey => before.zero,
        };
        if !is_wanted {
            return Some("not-asked-for");
        }
        let storing = self.parts.rules.storing(&item.bucket, &item.key);
        match storing.encryption {
            Encryption::Off => Some("plain-by-rule"),
            Encryption::On | Encryption::Required => None,
        }
    }

    fn counts(&self) -> MutexGuard<'_, MigrationCounts> {
        // A poisoned lock is usable: each update of a count is complete or was not made.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MigrationCounts {
    /// Counts an old version that stays readable.
    fn keeps_old(&mut self, before: FormerState) {
        *self.old.entry(before.format).or_default() += 1;
        self.old_zero += u64::from(before.zero);
    }

    fn summary(&self, checked: VersionScope) -> CommandSummary {
        CommandSummary {
            details: fields(json!({
                "all_zero_key_migrated": self.zero_migrated,
                "all_zero_key_left": self.zero_left,
                "old_versions_left": self.old,
                "old_versions_under_all_zero_key": self.old_zero,
                "versioned": self.versions,
                "old_versions_counted": checked == VersionScope::All,
            })),
            lines: self.lines(checked),
        }
    }

    fn lines(&self, checked: VersionScope) -> Vec<String> {
        let mut lines = Vec::new();
        if self.zero_migrated > 0 {
            lines.push(format!(
                "{} had been under the ALL-ZERO KEY and got new data keys. Treat their earlier \
                 content as known to everyone who could read the bucket.",
                counted(self.zero_migrated, "object")
            ));
        }
        if self.zero_left > 0 {
            lines.push(format!(
                "{} STILL under the ALL-ZERO KEY: anyone who can read them can decrypt them.",
                counted(self.zero_left, "object")
            ));
        }
        let old: u64 = self.old.values().sum();
        if old > 0 {
            let formats = self.old.iter();
            let formats = formats.map(|(format, count)| format!("{count} {format}"));
            lines.push(format!(
                "{} readable as before: {}; {} of them under the all-zero key. Delete them, or \
                 use --delete-old-versions the next time.",
                counted(old, "old version"),
                formats.collect::<Vec<_>>().join(", "),
                self.old_zero
            ));
        }
        if self.versions && checked == VersionScope::Current {
            lines.push(OLD_VERSIONS_NOT_CHECKED.to_owned());
        }
        lines
    }
}

const PLAINTEXT: &str = "plaintext";

/// Returns the state before the migration; `None` for format v1.
fn former_state(parts: &objects::Store, found: &Found) -> Option<FormerState> {
    if let Form::Sealed(_) = found.form {
        return None;
    }
    if let Form::Plain = found.form {
        let format = PLAINTEXT;
        return Some(FormerState {
            format,
            zero: false,
        });
    }
    let (format, zero) = older(&found.headers, &parts.dek_tag);
    Some(FormerState { format, zero })
}

impl MigrateResult {
    fn report(self) -> ObjectReport {
        let remark = self.before.map(|before| {
            let key = if before.zero {
                " under the ALL-ZERO KEY"
            } else {
                ""
            };
            format!("{}{key}", before.format)
        });
        let details = json!({
            "format": self.before.map_or("v1", |before| before.format),
            "all_zero_key": self.before.is_some_and(|before| before.zero),
            "plaintext_bytes": self.plaintext,
        });
        let stored = self.rewritten.map(StoredAgain::from);
        rewriting::report(self.verdict, self.bytes, stored, remark, details)
    }
}
