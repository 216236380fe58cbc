//! Documents of forwarded operations: the body of a request and the body of its response.
//!
//! A backend that does not know a sub-resource may ignore it, and serve the request as if it were
//! one for the object or the bucket. Both directions are therefore checked: a request's document
//! must have the operation's shape ([`RequestDocument`]), and a response is relayed only if its
//! document belongs to the operation ([`AnswerDocument`]).

use http::{HeaderMap, Method};

use super::table::{ROWS, Row};
use super::{Kind, Operation};
use crate::error::{ErrorCode, S3Error};
use crate::header_rules;
use crate::xml::canonical::{self, Shape};

/// Maximum size of a document about a bucket, in bytes. S3's largest ones (replication, lifecycle)
/// are smaller.
const BUCKET_BYTES: usize = 2 * 1024 * 1024;

/// Maximum size of a document about an object, in bytes: 10 tags of maximum length, or an ACL of
/// 100 grants.
const OBJECT_BYTES: usize = 64 * 1024;

/// Maximum size of a bucket policy, in bytes. S3 allows 20 KiB.
const POLICY_BYTES: usize = 64 * 1024;

const ACL: Shape = Shape {
    root: "AccessControlPolicy",
    elements: Some(&[
        "AccessControlList",
        "DisplayName",
        "EmailAddress",
        "Grant",
        "Grantee",
        "ID",
        "Owner",
        "Permission",
        "URI",
    ]),
    maximum_bytes: OBJECT_BYTES,
};

const TAGGING: Shape = Shape {
    root: "Tagging",
    elements: Some(&["Key", "Tag", "TagSet", "Value"]),
    maximum_bytes: OBJECT_BYTES,
};

const LEGAL_HOLD: Shape = Shape {
    root: "LegalHold",
    elements: Some(&["Status"]),
    maximum_bytes: OBJECT_BYTES,
};

const RETENTION: Shape = Shape {
    root: "Retention",
    elements: Some(&["Mode", "RetainUntilDate"]),
    maximum_bytes: OBJECT_BYTES,
};

const RESTORE: Shape = Shape {
    root: "RestoreRequest",
    elements: Some(&["Days", "Description", "GlacierJobParameters", "Tier"]),
    maximum_bytes: OBJECT_BYTES,
};

/// Kind of body that a forwarded request has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestDocument {
    /// No body is forwarded.
    Nothing,
    /// XML, parsed and serialised again.
    Xml(Shape, Presence),
    /// A bucket policy: a JSON object up to a number of bytes, parsed and serialised again.
    Policy(usize),
}

/// Whether a document is required.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// The document is required.
    Required,
    /// The document is optional: S3 has defaults.
    Optional,
    /// The document is optional if headers (`x-amz-acl`, `x-amz-grant-*`) have the same content.
    UnlessInHeaders,
}

/// Kind of body in the response to a forwarded request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerDocument {
    /// An empty body.
    Nothing,
    /// XML with one of these root elements.
    Xml(&'static [&'static str]),
    /// A bucket policy: a JSON object.
    Policy,
}

impl RequestDocument {
    /// Maximum size of the request's body in bytes.
    #[must_use]
    pub fn maximum_bytes(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Xml(shape, _) => shape.maximum_bytes,
            Self::Policy(bytes) => bytes,
        }
    }

    /// Parses the body of a client's request and serialises the document again; no byte of it is
    /// relayed as it came. Fails with `MalformedXML` or `MalformedPolicy` if the document does not
    /// have this form.
    pub fn written_anew(self, body: &[u8], headers: &HeaderMap) -> Result<String, S3Error> {
        match self {
            Self::Nothing => Ok(String::new()),
            // Absent means no byte at all: white space goes to the parser, which refuses it.
            Self::Xml(_, presence) if body.is_empty() && presence.may_be_absent(headers) => {
                Ok(String::new())
            }
            Self::Xml(shape, _) => {
                canonical::rewrite(body, &shape).map_err(|error| error.in_request())
            }
            Self::Policy(maximum) => policy(body, maximum),
        }
    }
}

impl Presence {
    fn may_be_absent(self, headers: &HeaderMap) -> bool {
        match self {
            Self::Required => false,
            Self::Optional => true,
            Self::UnlessInHeaders => headers.keys().any(header_rules::sets_acl),
        }
    }
}

