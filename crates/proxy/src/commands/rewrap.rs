//! `s3proxy rewrap`: current objects are moved to the key that new ones get, by their metadata
//! alone.
//!
//! Objects that are up to date are skipped, so an interrupted command can be repeated. Old versions
//! are never rewrapped, since a copy of one would become the current version. They are counted or,
//! if requested, deleted once their content has a new version. At the end the command lists every
//! key that is still needed ([`closing`]). Before it reports that no other key is, it repeats the
//! walk as often as necessary ([`rounds`]).

mod closing;
mod rounds;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use s3proxy_envelope::header::Envelope;
use serde_json::json;

use self::closing::Seen;
use super::inspect::older;
use super::listing::{Age, Item};
use super::report::{Format, Handled, Notable, Verdict, explained, fields, shown};
use super::selection::Selection;
use super::session::{Session, ended};
use super::walk::{Work, handled};
use super::{Ended, needed, probe};
use crate::app::{self, StartError};
use crate::config::resolved::Config;
use crate::failure::{Failure, Outcome};
use crate::objects::read::{self, Found, Source};
use crate::objects::rekey::{Conditions, Rewrapped, is_right, rewrap as rewrap_object};
use crate::objects::replaced::retry_replaced;
use crate::objects::stored::Form;
use crate::objects::{self, OwnedCall};
use crate::upload_state::bucket::Bucket;

/// Options of the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Whether anything is changed.
    pub mode: Mode,
    /// What happens to replaced versions.
    pub replaced: Replaced,
    /// What happens to objects that have the right key already.
    pub up_to_date: UpToDate,
    /// Whether clients may write at the same time.
    pub writers: Writers,
    /// Whether the exit status reports that a key is still needed.
    pub check: Check,
    /// Admin listeners of the running proxies, `HOST:PORT`, which are queried for the keys that
    /// their requests in flight seal under.
    pub replicas: Vec<String>,
}

/// Whether anything is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Rewrap objects.
    Rewrap,
    /// Only show which objects would be rewrapped.
    Show,
}

/// What happens to replaced versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// Keep replaced versions, under the old key.
    Stay,
    /// Delete each version once the copy that replaces it exists.
    AreDeleted,
}

/// What happens to objects that have the right key already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpToDate {
    /// Skip objects that have the right key.
    Skip,
    /// Rewrap all objects: a key may have been rotated inside its service, under the same name.
    RewrapAgain,
}

/// Whether clients may write at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    /// Clients may write, so the backend has to honour conditions.
    Possible,
    /// The operator has stopped all clients that write.
    Stopped,
}

/// Whether the exit status reports that a key is still needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// The exit status does not depend on needed keys.
    No,
    /// The exit status is 4 if a key is still needed.
    ByStatus,
}

/// Runs the command.
pub async fn rewrap(
    config: Config,
    selection: Selection,
    format: Format,
    asked: Asked,
) -> Result<Ended, StartError> {
    let parts = app::store_without_clients(config).await?;
    let conditions = match asked.mode {
        Mode::Show => BTreeMap::new(),
        Mode::Rewrap => conditions(&parts, &selection, asked.writers).await?,
    };
    let rewrapper = Arc::new(Rewrapper {
        parts: Arc::clone(&parts),
        conditions,
        asked,
        seen: Mutex::default(),
    });
    let mut output = anstream::stdout();
    let session = Session::begin("rewrap", format, &mut output)?;
    Ok(ended(rounds::run(session, &selection, &rewrapper).await))
}

/// Returns the conditions that each bucket's backend honours. Refuses if a client's write could be
/// lost.
async fn conditions(
    parts: &objects::Store,
    selection: &Selection,
    writers: Writers,
) -> Result<BTreeMap<String, Conditions>, StartError> {
    let mut found = BTreeMap::new();
    for name in selection.buckets() {
        let bucket = Bucket::new(&parts.backend, name, None);
        let probed = match writers {
            Writers::Stopped => {
                found.insert(name.to_owned(), Conditions::Source);
                continue;
            }
            Writers::Possible => probe::conditions(&bucket, &parts.policy.state_prefix).await,
        };
        let reason = match probed {
            Ok(Some(Conditions::SourceAndTarget)) => {
                found.insert(name.to_owned(), Conditions::SourceAndTarget);
                continue;
            }
            Ok(Some(Conditions::Source)) => {
                "the backend keeps the condition on the source of a copy and ignores the one on its \
                 target, so that a write between the two is overwritten"
                    .to_owned()
            }
            Ok(None) => "the backend ignores conditions on copies".to_owned(),
            Err(failure) => format!(
                "cannot find out whether the backend honours conditions on copies: {}",
                explained(&failure)
            ),
        };
        return Err(StartError::Refused(format!(
            "{}: {reason}; a client's write could be lost while its object is re-wrapped. Stop \
             everything that writes to the bucket, and use --offline",
            shown(name)
        )));
    }
    Ok(found)
}

struct Rewrapper {
    parts: Arc<objects::Store>,
    /// Conditions by bucket.
    conditions: BTreeMap<String, Conditions>,
    asked: Asked,
    seen: Mutex<Seen>,
}

/// Result for one object.
struct Told {
    verdict: Verdict,
    from: Option<String>,
    to: String,
    rewrapped: Option<Rewrapped>,
    bytes: u64,
}

impl Work for Rewrapper {
    async fn handle(&self, item: &Item) -> Handled {
        let looked = retry_replaced(|| self.look(item)).await;
        let handled = handled(item, looked, Told::handled);
        if matches!(handled.verdict, Verdict::Failed(_)) {
            self.seen().note_failure(item);
        }
        handled
    }
}

