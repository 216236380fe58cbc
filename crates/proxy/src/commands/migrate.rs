//! `s3proxy migrate`: plaintext and objects of older proxies are converted to format v1.
//!
//! Each object is read, sealed under a fresh data key, and stored in its place. That includes
//! objects whose data key was wrapped under 32 zero bytes, since such a data key must be considered
//! known. Objects in format v1 are skipped, so the command can be repeated. The settings that keep
//! older objects from clients (`plaintext_reads`, `legacy_reads`) do not apply to this command.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;

use super::Ended;
use super::anew::{OldVersion, not_kept, reading_everything, settle};
use super::inspect::older;
use super::listing::{Age, Item};
use super::report::{Closing, Format, Handled, Notable, Verdict, counted, fields};
use super::rewrap::{Replaced, Writers};
use super::room::Room;
use super::selection::{Selection, Versions};
use super::session::{Session, ended};
use super::walk::{Store, Work, handled};
use super::written::conditions_must_count;
use crate::app::{self, StartError};
use crate::config::resolved::{Config, Encryption};
use crate::failure::{Failure, Outcome};
use crate::objects::read::{self, Found, Source};
use crate::objects::replaced::retry_replaced;
use crate::objects::rewrite::{Condition, NewForm, Rewritten, rewrite};
use crate::objects::stored::Form;
use crate::objects::versions::NULL_VERSION;
use crate::objects::{self, OwnedCall, StoreCall};

/// Options of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Whether anything is changed.
    pub mode: Mode,
    /// Selection by format.
    pub only: Only,
    /// What happens to replaced versions.
    pub replaced: Replaced,
    /// Whether clients may write at the same time.
    pub writers: Writers,
}

/// Whether anything is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Rewrite objects.
    Migrate,
    /// Only show which objects would be rewritten.
    Show,
}

/// Which objects are migrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Only {
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
    asked: Asked,
) -> Result<Ended, StartError> {
    let room = Room::new(config.limits.body_memory_bytes);
    let parts = app::store_without_clients(reading_everything(config)).await?;
    match asked.mode {
        Mode::Show => {}
        Mode::Migrate => {
            conditions_must_count(&parts, selection.buckets(), asked.writers).await?;
        }
    }
    let migrator = Arc::new(Migrator {
        parts: Arc::clone(&parts),
        room,
        asked,
        seen: Mutex::default(),
    });
    let mut output = anstream::stdout();
    let mut session = Session::begin("migrate", format, &mut output)?;
    let told = match session.walk(Store::of(&parts), &selection, &migrator).await {
        Ok(walked) => session.end(&walked, migrator.closing(&selection)),
        Err(error) => Err(error),
    };
    Ok(ended(told))
}

struct Migrator {
    parts: Arc<objects::Store>,
    room: Room,
    asked: Asked,
    seen: Mutex<Seen>,
}

/// Counts for the summary.
#[derive(Default)]
struct Seen {
    /// Number of rewritten objects that had been under the all-zero key.
    cured: u64,
    /// Number of current objects that are still under the all-zero key.
    zero_left: u64,
    /// Number of old versions in plaintext or an older format, by format.
    old: BTreeMap<&'static str, u64>,
    /// Number of old versions under the all-zero key.
    old_zero: u64,
    versions: bool,
}

/// State of an object before its migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Before {
    format: &'static str,
    zero: bool,
}

struct Told {
    verdict: Verdict,
    before: Option<Before>,
    rewritten: Option<Rewritten>,
    bytes: u64,
    plaintext: u64,
}

impl Work for Migrator {
    async fn handle(&self, item: &Item) -> Handled {
        let looked = retry_replaced(|| self.look(item)).await;
        handled(item, looked, Told::handled)
    }
}

impl Migrator {
    async fn look(&self, item: &Item) -> Outcome<Told> {
        let name = item.name()?;
        let source = item.source_by_now(&name);
        let owned = OwnedCall::by_operator(&self.parts);
        let call = &owned.call();
        let found = read::describe(call, &source).await?;
        self.seen().versions |= is_versioned(&found);
        let mut told = Told {
            verdict: Verdict::Skipped("v1-already"),
            before: before(&self.parts, &found),
            rewritten: None,
            bytes: found.stored.0,
            plaintext: found.length.0,
        };
        let Some(before) = told.before else {
            return Ok(told);
        };
        // A rewritten old version would become the current one.
        if item.age == Age::Old {
            self.stays(before);
            told.verdict = Verdict::Skipped("old-version");
            return Ok(told);
        }
        if let Some(why) = self.left_alone(item, before) {
            self.seen().zero_left += u64::from(before.zero);
            told.verdict = Verdict::Skipped(why);
            return Ok(told);
        }
        match self.asked.mode {
            Mode::Show => {
                self.seen().zero_left += u64::from(before.zero);
                told.verdict = Verdict::Would("migrated");
            }
            Mode::Migrate => {
                let rewritten = self.migrate(call, item, (&source, &found), before).await?;
                told.verdict = Verdict::Done("migrated");
                told.rewritten = Some(rewritten);
            }
        }
        Ok(told)
    }

