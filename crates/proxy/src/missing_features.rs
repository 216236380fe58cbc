//! Requests for features that the backend lacks (`backend.lacks`).
//!
//! Nothing about such a feature is sent. A header with S3's default value, or one that only permits
//! something, is dropped. A request that needs the feature is refused, so that no client believes
//! an object to be tagged or locked that is not.

use http::HeaderMap;
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::operation::Operation;

use crate::config::resolved::Feature;

/// Sub-resources and headers that belong to a feature.
struct FeatureNames {
    sub_resources: &'static [&'static str],
    /// Names of headers; one that ends in `-` is a prefix.
    headers: &'static [&'static str],
    /// Values that request nothing, by header name; `*` is any value.
    defaults: &'static [(&'static str, &'static str)],
}

const TAGGING: FeatureNames = FeatureNames {
    sub_resources: &["tagging"],
    headers: &["x-amz-tagging", "x-amz-tagging-directive"],
    defaults: &[("x-amz-tagging-directive", "*")],
};

const ACL: FeatureNames = FeatureNames {
    sub_resources: &["acl"],
    headers: &["x-amz-acl", "x-amz-grant-"],
    defaults: &[
        ("x-amz-acl", "private"),
        ("x-amz-acl", "bucket-owner-full-control"),
    ],
};

const OBJECT_LOCK: FeatureNames = FeatureNames {
    sub_resources: &["object-lock", "retention", "legal-hold"],
    headers: &[
        "x-amz-object-lock-",
        "x-amz-bucket-object-lock-enabled",
        "x-amz-bypass-governance-retention",
    ],
    defaults: &[
        ("x-amz-object-lock-legal-hold", "OFF"),
        ("x-amz-bucket-object-lock-enabled", "false"),
        ("x-amz-bypass-governance-retention", "*"),
    ],
};

const SERVER_SIDE_ENCRYPTION: FeatureNames = FeatureNames {
    sub_resources: &[],
    headers: &[
        "x-amz-server-side-encryption",
        "x-amz-server-side-encryption-aws-kms-key-id",
        "x-amz-server-side-encryption-bucket-key-enabled",
        "x-amz-server-side-encryption-context",
    ],
    defaults: &[
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-server-side-encryption-bucket-key-enabled", "false"),
    ],
};

const BUCKET_OWNER: FeatureNames = FeatureNames {
    sub_resources: &[],
    headers: &[
        "x-amz-expected-bucket-owner",
        "x-amz-source-expected-bucket-owner",
    ],
    defaults: &[],
};

const REQUEST_PAYER: FeatureNames = FeatureNames {
    sub_resources: &["requestPayment"],
    headers: &["x-amz-request-payer"],
    defaults: &[("x-amz-request-payer", "*")],
};

const WEBSITE: FeatureNames = FeatureNames {
    sub_resources: &["website"],
    headers: &["x-amz-website-redirect-location"],
    defaults: &[],
};

/// No names: clients' checksums end at the proxy, and its own follow `backend.integrity`.
const TRAILING_CHECKSUMS: FeatureNames = FeatureNames {
    sub_resources: &[],
    headers: &[],
    defaults: &[],
};

/// Returns the sub-resources and headers that belong to a feature.
fn names_of(feature: Feature) -> &'static FeatureNames {
    match feature {
        Feature::Tagging => &TAGGING,
        Feature::Acl => &ACL,
        Feature::ObjectLock => &OBJECT_LOCK,
        Feature::ServerSideEncryption => &SERVER_SIDE_ENCRYPTION,
        Feature::BucketOwner => &BUCKET_OWNER,
        Feature::RequestPayer => &REQUEST_PAYER,
        Feature::Website => &WEBSITE,
        Feature::TrailingChecksums => &TRAILING_CHECKSUMS,
    }
}

impl FeatureNames {
    fn has_header(&self, name: &str) -> bool {
        self.headers
            .iter()
            .any(|known| match known.strip_suffix('-') {
                Some(_) => name.starts_with(known),
                None => name == *known,
            })
    }

    fn is_default(&self, name: &str, value: &[u8]) -> bool {
        self.defaults.iter().any(|(header, default)| {
            *header == name && (*default == "*" || value.eq_ignore_ascii_case(default.as_bytes()))
        })
    }
}

