//! `s3proxy verify`: opens every object, and reports those that fail with the reason.
//!
//! An unsealed object is a failure if the settings demand encryption, and so refuse it to clients:
//! those settings protect against a backend that replaces sealed objects by unsealed ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::CommandEnd;
use super::command_run::CommandRun;
use super::failures::remedy;
use super::listing::Item;
use super::object_selection::Selection;
use super::object_walk::{ListingBackend, WalkEnd, Work, report_of};
use super::open_check::OpenVerdict;
use super::report::{
    CommandSummary, Format, ObjectReport, ObjectVerdict, Tally, explained, fields,
};
use crate::app::{self, StartError};
use crate::config::resolved::{Config, Permission};
use crate::failure::{Failure, Outcome};
use crate::objects::read::{self, Found};
use crate::objects::stored::{Form, permit_plain};
use crate::objects::verify::{Verified, verify as verify_object};
use crate::objects::{self, OwnedCall};

pub(crate) use crate::objects::verify::Depth;

/// Number of attempts at an object that keeps being replaced.
const ATTEMPTS: usize = 3;

/// Amount of data that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifyScope {
    /// Read whole bodies.
    Bodies,
    /// Read only envelopes, keys and seals.
    Heads,
}

/// Runs the command.
pub async fn verify(
    config: Config,
    selection: Selection,
    format: Format,
    scope: VerifyScope,
) -> Result<CommandEnd, StartError> {
    let parts = app::store_without_clients(config).await?;
    let store = ListingBackend::of(&parts);
    let verifier = Arc::new(Verifier {
        parts: Arc::clone(&parts),
        depth: match scope {
            VerifyScope::Bodies => Depth::Bodies,
            VerifyScope::Heads => Depth::Heads,
        },
        seen: SeenForms::default(),
    });
    let mut output = anstream::stdout();
    let run = CommandRun::begin("verify", format, &mut output)?;
    let own_summary = |walked: &WalkEnd, tally: &Tally| {
        // A partial run proves nothing about the other objects.
        let is_whole = matches!(walked, WalkEnd::Through) && selection.start_after.is_none();
        verifier.summary(is_whole && tally.is_complete())
    };
    Ok(run
        .complete(store, &selection, &verifier, own_summary)
        .await)
}

struct Verifier {
    parts: Arc<objects::Store>,
    depth: Depth,
    seen: SeenForms,
}

/// Kinds of objects that were seen.
#[derive(Default)]
struct SeenForms {
    anything: AtomicBool,
    plaintext: AtomicBool,
    older: AtomicBool,
}

/// An object that exists, with the result of its verification.
struct CheckedObject {
    found: Found,
    /// `None` for an object that is not sealed, and need not be.
    verified: Option<Outcome<Verified>>,
}

impl SeenForms {
    fn note(&self, form: &Form) {
        self.anything.store(true, Ordering::Relaxed);
        match form {
            Form::Plain => self.plaintext.store(true, Ordering::Relaxed),
            Form::Legacy(_) => self.older.store(true, Ordering::Relaxed),
            Form::Sealed(_) => {}
        }
    }
}

impl Work for Verifier {
    async fn handle(&self, item: &Item) -> ObjectReport {
        let mut checked = self.check(item).await;
        for _ in 1..ATTEMPTS {
            if !is_replaced(&checked) {
                break;
            }
            checked = self.check(item).await;
        }
        report_of(item, checked, |checked| self.report(checked))
    }
}

fn is_replaced(checked: &Outcome<CheckedObject>) -> bool {
    match checked {
        Ok(checked) => matches!(checked.verified, Some(Err(Failure::Replaced))),
        Err(failure) => matches!(failure, Failure::Replaced),
    }
}

impl Verifier {
    async fn check(&self, item: &Item) -> Outcome<CheckedObject> {
        let name = item.name()?;
        let source = item.source(&name);
        let owned = OwnedCall::by_operator(&self.parts);
        let call = &owned.call();
        let found = read::describe(call, &source).await?;
        let verified = match found.form {
            Form::Plain => permit_plain(call, source.object).err().map(Err),
            Form::Sealed(_) | Form::Legacy(_) => {
                Some(verify_object(call, &source, &found, self.depth).await)
            }
        };
        self.seen.note(&found.form);
        Ok(CheckedObject { found, verified })
    }

    /// Returns advice about settings that can be tightened, if everything was seen.
    fn summary(&self, is_complete: bool) -> CommandSummary {
        let policy = &self.parts.policy;
        let [anything, plaintext, older] =
            [&self.seen.anything, &self.seen.plaintext, &self.seen.older]
                .map(|seen| seen.load(Ordering::Relaxed));
        let mut settings = Vec::new();
        // An empty bucket proves nothing about the objects that will come.
        if is_complete && anything && !plaintext {
            if policy.plaintext_reads == Permission::Allow {
                settings.push("policy.plaintext_reads = \"deny\"");
            }
            if policy.legacy_reads == Permission::Allow && !older {
                settings.push("policy.legacy_reads = \"deny\"");
            }
        }
        let line = format!(
            "Everything is encrypted; set {} so that the storage cannot substitute unencrypted \
             objects.",
            settings.join(" and ")
        );
        let lines = (!settings.is_empty()).then_some(line);
        CommandSummary {
            details: fields(json!({
                "plaintext_found": plaintext,
                "older_formats_found": older,
            })),
            lines: lines.into_iter().collect(),
        }
    }

    fn report(&self, checked: CheckedObject) -> ObjectReport {
        let CheckedObject { found, verified } = checked;
        let (format, key) = match &found.form {
            Form::Sealed(envelope) => ("v1", Some(envelope.key_name.clone())),
            Form::Legacy(_) => ("older", None),
            Form::Plain => ("plaintext", None),
        };
        let (opening, remedy) = match &verified {
            None | Some(Ok(_)) => (OpenVerdict::Here, None),
            Some(Err(failure)) => (OpenVerdict::of(failure), remedy(failure)),
        };
        let (verdict, checksums) = match verified {
            None => (ObjectVerdict::Skipped("plaintext"), Vec::new()),
            Some(Ok(verified)) => (ObjectVerdict::Done(self.done_word()), verified.checksums),
            Some(Err(failure)) => (ObjectVerdict::Failed(explained(&failure)), Vec::new()),
        };
        ObjectReport {
            bytes: found.stored.0,
            details: fields(json!({
                "format": format,
                "encryption_key": key,
                "stored_bytes": found.stored.0,
                "plaintext_bytes": found.length.0,
                "opens_here": opening.to_json(),
                "checksums": checksums,
            })),
            remedy,
            ..ObjectReport::new(verdict)
        }
    }

    fn done_word(&self) -> &'static str {
        match self.depth {
            Depth::Bodies => "verified",
            Depth::Heads => "opened",
        }
    }
}
