//! `s3proxy inspect`: shows format, key and size of objects, from their metadata alone. No key is
//! needed.
//!
//! Nothing in the report was authenticated: an envelope is shown as it claims to be. The command
//! tries the public all-zero key on the data keys of older proxies' objects, and checks whether the
//! configured keys open each object under its bucket and key.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, Method};
use indicatif::HumanBytes;
use s3proxy_envelope::header::{Envelope, Flags, Layout};
use s3proxy_envelope::layout::{StoredLength, plaintext_length};
use s3proxy_envelope::legacy::{LegacyDek, LegacyKek, LegacyWrappedDek};
use s3proxy_protocol::headers;
use serde_json::{Map, Value, json};

use super::CommandEnd;
use super::command_run::CommandRun;
use super::listing::Item;
use super::object_selection::Selection;
use super::object_walk::{ListingBackend, WalkEnd, Work, report_of};
use super::open_check::{OpenCheck, OpenVerdict};
use super::report::{
    CommandSummary, Count, Format, Notable, ObjectReport, ObjectVerdict, Tally, counted, fields,
    shown,
};
use crate::app::{self, StartError};
use crate::backend::Backend;
use crate::config::resolved::{Config, DekTag};
use crate::failure::Outcome;
use crate::keys::legacy::LegacyEnvelope;
use crate::objects::stored::{self, Form};
use crate::upload_state::bucket::{Bucket, parameter};

/// Largest number of keys in the summary. Names are stored in objects, so anybody who can write to
/// the bucket chooses them.
const MOST_GROUPS: usize = 1000;

/// Length of nonce and tag of an older proxy's body, in bytes.
const LEGACY_OVERHEAD: u64 = 28;

/// Label for all further keys.
const OTHERS: &str = "(others)";

/// Runs the command, and writes its results to `output`.
pub async fn inspect(
    config: Config,
    selection: Selection,
    format: Format,
    output: &mut (dyn io::Write + Send),
) -> Result<CommandEnd, StartError> {
    let backend = app::backend(&config.backend).await?;
    let store = ListingBackend {
        backend: &backend,
        state_prefix: &config.policy.state_prefix,
    };
    let open_check = OpenCheck::new(&config);
    let mut run = CommandRun::begin("inspect", format, output)?;
    if let Err(error) = &open_check {
        // The operator may not have the keys that the rules name.
        let note = format!("not checking whether objects open where they are stored: {error}");
        run.reporter().note(&note);
    }
    let inspector = Arc::new(Inspector {
        backend: backend.clone(),
        dek_tag: config.keys.dek_tag,
        open_check: open_check.ok(),
        counts: Mutex::default(),
        refused: AtomicU64::default(),
    });
    let own_summary = |_: &WalkEnd, _: &Tally| inspector.summary();
    Ok(run
        .complete(store, &selection, &inspector, own_summary)
        .await)
}

struct Inspector {
    backend: Backend,
    dek_tag: DekTag,
    /// `None` if a rule names a key that was not given.
    open_check: Option<OpenCheck>,
    counts: Mutex<FormatCounts>,
    /// Number of objects that do not open in their place.
    refused: AtomicU64,
}

