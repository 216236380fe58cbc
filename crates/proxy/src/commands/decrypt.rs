//! `s3proxy decrypt`: turns sealed objects back into plaintext, in place or in another bucket, so
//! that nobody is locked in.
//!
//! Sealed user metadata becomes plain metadata again. In place, an object is overwritten only if it
//! is unchanged since it was read. Elsewhere, existing objects are left alone, so that the command
//! can be repeated. Plaintext is copied, too, if the target is elsewhere, and skipped in place.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use super::command_run::CommandRun;
use super::listing::{Item, ItemOrigin, VersionAge};
use super::memory_gate::MemoryGate;
use super::object_selection::{ObjectTarget, Selection};
use super::object_walk::{ListingBackend, WalkEnd, Work, report_of};
use super::report::{CommandSummary, Format, ObjectReport, ObjectVerdict, Tally, shown};
use super::rewriting::{self, StoredAgain, settle_replaced};
use super::write_options::{RunMode, WriteOptions, Writers};
use super::{CommandEnd, missing};
use crate::app::StartError;
use crate::config::resolved::Config;
use crate::failure::Outcome;
use crate::objects::read::{self, Found};
use crate::objects::replaced::retry_replaced;
use crate::objects::rewrite::{Condition, NewForm, Rewritten, rewrite};
use crate::objects::stored::Form;
use crate::objects::{self, OwnedCall};

/// Options of the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecryptOptions {
    /// Destination of the plaintext.
    pub destination: Destination,
    /// How objects are replaced.
    pub write: WriteOptions,
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
    options: DecryptOptions,
) -> Result<CommandEnd, StartError> {
    let written: BTreeSet<&str> = match &options.destination {
        Destination::InPlace => selection.buckets(),
        Destination::Elsewhere { target, .. } => BTreeSet::from([target.bucket.as_str()]),
    };
    let (parts, gate) = rewriting::begin(config, written, options.write).await?;
    let decrypter = Arc::new(Decrypter {
        parts: Arc::clone(&parts),
        gate,
        options,
    });
    let mut output = anstream::stdout();
    let run = CommandRun::begin("decrypt", format, &mut output)?;
    let store = ListingBackend::of(&parts);
    let own_summary = |_: &WalkEnd, _: &Tally| CommandSummary::default();
    Ok(run
        .complete(store, &selection, &decrypter, own_summary)
        .await)
}

struct Decrypter {
    parts: Arc<objects::Store>,
    gate: MemoryGate,
    options: DecryptOptions,
}

/// Result for one object.
struct DecryptResult {
    verdict: ObjectVerdict,
    to: Item,
    rewritten: Option<Rewritten>,
    bytes: u64,
    plaintext: u64,
}

impl Work for Decrypter {
    async fn handle(&self, item: &Item) -> ObjectReport {
        let result = retry_replaced(|| self.decrypt(item)).await;
        report_of(item, result, |result| {
            result.report(&self.options.destination)
        })
    }
}

impl Decrypter {
    async fn decrypt(&self, item: &Item) -> Outcome<DecryptResult> {
        let to = self.destination_of(item);
        let (name, target) = (item.name()?, to.name()?);
        let owned = OwnedCall::by_operator(&self.parts);
        let call = &owned.call();
        let source = item.source_by_now(&name);
        let found = read::describe(call, &source).await?;
        let mut result = DecryptResult {
            verdict: ObjectVerdict::Skipped("plaintext"),
            to,
            rewritten: None,
            bytes: found.stored.0,
            plaintext: found.length.0,
        };
        let skipped = self.reason_to_skip(item, &result.to, &found).await?;
        if let Some(why) = skipped {
            result.verdict = ObjectVerdict::Skipped(why);
            return Ok(result);
        }
        match self.options.write.mode {
            RunMode::DryRun => result.verdict = ObjectVerdict::Would("decrypted"),
            RunMode::Apply => {
                let condition = self.condition();
                let _memory = self.gate.enter(&self.parts, &found).await;
                let (target, form) = (target.current(), NewForm::Plaintext);
                let rewritten = rewrite(call, target, &source, &found, form, condition).await?;
                self.settle(item, &found, &rewritten).await?;
                result.rewritten = Some(rewritten);
                result.verdict = ObjectVerdict::Done("decrypted");
            }
        }
        Ok(result)
    }

    /// Returns why there is nothing to do, or `None`.
    async fn reason_to_skip(
        &self,
        item: &Item,
        to: &Item,
        found: &Found,
    ) -> Outcome<Option<&'static str>> {
        // A copy of an old version would become the current one.
        if item.age == VersionAge::Old {
            return Ok(Some("old-version"));
        }
        Ok(match &self.options.destination {
            Destination::InPlace => matches!(found.form, Form::Plain).then_some("plaintext"),
            Destination::Elsewhere { existing, .. } => match existing {
                ExistingObjects::Overwrite => None,
                ExistingObjects::Keep => self.exists(to).await?.then_some("there-already"),
            },
        })
    }

    fn destination_of(&self, item: &Item) -> Item {
        match &self.options.destination {
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

    async fn exists(&self, to: &Item) -> Outcome<bool> {
        let name = to.name()?;
        let owned = OwnedCall::by_operator(&self.parts);
        match read::describe(&owned.call(), &to.source(&name)).await {
            Ok(_) => Ok(true),
            Err(failure) if missing(&failure) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    fn condition(&self) -> Condition {
        match (&self.options.destination, self.options.write.writers) {
            (Destination::InPlace, Writers::Possible) => Condition::Unchanged,
            (Destination::InPlace, Writers::Stopped) => Condition::InPlace,
            (Destination::Elsewhere { existing, .. }, writers) => match (existing, writers) {
                (ExistingObjects::Keep, Writers::Possible) => Condition::Absent,
                // With `Stay`, `reason_to_skip` has found nothing there, and nobody else writes.
                (ExistingObjects::Keep, Writers::Stopped) | (ExistingObjects::Overwrite, _) => {
                    Condition::Anything
                }
            },
        }
    }

    /// Deletes the replaced version, if that was requested.
    async fn settle(&self, item: &Item, found: &Found, rewritten: &Rewritten) -> Outcome<()> {
        match self.options.destination {
            Destination::InPlace => {
                let (new, old) = (&rewritten.version, self.options.write.old_versions);
                settle_replaced(&self.parts, item, found, new.as_deref(), old).await?;
            }
            // The source stays.
            Destination::Elsewhere { .. } => {}
        }
        Ok(())
    }
}

impl DecryptResult {
    fn report(self, destination: &Destination) -> ObjectReport {
        let to = match destination {
            Destination::InPlace => None,
            Destination::Elsewhere { .. } => Some(format!("{}/{}", self.to.bucket, self.to.key)),
        };
        let remark = to.as_deref().map(|to| format!("to {}", shown(to)));
        let details = json!({ "to": to, "plaintext_bytes": self.plaintext });
        let stored = self.rewritten.map(StoredAgain::from);
        rewriting::report(self.verdict, self.bytes, stored, remark, details)
    }
}
