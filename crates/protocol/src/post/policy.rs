//! Policy of a form: its expiration, and the conditions on the fields.
//!
//! Parsing is strict: an unknown element, condition or operator is an error, and so is a condition
//! with two fields, since only one of them would be checked. Every field must be covered by a
//! condition, except the signature, the policy, the file and `x-ignore-*`. The bucket is not a
//! field but must be covered too (S3 API Reference, "POST Policy").

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::PostError;
use super::fields::FormFields;

/// Fields that need no condition. The signature of Version 2 is listed too: forms that are signed
/// with it are refused elsewhere.
const EXEMPT: &[&str] = &[
    "awsaccesskeyid",
    "file",
    "policy",
    "signature",
    "x-amz-signature",
];

/// A parsed policy.
#[derive(Debug)]
pub struct Policy {
    expiration: OffsetDateTime,
    conditions: Vec<Condition>,
}

/// One condition of a policy; names of fields are in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Equals { field: String, value: String },
    StartsWith { field: String, prefix: String },
    Length(LengthRange),
}

/// Allowed length of the file in bytes of plaintext, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LengthRange {
    minimum: u64,
    maximum: u64,
}

impl LengthRange {
    /// Any length: the policy has no condition on it.
    pub const ANY: Self = Self {
        minimum: 0,
        maximum: u64::MAX,
    };

    /// Creates a range from a minimum and a maximum in bytes.
    #[must_use]
    pub fn new(minimum: u64, maximum: u64) -> Self {
        Self { minimum, maximum }
    }

    /// Checks the final length of a file in bytes.
    pub fn check(self, length: u64) -> Result<(), PostError> {
        self.check_longest(length)?;
        self.check_shortest(length)
    }

    /// Checks the minimum for a file that has at most `length` bytes.
    pub fn check_shortest(self, length: u64) -> Result<(), PostError> {
        if length < self.minimum {
            return Err(PostError::TooSmall(self.minimum));
        }
        Ok(())
    }

    /// Checks the maximum for a file that has at least `length` bytes.
    pub fn check_longest(self, length: u64) -> Result<(), PostError> {
        if length > self.maximum {
            return Err(PostError::TooLarge(self.maximum));
        }
        Ok(())
    }