/// Removes headers of features that the backend lacks, and refuses requests that need one.
pub(crate) fn remove_or_refuse(
    lacks: &[Feature],
    operation: Operation,
    headers: &mut HeaderMap,
) -> Result<(), S3Error> {
    for feature in lacks {
        let names = names_of(*feature);
        if names.sub_resources.contains(&operation.sub_resource()) {
            return Err(refused(*feature, operation.as_str()));
        }
        let present = headers
            .keys()
            .filter(|name| names.has_header(name.as_str()));
        let present: Vec<_> = present.cloned().collect();
        for name in present {
            let mut values = headers.get_all(&name).iter();
            if !values.all(|value| names.is_default(name.as_str(), value.as_bytes())) {
                return Err(refused(*feature, name.as_str()));
            }
            headers.remove(&name);
        }
    }
    Ok(())
}

fn refused(feature: Feature, what: &str) -> S3Error {
    let feature = feature.as_str();
    S3Error::new(
        ErrorCode::NotImplemented,
        format!(
            "{what} is not supported: the storage behind this proxy lacks {feature}. Leave it out; if \
             the storage supports it, remove {feature} from backend.lacks."
        ),
    )
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn settled(
        feature: Feature,
        operation: Operation,
        name: &'static str,
        value: &str,
    ) -> Option<bool> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        let settled = remove_or_refuse(&[feature], operation, &mut headers);
        if let Err(error) = &settled {
            assert_eq!(error.code, ErrorCode::NotImplemented);
            assert!(error.message.contains("backend.lacks"), "{}", error.message);
        }
        settled.ok().map(|()| headers.contains_key(name))
    }

    #[test]
    fn defaults_are_dropped_and_anything_else_is_refused() {
        const REFUSED: Option<bool> = None;
        const DROPPED: Option<bool> = Some(false);
        const KEPT: Option<bool> = Some(true);
        for (feature, name, value, expected) in [
            (Feature::Tagging, "x-amz-tagging", "a=1", REFUSED),
            (Feature::Tagging, "x-amz-tagging-directive", "COPY", DROPPED),
            (Feature::Tagging, "x-amz-acl", "public-read", KEPT),
            (Feature::Acl, "x-amz-acl", "private", DROPPED),
            (Feature::Acl, "x-amz-acl", "public-read", REFUSED),
            (Feature::Acl, "x-amz-grant-read", "id=1", REFUSED),
            (
                Feature::ObjectLock,
                "x-amz-object-lock-mode",
                "GOVERNANCE",
                REFUSED,
            ),
            (
                Feature::ObjectLock,
                "x-amz-object-lock-legal-hold",
                "OFF",
                DROPPED,
            ),
            (
                Feature::ObjectLock,
                "x-amz-object-lock-legal-hold",
                "ON",
                REFUSED,
            ),
            (
                Feature::ServerSideEncryption,
                "x-amz-server-side-encryption",
                "AES256",
                DROPPED,
            ),
            (
                Feature::ServerSideEncryption,
                "x-amz-server-side-encryption",
                "aws:kms",
                REFUSED,
            ),
            (
                Feature::ServerSideEncryption,
                "x-amz-server-side-encryption-customer-algorithm",
                "AES256",
                KEPT,
            ),
            (
                Feature::BucketOwner,
                "x-amz-expected-bucket-owner",
                "1",
                REFUSED,
            ),
            (
                Feature::RequestPayer,
                "x-amz-request-payer",
                "requester",
                DROPPED,
            ),
            (
                Feature::Website,
                "x-amz-website-redirect-location",
                "/a",
                REFUSED,
            ),
            (
                Feature::TrailingChecksums,
                "x-amz-trailer",
                "x-amz-checksum-crc32",
                KEPT,
            ),
        ] {
            let settled = settled(feature, Operation::PutObject, name, value);
            assert_eq!(settled, expected, "{name}: {value}");
        }
    }

    #[test]
    fn operations_on_a_lacking_sub_resource_are_refused() {
        for (feature, operation) in [
            (Feature::Tagging, Operation::PutObjectTagging),
            (Feature::Tagging, Operation::GetBucketTagging),
            (Feature::Acl, Operation::GetObjectAcl),
            (Feature::ObjectLock, Operation::PutObjectRetention),
            (Feature::Website, Operation::PutBucketWebsite),
        ] {
            let settled = remove_or_refuse(&[feature], operation, &mut HeaderMap::new());
            assert!(settled.is_err(), "{}", operation.as_str());
        }
        let mut none = HeaderMap::new();
        assert!(remove_or_refuse(&[Feature::Tagging], Operation::GetObjectAcl, &mut none).is_ok());
        assert!(
            remove_or_refuse(
                &[Feature::TrailingChecksums],
                Operation::PutObject,
                &mut none
            )
            .is_ok()
        );
    }
}