/// Parses a JSON policy and serialises it again.
fn policy(body: &[u8], maximum: usize) -> Result<String, S3Error> {
    let malformed = |message: String| S3Error::new(ErrorCode::MalformedPolicy, message);
    if body.len() > maximum {
        return Err(malformed(format!(
            "A policy may have at most {maximum} bytes."
        )));
    }
    // Reading into a map also settles repeated names: the last one counts, and only it is sent.
    let read: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body)
        .map_err(|error| malformed(format!("A policy must be a JSON object: {error}.")))?;
    let written = serde_json::Value::Object(read).to_string();
    // Serialised numbers can be longer than the client's: `1e15` becomes `1000000000000000.0`.
    if written.len() > maximum {
        return Err(malformed(format!(
            "A policy may have at most {maximum} bytes."
        )));
    }
    Ok(written)
}

impl AnswerDocument {
    /// Whether a response body is a document of this kind.
    #[must_use]
    pub fn is(self, body: &[u8]) -> bool {
        match self {
            Self::Nothing => body.is_empty(),
            Self::Xml(roots) => {
                canonical::root_name(body).is_ok_and(|root| roots.contains(&root.as_str()))
            }
            Self::Policy => serde_json::from_slice::<serde_json::Map<_, _>>(body).is_ok(),
        }
    }
}

impl Operation {
    /// Kind of document that a request of this operation sends to the backend.
    #[must_use]
    pub fn request_document(self) -> RequestDocument {
        let root = match self {
            Self::PutBucketAcl | Self::PutObjectAcl => {
                return RequestDocument::Xml(ACL, Presence::UnlessInHeaders);
            }
            Self::PutBucketTagging | Self::PutObjectTagging => return required(TAGGING),
            Self::PutObjectLegalHold => return required(LEGAL_HOLD),
            Self::PutObjectRetention => return required(RETENTION),
            Self::RestoreObject => return RequestDocument::Xml(RESTORE, Presence::Optional),
            Self::PutBucketPolicy => return RequestDocument::Policy(POLICY_BYTES),
            Self::CreateBucket => {
                let shape = of_bucket("CreateBucketConfiguration");
                return RequestDocument::Xml(shape, Presence::Optional);
            }
            Self::PutBucketAbac => "AbacStatus",
            Self::PutBucketAccelerateConfiguration => "AccelerateConfiguration",
            Self::PutBucketAnalyticsConfiguration => "AnalyticsConfiguration",
            Self::PutBucketCors => "CORSConfiguration",
            Self::PutBucketEncryption => "ServerSideEncryptionConfiguration",
            Self::PutBucketIntelligentTieringConfiguration => "IntelligentTieringConfiguration",
            Self::PutBucketInventoryConfiguration => "InventoryConfiguration",
            Self::PutBucketLifecycleConfiguration => "LifecycleConfiguration",
            Self::PutBucketLogging => "BucketLoggingStatus",
            Self::CreateBucketMetadataConfiguration => "MetadataConfiguration",
            Self::CreateBucketMetadataTableConfiguration => "MetadataTableConfiguration",
            Self::UpdateBucketMetadataAnnotationTableConfiguration => {
                "AnnotationTableConfiguration"
            }
            Self::UpdateBucketMetadataInventoryTableConfiguration => "InventoryTableConfiguration",
            Self::UpdateBucketMetadataJournalTableConfiguration => "JournalTableConfiguration",
            Self::PutBucketMetricsConfiguration => "MetricsConfiguration",
            Self::PutBucketNotificationConfiguration => "NotificationConfiguration",
            Self::PutObjectLockConfiguration => "ObjectLockConfiguration",
            Self::PutBucketOwnershipControls => "OwnershipControls",
            Self::PutPublicAccessBlock => "PublicAccessBlockConfiguration",
            Self::PutBucketReplication => "ReplicationConfiguration",
            Self::PutBucketRequestPayment => "RequestPaymentConfiguration",
            Self::PutBucketVersioning => "VersioningConfiguration",
            Self::PutBucketWebsite => "WebsiteConfiguration",
            _ => return RequestDocument::Nothing,
        };
        required(of_bucket(root))
    }