/// Counts by format and key.
type FormatCounts = BTreeMap<(&'static str, String), Count>;

/// An object with readable metadata.
type InspectedObject = (ObjectDescription, OpenVerdict);

/// Description of one object, as it claims to be.
#[derive(Debug, PartialEq, Eq)]
struct ObjectDescription {
    format: &'static str,
    /// Name of the key, if the metadata contain it.
    key: Option<String>,
    plaintext: Option<u64>,
    details: Map<String, Value>,
    remark: String,
}

impl Work for Inspector {
    async fn handle(&self, item: &Item) -> ObjectReport {
        let inspected = self.inspect(item).await;
        report_of(item, inspected, |(stored, object)| {
            self.report(stored, object)
        })
    }
}

impl Inspector {
    async fn inspect(
        &self,
        item: &Item,
    ) -> Outcome<(StoredLength, Result<InspectedObject, String>)> {
        let bucket = Bucket::new(&self.backend, &item.bucket, None);
        let mut request = bucket.request(Method::HEAD, Some(&item.key));
        let version = item.version.as_deref();
        request
            .query
            .extend(version.map(|version| parameter("versionId", version)));
        let headers = bucket.send(request).await?.headers;
        let length = stored::stored_length(&headers)?;
        let form = stored::form(&headers, &self.dek_tag).map_err(|failure| failure.to_string());
        let object = form.and_then(|form| {
            let described = describe(&headers, &form, length, &self.dek_tag)?;
            Ok((described, self.opening(item, &form)))
        });
        Ok((length, object))
    }

    fn opening(&self, item: &Item, form: &Form) -> OpenVerdict {
        let check = self.open_check.as_ref();
        check.map_or(OpenVerdict::Undecided, |check| check.judge(item, form))
    }

    fn report(
        &self,
        stored: StoredLength,
        object: Result<InspectedObject, String>,
    ) -> ObjectReport {
        let (described, opening) = match object {
            Ok(object) => object,
            Err(reason) => return self.report_damaged(stored, reason),
        };
        let key = described.key.as_deref().unwrap_or_default();
        self.count(described.format, key, stored.0);
        let mut details = fields(json!({
            "format": described.format,
            "encryption_key": described.key,
            "stored_bytes": stored.0,
            "plaintext_bytes": described.plaintext,
            "opens_here": opening.to_json(),
        }));
        details.extend(described.details);
        let mut remark = described.remark;
        let mut notable = Notable::IfVerbose;
        if let OpenVerdict::Refused(reason) = opening {
            self.refused.fetch_add(1, Ordering::Relaxed);
            remark.push_str("; does NOT OPEN HERE: ");
            remark.push_str(&shown(&reason));
            details.insert("refusal".to_owned(), Value::String(reason));
            notable = Notable::Always;
        }
        ObjectReport {
            bytes: stored.0,
            details,
            remark: Some(remark),
            notable,
            ..ObjectReport::new(ObjectVerdict::Done(described.format))
        }
    }

    fn report_damaged(&self, stored: StoredLength, reason: String) -> ObjectReport {
        self.count("damaged", "", stored.0);
        ObjectReport {
            bytes: stored.0,
            details: fields(json!({ "format": "damaged", "stored_bytes": stored.0 })),
            ..ObjectReport::failed(reason)
        }
    }

    fn count(&self, format: &'static str, key: &str, bytes: u64) {
        let mut counts = self.counts();
        let mut group = (format, key.to_owned());
        if counts.len() >= MOST_GROUPS && !counts.contains_key(&group) {
            OTHERS.clone_into(&mut group.1);
        }
        counts.entry(group).or_default().add(bytes);
    }

    fn counts(&self) -> MutexGuard<'_, FormatCounts> {
        // A poisoned lock is usable: each update of a count is complete or was not made.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn summary(&self) -> CommandSummary {
        let counts = self.counts();
        let groups = counts.iter().map(|((format, key), count)| {
            let key = (!key.is_empty()).then_some(key);
            json!({
                "format": format, "encryption_key": key,
                "objects": count.objects, "bytes": count.bytes,
            })
        });
        let zero = counts.iter().filter(|((_, key), _)| key == ZERO_KEY);
        let zero: u64 = zero.map(|(_, count)| count.objects).sum();
        let refused = self.refused.load(Ordering::Relaxed);
        CommandSummary {
            details: fields(json!({
                "groups": groups.collect::<Vec<_>>(),
                "all_zero_key_objects": zero,
                "refused_objects": refused,
            })),
            lines: summary_lines(&counts, zero, refused),
        }
    }
}

fn summary_lines(counts: &FormatCounts, zero: u64, refused: u64) -> Vec<String> {
    let mut lines = Vec::new();
    if !counts.is_empty() {
        lines.push("By format and key:".to_owned());
    }
    lines.extend(counts.iter().map(|((format, key), count)| {
        let under = if key.is_empty() {
            String::new()
        } else {
            format!(" under {}", shown(key))
        };
        let objects = counted(count.objects, "object");
        format!("  {format}{under}: {objects}, {}", HumanBytes(count.bytes))
    }));
    if zero > 0 {
        lines.push(format!(
            "{} open with the ALL-ZERO KEY: anyone who can read them can decrypt them. \
             `s3proxy migrate` re-encrypts them.",
            counted(zero, "object")
        ));
    }
    if refused > 0 {
        lines.push(format!(
            "Clients cannot read {} where they are stored; the lines above give the reasons.",
            counted(refused, "object")
        ));
    }
    lines
}