impl Rewrapper {
    async fn look(&self, item: &Item) -> Outcome<Told> {
        let name = item.name()?;
        let source = item.source_by_now(&name);
        let owned = OwnedCall::by_operator(&self.parts);
        let found = read::describe(&owned.call(), &source).await?;
        let storing = self.parts.storing(source.object);
        let mut told = Told {
            verdict: Verdict::Skipped("plaintext"),
            from: None,
            to: storing.key.name().to_owned(),
            rewrapped: None,
            bytes: found.stored.0,
        };
        // Also for objects that are skipped below: their keys count in the summary.
        self.saw(&found, &told.to);
        let envelope = match &found.form {
            Form::Plain => return Ok(told),
            Form::Legacy(_) => {
                let (_, is_under_zero_key) = older(&found.headers, &self.parts.dek_tag);
                self.seen().saw_older_format(is_under_zero_key);
                told.verdict = Verdict::Skipped("older-format");
                return Ok(told);
            }
            Form::Sealed(envelope) => envelope,
        };
        told.from = Some(envelope.key_name.clone());
        let is_right = is_right(&self.parts, source.object, envelope);
        told.verdict = match (item.age, is_right, self.asked.up_to_date, self.asked.mode) {
            // An old version cannot be rewrapped in place: a copy of it would become the current
            // one.
            (Age::Old, _, _, _) => Verdict::Skipped("old-version"),
            (Age::Current, true, UpToDate::Skip, _) => Verdict::Skipped("right-already"),
            (Age::Current, _, _, Mode::Show) => Verdict::Would("rewrapped"),
            (Age::Current, _, _, Mode::Rewrap) => {
                let rewrapped = self.rewrap(item, &source, &found, envelope).await;
                match &rewrapped {
                    // Another write came first; the caller reads the object again.
                    Ok(_) | Err(Failure::Replaced) => {}
                    Err(_) => self.needs(&envelope.key_name, |need| need.current += 1),
                }
                told.rewrapped = Some(rewrapped?);
                self.seen().changed += 1;
                Verdict::Done("rewrapped")
            }
        };
        match &told.verdict {
            Verdict::Skipped("old-version") => self.needs(&envelope.key_name, |need| need.old += 1),
            Verdict::Would(_) => self.needs(&envelope.key_name, |need| need.current += 1),
            Verdict::Done(_) | Verdict::Skipped(_) | Verdict::Failed(_) => {}
        }
        Ok(told)
    }

    async fn rewrap(
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
        let replaced = found.version().filter(|_| rewrapped.version.is_some());
        // The same id before and after, such as `null`, means that the version was overwritten.
        if let Some(replaced) = replaced.filter(|old| rewrapped.version.as_deref() != Some(*old)) {
            match self.asked.replaced {
                Replaced::Stay => self.needs(&envelope.key_name, |need| need.old += 1),
                Replaced::AreDeleted => {
                    let bucket = Bucket::new(&self.parts.backend, &item.bucket, None);
                    let deleted = bucket.send_deletion(&item.key, Some(replaced)).await;
                    // The old version is still there, and so is the need for its key.
                    if deleted.is_err() {
                        self.needs(&envelope.key_name, |need| need.old += 1);
                    }
                    deleted?;
                }
            }
        }
        Ok(rewrapped)
    }

    fn saw(&self, found: &Found, wanted: &str) {
        let mut seen = self.seen();
        seen.versions |= found.version().is_some_and(|version| version != "null");
        if !seen.wanted.contains(wanted) {
            seen.wanted.insert(wanted.to_owned());
        }
    }

    fn needs(&self, key: &str, count: impl FnOnce(&mut needed::Need)) {
        count(self.seen().round.of(key));
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // A poisoned lock is usable: each update of a count is complete or was not made.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    fn handled(self) -> Handled {
        let lost = self.rewrapped.as_ref().map(|done| done.lost.clone());
        let lost = lost.unwrap_or_default();
        let from = self
            .from
            .as_deref()
            .map(|from| format!("from {}", shown(from)));
        let moved = matches!(self.verdict, Verdict::Done(_) | Verdict::Would(_));
        let mut remark = from
            .filter(|_| moved)
            .map(|from| format!("{from} to {}", shown(&self.to)));
        let notable = if lost.is_empty() {
            Notable::IfAsked
        } else {
            let text = format!("{}; NOT KEPT by the backend: ", remark.unwrap_or_default());
            remark = Some(text + &lost.join(", "));
            Notable::Always
        };
        Handled {
            remedy: None,
            bytes: self.bytes,
            details: fields(json!({
                "stored_bytes": self.bytes,
                "encryption_key": self.from,
                "new_encryption_key": moved.then_some(self.to),
                "new_version": self.rewrapped.and_then(|done| done.version),
                "not_kept": lost,
            })),
            remark,
            notable,
            verdict: self.verdict,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_kept_is_always_told() {
        let told = |lost: Vec<String>| Told {
            verdict: Verdict::Done("rewrapped"),
            from: Some("a".to_owned()),
            to: "b".to_owned(),
            rewrapped: Some(Rewrapped {
                version: None,
                lost,
            }),
            bytes: 1,
        };
        let kept = told(Vec::new()).handled();
        assert_eq!(kept.notable, Notable::IfAsked);
        assert_eq!(kept.remark.as_deref(), Some("from a to b"));
        let lost = told(vec!["x-amz-storage-class".to_owned()]).handled();
        assert_eq!(lost.notable, Notable::Always);
        let remark = "from a to b; NOT KEPT by the backend: x-amz-storage-class";
        assert_eq!(lost.remark.as_deref(), Some(remark));
        assert_eq!(lost.details["not_kept"], json!(["x-amz-storage-class"]));
    }
}
