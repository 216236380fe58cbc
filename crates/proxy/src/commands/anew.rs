//! What `migrate` and `decrypt` share, which both store objects anew.

use std::collections::BTreeSet;

use super::listing::Item;
use super::rewrap::Replaced;
use super::selection::{Extent, Selection, Target};
use crate::config::resolved::{Config, Encryption, Permission};
use crate::execute::copy::rewrite::Rewritten;
use crate::execute::multipart::bucket::Bucket;
use crate::execute::source::Found;
use crate::execute::{Outcome, Parts};

/// Lets a command read plaintext and older formats where clients are refused them. The all-zero key
/// does not open where encryption is required, here as little as for clients.
pub(super) fn reading_everything(mut config: Config) -> Config {
    config.policy.plaintext_reads = Permission::Allow;
    config.policy.legacy_reads = Permission::Allow;
    for rule in &mut config.rules {
        rule.legacy_reads = Some(Permission::Allow);
        if rule.encryption == Encryption::Required {
            rule.encryption = Encryption::On;
            rule.decryption_fallback = Some(Permission::Deny);
        }
    }
    config
}

/// Whether what was replaced can still be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OldVersion {
    Gone,
    Stays,
}

/// Deletes the version that was replaced, where that is asked for.
pub(super) async fn settle(
    parts: &Parts,
    item: &Item,
    found: &Found,
    rewritten: &Rewritten,
    replaced: Replaced,
) -> Outcome<OldVersion> {
    let old = found.headers.get("x-amz-version-id");
    let old = old.and_then(|old| old.to_str().ok());
    let old = old.filter(|_| rewritten.version.is_some());
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

/// What people are told of headers and such that did not come along.
pub(super) fn not_kept(lost: &[String]) -> Option<String> {
    (!lost.is_empty()).then(|| format!("NOT KEPT by the backend: {}", lost.join(", ")))
}

impl Selection {
    /// The buckets that it names.
    pub(super) fn buckets(&self) -> BTreeSet<&str> {
        let buckets = self.targets.iter().map(|target| target.bucket.as_str());
        buckets.collect()
    }

    /// Whether an object is among those that it names.
    pub(super) fn selects(&self, bucket: &str, object_key: &str) -> bool {
        let is_named = |target: &Target| match self.extent {
            Extent::Prefix => object_key.starts_with(&target.prefix),
            Extent::Object => object_key == target.prefix,
        };
        let mut targets = self.targets.iter();
        targets.any(|target| target.bucket == bucket && is_named(target))
    }
}
