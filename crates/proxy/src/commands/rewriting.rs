//! Code that `rewrap`, `migrate` and `decrypt` share, since all three replace stored objects.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::listing::Item;
use super::memory_gate::MemoryGate;
use super::report::{Notable, ObjectReport, ObjectVerdict, fields};
use super::write_condition_probe::conditions_must_count;
use super::write_options::{OldVersions, RunMode, WriteOptions};
use crate::app::{self, StartError};
use crate::config::resolved::{Config, Encryption, Permission};
use crate::failure::Outcome;
use crate::objects::Store;
use crate::objects::read::Found;
use crate::objects::rekey::Rewrapped;
use crate::objects::rewrite::Rewritten;
use crate::objects::versions::NULL_VERSION;
use crate::upload_state::bucket::Bucket;

/// Starts a command that reads objects and stores them again in `buckets`. Refuses if a client's
/// write could be lost.
pub(super) async fn begin(
    config: Config,
    buckets: BTreeSet<&str>,
    options: WriteOptions,
) -> Result<(Arc<Store>, MemoryGate), StartError> {
    let gate = MemoryGate::new(config.limits.body_memory_bytes);
    let parts = app::store_without_clients(reading_everything(config)).await?;
    match options.mode {
        RunMode::DryRun => {}
        RunMode::Apply => conditions_must_count(&parts, buckets, options.writers).await?,
    }
    Ok((parts, gate))
}

/// Lets a command read plaintext and older formats even if clients may not. The all-zero key still
/// does not open if encryption is required, just as for clients.
pub(super) fn reading_everything(mut config: Config) -> Config {
    config.policy.plaintext_reads = Permission::Allow;
    config.policy.legacy_reads = Permission::Allow;
    for rule in &mut config.rules {
        rule.legacy_reads = Some(Permission::Allow);
        // `On` in place of `Required` lifts the refusal of plaintext, but would also lift the ban
        // on the all-zero key: it is set explicitly.
        if rule.encryption == Encryption::Required {
            rule.encryption = Encryption::On;
            rule.decryption_fallback = Some(Permission::Deny);
        }
    }
    config
}

/// Returns whether an object is in a bucket with versions.
pub(super) fn is_versioned(found: &Found) -> bool {
    // Objects from before versioning was enabled have the version `null`.
    found
        .version()
        .is_some_and(|version| version != NULL_VERSION)
}

/// Whether the replaced version of an object can still be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReplacedVersion {
    Gone,
    Kept,
}

/// Deletes the replaced version, if that was requested.
pub(super) async fn settle_replaced(
    parts: &Store,
    item: &Item,
    found: &Found,
    new_version: Option<&str>,
    old_versions: OldVersions,
) -> Outcome<ReplacedVersion> {
    // Without a new version id the bucket has no versions, and the old content is gone. The same id
    // before and after, such as `null`, means that the version was overwritten.
    let replaced = found
        .version()
        .filter(|old| new_version.is_some_and(|new| new != *old));
    let Some(replaced) = replaced else {
        return Ok(ReplacedVersion::Gone);
    };
    match old_versions {
        OldVersions::Keep => Ok(ReplacedVersion::Kept),
        OldVersions::Delete => {
            let bucket = Bucket::new(&parts.backend, &item.bucket, None);
            bucket.send_deletion(&item.key, Some(replaced)).await?;
            Ok(ReplacedVersion::Gone)
        }
    }
}

/// An object that was stored again.
#[derive(Debug, Default)]
pub(super) struct StoredAgain {
    /// Version that was created, if the bucket has versions.
    version: Option<String>,
    /// Names of the headers and other properties that the backend did not keep.
    lost: Vec<String>,
}

impl From<Rewritten> for StoredAgain {
    fn from(Rewritten { version, lost }: Rewritten) -> Self {
        Self { version, lost }
    }
}

impl From<Rewrapped> for StoredAgain {
    fn from(Rewrapped { version, lost }: Rewrapped) -> Self {
        Self { version, lost }
    }
}

/// Makes the report about one object. `remark` is for people, and only if the object was stored
/// again, or would be; `details` are further fields for programs.
pub(super) fn report(
    verdict: ObjectVerdict,
    bytes: u64,
    stored: Option<StoredAgain>,
    remark: Option<String>,
    details: Value,
) -> ObjectReport {
    let StoredAgain { version, lost } = stored.unwrap_or_default();
    let remark = remark.filter(|_| verdict.is_change());
    let not_kept =
        (!lost.is_empty()).then(|| format!("NOT KEPT by the backend: {}", lost.join(", ")));
    let remarks: Vec<String> = remark.into_iter().chain(not_kept).collect();
    let notable = if lost.is_empty() {
        Notable::IfVerbose
    } else {
        Notable::Always
    };
    let mut details = fields(details);
    details.extend(fields(json!({
        "stored_bytes": bytes,
        "new_version": version,
        "not_kept": lost,
    })));
    ObjectReport {
        verdict,
        bytes,
        details,
        remark: (!remarks.is_empty()).then(|| remarks.join("; ")),
        notable,
        remedy: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrapped(lost: &[&str]) -> ObjectReport {
        let stored = StoredAgain {
            version: None,
            lost: lost.iter().map(|name| (*name).to_owned()).collect(),
        };
        let remark = Some("from a to b".to_owned());
        let verdict = ObjectVerdict::Done("rewrapped");
        report(verdict, 1, Some(stored), remark, json!({}))
    }

    #[test]
    fn headers_that_the_backend_dropped_are_always_reported() {
        let kept = rewrapped(&[]);
        assert_eq!(kept.notable, Notable::IfVerbose);
        assert_eq!(kept.remark.as_deref(), Some("from a to b"));
        let lost = rewrapped(&["x-amz-storage-class"]);
        assert_eq!(lost.notable, Notable::Always);
        let remark = "from a to b; NOT KEPT by the backend: x-amz-storage-class";
        assert_eq!(lost.remark.as_deref(), Some(remark));
        assert_eq!(lost.details["not_kept"], json!(["x-amz-storage-class"]));
    }

    #[test]
    fn a_skipped_object_has_no_remark() {
        let remark = Some("from a to b".to_owned());
        let skipped = ObjectVerdict::Skipped("right-already");
        assert_eq!(report(skipped, 1, None, remark, json!({})).remark, None);
    }
}
