//! `s3proxy decrypt`: sealed objects become plaintext again, in place or in another bucket, so that
//! nobody is locked in.
//!
//! Sealed user metadata becomes plain metadata again. In place, an object is overwritten only if it
//! is unchanged since it was read. Elsewhere, existing objects are left alone, so that the command
//! can be repeated. Plaintext is copied, too, if the target is elsewhere, and skipped in place.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use super::anew::{not_kept, reading_everything, settle};
use super::listing::{Age, Item, Origin};
use super::report::{Closing, Format, Handled, Notable, Verdict, fields, shown};
use super::rewrap::{Replaced, Writers};
use super::room::Room;
use super::selection::{Selection, Target};
use super::session::{Session, ended};
use super::walk::{Store, Work, handled};
use super::written::conditions_must_count;
use super::{Ended, missing};
use crate::app::{self, StartError};
use crate::config::resolved::Config;
use crate::failure::Outcome;
use crate::objects::read::{self, Found};
use crate::objects::replaced::retry_replaced;
use crate::objects::rewrite::{Condition, NewForm, Rewritten, rewrite};
use crate::objects::stored::Form;
use crate::objects::{self, OwnedCall};

/// Options of the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Whether anything is changed.
    pub mode: Mode,
    /// Destination of the plaintext.
    pub place: Place,
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
pub enum Place {
    /// Replace the sealed object.
    Same,
    /// Under the same key, with this prefix in front.
    Elsewhere {
        /// Bucket and prefix.
        target: Target,
        /// Whether existing objects are overwritten.
        existing: Existing,
    },
}

/// What happens to existing objects at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Keep existing objects.
    Stay,
    /// Overwrite existing objects.
    WrittenOver,
}

/// Runs the command.
pub async fn decrypt(
    config: Config,
    selection: Selection,
    format: Format,
    asked: Asked,
) -> Result<Ended, StartError> {
    let room = Room::new(config.limits.body_memory_bytes);
    let parts = app::store_without_clients(reading_everything(config)).await?;
    let written: BTreeSet<&str> = match &asked.place {
        Place::Same => selection.buckets(),
        Place::Elsewhere { target, .. } => BTreeSet::from([target.bucket.as_str()]),
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
    let mut session = Session::begin("decrypt", format, &mut output)?;
    let told = match session
        .walk(Store::of(&parts), &selection, &decrypter)
        .await
    {
        Ok(walked) => session.end(&walked, Closing::default()),
        Err(error) => Err(error),
    };
    Ok(ended(told))
}

struct Decrypter {
    parts: Arc<objects::Store>,
    room: Room,
    asked: Asked,
}

struct Told {
    verdict: Verdict,
    to: Item,
    rewritten: Option<Rewritten>,
    bytes: u64,
    plaintext: u64,
}

impl Work for Decrypter {
    async fn handle(&self, item: &Item) -> Handled {
        let looked = retry_replaced(|| self.look(item)).await;
        handled(item, looked, |told| told.handled(&self.asked.place))
    }
}

impl Decrypter {
    async fn look(&self, item: &Item) -> Outcome<Told> {
        let to = self.goes_to(item);
        let (name, target) = (item.name()?, to.name()?);
        let owned = OwnedCall::by_operator(&self.parts);
        let call = &owned.call();
        let source = item.source_by_now(&name);
        let found = read::describe(call, &source).await?;
        let mut told = Told {
            verdict: Verdict::Skipped("plaintext"),
            to,
            rewritten: None,
            bytes: found.stored.0,
            plaintext: found.length.0,
        };
        let skipped = self.left_alone(item, &told.to, &found).await?;
        if let Some(why) = skipped {
            told.verdict = Verdict::Skipped(why);
            return Ok(told);
        }
        match self.asked.mode {
            Mode::Show => told.verdict = Verdict::Would("decrypted"),
            Mode::Decrypt => {
                let condition = self.condition();
                let _room = self.room.enter(&self.parts, &found).await;
                let (target, form) = (target.current(), NewForm::Plaintext);
                let rewritten = rewrite(call, target, &source, &found, form, condition).await?;
                self.settle(item, &found, &rewritten).await?;
                told.rewritten = Some(rewritten);
                told.verdict = Verdict::Done("decrypted");
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
        if item.age == Age::Old {
            return Ok(Some("old-version"));
        }
        Ok(match &self.asked.place {
            Place::Same => matches!(found.form, Form::Plain).then_some("plaintext"),
            Place::Elsewhere { existing, .. } => match existing {
                Existing::WrittenOver => None,
                Existing::Stay => self.is_there(to).await?.then_some("there-already"),
            },
        })
    }

    fn goes_to(&self, item: &Item) -> Item {
        match &self.asked.place {
            Place::Same => item.clone(),
            Place::Elsewhere { target, .. } => Item {
                bucket: target.bucket.clone(),
                key: format!("{}{}", target.prefix, item.key),
                version: None,
                age: Age::Current,
                origin: Origin::Named,
            },
        }
    }

    async fn is_there(&self, to: &Item) -> Outcome<bool> {
        let name = to.name()?;
        let owned = OwnedCall::by_operator(&self.parts);
        match read::describe(&owned.call(), &to.source(&name)).await {
            Ok(_) => Ok(true),
            Err(failure) if missing(&failure) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    fn condition(&self) -> Condition {
        match (&self.asked.place, self.asked.writers) {
            (Place::Same, Writers::Possible) => Condition::Unchanged,
            (Place::Same, Writers::Stopped) => Condition::InPlace,
            (Place::Elsewhere { existing, .. }, writers) => match (existing, writers) {
                (Existing::Stay, Writers::Possible) => Condition::Absent,
                // With `Stay`, `left_alone` has found nothing there, and nobody else writes.
                (Existing::Stay, Writers::Stopped) | (Existing::WrittenOver, _) => {
                    Condition::Anything
                }
            },
        }
    }

    async fn settle(&self, item: &Item, found: &Found, rewritten: &Rewritten) -> Outcome<()> {
        match self.asked.place {
            Place::Same => {
                settle(&self.parts, item, found, rewritten, self.asked.replaced).await?;
            }
            Place::Elsewhere { .. } => {}
        }
        Ok(())
    }
}

impl Told {
    fn handled(self, place: &Place) -> Handled {
        let lost = self.rewritten.as_ref().map(|done| done.lost.clone());
        let lost = lost.unwrap_or_default();
        let to = match place {
            Place::Same => None,
            Place::Elsewhere { .. } => Some(format!("{}/{}", self.to.bucket, self.to.key)),
        };
        let moved = matches!(self.verdict, Verdict::Done(_) | Verdict::Would(_));
        let where_to = to.as_deref().filter(|_| moved);
        let where_to = where_to.map(|to| format!("to {}", shown(to)));
        let remarks = where_to.into_iter().chain(not_kept(&lost));
        let remark = remarks.collect::<Vec<_>>().join("; ");
        Handled {
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
