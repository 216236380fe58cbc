use std::collections::BTreeSet;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::*;
use crate::address::{EndpointSelection, HostRules, address};
use crate::error::ErrorCode;
use crate::query::Query;

mod foreign;

type Headers = &'static [(&'static str, &'static str)];

const COPY: Headers = &[("x-amz-copy-source", "/source/key")];
const FORM: Headers = &[("content-type", "Multipart/Form-Data; boundary=x")];
const LAMBDA: Headers = &[("x-amz-request-route", "r")];

/// Method, path and query, and headers of a request for an operation.
type Request = (Operation, &'static str, &'static str, Headers);

/// One row for each operation.
#[rustfmt::skip]
const REQUESTS: &[Request] = &[
    (Operation::ListBuckets, "GET", "/", &[]),
    (Operation::ListDirectoryBuckets, "GET", "/?max-directory-buckets=5", &[]),
    (Operation::CreateBucket, "PUT", "/bucket", &[]),
    (Operation::HeadBucket, "HEAD", "/bucket/", &[]),
    (Operation::DeleteBucket, "DELETE", "/bucket", &[]),
    (Operation::GetBucketLocation, "GET", "/bucket?location", &[]),
    (Operation::CreateSession, "GET", "/bucket?session", &[]),
    (Operation::ListObjects, "GET", "/bucket?prefix=a&delimiter=/&marker=m&max-keys=5&encoding-type=url", &[]),
    (Operation::ListObjectsV2, "GET", "/bucket?list-type=2&prefix=a&continuation-token=t&fetch-owner=true&start-after=b", &[]),
    (Operation::ListObjectVersions, "GET", "/bucket?versions&key-marker=a&version-id-marker=b", &[]),
    (Operation::ListMultipartUploads, "GET", "/bucket?uploads&max-uploads=3&upload-id-marker=u", &[]),
    (Operation::GetBucketAbac, "GET", "/bucket?abac", &[]),
    (Operation::PutBucketAbac, "PUT", "/bucket?abac", &[]),
    (Operation::GetBucketAccelerateConfiguration, "GET", "/bucket?accelerate", &[]),
    (Operation::PutBucketAccelerateConfiguration, "PUT", "/bucket?accelerate", &[]),
    (Operation::GetBucketAcl, "GET", "/bucket?acl", &[]),
    (Operation::PutBucketAcl, "PUT", "/bucket?acl", &[]),
    (Operation::GetBucketAnalyticsConfiguration, "GET", "/bucket?analytics&id=1", &[]),
    (Operation::ListBucketAnalyticsConfigurations, "GET", "/bucket?analytics&continuation-token=t", &[]),
    (Operation::PutBucketAnalyticsConfiguration, "PUT", "/bucket?analytics&id=1", &[]),
    (Operation::DeleteBucketAnalyticsConfiguration, "DELETE", "/bucket?analytics&id=1", &[]),
    (Operation::GetBucketCors, "GET", "/bucket?cors", &[]),
    (Operation::PutBucketCors, "PUT", "/bucket?cors", &[]),
    (Operation::DeleteBucketCors, "DELETE", "/bucket?cors", &[]),
    (Operation::GetBucketEncryption, "GET", "/bucket?encryption", &[]),
    (Operation::PutBucketEncryption, "PUT", "/bucket?encryption", &[]),
    (Operation::DeleteBucketEncryption, "DELETE", "/bucket?encryption", &[]),
    (Operation::GetBucketIntelligentTieringConfiguration, "GET", "/bucket?intelligent-tiering&id=1", &[]),
    (Operation::ListBucketIntelligentTieringConfigurations, "GET", "/bucket?intelligent-tiering", &[]),
    (Operation::PutBucketIntelligentTieringConfiguration, "PUT", "/bucket?intelligent-tiering&id=1", &[]),
    (Operation::DeleteBucketIntelligentTieringConfiguration, "DELETE", "/bucket?intelligent-tiering&id=1", &[]),
    (Operation::GetBucketInventoryConfiguration, "GET", "/bucket?inventory&id=1", &[]),
    (Operation::ListBucketInventoryConfigurations, "GET", "/bucket?inventory", &[]),
    (Operation::PutBucketInventoryConfiguration, "PUT", "/bucket?inventory&id=1", &[]),
    (Operation::DeleteBucketInventoryConfiguration, "DELETE", "/bucket?inventory&id=1", &[]),
    (Operation::GetBucketLifecycleConfiguration, "GET", "/bucket?lifecycle", &[]),
    (Operation::PutBucketLifecycleConfiguration, "PUT", "/bucket?lifecycle", &[]),
    (Operation::DeleteBucketLifecycle, "DELETE", "/bucket?lifecycle", &[]),
    (Operation::GetBucketLogging, "GET", "/bucket?logging", &[]),
    (Operation::PutBucketLogging, "PUT", "/bucket?logging", &[]),
    (Operation::CreateBucketMetadataConfiguration, "POST", "/bucket?metadataConfiguration", &[]),
    (Operation::GetBucketMetadataConfiguration, "GET", "/bucket?metadataConfiguration", &[]),
    (Operation::DeleteBucketMetadataConfiguration, "DELETE", "/bucket?metadataConfiguration", &[]),
    (Operation::CreateBucketMetadataTableConfiguration, "POST", "/bucket?metadataTable", &[]),
    (Operation::GetBucketMetadataTableConfiguration, "GET", "/bucket?metadataTable", &[]),
    (Operation::DeleteBucketMetadataTableConfiguration, "DELETE", "/bucket?metadataTable", &[]),
    (Operation::UpdateBucketMetadataAnnotationTableConfiguration, "PUT", "/bucket?metadataAnnotationTable", &[]),
    (Operation::UpdateBucketMetadataInventoryTableConfiguration, "PUT", "/bucket?metadataInventoryTable", &[]),
    (Operation::UpdateBucketMetadataJournalTableConfiguration, "PUT", "/bucket?metadataJournalTable", &[]),
    (Operation::GetBucketMetricsConfiguration, "GET", "/bucket?metrics&id=1", &[]),
    (Operation::ListBucketMetricsConfigurations, "GET", "/bucket?metrics", &[]),
    (Operation::PutBucketMetricsConfiguration, "PUT", "/bucket?metrics&id=1", &[]),
    (Operation::DeleteBucketMetricsConfiguration, "DELETE", "/bucket?metrics&id=1", &[]),
    (Operation::GetBucketNotificationConfiguration, "GET", "/bucket?notification", &[]),
    (Operation::PutBucketNotificationConfiguration, "PUT", "/bucket?notification", &[]),
    (Operation::GetObjectLockConfiguration, "GET", "/bucket?object-lock", &[]),
    (Operation::PutObjectLockConfiguration, "PUT", "/bucket?object-lock", &[]),
    (Operation::GetBucketOwnershipControls, "GET", "/bucket?ownershipControls", &[]),
    (Operation::PutBucketOwnershipControls, "PUT", "/bucket?ownershipControls", &[]),
    (Operation::DeleteBucketOwnershipControls, "DELETE", "/bucket?ownershipControls", &[]),
    (Operation::GetBucketPolicy, "GET", "/bucket?policy", &[]),
    (Operation::PutBucketPolicy, "PUT", "/bucket?policy", &[]),
    (Operation::DeleteBucketPolicy, "DELETE", "/bucket?policy", &[]),
    (Operation::GetBucketPolicyStatus, "GET", "/bucket?policyStatus", &[]),
    (Operation::GetPublicAccessBlock, "GET", "/bucket?publicAccessBlock", &[]),
    (Operation::PutPublicAccessBlock, "PUT", "/bucket?publicAccessBlock", &[]),
    (Operation::DeletePublicAccessBlock, "DELETE", "/bucket?publicAccessBlock", &[]),
    (Operation::GetBucketReplication, "GET", "/bucket?replication", &[]),
    (Operation::PutBucketReplication, "PUT", "/bucket?replication", &[]),
    (Operation::DeleteBucketReplication, "DELETE", "/bucket?replication", &[]),
    (Operation::GetBucketRequestPayment, "GET", "/bucket?requestPayment", &[]),
    (Operation::PutBucketRequestPayment, "PUT", "/bucket?requestPayment", &[]),
    (Operation::GetBucketTagging, "GET", "/bucket?tagging", &[]),
    (Operation::PutBucketTagging, "PUT", "/bucket?tagging", &[]),
    (Operation::DeleteBucketTagging, "DELETE", "/bucket?tagging", &[]),
    (Operation::GetBucketVersioning, "GET", "/bucket?versioning", &[]),
    (Operation::PutBucketVersioning, "PUT", "/bucket?versioning", &[]),
    (Operation::GetBucketWebsite, "GET", "/bucket?website", &[]),
    (Operation::PutBucketWebsite, "PUT", "/bucket?website", &[]),
    (Operation::DeleteBucketWebsite, "DELETE", "/bucket?website", &[]),
    (Operation::DeleteObjects, "POST", "/bucket?delete", &[]),
    (Operation::WriteGetObjectResponse, "POST", "/WriteGetObjectResponse", LAMBDA),
    (Operation::PostObject, "POST", "/bucket", FORM),
    (Operation::GetObject, "GET", "/bucket/key?versionId=v&partNumber=1&response-content-type=a&response-expires=b&x-id=GetObject", &[("range", "bytes=0-1"), ("x-amz-unheard-of", "1")]),
    (Operation::HeadObject, "HEAD", "/bucket/key?versionId=v", &[]),
    (Operation::PutObject, "PUT", "/bucket/key?x-id=PutObject", &[("x-amz-meta-anything", "1"), ("x-amz-acl", "private"), ("x-amz-checksum-crc32", "AAAAAA==")]),
    (Operation::CopyObject, "PUT", "/bucket/key", COPY),
    (Operation::DeleteObject, "DELETE", "/bucket/key?versionId=v", &[]),
    (Operation::GetObjectAttributes, "GET", "/bucket/key?attributes", &[]),
    (Operation::GetObjectAcl, "GET", "/bucket/key?acl&versionId=v", &[]),
    (Operation::PutObjectAcl, "PUT", "/bucket/key?acl", &[]),
    (Operation::GetObjectTagging, "GET", "/bucket/key?tagging", &[]),
    (Operation::PutObjectTagging, "PUT", "/bucket/key?tagging&versionId=v", &[]),
    (Operation::DeleteObjectTagging, "DELETE", "/bucket/key?tagging", &[]),
    (Operation::GetObjectLegalHold, "GET", "/bucket/key?legal-hold", &[]),
    (Operation::PutObjectLegalHold, "PUT", "/bucket/key?legal-hold", &[]),
    (Operation::GetObjectRetention, "GET", "/bucket/key?retention", &[]),
    (Operation::PutObjectRetention, "PUT", "/bucket/key?retention", &[]),
    (Operation::UpdateObjectEncryption, "PUT", "/bucket/key?encryption", &[]),
    (Operation::RestoreObject, "POST", "/bucket/key?restore&versionId=v", &[]),
    (Operation::GetObjectTorrent, "GET", "/bucket/key?torrent", &[]),
    (Operation::SelectObjectContent, "POST", "/bucket/key?select&select-type=2", &[]),
    (Operation::RenameObject, "PUT", "/bucket/key?renameObject", &[]),
    (Operation::GetObjectAnnotation, "GET", "/bucket/key?annotation&annotationName=n", &[]),
    (Operation::ListObjectAnnotations, "GET", "/bucket/key?annotation&annotation-prefix=p", &[]),
    (Operation::PutObjectAnnotation, "PUT", "/bucket/key?annotation&annotationName=n", &[]),
    (Operation::DeleteObjectAnnotation, "DELETE", "/bucket/key?annotation&annotationName=n", &[]),
    (Operation::CreateMultipartUpload, "POST", "/bucket/key?uploads", &[("x-amz-meta-a", "1")]),
    (Operation::UploadPart, "PUT", "/bucket/key?partNumber=1&uploadId=u", &[]),
    (Operation::UploadPartCopy, "PUT", "/bucket/key?partNumber=1&uploadId=u", COPY),
    (Operation::ListParts, "GET", "/bucket/key?uploadId=u&max-parts=2&part-number-marker=1", &[]),
    (Operation::CompleteMultipartUpload, "POST", "/bucket/key?uploadId=u", &[("if-none-match", "*")]),
    (Operation::AbortMultipartUpload, "DELETE", "/bucket/key?uploadId=u", &[]),
    (Operation::OptionsBucket, "OPTIONS", "/bucket", &[]),
    // The query of a preflight is that of the request to follow.
    (Operation::OptionsObject, "OPTIONS", "/bucket/key?whatever=1&acl&tagging", &[]),
];