    /// Rewrites the current version, and counts the remaining old one.
    async fn migrate(
        &self,
        call: &StoreCall<'_>,
        item: &Item,
        (source, found): (&Source<'_>, &Found),
        before: Before,
    ) -> Outcome<Rewritten> {
        let condition = match self.asked.writers {
            Writers::Possible => Condition::Unchanged,
            Writers::Stopped => Condition::InPlace,
        };
        // Keeps many concurrent objects from waiting for each other's memory, see `room`.
        let _room = self.room.enter(&self.parts, found).await;
        let (target, form) = (source.object, NewForm::Sealed);
        let rewritten = match rewrite(call, target, source, found, form, condition).await {
            Ok(rewritten) => rewritten,
            // Not counted: the caller reads the object again.
            Err(Failure::Replaced) => return Err(Failure::Replaced),
            Err(failure) => {
                self.seen().zero_left += u64::from(before.zero);
                return Err(failure);
            }
        };
        // Counted even if the removal of the old version fails: the object itself has its new key.
        self.seen().cured += u64::from(before.zero);
        let replaced = self.asked.replaced;
        match settle(&self.parts, item, found, &rewritten, replaced).await {
            Ok(OldVersion::Gone) => {}
            Ok(OldVersion::Stays) => self.stays(before),
            Err(failure) => {
                self.stays(before);
                return Err(failure);
            }
        }
        Ok(rewritten)
    }

    fn left_alone(&self, item: &Item, before: Before) -> Option<&'static str> {
        let is_plain = before.format == PLAINTEXT;
        let is_wanted = match self.asked.only {
            Only::All => true,
            Only::Plaintext => is_plain,
            Only::Older => !is_plain,
            Only::ZeroKey => before.zero,
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

    fn stays(&self, before: Before) {
        let mut seen = self.seen();
        *seen.old.entry(before.format).or_default() += 1;
        seen.old_zero += u64::from(before.zero);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // A poisoned lock is usable: each update of a count is complete or was not made.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn closing(&self, selection: &Selection) -> Closing {
        let seen = self.seen();
        let mut lines = Vec::new();
        if seen.cured > 0 {
            lines.push(format!(
                "{} had been under the ALL-ZERO KEY and got new data keys. Treat their earlier \
                 content as known to everyone who could read the bucket.",
                counted(seen.cured, "object")
            ));
        }
        if seen.zero_left > 0 {
            lines.push(format!(
                "{} STILL under the ALL-ZERO KEY: anyone who can read them can decrypt them.",
                counted(seen.zero_left, "object")
            ));
        }
        let old: u64 = seen.old.values().sum();
        if old > 0 {
            let formats = seen
                .old
                .iter()
                .map(|(format, count)| format!("{count} {format}"));
            lines.push(format!(
                "{} readable as before: {}; {} of them under the all-zero key. Delete them, or \
                 use --delete-old-versions the next time.",
                counted(old, "old version"),
                formats.collect::<Vec<_>>().join(", "),
                seen.old_zero
            ));
        }
        if seen.versions && selection.versions == Versions::Current {
            lines.push(
                "Old versions from before this run were not checked; --versions counts them."
                    .to_owned(),
            );
        }
        Closing {
            details: fields(json!({
                "all_zero_key_migrated": seen.cured,
                "all_zero_key_left": seen.zero_left,
                "old_versions_left": seen.old,
                "old_versions_under_all_zero_key": seen.old_zero,
                "versioned": seen.versions,
                "old_versions_counted": selection.versions == Versions::All,
            })),
            lines,
        }
    }
}

const PLAINTEXT: &str = "plaintext";

/// Returns the state before the migration; `None` for format v1.
fn before(parts: &objects::Store, found: &Found) -> Option<Before> {
    if let Form::Sealed(_) = found.form {
        return None;
    }
    if let Form::Plain = found.form {
        let format = PLAINTEXT;
        return Some(Before {
            format,
            zero: false,
        });
    }
    let (format, zero) = older(&found.headers, &parts.dek_tag);
    Some(Before { format, zero })
}

fn is_versioned(found: &Found) -> bool {
    found
        .version()
        .is_some_and(|version| version != NULL_VERSION)
}

impl Told {
    fn handled(self) -> Handled {
        let lost = self.rewritten.as_ref().map(|done| done.lost.clone());
        let lost = lost.unwrap_or_default();
        let from = self.before.map(|before| {
            let key = if before.zero {
                " under the ALL-ZERO KEY"
            } else {
                ""
            };
            format!("{}{key}", before.format)
        });
        let moved = matches!(self.verdict, Verdict::Done(_) | Verdict::Would(_));
        let remarks = from.filter(|_| moved).into_iter().chain(not_kept(&lost));
        let remark = remarks.collect::<Vec<_>>().join("; ");
        Handled {
            remedy: None,
            bytes: self.bytes,
            details: fields(json!({
                "format": self.before.map_or("v1", |before| before.format),
                "all_zero_key": self.before.is_some_and(|before| before.zero),
                "stored_bytes": self.bytes,
                "plaintext_bytes": self.plaintext,
                "new_version": self.rewritten.and_then(|done| done.version),
                "not_kept": lost,
            })),
            remark: (!remark.is_empty()).then_some(remark),
            notable: if lost.is_empty() {
                Notable::IfAsked
            } else {
                Notable::Always
            },
            verdict: self.verdict,
        }
    }
}
