//! Bucket names and object keys, as received.
//!
//! A key is the result of *one* percent-decoding and is never normalised: `a//b`, `../x` and `%2F`
//! stay as they are. The key that is checked against grants and the state prefix is therefore the
//! key that goes to the backend. A bucket name is checked only as far as necessary to keep it one
//! segment of a path and one label of a host. The stricter rules for new buckets, and whether the
//! bucket exists, are up to the backend.
//!
//! One deliberate difference from S3: keys with a NUL byte are refused. Backends that store keys as
//! C strings would truncate them there, and NUL is the separator in the binding of names
//! (FORMAT.md).

use std::fmt;

use crate::error::{ErrorCode, S3Error};
use crate::percent;

/// A bucket name: 3 to 255 letters, digits, `.`, `-` and `_`, without `..` and without `.` at
/// either end (S3's general rules combined with those for old us-east-1 buckets).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BucketName(String);

impl BucketName {
    /// Validates a decoded name. Fails with `InvalidBucketName`.
    pub fn new(name: impl Into<String>) -> Result<Self, S3Error> {
        let name = name.into();
        let characters = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        // In a path, `.` and `..` are segments that clients and servers may resolve.
        let dots = name.contains("..") || name.starts_with('.') || name.ends_with('.');
        if (3..=255).contains(&name.len()) && characters && !dots {
            Ok(Self(name))
        } else {
            Err(S3Error::new(
                ErrorCode::InvalidBucketName,
                "The specified bucket is not valid: a name has 3 to 255 letters, digits, '.', '-' \
                 or '_', no two dots in a row and none at its ends.",
            ))
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// An object key: 1 to 1024 bytes of UTF-8 without NUL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// Maximum length of a key in bytes.
    pub const MAXIMUM_LENGTH: usize = 1024;

    /// Validates a decoded key. Fails with `KeyTooLongError`, or with `InvalidArgument` if it is
    /// empty or contains NUL.
    pub fn new(key: impl Into<String>) -> Result<Self, S3Error> {
        let key = key.into();
        if key.len() > Self::MAXIMUM_LENGTH {
            return Err(S3Error::new(
                ErrorCode::KeyTooLongError,
                format!(
                    "Your key is too long: it has {} bytes, at most {} are allowed.",
                    key.len(),
                    Self::MAXIMUM_LENGTH
                ),
            ));
        }
        if key.is_empty() || key.contains('\0') {
            return Err(S3Error::new(
                ErrorCode::InvalidArgument,
                "An object key needs at least one byte, and none of them may be NUL.",
            ));
        }
        Ok(Self(key))
    }

    /// The decoded key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key as part of a URL path: `/` literal, every other byte except `A-Za-z0-9-._~` as
    /// `%XX`.
    #[must_use]
    pub fn encode(&self) -> String {
        percent::encode_path(&self.0)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::percent::Plus;

    #[test]
    fn accepts_the_names_of_old_and_new_buckets() {
        let long = "b".repeat(255);
        for name in [
            "abc",
            "my.bucket-1",
            "Old_Bucket",
            "192.168.5.4",
            "-ab",
            long.as_str(),
        ] {
            assert_eq!(BucketName::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn refuses_what_would_not_stay_one_segment_or_label() {
        let long = "b".repeat(256);
        for name in [
            "",
            "ab",
            "a/b",
            "..",
            "...",
            "a..b",
            ".abc",
            "abc.",
            "a b",
            "a\nb",
            "a%2Fb",
            "bücket",
            "arn:aws:s3:::b",
            long.as_str(),
        ] {
            let error = BucketName::new(name).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidBucketName, "{name:?}");
        }
    }

    #[test]
    fn keys_are_bounded_in_bytes_not_characters() {
        assert!(ObjectKey::new("é".repeat(512)).is_ok());
        let error = ObjectKey::new("é".repeat(513)).unwrap_err();
        assert_eq!(error.code, ErrorCode::KeyTooLongError);
    }

    #[test]
    fn refuses_empty_keys_and_keys_with_nul() {
        for key in ["", "a\0b", "\0"] {
            assert_eq!(
                ObjectKey::new(key).unwrap_err().code,
                ErrorCode::InvalidArgument,
                "{key:?}"
            );
        }
    }

    #[test]
    fn encodes_a_key_without_normalising_it() {
        let key = ObjectKey::new("a//b/../c d+%2F?#é").unwrap();
        assert_eq!(key.encode(), "a//b/../c%20d%2B%252F%3F%23%C3%A9");
    }

    proptest! {
        #[test]
        fn a_key_survives_encoding_and_decoding(text in "[^\0]{1,256}") {
            let key = ObjectKey::new(text.clone()).unwrap();
            let encoded = key.encode();
            prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/%".contains(&byte)));
            prop_assert_eq!(percent::decode(&encoded, Plus::Literal), Ok(text));
        }
    }
}
