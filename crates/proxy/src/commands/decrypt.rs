//! `s3proxy decrypt`: sealed objects become plaintext again, in place or in another bucket, so that
//! nobody is locked in.
//!
//! Sealed user metadata becomes plain metadata again. In place, an object is overwritten only if it
//! is unchanged since it was read. Elsewhere, existing objects are left alone, so that the command
//! can be repeated. Plaintext is copied, too, if the target is elsewhere, and skipped in place.

use std::collections::BTreeSet;
use std::sync::Arc;

use s3proxy_protocol::operation::Operation;
use serde_json::json;

use super::command_run::{CommandRun, ended};
use super::errand::Errand;
use super::listing::{Item, ItemOrigin, VersionAge};
use super::memory_gate::MemoryGate;
use super::object_selection::{ObjectTarget, Selection};
use super::object_walk::{ListingBackend, Work, handled};
use super::report::{CommandSummary, Format, Notable, ObjectReport, ObjectVerdict, fields, shown};
use super::rewrap::{Replaced, Writers};
use super::rewriting::{not_kept, reading_everything, settle};
use super::write_condition_probe::conditions_must_count;
use super::{CommandEnd, missing};
use crate::app::{self, StartError};
use crate::config::resolved::Config;
use crate::execute::copy::origin::unless_replaced;
use crate::execute::copy::rewrite::{Condition, NewForm, Rewritten, rewrite};
use crate::execute::source::{self, Found};
use crate::execute::stored::Form;
use crate::execute::{Outcome, Parts};

/// Options of the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecryptOptions {
    /// Whether anything is changed.
    pub mode: Mode,
    /// Destination of the plaintext.
    pub place: Destination,
    /// What happens to versions that are replaced in place.
    pub replaced: Replaced,
    /// Whether clients may write at the same time.
    pub writers: Writers,
}

/// Whether anything is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Store objects as plaintext.
    Decrypt,
    /// Only show which objects would be stored.
    Show,
}

/// Destination of the plaintext.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Replace the sealed object.
    InPlace,
    /// Under the same key, with this prefix in front.
    Elsewhere {
        /// Bucket and prefix.
        target: ObjectTarget,
        /// Whether existing objects are overwritten.
        existing: ExistingObjects,
    },
}

/// What happens to existing objects at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExistingObjects {
    /// Keep existing objects.
    Keep,
    /// Overwrite existing objects.
    Overwrite,
}

/// Runs the command.
pub async fn decrypt(
    config: Config,
    selection: Selection,
    format: Format,
    asked: DecryptOptions,
) -> Result<CommandEnd, StartError> {
    let room = MemoryGate::new(config.limits.body_memory_bytes);
    let parts = app::parts_without_clients(reading_everything(config)).await?;
    let written: BTreeSet<&str> = match &asked.place {
        Destination::InPlace => selection.buckets(),
        Destination::Elsewhere { target, .. } => BTreeSet::from([target.bucket.as_str()]),
    };
    match asked.mode {
        Mode::Show => {}
        Mode::Decrypt => conditions_must_count(&parts, written, asked.writers).await?,
    }
    let decrypter = Arc::new(Decrypter {
        parts: Arc::clone(&parts),
        room,
        asked,
    });
    let mut output = anstream::stdout();
    let mut session = CommandRun::begin("decrypt", format, &mut output)?;
    let told = match session
        .walk(ListingBackend::of(&parts), &selection, &decrypter)
        .await
    {
        Ok(walked) => session.end(&walked, CommandSummary::default()),
        Err(error) => Err(error),
    };
    Ok(ended(told))
}

struct Decrypter {
    parts: Arc<Parts>,
    room: MemoryGate,
    asked: DecryptOptions,
}

struct DecryptResult {
    verdict: ObjectVerdict,
    to: Item,
    rewritten: Option<Rewritten>,
    bytes: u64,
    plaintext: u64,
}

impl Work for Decrypter {
    async fn handle(&self, item: &Item) -> ObjectReport {
        let looked = unless_replaced(|| self.look(item)).await;
        handled(item, looked, |told| told.handled(&self.asked.place))
    }
}

