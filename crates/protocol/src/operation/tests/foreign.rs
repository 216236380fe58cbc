//! Headers and parameters that an operation does not have.

use super::*;

/// Without the header, the request is of the operation.
fn with_header(row: &Request, header: &'static str) -> Result<Operation, ErrorCode> {
    let (_, method, target, headers) = row;
    let mut headers = headers.to_vec();
    headers.retain(|(name, _)| *name != header);
    headers.push((header, "1"));
    classified(method, target, &headers)
}

fn writes_data(operation: Operation) -> bool {
    matches!(
        operation.kind(),
        Kind::PutObject
            | Kind::PostObject
            | Kind::CopyObject
            | Kind::CreateMultipartUpload
            | Kind::UploadPart
            | Kind::UploadPartCopy
            | Kind::CompleteMultipartUpload
    )
}

#[test]
fn headers_that_no_operation_has_are_ignored_with_reads_and_refused_with_changes() {
    for row in REQUESTS {
        let (operation, method, target, _) = row;
        let unserved = matches!(operation.kind(), Kind::Unsupported | Kind::Preflight);
        let is_read = ["GET", "HEAD"].contains(method);
        for (header, is_condition) in [
            ("x-amz-foo", false),
            ("x-amz-write-offset-bytes", false),
            ("x-amz-rename-source", false),
            ("x-amz-if-unheard-of", true),
        ] {
            let expected = if unserved || is_read && !is_condition {
                Ok(*operation)
            } else {
                Err(ErrorCode::NotImplemented)
            };
            let found = with_header(row, header);
            assert_eq!(found, expected, "{method} {target} {header}");
        }
    }
}

#[test]
fn headers_of_other_operations_are_ignored_but_with_writes_of_data() {
    for row in REQUESTS {
        let (operation, method, target, _) = row;
        for header in [
            "x-amz-mfa",
            "x-amz-bucket-namespace",
            "x-amz-max-parts",
            "x-amz-object-attributes",
        ] {
            let expected = if writes_data(*operation) {
                Err(ErrorCode::NotImplemented)
            } else {
                Ok(*operation)
            };
            let found = with_header(row, header);
            assert_eq!(found, expected, "{method} {target} {header}");
        }
    }
}

/// AWS's own answer: `InvalidArgument`, "x-amz-server-side-encryption header is not supported for
/// this operation."
#[test]
fn encryption_is_not_chosen_where_an_object_is_read_or_continued() {
    for row in REQUESTS {
        let (operation, method, target, _) = row;
        for header in [
            "x-amz-server-side-encryption",
            "x-amz-server-side-encryption-aws-kms-key-id",
            "x-amz-server-side-encryption-bucket-key-enabled",
            "x-amz-server-side-encryption-context",
        ] {
            let expected = match operation.as_str() {
                "GetObject"
                | "HeadObject"
                | "GetObjectAttributes"
                | "UploadPart"
                | "UploadPartCopy"
                | "CompleteMultipartUpload" => Err(ErrorCode::InvalidArgument),
                _ => Ok(*operation),
            };
            let found = with_header(row, header);
            assert_eq!(found, expected, "{method} {target} {header}");
        }
    }
}

#[test]
fn tags_for_access_logs_are_ignored_everywhere_and_go_no_further() {
    for (operation, method, target, headers) in REQUESTS {
        if operation.kind() == Kind::Preflight {
            continue;
        }
        let separator = if target.contains('?') { '&' } else { '?' };
        let tagged = format!("{target}{separator}x-user=jane&X-Trace=1");
        assert_eq!(
            classified(method, &tagged, headers),
            Ok(*operation),
            "{tagged}"
        );
        let query = Query::parse(tagged.split_once('?').map(|(_, query)| query)).unwrap();
        let forwarded = forwarded_parameters(*operation, &query);
        let names: Vec<_> = forwarded.map(|(name, _)| name).collect();
        assert!(
            !names.contains(&"x-user") && !names.contains(&"X-Trace"),
            "{names:?}"
        );
    }
}

/// Parameters that clients are known to send, and the classification of each.
#[test]
fn parameters_of_known_clients_are_served_ignored_or_refused() {
    type Forwarded = Result<&'static [&'static str], ErrorCode>;
    const REFUSED: Forwarded = Err(ErrorCode::NotImplemented);
    type Row = (&'static str, &'static str, &'static str, Forwarded);
    #[rustfmt::skip]
    let table: &[Row] = &[
        // Who sends it; the names that go on to the backend.
        ("AWS SDKs", "GET", "/bucket/key?x-id=GetObject", Ok(&[])),
        ("AWS SDKs", "PUT", "/bucket/key?x-id=PutObject", Ok(&[])),
        ("AWS SDK for Java", "GET", "/bucket?list-type=2&encoding-type=url&fetch-owner=false", Ok(&["list-type", "encoding-type", "fetch-owner"])),
        ("minio-go, minio-py, mc", "GET", "/bucket?list-type=2&metadata=true&encoding-type=url&prefix=&delimiter=", Ok(&["list-type", "metadata", "encoding-type", "prefix", "delimiter"])),
        ("minio-go", "GET", "/bucket?versions=&metadata=true", Ok(&["versions", "metadata"])),
        ("mc", "GET", "/bucket?events=s3:ObjectCreated:*&ping=10", REFUSED),
        ("Ceph's clients", "GET", "/bucket?allow-unordered=true&max-keys=2", Ok(&["max-keys"])),
        ("Ceph's clients", "GET", "/bucket?list-type=2&allow-unordered=true", Ok(&["list-type"])),
        ("Ceph's clients", "HEAD", "/bucket?read-stats=true", Ok(&[])),
        // Another document than a list of buckets, an append, another format.
        ("Ceph's clients", "GET", "/?usage", REFUSED),
        ("Ceph's clients", "PUT", "/bucket/key?append&position=0", REFUSED),
        ("Ceph's clients", "GET", "/bucket?format=json", REFUSED),
        ("jQuery", "GET", "/bucket?list-type=2&_=1700000000000", Ok(&["list-type"])),
        ("browsers", "GET", "/bucket/key?_=1700000000000", Ok(&[])),
        ("browsers", "GET", "/bucket/key?v=1.2.3&nocache", Ok(&[])),
        ("browsers", "GET", "/bucket/key?download=1&versionId=v", Ok(&["versionId"])),
        ("browsers", "GET", "/bucket/font.eot?iefix", Ok(&[])),
        ("marketing links", "GET", "/bucket/key?utm_source=a&gclid=b", Ok(&[])),
        ("Alibaba's SDKs", "GET", "/bucket/key?x-oss-process=image/resize,w_100", Ok(&[])),
        ("presigned links with a tag", "PUT", "/bucket/key?x-customer=7", Ok(&[])),
        ("presigned links with a tag", "PUT", "/bucket/key?customer=7", REFUSED),
    ];
    for (client, method, target, expected) in table {
        let found = classified(method, target, &[]).map(|operation| {
            let query = Query::parse(target.split_once('?').map(|(_, query)| query)).unwrap();
            let forwarded = forwarded_parameters(operation, &query);
            forwarded
                .map(|(name, _)| name.to_owned())
                .collect::<Vec<_>>()
        });
        let expected = expected.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(found, expected, "{client}: {method} {target}");
    }
}
