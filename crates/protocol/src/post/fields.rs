//! Fields of a form, and the PutObject headers that they represent.
//!
//! Names are compared without case. `${filename}` is replaced by the file's name in every field
//! except those of the signature, before the policy is checked (S3 API Reference, "POST Policy":
//! conditions are matched against the expanded fields).
//!
//! Unknown fields have no meaning and are dropped. Fields that could have one are refused:
//! `x-amz-*` fields that are not a header of PutObject, and conditions, which S3's forms do not
//! have.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::error::PostError;
use super::form::{MAX_FIELDS, MAX_HEAD_BYTES};
use crate::checksum::ChecksumAlgorithm;
use crate::error::S3Error;
use crate::header_rules;
use crate::operation::Operation;
use crate::xml::tagging;

const FILE_NAME: &str = "${filename}";

/// Fields of the signature. They are not stored with the object.
const SIGNATURE: &[&str] = &[
    "awsaccesskeyid",
    "policy",
    "signature",
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-signature",
];

/// Fields that represent the header of the same name.
const CONTENT: &[&str] = &[
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "content-type",
    "expires",
];

/// Conditions on a write. S3's forms have none; dropping one would overwrite the object that it
/// protects.
const CONDITIONS: &[&str] = &[
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-unmodified-since",
];

/// Fields of a form, in order.
#[derive(Default)]
pub struct FormFields(Vec<(String, String)>);

impl FormFields {
    /// Adds a field; its name is converted to lower case. Fails if the value has a control
    /// character or the field is already present.
    pub(super) fn add(&mut self, name: &str, value: String) -> Result<(), PostError> {
        let name = name.to_ascii_lowercase();
        // Tags are an XML document, in which line breaks have no meaning.
        let allowed: &[char] = if name == "tagging" {
            &['\t', '\r', '\n']
        } else {
            &['\t']
        };
        if value
            .chars()
            .any(|character| character.is_control() && !allowed.contains(&character))
        {
            return Err(PostError::ControlCharacter(name));
        }
        if self.get(&name).is_some() {
            return Err(PostError::DuplicateField(name));
        }
        self.0.push((name, value));
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Value of the field `name`, which must be in lower case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(present, _)| *present == name)
            .map(|(_, value)| value)
    }

    /// All fields, with names in lower case.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Replaces `${filename}` by the name of the file. If a browser sent a whole path, only the
    /// part after the last slash or backslash is used.
    ///
    /// Fails with [`PostError::TooMuchBeforeFile`] if the fields would exceed [`MAX_HEAD_BYTES`].
    pub fn expand(&mut self, file_name: &str) -> Result<(), PostError> {
        let last = file_name.rsplit(['/', '\\']).next().unwrap_or_default();
        // Check the total before allocating: each occurrence multiplies the file's name.
        if self.expanded_bytes(last.len()) > MAX_HEAD_BYTES {
            return Err(PostError::TooMuchBeforeFile(MAX_HEAD_BYTES, MAX_FIELDS));
        }
        for (name, value) in &mut self.0 {
            if is_expanded(name) && value.contains(FILE_NAME) {
                *value = value.replace(FILE_NAME, last);
            }
        }
        Ok(())
    }

    /// Total length of all names and values after expansion, for a file name of that many bytes.
    fn expanded_bytes(&self, file_name: usize) -> usize {
        let bytes = self.iter().map(|(name, value)| {
            let occurrences = if is_expanded(name) {
                value.matches(FILE_NAME).count()
            } else {
                0
            };
            // Added before subtracting, so that it cannot underflow.
            name.len() + value.len() + occurrences * file_name - occurrences * FILE_NAME.len()
        });
        bytes.sum()
    }

    /// Returns the headers of the PutObject that the form represents. Fails with `NotImplemented`
    /// for unsupported fields, `InvalidArgument` for values that are not valid in a header,
    /// `MalformedXML` for tags.
    pub fn headers(&self) -> Result<HeaderMap, S3Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in self.iter() {
            let (header, value) = match name {
                "acl" => ("x-amz-acl", value.to_owned()),
                "tagging" => ("x-amz-tagging", tags(value)?),
                name if SIGNATURE.contains(&name) => continue,
                name if CONTENT.contains(&name) || is_header_of_write(name) => {
                    (name, value.to_owned())
                }
                name if name.starts_with("x-amz-") || CONDITIONS.contains(&name) => {
                    return Err(PostError::UnsupportedField(name.to_owned()).s3_error());
                }
                _ => continue,
            };
            let invalid = |what| PostError::InvalidField(name.to_owned(), what).s3_error();
            let value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| invalid("its value is not a valid header value"))?;
            let header = HeaderName::try_from(header)
                .map_err(|_| invalid("its name cannot be that of a header"))?;
            // `acl` and `x-amz-acl` are two fields for one header.
            if headers.insert(header, value).is_some() {
                return Err(invalid("another field says the same"));
            }
        }
        Ok(headers)
    }
}

impl std::fmt::Debug for FormFields {
    // Names only: values may be tokens, and this text may be logged.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_list()
            .entries(self.iter().map(|(name, _)| name))
            .finish()
    }
}

/// Whether `${filename}` is replaced in this field.
fn is_expanded(name: &str) -> bool {
    !SIGNATURE.contains(&name)
}

/// Whether the field is an `x-amz-*` header that PutObject may have.
fn is_header_of_write(name: &str) -> bool {
    let Ok(header) = HeaderName::try_from(name) else {
        return false;
    };
    let checksum = ChecksumAlgorithm::from_header_name(&header).is_some()
        || ["x-amz-checksum-algorithm", "x-amz-sdk-checksum-algorithm"].contains(&name);
    name.starts_with("x-amz-")
        && (checksum || header_rules::is_forwarded(Operation::PostObject, &header))
}