    /// Kind of document in the response to a forwarded request of this operation.
    #[must_use]
    pub fn answer_document(self) -> AnswerDocument {
        AnswerDocument::Xml(match self {
            Self::GetBucketPolicy => return AnswerDocument::Policy,
            // Servers differ in some of the root elements; both names are accepted below.
            Self::GetBucketLocation => &["LocationConstraint", "CreateBucketConfiguration"],
            // Forwarded for uploads that a rule stores in plaintext. The second root is moto's.
            Self::CreateMultipartUpload => &["InitiateMultipartUploadResult"],
            Self::ListParts => &["ListPartsResult", "ListPartsResponse"],
            Self::GetBucketAbac => &["AbacStatus"],
            Self::GetBucketAccelerateConfiguration => &["AccelerateConfiguration"],
            Self::GetBucketAcl | Self::GetObjectAcl => &["AccessControlPolicy"],
            Self::GetBucketAnalyticsConfiguration => &["AnalyticsConfiguration"],
            Self::ListBucketAnalyticsConfigurations => &[
                "ListBucketAnalyticsConfigurationResult",
                "ListBucketAnalyticsConfigurationsResult",
            ],
            Self::GetBucketCors => &["CORSConfiguration"],
            Self::GetBucketEncryption => &["ServerSideEncryptionConfiguration"],
            Self::GetBucketIntelligentTieringConfiguration => &["IntelligentTieringConfiguration"],
            Self::ListBucketIntelligentTieringConfigurations => &[
                "ListBucketIntelligentTieringConfigurationsOutput",
                "ListBucketIntelligentTieringConfigurationsResult",
            ],
            Self::GetBucketInventoryConfiguration => &["InventoryConfiguration"],
            Self::ListBucketInventoryConfigurations => &[
                "ListInventoryConfigurationsResult",
                "ListBucketInventoryConfigurationsResult",
            ],
            Self::GetBucketLifecycleConfiguration => &["LifecycleConfiguration"],
            Self::GetBucketLogging => &["BucketLoggingStatus"],
            Self::GetBucketMetadataConfiguration => &["GetBucketMetadataConfigurationResult"],
            Self::GetBucketMetadataTableConfiguration => {
                &["GetBucketMetadataTableConfigurationResult"]
            }
            Self::GetBucketMetricsConfiguration => &["MetricsConfiguration"],
            Self::ListBucketMetricsConfigurations => &[
                "ListMetricsConfigurationsResult",
                "ListBucketMetricsConfigurationsResult",
            ],
            Self::GetBucketNotificationConfiguration => &["NotificationConfiguration"],
            Self::GetObjectLockConfiguration => &["ObjectLockConfiguration"],
            Self::GetBucketOwnershipControls => &["OwnershipControls"],
            Self::GetBucketPolicyStatus => &["PolicyStatus"],
            Self::GetPublicAccessBlock => &[
                "PublicAccessBlockConfiguration",
                "BlockPublicAccessBlockConfiguration",
            ],
            Self::GetBucketReplication => &["ReplicationConfiguration"],
            Self::GetBucketRequestPayment => &["RequestPaymentConfiguration"],
            Self::GetBucketTagging | Self::GetObjectTagging => &["Tagging"],
            Self::GetBucketVersioning => &["VersioningConfiguration"],
            Self::GetBucketWebsite => &["WebsiteConfiguration"],
            Self::GetObjectLegalHold => &["LegalHold"],
            Self::GetObjectRetention => &["Retention"],
            _ => return AnswerDocument::Nothing,
        })
    }