impl Decrypter {
    async fn look(&self, item: &Item) -> Outcome<DecryptResult> {
        let to = self.goes_to(item);
        // The errand is about the target; the source is read under its own name.
        let errand = Errand::new(&self.parts, Operation::CopyObject, &to)?;
        let job = errand.job();
        let source = item.source_by_now();
        let found = source::describe(&job, &source).await?;
        let mut told = DecryptResult {
            verdict: ObjectVerdict::Skipped("plaintext"),
            to,
            rewritten: None,
            bytes: found.stored.0,
            plaintext: found.length.0,
        };
        let skipped = self.left_alone(item, &told.to, &found).await?;
        if let Some(why) = skipped {
            told.verdict = ObjectVerdict::Skipped(why);
            return Ok(told);
        }
        match self.asked.mode {
            Mode::Show => told.verdict = ObjectVerdict::Would("decrypted"),
            Mode::Decrypt => {
                let condition = self.condition();
                let _room = self.room.enter(&self.parts, &found).await;
                let rewritten = rewrite(&job, &source, &found, NewForm::Plaintext, condition);
                let rewritten = rewritten.await?;
                self.settle(item, &found, &rewritten).await?;
                told.rewritten = Some(rewritten);
                told.verdict = ObjectVerdict::Done("decrypted");
            }
        }
        Ok(told)
    }

    /// Returns why there is nothing to do, if so.
    async fn left_alone(
        &self,
        item: &Item,
        to: &Item,
        found: &Found,
    ) -> Outcome<Option<&'static str>> {
        // A copy of an old version would become the current one.
        if item.age == VersionAge::Old {
            return Ok(Some("old-version"));
        }
        Ok(match &self.asked.place {
            Destination::InPlace => matches!(found.form, Form::Plain).then_some("plaintext"),
            Destination::Elsewhere { existing, .. } => match existing {
                ExistingObjects::Overwrite => None,
                ExistingObjects::Keep => self.is_there(to).await?.then_some("there-already"),
            },
        })
    }

    fn goes_to(&self, item: &Item) -> Item {
        match &self.asked.place {
            Destination::InPlace => item.clone(),
            Destination::Elsewhere { target, .. } => Item {
                bucket: target.bucket.clone(),
                key: format!("{}{}", target.prefix, item.key),
                version: None,
                age: VersionAge::Current,
                origin: ItemOrigin::Named,
            },
        }
    }

    async fn is_there(&self, to: &Item) -> Outcome<bool> {
        let errand = Errand::new(&self.parts, Operation::HeadObject, to)?;
        match source::describe(&errand.job(), &to.source()).await {
            Ok(_) => Ok(true),
            Err(failure) if missing(&failure) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    fn condition(&self) -> Condition {
        match (&self.asked.place, self.asked.writers) {
            (Destination::InPlace, Writers::Possible) => Condition::Unchanged,
            (Destination::InPlace, Writers::Stopped) => Condition::InPlace,
            (Destination::Elsewhere { existing, .. }, writers) => match (existing, writers) {
                (ExistingObjects::Keep, Writers::Possible) => Condition::Absent,
                // With `Stay`, `left_alone` has found nothing there, and nobody else writes.
                (ExistingObjects::Keep, Writers::Stopped) | (ExistingObjects::Overwrite, _) => {
                    Condition::Anything
                }
            },
        }
    }

    async fn settle(&self, item: &Item, found: &Found, rewritten: &Rewritten) -> Outcome<()> {
        match self.asked.place {
            Destination::InPlace => {
                settle(&self.parts, item, found, rewritten, self.asked.replaced).await?;
            }
            Destination::Elsewhere { .. } => {}
        }
        Ok(())
    }
}

impl DecryptResult {
    fn handled(self, place: &Destination) -> ObjectReport {
        let lost = self.rewritten.as_ref().map(|done| done.lost.clone());
        let lost = lost.unwrap_or_default();
        let to = match place {
            Destination::InPlace => None,
            Destination::Elsewhere { .. } => Some(format!("{}/{}", self.to.bucket, self.to.key)),
        };
        let moved = matches!(
            self.verdict,
            ObjectVerdict::Done(_) | ObjectVerdict::Would(_)
        );
        let where_to = to.as_deref().filter(|_| moved);
        let where_to = where_to.map(|to| format!("to {}", shown(to)));
        let remarks = where_to.into_iter().chain(not_kept(&lost));
        let remark = remarks.collect::<Vec<_>>().join("; ");
        ObjectReport {
            remedy: None,
            bytes: self.bytes,
            details: fields(json!({
                "to": to,
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