    /// Intersection of two ranges. It may be empty, and then no length passes `check`.
    fn both(self, other: Self) -> Self {
        Self {
            minimum: self.minimum.max(other.minimum),
            maximum: self.maximum.min(other.maximum),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyDocument {
    expiration: String,
    conditions: Vec<Condition>,
}

impl Policy {
    /// Parses the `policy` field: Base64 of a JSON document. Fails with
    /// [`PostError::PolicyDocument`].
    pub fn from_base64(text: &str) -> Result<Self, PostError> {
        let invalid = |what: &str| PostError::PolicyDocument(what.to_owned());
        let json = STANDARD
            .decode(text)
            .map_err(|_| invalid("the field 'policy' must be Base64"))?;
        let document: PolicyDocument = serde_json::from_slice(&json)
            .map_err(|error| PostError::PolicyDocument(error.to_string()))?;
        let expiration = Some(document.expiration.as_str())
            // Other offsets are valid RFC 3339, but S3 accepts UTC only.
            .filter(|text| text.ends_with('Z'))
            .and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok())
            .ok_or_else(|| {
                invalid("'expiration' must be an ISO 8601 time in UTC such as 2026-12-01T12:00:00Z")
            })?;
        Ok(Self {
            expiration,
            conditions: document.conditions,
        })
    }

    /// Checks a form, in which `${filename}` has already been replaced. Returns the allowed length
    /// of its file.
    ///
    /// Errors: [`PostError::Expired`], [`PostError::ConditionFailed`], [`PostError::ExtraField`].
    pub fn judge(
        &self,
        bucket: &str,
        fields: &FormFields,
        now: OffsetDateTime,
    ) -> Result<LengthRange, PostError> {
        if now >= self.expiration {
            return Err(PostError::Expired);
        }
        // Several conditions on the length must all be met.
        let mut range = LengthRange::ANY;
        for condition in &self.conditions {
            let value_of = |field: &str| match field {
                "bucket" => Some(bucket),
                other => fields.get(other),
            };
            match condition {
                Condition::Length(allowed) => range = range.both(*allowed),
                Condition::Equals { field, value } => {
                    if value_of(field) != Some(value) {
                        return Err(PostError::ConditionFailed("eq", field.clone()));
                    }
                }
                Condition::StartsWith { field, prefix } => {
                    if !value_of(field).is_some_and(|value| starts_with(field, value, prefix)) {
                        return Err(PostError::ConditionFailed("starts-with", field.clone()));
                    }
                }
            }
        }
        let extra = fields
            .iter()
            .map(|(name, _)| name)
            .chain(["bucket"])
            .find(|name| !self.covers(name));
        match extra {
            Some(name) => Err(PostError::ExtraField(name.to_owned())),
            None => Ok(range),
        }
    }

    fn covers(&self, name: &str) -> bool {
        EXEMPT.contains(&name)
            || name.starts_with("x-ignore-")
            || self.conditions.iter().any(|condition| match condition {
                Condition::Equals { field, .. } | Condition::StartsWith { field, .. } => {
                    field == name
                }
                Condition::Length(_) => false,
            })
    }
}

/// Whether a value meets a `starts-with` condition. A Content-Type with commas is a list, and the
/// condition must hold for each member.
fn starts_with(field: &str, value: &str, prefix: &str) -> bool {
    if field == "content-type" {
        value
            .split(',')
            .all(|member| member.trim().starts_with(prefix))
    } else {
        value.starts_with(prefix)
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ConditionVisitor)
    }
}

struct ConditionVisitor;

impl<'de> Visitor<'de> for ConditionVisitor {
    type Value = Condition;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(
            "a condition: {\"field\": \"value\"}, [\"eq\" or \"starts-with\", \"$field\", \"value\"] \
             or [\"content-length-range\", from, to]",
        )
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Condition, A::Error> {
        let (field, value): (String, String) = map
            .next_entry()?
            .ok_or_else(|| de::Error::invalid_length(0, &self))?;
        // A second field in the object would go unchecked.
        if map.next_key::<String>()?.is_some() {
            return Err(de::Error::custom(
                "a simple condition must have exactly one field",
            ));
        }
        Ok(Condition::Equals {
            field: field.to_ascii_lowercase(),
            value,
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Condition, A::Error> {
        let operator: String = element(&mut sequence, 0, &self)?;
        let condition = match operator.to_ascii_lowercase().as_str() {
            "content-length-range" => {
                let minimum: Bytes = element(&mut sequence, 1, &self)?;
                let maximum: Bytes = element(&mut sequence, 2, &self)?;
                Condition::Length(LengthRange::new(minimum.0, maximum.0))
            }
            known @ ("eq" | "starts-with") => {
                let field: String = element(&mut sequence, 1, &self)?;
                let value: String = element(&mut sequence, 2, &self)?;
                let field = field.strip_prefix('$').ok_or_else(|| {
                    de::Error::custom("the second element of a condition must begin with '$'")
                })?;
                let field = field.to_ascii_lowercase();
                if known == "eq" {
                    Condition::Equals { field, value }
                } else {
                    Condition::StartsWith {
                        field,
                        prefix: value,
                    }
                }
            }
            _ => {
                return Err(de::Error::custom(
                    "the operator of a condition must be eq, starts-with or content-length-range",
                ));
            }
        };
        if sequence.next_element::<de::IgnoredAny>()?.is_some() {
            return Err(de::Error::custom("a condition must have three elements"));
        }
        Ok(condition)
    }
}

fn element<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(
    sequence: &mut A,
    at: usize,
    expected: &ConditionVisitor,
) -> Result<T, A::Error> {
    let next = sequence.next_element()?;
    next.ok_or_else(|| de::Error::invalid_length(at, expected))
}

/// A number of bytes, which policies write as a JSON number or as a string of digits.
struct Bytes(u64);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelling {
            Number(u64),
            Digits(String),
        }
        match Spelling::deserialize(deserializer) {
            Ok(Spelling::Number(number)) => Some(number),
            Ok(Spelling::Digits(text)) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().ok()
            }
            Ok(Spelling::Digits(_)) | Err(_) => None,
        }
        .map(Self)
        .ok_or_else(|| de::Error::custom("content-length-range must have two numbers of bytes"))
    }
}

#[cfg(test)]
mod tests;
