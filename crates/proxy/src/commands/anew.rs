//! Code that `migrate` and `decrypt` share, since both rewrite objects.

use std::collections::BTreeSet;

use super::listing::Item;
use super::rewrap::Replaced;
use super::selection::{Extent, Selection, Target};
use crate::config::resolved::{Config, Encryption, Permission};
use crate::failure::Outcome;
use crate::objects;
use crate::objects::read::Found;
use crate::objects::rewrite::Rewritten;
use crate::upload_state::bucket::Bucket;

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

/// Whether the replaced version can still be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OldVersion {
    Gone,
    Stays,
}

/// Deletes the replaced version, if that was requested.
pub(super) async fn settle(
    parts: &objects::Store,
    item: &Item,
    found: &Found,
    rewritten: &Rewritten,
    replaced: Replaced,
) -> Outcome<OldVersion> {
    // Without a new version id the bucket has no versions, and the old content is gone.
    let old = found.version().filter(|_| rewritten.version.is_some());
    // The same id before and after, such as `null`, means that the version was overwritten.
    let Some(old) = old.filter(|old| rewritten.version.as_deref() != Some(*old)) else {
        return Ok(OldVersion::Gone);
    };
    match replaced {
        Replaced::Stay => Ok(OldVersion::Stays),
        Replaced::AreDeleted => {
            let bucket = Bucket::new(&parts.backend, &item.bucket, None);
            bucket.send_deletion(&item.key, Some(old)).await?;
            Ok(OldVersion::Gone)
        }
    }
}

/// Returns the remark about headers and other properties that the backend did not keep.
pub(super) fn not_kept(lost: &[String]) -> Option<String> {
    (!lost.is_empty()).then(|| format!("NOT KEPT by the backend: {}", lost.join(", ")))
}

impl Selection {
    /// Returns the selected buckets.
    pub(super) fn buckets(&self) -> BTreeSet<&str> {
        let buckets = self.targets.iter().map(|target| target.bucket.as_str());
        buckets.collect()
    }

    /// Returns whether an object is selected.
    pub(super) fn selects(&self, bucket: &str, object_key: &str) -> bool {
        let is_named = |target: &Target| match self.extent {
            Extent::Prefix => object_key.starts_with(&target.prefix),
            Extent::Object => object_key == target.prefix,
        };
        let mut targets = self.targets.iter();
        targets.any(|target| target.bucket == bucket && is_named(target))
    }
}