fn classified(
    method: &str,
    target: &str,
    headers: &[(&'static str, &'static str)],
) -> Result<Operation, ErrorCode> {
    let rules = HostRules {
        virtual_host_domains: Vec::new(),
        names: Vec::new(),
        selection: EndpointSelection::Configured,
    };
    let (path, raw_query) = target.split_once('?').unwrap_or((target, ""));
    let address = address(&rules, "localhost", path).unwrap();
    let query = Query::parse(Some(raw_query)).unwrap();
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    classify(&method, &address, &query, &map).map_err(|error| error.code)
}

#[test]
fn every_operation_is_told_by_its_request() {
    for (operation, method, target, headers) in REQUESTS {
        assert_eq!(
            classified(method, target, headers),
            Ok(*operation),
            "{method} {target}"
        );
    }
}

#[test]
fn the_requests_above_leave_no_operation_out() {
    let tested: BTreeSet<Operation> = REQUESTS.iter().map(|row| row.0).collect();
    let all: BTreeSet<Operation> = Operation::ALL.iter().copied().collect();
    assert_eq!(tested, all);
    assert_eq!(all.len(), Operation::ALL.len());
}

#[test]
fn a_presigned_request_is_the_same_operation() {
    let signature = "X-Amz-Algorithm=a&X-Amz-Credential=b&X-Amz-Date=c&X-Amz-Expires=1&X-Amz-SignedHeaders=host&X-Amz-Signature=d&X-Amz-Security-Token=e&X-Amz-Content-Sha256=f";
    for (operation, method, target, headers) in REQUESTS {
        let separator = if target.contains('?') { '&' } else { '?' };
        let presigned = format!("{target}{separator}{signature}&x-amz-acl=private");
        assert_eq!(
            classified(method, &presigned, headers),
            Ok(*operation),
            "{method} {target}"
        );
    }
}

