//! The metadata name under which an object's envelope is stored.
//!
//! Users of the older proxies have configured names of their own, so any name that S3 accepts as
//! user metadata is one here. Header names are case-insensitive: the name is kept in lower case.

use std::str::FromStr;

use http::HeaderName;

const USER_METADATA: &str = "x-amz-meta-";

/// The metadata name that holds the envelope, such as `isec`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DekTag {
    header: HeaderName,
}

/// The text is not a header name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it holds characters that a header name cannot, or none")]
pub struct InvalidDekTag;

impl DekTag {
    /// The name alone, such as `isec`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.header.as_str()[USER_METADATA.len()..]
    }

    /// The whole header, such as `x-amz-meta-isec`.
    #[must_use]
    pub fn header(&self) -> &HeaderName {
        &self.header
    }
}

impl FromStr for DekTag {
    type Err = InvalidDekTag;

    fn from_str(name: &str) -> Result<Self, InvalidDekTag> {
        if name.is_empty() || name.len() > 128 {
            return Err(InvalidDekTag);
        }
        let header = format!("{USER_METADATA}{name}")
            .parse()
            .map_err(|_| InvalidDekTag)?;
        Ok(Self { header })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_in_lower_case_with_its_header() {
        let tag: DekTag = "Constellation-DEK".parse().unwrap();
        assert_eq!(tag.name(), "constellation-dek");
        assert_eq!(tag.header(), "x-amz-meta-constellation-dek");
    }

    #[test]
    fn what_is_no_header_name_is_refused() {
        for name in ["", "two words", "colon:", "é", &"a".repeat(129)] {
            assert_eq!(name.parse::<DekTag>(), Err(InvalidDekTag), "{name}");
        }
    }
}