    /// Error codes with which a backend that supports this read operation reports that there is
    /// nothing to read.
    #[must_use]
    pub fn absence_codes(self) -> &'static [&'static str] {
        match self {
            Self::GetBucketAnalyticsConfiguration
            | Self::GetBucketIntelligentTieringConfiguration
            | Self::GetBucketInventoryConfiguration
            | Self::GetBucketMetricsConfiguration => &["NoSuchConfiguration"],
            Self::GetBucketCors => &["NoSuchCORSConfiguration"],
            Self::GetBucketEncryption => &["ServerSideEncryptionConfigurationNotFoundError"],
            Self::GetBucketLifecycleConfiguration => &["NoSuchLifecycleConfiguration"],
            Self::GetBucketMetadataConfiguration | Self::GetBucketMetadataTableConfiguration => {
                &["MetadataConfigurationNotFound"]
            }
            Self::GetObjectLockConfiguration => &["ObjectLockConfigurationNotFoundError"],
            Self::GetBucketOwnershipControls => &["OwnershipControlsNotFoundError"],
            Self::GetBucketPolicy | Self::GetBucketPolicyStatus => &["NoSuchBucketPolicy"],
            Self::GetPublicAccessBlock => &["NoSuchPublicAccessBlockConfiguration"],
            Self::GetBucketReplication => &["ReplicationConfigurationNotFoundError"],
            Self::GetBucketTagging | Self::GetObjectTagging => {
                &["NoSuchTagSet", "NoSuchTagSetError"]
            }
            Self::GetBucketWebsite => &["NoSuchWebsiteConfiguration"],
            Self::GetObjectLegalHold | Self::GetObjectRetention => {
                &["NoSuchObjectLockConfiguration"]
            }
            _ => &[],
        }
    }

    /// The operation that reads the sub-resource which this operation changes or deletes.
    #[must_use]
    pub fn reading(self) -> Option<Self> {
        let row = self.row();
        let reads = |other: &&Row| {
            other.kind == Kind::Forward
                && other.method == Method::GET
                && other.level == row.level
                && other.sub_resource == row.sub_resource
                // The same selector: with `id`, an item is read; without it, the list of items.
                && other.selector == row.selector
        };
        if row.sub_resource.is_empty() {
            return None;
        }
        ROWS.iter().find(reads).map(|other| other.operation)
    }

    /// Whether a forwarded request changes a sub-resource, which the backend must therefore
    /// support.
    #[must_use]
    pub fn changes_sub_resource(self) -> bool {
        let row = self.row();
        matches!(row.kind, Kind::ForwardXml | Kind::RestoreObject) && !row.sub_resource.is_empty()
    }

    /// Whether a forwarded request deletes a sub-resource.
    #[must_use]
    pub fn deletes_sub_resource(self) -> bool {
        let row = self.row();
        row.kind == Kind::Forward && row.method == Method::DELETE
    }
}

fn required(shape: Shape) -> RequestDocument {
    RequestDocument::Xml(shape, Presence::Required)
}