#[test]
fn unknown_parameters_are_ignored_with_reads_of_objects_only() {
    for (operation, method, target, headers) in REQUESTS {
        if operation.kind() == Kind::Preflight {
            continue;
        }
        let separator = if target.contains('?') { '&' } else { '?' };
        let unknown = format!("{target}{separator}unheard-of=1");
        let reads_object = ["GET", "HEAD"].contains(method) && operation.level() == Level::Object;
        let expected = if reads_object {
            Ok(*operation)
        } else {
            Err(ErrorCode::NotImplemented)
        };
        assert_eq!(classified(method, &unknown, headers), expected, "{unknown}");
        let both = format!("{target}{separator}acl&policy");
        assert_eq!(
            classified(method, &both, headers),
            Err(ErrorCode::InvalidArgument),
            "{both}"
        );
    }
}

#[test]
fn requests_off_the_list_are_refused() {
    #[rustfmt::skip]
    let table: &[(&str, &str, Headers, ErrorCode)] = &[
        ("GET", "/bucket?unheard-of", &[], ErrorCode::NotImplemented),
        ("GET", "/bucket?uploads&encoding-type=x", &[], ErrorCode::InvalidArgument),
        ("GET", "/bucket?encoding-type=URL", &[], ErrorCode::InvalidArgument),
        ("GET", "/bucket?versions&encoding-type=", &[], ErrorCode::InvalidArgument),
        ("GET", "/bucket?list-type=2&fetch-owner=perhaps", &[], ErrorCode::InvalidArgument),
        ("GET", "/bucket?max-keys=blah", &[], ErrorCode::InvalidArgument),
        ("GET", "/bucket?max-keys=-1", &[], ErrorCode::InvalidArgument),
        ("GET", "/bucket?list-type=2&max-keys=2147483648", &[], ErrorCode::InvalidArgument),
        ("GET", "/bucket?uploads&max-uploads=%2B1", &[], ErrorCode::InvalidArgument),
        ("GET", "/?max-buckets=1e3", &[], ErrorCode::InvalidArgument),
        ("GET", "/bucket/key?policy", &[], ErrorCode::NotImplemented),
        ("GET", "/bucket/key?uploads", &[], ErrorCode::MethodNotAllowed),
        ("GET", "/?acl", &[], ErrorCode::NotImplemented),
        ("GET", "/bucket?prefix=a&ACL", &[], ErrorCode::NotImplemented),
        ("PUT", "/bucket/key?ACL", &[], ErrorCode::NotImplemented),
        ("GET", "/bucket?versionId=v", &[], ErrorCode::NotImplemented),
        ("DELETE", "/bucket/key?_=1", &[], ErrorCode::NotImplemented),
        ("PUT", "/bucket/key?versionId=v", &[], ErrorCode::NotImplemented),
        // `partNumber` in a write has no meaning without `uploadId`.
        ("PUT", "/bucket/key?partNumber=1", &[], ErrorCode::NotImplemented),
        ("PUT", "/bucket/key?append", &[], ErrorCode::NotImplemented),
        // A method override in the query is an unknown parameter.
        ("PUT", "/bucket/key?_method=DELETE", &[], ErrorCode::NotImplemented),
        ("PUT", "/bucket/key?uploadId=u", &[], ErrorCode::InvalidArgument),
        ("PUT", "/bucket/key?uploadId=&partNumber=1", &[], ErrorCode::InvalidArgument),
        ("GET", "/bucket/key?uploadId", &[], ErrorCode::InvalidArgument),
        ("GET", "/bucket?list-type=1", &[], ErrorCode::InvalidArgument),
        ("GET", "/bucket?prefix=a&prefix=b", &[], ErrorCode::InvalidArgument),
        ("GET", "/bucket/key?versionId=a&VersionId=b", &[], ErrorCode::InvalidArgument),
        ("GET", "/bucket?versions&uploads", &[], ErrorCode::InvalidArgument),
        ("PUT", "/bucket?analytics", &[], ErrorCode::InvalidArgument),
        ("PATCH", "/bucket/key", &[], ErrorCode::MethodNotAllowed),
        ("TRACE", "/bucket/key", &[], ErrorCode::MethodNotAllowed),
        ("POST", "/bucket/key", &[], ErrorCode::MethodNotAllowed),
        ("POST", "/", &[], ErrorCode::MethodNotAllowed),
        ("PUT", "/", &[], ErrorCode::MethodNotAllowed),
        ("OPTIONS", "/", &[], ErrorCode::MethodNotAllowed),
        ("POST", "/bucket", &[], ErrorCode::PreconditionFailed),
        ("POST", "/bucket", &[("content-type", "text/plain")], ErrorCode::PreconditionFailed),
        ("POST", "/bucket/key?uploads", COPY, ErrorCode::NotImplemented),
        ("POST", "/bucket/key", &[("x-http-method-override", "PUT")], ErrorCode::NotImplemented),
        ("GET", "/bucket/key", &[("x-method-override", "PUT")], ErrorCode::NotImplemented),
    ];
    for (method, target, headers, code) in table {
        assert_eq!(
            classified(method, target, headers),
            Err(*code),
            "{method} {target}"
        );
    }
}

