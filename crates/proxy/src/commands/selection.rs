//! Which objects a command is about, as its arguments say it.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use s3proxy_protocol::name::BucketName;
use time::OffsetDateTime;

/// A bucket, or the keys in it that begin with a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub bucket: String,
    /// Empty for all keys. A whole key with [`Extent::Object`].
    pub prefix: String,
}

/// What is wrong with an argument.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not a name that a bucket can have.
    #[error("{0}; expected BUCKET, or BUCKET/PREFIX")]
    Bucket(String),
}

/// Whether an argument names many objects or one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All keys that begin with it.
    Prefix,
    /// The one object of this key.
    Object,
}

/// Whether old versions count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// Only what clients get without naming a version.
    Current,
    /// Every version that the backend lists.
    All,
}

/// All of it.
#[derive(Debug, Clone)]
pub struct Selection {
    /// In this order.
    pub targets: Vec<Target>,
    /// What each of them names.
    pub extent: Extent,
    /// Which versions.
    pub versions: Versions,
    /// Keys up to this one are passed over in the first target.
    pub start_after: Option<String>,
    /// Objects at a time.
    pub concurrency: NonZeroUsize,
    /// Pass over what the backend says was last modified before; an unknown time is after it.
    pub modified_since: Option<OffsetDateTime>,
}

impl FromStr for Target {
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

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.bucket)?;
        if self.prefix.is_empty() {
            return Ok(());
        }
        write!(formatter, "/{}", self.prefix)
    }
}

/// A word as a POSIX shell reads it back.
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
            let target: Target = text.parse().unwrap();
            assert_eq!(
                (target.bucket.as_str(), target.prefix.as_str()),
                (bucket, prefix)
            );
        }
        for wrong in ["", "/x", "s3://", "a b"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
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
