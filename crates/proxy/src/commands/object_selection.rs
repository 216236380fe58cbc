//! Selection of objects by a command's arguments.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use s3proxy_protocol::name::BucketName;
use time::OffsetDateTime;

/// A bucket, or the keys in it that begin with a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectTarget {
    /// Name of the bucket.
    pub bucket: String,
    /// Prefix, empty for all keys. With [`Extent::Object`] a whole key.
    pub prefix: String,
}

/// Why an argument is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The argument has no valid bucket name.
    #[error("{0}; expected BUCKET, or BUCKET/PREFIX")]
    Bucket(String),
}

/// Whether an argument names many objects or one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All keys that begin with the prefix.
    Prefix,
    /// The one object with this key.
    Object,
}

/// Whether old versions are included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionScope {
    /// Only versions that clients get without naming them.
    Current,
    /// Every version that the backend lists.
    All,
}

/// A complete selection.
#[derive(Debug, Clone)]
pub struct Selection {
    /// Targets, in the order of the arguments.
    pub targets: Vec<ObjectTarget>,
    /// Extent of each target.
    pub extent: Extent,
    /// Versions that are included.
    pub versions: VersionScope,
    /// Keys up to and including this one are skipped in the first target.
    pub start_after: Option<String>,
    /// Number of objects that are processed concurrently.
    pub concurrency: NonZeroUsize,
    /// Skip objects that were last modified before; an unknown time counts as later.
    pub modified_since: Option<OffsetDateTime>,
}

impl FromStr for ObjectTarget {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let named = text.strip_prefix("s3://").unwrap_or(text);
        let (bucket, prefix) = named.split_once('/').unwrap_or((named, ""));
        let bucket = BucketName::new(bucket)
            .map_err(|error| TargetError::Bucket(error.message.trim_end_matches('.').to_owned()))?;
        Ok(Self {
            bucket: bucket.as_str().to_owned(),
            prefix: prefix.to_owned(),
        })
    }
}

impl fmt::Display for ObjectTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.bucket)?;
        if self.prefix.is_empty() {
            return Ok(());
        }
        write!(formatter, "/{}", self.prefix)
    }
}

impl Selection {
    /// Returns the selected buckets.
    pub(super) fn buckets(&self) -> BTreeSet<&str> {
        let buckets = self.targets.iter().map(|target| target.bucket.as_str());
        buckets.collect()
    }

    /// Returns whether an object is selected.
    pub(super) fn selects(&self, bucket: &str, object_key: &str) -> bool {
        let is_named = |target: &ObjectTarget| match self.extent {
            Extent::Prefix => object_key.starts_with(&target.prefix),
            Extent::Object => object_key == target.prefix,
        };
        let mut targets = self.targets.iter();
        targets.any(|target| target.bucket == bucket && is_named(target))
    }
}

/// Quotes a word for a POSIX shell.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:=@%,".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_bucket_or_keys_in_it() {
        for (text, bucket, prefix) in [
            ("photos", "photos", ""),
            ("photos/", "photos", ""),
            ("photos/2024/a b", "photos", "2024/a b"),
            ("s3://photos/2024/", "photos", "2024/"),
            ("photos//x", "photos", "/x"),
        ] {
            let target: ObjectTarget = text.parse().unwrap();
            assert_eq!(
                (target.bucket.as_str(), target.prefix.as_str()),
                (bucket, prefix)
            );
        }
        for wrong in ["", "/x", "s3://", "a b"] {
            assert!(wrong.parse::<ObjectTarget>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_shell_reads_a_quoted_word_back() {
        assert_eq!(quoted("photos/2024"), "photos/2024");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("$HOME"), "'$HOME'");
    }
}
