//! `s3proxy verify`: whether every object opens, and if not, why.
//!
//! An unsealed object is a failure if the settings demand encryption and so refuse it to clients:
//! those settings are meant against a backend that replaces a sealed object by such a one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::Ended;
use super::failures::remedy;
use super::listing::Item;
use super::place::Opening;
use super::report::{Closing, Format, Handled, Notable, Verdict, explained, fields};
use super::selection::Selection;
use super::session::{Session, ended};
use super::walk::{Store, Walked, Work, handled};
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
pub enum Reading {
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
    reading: Reading,
) -> Result<Ended, StartError> {
    let parts = app::store_without_clients(config).await?;
    let store = Store::of(&parts);
    let verifier = Arc::new(Verifier {
        parts: Arc::clone(&parts),
        depth: match reading {
            Reading::Bodies => Depth::Bodies,
            Reading::Heads => Depth::Heads,
        },
        seen: Seen::default(),
    });
    let mut output = anstream::stdout();
    let mut session = Session::begin("verify", format, &mut output)?;
    let told = match session.walk(store, &selection, &verifier).await {
        Ok(walked) => {
            // A partial run proves nothing about the other objects.
            let is_whole = matches!(walked, Walked::Through) && selection.start_after.is_none();
            let is_complete = is_whole && session.reporter().tally().is_complete();
            let closing = verifier.closing(is_complete);
            session.end(&walked, closing)
        }
        Err(error) => Err(error),
    };
    Ok(ended(told))
}

struct Verifier {
    parts: Arc<objects::Store>,
    depth: Depth,
    seen: Seen,
}

/// Kinds of objects that were seen.
#[derive(Default)]
struct Seen {
    anything: AtomicBool,
    plaintext: AtomicBool,
    older: AtomicBool,
}

/// An object that exists.
struct Looked {
    found: Found,
    /// `None` for an object that is not sealed, and need not be.
    verified: Option<Outcome<Verified>>,
}

impl Seen {
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
    async fn handle(&self, item: &Item) -> Handled {
        let mut looked = self.look(item).await;
        for _ in 1..ATTEMPTS {
            if !is_replaced(&looked) {
                break;
            }
            looked = self.look(item).await;
        }
        handled(item, looked, |looked| self.told(looked))
    }
}

fn is_replaced(looked: &Outcome<Looked>) -> bool {
    match looked {
        Ok(looked) => matches!(looked.verified, Some(Err(Failure::Replaced))),
        Err(failure) => matches!(failure, Failure::Replaced),
    }
}

impl Verifier {
    async fn look(&self, item: &Item) -> Outcome<Looked> {
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
        Ok(Looked { found, verified })
    }

    /// Returns advice about settings that can be tightened, if everything was seen.
    fn closing(&self, is_complete: bool) -> Closing {
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
            "Everything is encrypted; set {} so that the storage cannot put anything else in its place.",
            settings.join(" and ")
        );
        let lines = (!settings.is_empty()).then_some(line);
        Closing {
            details: fields(json!({
                "plaintext_found": plaintext,
                "older_formats_found": older,
            })),
            lines: lines.into_iter().collect(),
        }
    }

    fn told(&self, looked: Looked) -> Handled {
        let Looked { found, verified } = looked;
        let (format, key) = match &found.form {
            Form::Sealed(envelope) => ("v1", Some(envelope.key_name.clone())),
            Form::Legacy(_) => ("older", None),
            Form::Plain => ("plaintext", None),
        };
        let opening = match &verified {
            None | Some(Ok(_)) => Opening::Here,
            Some(Err(failure)) => Opening::of(failure),
        };
        let remedy = match &verified {
            Some(Err(failure)) => remedy(failure),
            None | Some(Ok(_)) => None,
        };
        let (verdict, checksums) = match verified {
            None => (Verdict::Skipped("plaintext"), Vec::new()),
            Some(Ok(verified)) => {
                let what = match self.depth {
                    Depth::Bodies => "verified",
                    Depth::Heads => "opened",
                };
                (Verdict::Done(what), verified.checksums)
            }
            Some(Err(failure)) => (Verdict::Failed(explained(&failure)), Vec::new()),
        };
        Handled {
            verdict,
            bytes: found.stored.0,
            details: fields(json!({
                "format": format,
                "encryption_key": key,
                "stored_bytes": found.stored.0,
                "plaintext_bytes": found.length.0,
                "opens_here": opening.to_json(),
                "checksums": checksums,
            })),
            remark: None,
            notable: Notable::IfAsked,
            remedy,
        }
    }
}