#[test]
fn what_cannot_work_on_sealed_data_is_unsupported_and_nothing_else() {
    let unsupported: Vec<&str> = Operation::ALL
        .iter()
        .filter(|operation| operation.kind() == Kind::Unsupported)
        .map(|operation| operation.as_str())
        .collect();
    assert_eq!(
        unsupported,
        [
            "ListDirectoryBuckets",
            "CreateSession",
            "WriteGetObjectResponse",
            // A backend without this operation stores the body in place of the object, unsealed.
            "UpdateObjectEncryption",
            "GetObjectTorrent",
            "SelectObjectContent",
            "RenameObject",
            "GetObjectAnnotation",
            "ListObjectAnnotations",
            "PutObjectAnnotation",
            "DeleteObjectAnnotation",
        ]
    );
}

#[test]
fn only_forwarded_kinds_that_cannot_carry_object_data_go_on_unread() {
    for (operation, method, target, _) in REQUESTS {
        let name = operation.as_str();
        match operation.kind() {
            // These methods have no body that could carry object data.
            Kind::Forward => assert!(["GET", "HEAD", "DELETE"].contains(method), "{name}"),
            // Without the sub-resource, such a request would write an object.
            Kind::ForwardXml => assert!(target.contains('?') || name == "CreateBucket", "{name}"),
            _ => {}
        }
    }
}

#[test]
fn bucket_configuration_and_acls_are_for_administrators() {
    for operation in Operation::ALL {
        let name = operation.as_str();
        let configures = name.contains("Bucket")
            && ![
                "ListBuckets",
                "HeadBucket",
                "GetBucketLocation",
                "OptionsBucket",
            ]
            .contains(&name);
        if configures || name.contains("Acl") || name.contains("PublicAccessBlock") {
            assert_eq!(operation.access(), Access::Admin, "{name}");
        }
    }
}

#[test]
fn the_backend_gets_no_parameter_of_the_clients_signature() {
    let query = Query::parse(Some(
        "x-id=GetObject&versionId=v&X-Amz-Signature=s&x-amz-acl=a&response-expires=e",
    ))
    .unwrap();
    let forwarded: Vec<_> = forwarded_parameters(Operation::GetObject, &query).collect();
    assert_eq!(forwarded, [("versionId", "v"), ("response-expires", "e")]);
}