/// Shape of a bucket document: only the root element and the size are checked.
fn of_bucket(root: &'static str) -> Shape {
    Shape {
        root,
        elements: None,
        maximum_bytes: BUCKET_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_forwarded_operation_has_its_documents() {
        for operation in Operation::ALL.iter().copied() {
            let row = operation.row();
            let name = operation.as_str();
            let request = operation.request_document();
            let answer = operation.answer_document();
            let carries = matches!(row.kind, Kind::ForwardXml | Kind::RestoreObject);
            assert_eq!(request != RequestDocument::Nothing, carries, "{name}");
            let reads = row.kind == Kind::Forward && row.method == Method::GET
                || matches!(row.kind, Kind::CreateMultipartUpload | Kind::ListParts);
            assert_eq!(answer != AnswerDocument::Nothing, reads, "{name}");
        }
    }

    #[test]
    fn documents_about_objects_are_small_and_closed() {
        for operation in Operation::ALL.iter().copied() {
            if let RequestDocument::Xml(shape, _) = operation.request_document()
                && operation.row().level == super::super::table::Level::Object
            {
                assert!(shape.elements.is_some(), "{}", operation.as_str());
                assert!(
                    shape.maximum_bytes <= OBJECT_BYTES,
                    "{}",
                    operation.as_str()
                );
            }
        }
    }

    #[test]
    fn what_is_deleted_can_be_read_first() {
        for operation in Operation::ALL.iter().copied() {
            if operation.deletes_sub_resource() {
                assert!(operation.reading().is_some(), "{}", operation.as_str());
            }
        }
        for (operation, reading) in [
            (
                Operation::DeleteBucketAnalyticsConfiguration,
                Some(Operation::GetBucketAnalyticsConfiguration),
            ),
            (Operation::PutBucketAcl, Some(Operation::GetBucketAcl)),
            (Operation::PutObjectAcl, Some(Operation::GetObjectAcl)),
            (Operation::RestoreObject, None),
            (Operation::CreateBucket, None),
            (
                Operation::UpdateBucketMetadataJournalTableConfiguration,
                None,
            ),
        ] {
            assert_eq!(operation.reading(), reading, "{}", operation.as_str());
        }
    }

    #[test]
    fn no_body_goes_on_as_it_came() {
        let none = HeaderMap::new();
        for operation in Operation::ALL.iter().copied() {
            let document = operation.request_document();
            let name = operation.as_str();
            // A card number as text, XML and JSON: none of them may pass.
            for body in [
                "PAN=4111111111111111",
                "<Unexpected>PAN</Unexpected>",
                "[\"PAN\"]",
            ] {
                match document.written_anew(body.as_bytes(), &none) {
                    Ok(written) => assert_eq!(written, "", "{name}"),
                    Err(error) => assert!(error.code.as_str().starts_with("Malformed"), "{name}"),
                }
            }
            let mut expected = matches!(document, RequestDocument::Nothing);
            if let RequestDocument::Xml(shape, presence) = document {
                expected = presence == Presence::Optional;
                let body = format!(
                    "<?xml version='1.0'?><x:{0} xmlns:x='u' a='b'/>",
                    shape.root
                );
                let written = document
                    .written_anew(body.as_bytes(), &none)
                    .expect("its root");
                let namespace = "http://s3.amazonaws.com/doc/2006-03-01/";
                assert_eq!(
                    written,
                    format!("<{0} xmlns=\"{namespace}\"></{0}>", shape.root)
                );
            }
            assert_eq!(
                document.written_anew(b"", &none).is_ok(),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn an_acl_may_stand_in_the_headers_instead() {
        let document = Operation::PutObjectAcl.request_document();
        let mut headers = HeaderMap::new();
        headers.insert(
            "x-amz-grant-read",
            http::HeaderValue::from_static("id=\"1\""),
        );
        assert_eq!(document.written_anew(b"", &headers).as_deref(), Ok(""));
        assert!(document.written_anew(b"content", &headers).is_err());
    }

    #[test]
    fn numbers_of_a_policy_stay_as_they_are() {
        let document = Operation::PutBucketPolicy.request_document();
        let none = HeaderMap::new();
        for number in [
            "1.2",
            "3600",
            "-1",
            "444444.44444444444",
            "18446744073709551615",
        ] {
            let policy = format!("{{\"s3:TlsVersion\":{number}}}");
            let written = document.written_anew(policy.as_bytes(), &none);
            assert_eq!(written, Ok(policy));
        }
    }

    #[test]
    fn a_policy_is_an_object_written_anew() {
        let document = Operation::PutBucketPolicy.request_document();
        let none = HeaderMap::new();
        let read = |body: &str| document.written_anew(body.as_bytes(), &none);
        assert_eq!(
            read(" {\"Statement\" : [ {\"Effect\":\"Allow\"} ] }\n").as_deref(),
            Ok("{\"Statement\":[{\"Effect\":\"Allow\"}]}")
        );
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(500), "]".repeat(500));
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(POLICY_BYTES));
        for body in [
            "",
            "x",
            "[]",
            "\"text\"",
            "{} {}",
            "{",
            deep.as_str(),
            long.as_str(),
        ] {
            assert!(read(body).is_err(), "{body:.20}");
        }
    }

    #[test]
    fn an_answer_is_told_by_its_root() {
        let acl = Operation::GetObjectAcl.answer_document();
        assert!(acl.is(b"<?xml version='1.0'?><AccessControlPolicy/>"));
        for other in [
            "",
            "content",
            "{}",
            "<ListBucketResult/>",
            "<Error><Code>AccessControlPolicy</Code></Error>",
        ] {
            assert!(!acl.is(other.as_bytes()), "{other}");
        }
        let policy = Operation::GetBucketPolicy.answer_document();
        assert!(policy.is(br#"{"Version": "2012-10-17"}"#));
        for other in ["", "[]", "1", "<ListBucketResult/>", "{"] {
            assert!(!policy.is(other.as_bytes()), "{other}");
        }
    }
}