/// Converts the XML of the `tagging` field to the value of `x-amz-tagging`.
fn tags(document: &str) -> Result<String, S3Error> {
    let tags = tagging::parse(document.as_bytes()).map_err(|error| error.in_request())?;
    Ok(tagging::to_header(&tags))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    fn fields(pairs: &[(&str, &str)]) -> FormFields {
        let mut fields = FormFields::default();
        for (name, value) in pairs {
            fields.add(name, (*value).to_owned()).unwrap();
        }
        fields
    }

    #[test]
    fn fields_become_the_headers_of_a_put() {
        let headers = fields(&[
            ("key", "k"),
            ("Content-Type", "image/png"),
            ("acl", "private"),
            ("tagging", "<Tagging>\r\n<TagSet><Tag><Key>a b</Key><Value>&amp;</Value></Tag></TagSet></Tagging>"),
            ("X-Amz-Meta-Color", "grün"),
            ("x-amz-checksum-crc32", "AAAAAA=="),
            ("x-amz-server-side-encryption", "AES256"),
            ("x-amz-object-lock-mode", "GOVERNANCE"),
            ("policy", "e30="),
            ("x-amz-signature", "00"),
            ("x-amz-security-token", "token"),
            ("success_action_status", "201"),
            ("x-ignore-this", "1"),
            ("utf8", "✓"),
        ])
        .headers()
        .unwrap();
        let mut names: Vec<(&str, &[u8])> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                ("content-type", b"image/png".as_slice()),
                ("x-amz-acl", b"private"),
                ("x-amz-checksum-crc32", b"AAAAAA=="),
                ("x-amz-meta-color", "grün".as_bytes()),
                ("x-amz-object-lock-mode", b"GOVERNANCE"),
                ("x-amz-server-side-encryption", b"AES256"),
                ("x-amz-tagging", b"a%20b=%26"),
            ]
        );
    }

    #[test]
    fn a_field_can_hold_a_checksum_of_any_algorithm() {
        for algorithm in ChecksumAlgorithm::ALL {
            let name = algorithm.header_name();
            let headers = fields(&[("key", "k"), (name.as_str(), "AAAA")]).headers();
            assert_eq!(headers.unwrap()[&name], "AAAA", "{algorithm}");
        }
    }

    #[test]
    fn fields_that_might_change_what_is_stored_are_refused() {
        for name in [
            "x-amz-future",
            "x-amz-copy-source",
            "x-amz-trailer",
            "x-amz-decoded-content-length",
            "x-amz-content-sha256",
            "x-amz-write-offset-bytes",
            "If-None-Match",
            "x-amz-expected bucket",
        ] {
            let error = fields(&[(name, "*")]).headers().unwrap_err();
            assert_eq!(error.code, ErrorCode::NotImplemented, "{name}");
        }
        for (name, value, code) in [
            ("tagging", "a=b", ErrorCode::MalformedXML),
            ("x-amz-meta-ü", "b", ErrorCode::NotImplemented),
        ] {
            assert_eq!(
                fields(&[(name, value)]).headers().unwrap_err().code,
                code,
                "{name}"
            );
        }
        let twice = fields(&[("acl", "private"), ("x-amz-acl", "public-read")]);
        assert_eq!(
            twice.headers().unwrap_err().code,
            ErrorCode::InvalidArgument
        );
    }

    #[test]
    fn the_file_name_stands_in_without_its_path_and_only_once() {
        for (file_name, expected) in [
            ("a.txt", "u/a.txt"),
            ("C:\\dir\\a.txt", "u/a.txt"),
            ("/tmp/../a.txt", "u/a.txt"),
            ("", "u/"),
            ("dir/", "u/"),
            // The result is not expanded again.
            ("${filename}", "u/${filename}"),
        ] {
            let mut form = fields(&[("key", "u/${filename}"), ("x-amz-credential", FILE_NAME)]);
            form.expand(file_name).unwrap();
            assert_eq!(form.get("key"), Some(expected), "{file_name}");
            assert_eq!(form.get("x-amz-credential"), Some(FILE_NAME));
        }
    }

    #[test]
    fn all_fields_together_are_no_longer_with_the_file_name_than_a_form_may_be() {
        let form = |count: usize| {
            let names: Vec<String> = (0..count)
                .map(|number| format!("x-amz-meta-{number}"))
                .collect();
            let pairs: Vec<_> = names
                .iter()
                .map(|name| (name.as_str(), FILE_NAME))
                .collect();
            fields(&pairs)
        };
        // A single field with this name fits.
        let name = "n".repeat(10_000);
        assert_eq!(form(1).expand(&name), Ok(()));
        let refused = Err(PostError::TooMuchBeforeFile(MAX_HEAD_BYTES, MAX_FIELDS));
        assert_eq!(form(MAX_FIELDS).expand(&name), refused);
        let mut one = fields(&[("x-amz-meta-a", &FILE_NAME.repeat(1000))]);
        assert_eq!(one.expand(&"n".repeat(1000)), refused);
        // Fields of the signature are not expanded.
        let mut signed = fields(&[("policy", &FILE_NAME.repeat(1000))]);
        assert_eq!(signed.expand(&name), Ok(()));
    }

    #[test]
    fn values_are_not_shown() {
        let shown = format!("{:?}", fields(&[("x-amz-security-token", "SECRET")]));
        assert_eq!(shown, "[\"x-amz-security-token\"]");
    }
}