/// Label in place of a key's name for objects that everybody can open.
const ZERO_KEY: &str = "all-zero key";

/// Describes an object by its metadata. The error reports a length that no such object can have.
fn describe(
    headers: &HeaderMap,
    form: &Form,
    stored: StoredLength,
    tag: &DekTag,
) -> Result<ObjectDescription, String> {
    match form {
        Form::Sealed(envelope) => sealed(envelope, stored),
        Form::Legacy(envelope) => Ok(legacy(headers, envelope, stored, tag)),
        Form::Plain => Ok(ObjectDescription {
            format: "plaintext",
            key: None,
            plaintext: Some(stored.0),
            details: Map::new(),
            remark: format!("{} bytes", stored.0),
        }),
    }
}

fn sealed(envelope: &Envelope, stored: StoredLength) -> Result<ObjectDescription, String> {
    let length = plaintext_length(stored)
        .ok_or_else(|| format!("no sealed object has {} bytes", stored.0))?;
    let (format, layout) = match envelope.layout {
        Layout::Single => ("v1-single", 1),
        Layout::Multipart => ("v1-multipart", 2),
    };
    let bound = bound(envelope.flags);
    let mut remark = format!(
        "key {}, {} bytes in {}, bound to {}",
        shown(&envelope.key_name),
        length.0,
        stored.0,
        if bound.is_empty() {
            "nothing".to_owned()
        } else {
            bound.join(" and ")
        }
    );
    if envelope.private.is_some() {
        remark.push_str(", private map");
    }
    if envelope.encrypted_kek.is_some() {
        remark.push_str(", encrypted KEK");
    }
    Ok(ObjectDescription {
        format,
        key: Some(envelope.key_name.clone()),
        plaintext: Some(length.0),
        details: fields(json!({
            "layout": layout,
            "bound_to": bound,
            "private_map": envelope.private.is_some(),
            "encrypted_kek": envelope.encrypted_kek.is_some(),
        })),
        remark,
    })
}

/// Returns the older proxy that wrote an object, and whether it opens under the all-zero key.
pub(super) fn older(headers: &HeaderMap, tag: &DekTag) -> (&'static str, bool) {
    let (format, value) = match headers.get(tag.header()) {
        Some(value) => ("intrinsec", Some(value)),
        None => ("constellation", headers.get(stored::CONSTELLATION_TAG)),
    };
    let text = value.and_then(headers::value_text).unwrap_or_default();
    (format, opens_under_zero_key(text))
}

fn legacy(
    headers: &HeaderMap,
    envelope: &LegacyEnvelope,
    stored: StoredLength,
    tag: &DekTag,
) -> ObjectDescription {
    let (format, zero) = older(headers, tag);
    let plaintext = stored.0.checked_sub(LEGACY_OVERHEAD);
    ObjectDescription {
        format,
        key: zero.then(|| ZERO_KEY.to_owned()),
        plaintext,
        details: fields(json!({
            "all_zero_key": zero,
            "kek_version": envelope.kek_version.to_string(),
        })),
        remark: format!(
            "{}, KEK version {}, {} bytes in {}",
            if zero {
                "ALL-ZERO KEY"
            } else {
                "a key that is not named"
            },
            shown(&envelope.kek_version.to_string()),
            plaintext.unwrap_or_default(),
            stored.0
        ),
    }
}

fn opens_under_zero_key(text: &str) -> bool {
    LegacyWrappedDek::from_hex(text)
        .is_some_and(|wrapped| LegacyDek::unwrap(&wrapped, &LegacyKek::zero()).is_ok())
}

fn bound(flags: Flags) -> Vec<&'static str> {
    let bucket = flags.is_bucket_bound().then_some("bucket");
    let key = flags.is_key_bound().then_some("key");
    bucket.into_iter().chain(key).collect()
}
