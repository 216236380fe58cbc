//! `Credential`: the access key ID and the scope for which the signing key was derived.
//!
//! The scope may name any region of up to 64 letters, digits, `-` and `_`, since clients are
//! configured with the backend's region or an arbitrary one. Date, service and terminator have
//! fixed forms. An access key ID may contain slashes, so the four parts of the scope are split off
//! from the right.

/// Maximum length of an access key ID in bytes.
const MAXIMUM_ACCESS_KEY_ID_BYTES: usize = 128;

/// Maximum length of a region's name in bytes.
const MAXIMUM_REGION_BYTES: usize = 64;

/// The signer of a request, and the scope of its signing key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Access key ID.
    pub access_key_id: String,
    /// Scope after the access key ID.
    pub scope: CredentialScope,
}

/// Credential scope: `date/region/s3/aws4_request`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialScope {
    text: String,
    date_length: usize,
    region_length: usize,
}

/// Error in a `Credential`, worded for the client.
pub type CredentialFault = &'static str;

impl Credential {
    /// Parses `access-key-id/date/region/s3/aws4_request`. The error is worded for the client.
    pub fn parse(text: &str) -> Result<Self, CredentialFault> {
        const SHAPE: CredentialFault =
            "Credential must be access-key-id/YYYYMMDD/region/s3/aws4_request";
        // The scope becomes a line of the string to sign, so it must not contain line breaks.
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(SHAPE);
        }
        let mut parts = text.rsplitn(5, '/');
        let (Some(terminator), Some(service), Some(region), Some(date), Some(access_key_id)) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return Err(SHAPE);
        };
        if access_key_id.is_empty() || access_key_id.len() > MAXIMUM_ACCESS_KEY_ID_BYTES {
            return Err(SHAPE);
        }
        if !is_region(region) {
            return Err("the credential's region must be 1 to 64 letters, digits, '-' or '_'");
        }
        if date.len() != 8 || !date.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("the credential's date must be YYYYMMDD");
        }
        if service != "s3" {
            return Err("the credential's service must be s3");
        }
        if terminator != "aws4_request" {
            return Err("the credential must end in aws4_request");
        }
        Ok(Self {
            access_key_id: access_key_id.to_owned(),
            scope: CredentialScope {
                text: text[access_key_id.len() + 1..].to_owned(),
                date_length: date.len(),
                region_length: region.len(),
            },
        })
    }
}

/// Whether a text is a valid region name. Some servers have region names with capitals or
/// underscores.
fn is_region(text: &str) -> bool {
    (1..=MAXIMUM_REGION_BYTES).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

impl CredentialScope {
    /// The scope as a line of the string to sign.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Date of the scope, `YYYYMMDD`.
    #[must_use]
    pub fn date(&self) -> &str {
        &self.text[..self.date_length]
    }

    /// Region of the scope, chosen by the client.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.text[self.date_length + 1..][..self.region_length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_from_the_right() {
        let credential = Credential::parse("a/b/20130524/eu-west-3/s3/aws4_request").unwrap();
        assert_eq!(credential.access_key_id, "a/b");
        assert_eq!(
            credential.scope.as_str(),
            "20130524/eu-west-3/s3/aws4_request"
        );
        assert_eq!(credential.scope.date(), "20130524");
        assert_eq!(credential.scope.region(), "eu-west-3");
    }

    #[test]
    fn other_scopes_are_refused() {
        for text in [
            "",
            "AKID",
            "20130524/us-east-1/s3/aws4_request",
            "/20130524/us-east-1/s3/aws4_request",
            "AKID/20130524//s3/aws4_request",
            "AKID/2013-5-24/us-east-1/s3/aws4_request",
            "AKID/20130524/us-east-1/s3express/aws4_request",
            "AKID/20130524/us-east-1/s3/aws4_request/",
            "AKID/20130524/us-east-1/s3/AWS4_REQUEST",
            "AKID/20130524/us\neast/s3/aws4_request",
        ] {
            assert!(Credential::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn regions_and_access_key_ids_are_short() {
        let credential = |id: usize, region: &str| {
            let id = "A".repeat(id);
            Credential::parse(&format!("{id}/20130524/{region}/s3/aws4_request")).is_ok()
        };
        for region in ["eu-west-3", "RegionOne", "a_b", &"r".repeat(64)] {
            assert!(credential(128, region), "{region}");
        }
        assert!(!credential(129, "eu-west-3"));
        for region in [
            "a.b",
            "eu west",
            "r%00",
            &"r".repeat(65),
            &"r".repeat(60_000),
        ] {
            assert!(!credential(20, region), "{region}");
        }
    }
}
