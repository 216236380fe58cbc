//! Metadata names for an object's envelope, and for the KEK version that Intrinsec's proxy records
//! next to it.
//!
//! Users of the older proxies have configured their own names, so any name that S3 accepts as user
//! metadata is valid. Header names are case-insensitive: names are kept in lower case.

use std::str::FromStr;

use http::HeaderName;

const USER_METADATA: &str = "x-amz-meta-";

/// Suffix to the envelope's name for the KEK version, unless that has a configured name.
const KEK_VERSION_SUFFIX: &str = "-kek-ver";

/// A name of user metadata, such as `isec`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataName(HeaderName);

impl MetadataName {
    /// Returns the name alone, such as `isec`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.as_str()[USER_METADATA.len()..]
    }

    /// Returns the whole header name, such as `x-amz-meta-isec`.
    #[must_use]
    pub fn header(&self) -> &HeaderName {
        &self.0
    }

    /// Returns whether servers may confuse the two names: some servers and gateways do not
    /// distinguish `_` and `-`.
    #[must_use]
    pub fn is_same_to_servers(&self, other: &str) -> bool {
        let fold = |byte: u8| if byte == b'_' { b'-' } else { byte };
        let (one, other) = (self.0.as_str().bytes(), other.bytes());
        one.map(fold).eq(other.map(fold))
    }
}

/// Error that the text is not a header name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is empty, or has characters that are not allowed in a header name")]
pub struct InvalidMetadataName;

impl FromStr for MetadataName {
    type Err = InvalidMetadataName;

    fn from_str(name: &str) -> Result<Self, InvalidMetadataName> {
        if name.is_empty() || name.len() > 128 {
            return Err(InvalidMetadataName);
        }
        let header = format!("{USER_METADATA}{name}");
        header.parse().map(Self).map_err(|_| InvalidMetadataName)
    }
}

/// Metadata names of an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DekTag {
    envelope: MetadataName,
    kek_version: MetadataName,
}

impl DekTag {
    /// Builds the names; that of the KEK version defaults to the envelope's with `-kek-ver`.
    #[must_use]
    pub fn new(envelope: MetadataName, kek_version: Option<MetadataName>) -> Self {
        let kek_version = kek_version.unwrap_or_else(|| {
            let header = format!("{}{KEK_VERSION_SUFFIX}", envelope.0);
            MetadataName(header.parse().expect("its characters are a header's"))
        });
        Self {
            envelope,
            kek_version,
        }
    }

    /// Returns the envelope's name alone, such as `isec`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.envelope.as_str()
    }

    /// Returns the envelope's header, such as `x-amz-meta-isec`.
    #[must_use]
    pub fn header(&self) -> &HeaderName {
        self.envelope.header()
    }

    /// Returns the header of the KEK version, such as `x-amz-meta-isec-kek-ver`.
    #[must_use]
    pub fn kek_version_header(&self) -> &HeaderName {
        self.kek_version.header()
    }

    /// Returns whether a header is one of the two, or may be confused with one by servers.
    #[must_use]
    pub fn is_part(&self, header: &str) -> bool {
        [&self.envelope, &self.kek_version]
            .iter()
            .any(|name| name.is_same_to_servers(header))
    }
}

impl FromStr for DekTag {
    type Err = InvalidMetadataName;

    fn from_str(name: &str) -> Result<Self, InvalidMetadataName> {
        Ok(Self::new(name.parse()?, None))
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
        let version = tag.kek_version_header();
        assert_eq!(version, "x-amz-meta-constellation-dek-kek-ver");
    }

    #[test]
    fn the_kek_version_may_have_a_name_of_its_own() {
        let tag = DekTag::new("isec".parse().unwrap(), Some("Derived".parse().unwrap()));
        assert_eq!(tag.kek_version_header(), "x-amz-meta-derived");
        for (header, expected) in [
            ("x-amz-meta-isec", true),
            ("x-amz-meta-derived", true),
            ("x-amz-meta-isec-kek-ver", false),
        ] {
            assert_eq!(tag.is_part(header), expected, "{header}");
        }
    }

    #[test]
    fn the_default_has_room_behind_the_longest_name() {
        let tag: DekTag = "a".repeat(128).parse().unwrap();
        assert!(tag.kek_version_header().as_str().ends_with("aa-kek-ver"));
    }

    #[test]
    fn what_is_no_header_name_is_refused() {
        for name in ["", "two words", "colon:", "é", &"a".repeat(129)] {
            assert_eq!(name.parse::<DekTag>(), Err(InvalidMetadataName), "{name}");
        }
    }
}
