use http::HeaderValue;
use http::header::RANGE;
use s3proxy_protocol::headers::{COPY_SOURCE, COPY_SOURCE_RANGE};
use s3proxy_protocol::range::ByteRange;

use super::*;

fn unparsed(operation: Operation, query: &str, headers: &HeaderMap) -> UnparsedRequest {
    let query = Query::parse(Some(query)).unwrap();
    UnparsedRequest::new(operation, query, headers).unwrap()
}

fn parse_with(
    operation: Operation,
    query: &str,
    headers: &HeaderMap,
) -> Result<S3Request, ErrorCode> {
    let parsed = unparsed(operation, query, headers).parse(headers);
    parsed
        .map(|parsed| parsed.request)
        .map_err(|error| error.code)
}

fn parse(operation: Operation, query: &str) -> Result<S3Request, ErrorCode> {
    parse_with(operation, query, &copy_headers())
}

/// Headers of a copy, which other operations ignore.
fn copy_headers() -> HeaderMap {
    let source = HeaderValue::from_static("source/key?versionId=v");
    HeaderMap::from_iter([(COPY_SOURCE, source)])
}

fn upload_id() -> UploadId {
    UploadId::new("u").unwrap()
}

fn number(number: u16) -> PartNumber {
    PartNumber::new(number).unwrap()
}

fn read(version: Option<&str>, portion: RequestedPortion) -> ObjectRead {
    ObjectRead {
        version: version.and_then(VersionId::new),
        portion,
    }
}

fn start(key: Option<&str>, detail: Option<&str>) -> PageStart {
    PageStart {
        key: key.map(str::to_owned),
        detail: detail.map(str::to_owned),
    }
}

#[test]
fn parameters_become_typed_values() {
    use RequestedPortion::{Part, Whole};
    let list = |paging, start, metadata| {
        S3Request::ListObjects(ListObjects {
            paging,
            start,
            metadata,
        })
    };
    let list_parts = |after, max_parts| {
        S3Request::Upload(UploadRequest::ListParts(ListParts {
            upload_id: upload_id(),
            page: RequestedPage { after, max_parts },
        }))
    };
    let part = |at| {
        S3Request::Upload(UploadRequest::UploadPart(UploadPart {
            upload_id: upload_id(),
            number: number(at),
        }))
    };
    for (operation, query, expected) in [
        (
            Operation::GetObject,
            "versionId=v&partNumber=2&response-expires=e",
            S3Request::GetObject(read(Some("v"), Part(number(2)))),
        ),
        (
            Operation::HeadObject,
            "versionId=",
            S3Request::HeadObject(read(None, Whole)),
        ),
        (
            Operation::GetObjectAttributes,
            "attributes&versionId=v",
            S3Request::GetObjectAttributes(VersionId::new("v")),
        ),
        (
            Operation::DeleteObject,
            "versionId=null",
            S3Request::DeleteObject(VersionId::new("null")),
        ),
        (
            Operation::ListObjects,
            "marker=&metadata=true",
            list(Paging::Marker, start(Some(""), None), true),
        ),
        (
            Operation::ListObjectsV2,
            "list-type=2&start-after=a&continuation-token=t&metadata=True",
            list(Paging::Token, start(Some("a"), Some("t")), false),
        ),
        (
            Operation::ListObjectVersions,
            "versions&key-marker=k&version-id-marker=v",
            list(Paging::Versions, start(Some("k"), Some("v")), false),
        ),
        (
            Operation::ListMultipartUploads,
            "uploads&upload-id-marker=u",
            S3Request::Upload(UploadRequest::List(start(None, Some("u")))),
        ),
        (
            Operation::UploadPart,
            "partNumber=10000&uploadId=u",
            part(10_000),
        ),
        (Operation::UploadPart, "partNumber=01&uploadId=u", part(1)),
        (Operation::ListParts, "uploadId=u", list_parts(0, 1000)),
        (
            Operation::ListParts,
            "uploadId=u&max-parts=&part-number-marker=20000",
            list_parts(20_000, 1000),
        ),
        (
            Operation::ListParts,
            "uploadId=u&max-parts=2147483647",
            list_parts(0, 1000),
        ),
        (
            Operation::CompleteMultipartUpload,
            "uploadId=u",
            S3Request::Upload(UploadRequest::Complete(upload_id())),
        ),
        (
            Operation::AbortMultipartUpload,
            "uploadId=u",
            S3Request::Upload(UploadRequest::Abort(upload_id())),
        ),
    ] {
        assert_eq!(parse(operation, query), Ok(expected), "{query}");
    }
}

#[test]
fn copies_name_their_source_and_its_range() {
    let source = CopySource::parse("source/key?versionId=v").unwrap();
    let copy = parse(Operation::CopyObject, "");
    assert_eq!(copy, Ok(S3Request::CopyObject(source.clone())));

    let mut headers = copy_headers();
    headers.insert(COPY_SOURCE_RANGE, HeaderValue::from_static("bytes=1-2"));
    let part = parse_with(
        Operation::UploadPartCopy,
        "partNumber=3&uploadId=u",
        &headers,
    );
    let expected = S3Request::Upload(UploadRequest::UploadPartCopy(UploadPartCopy {
        upload_id: upload_id(),
        number: number(3),
        source,
        range: Some(CopyRange { first: 1, last: 2 }),
    }));
    assert_eq!(part, Ok(expected));

    headers.insert(COPY_SOURCE_RANGE, HeaderValue::from_static("bytes=2-1"));
    let refused = parse_with(
        Operation::UploadPartCopy,
        "partNumber=3&uploadId=u",
        &headers,
    );
    assert_eq!(refused, Err(ErrorCode::InvalidArgument));
}

#[test]
fn a_copy_without_a_source_is_refused_before_its_parameters_are_parsed() {
    for operation in [Operation::CopyObject, Operation::UploadPartCopy] {
        let made = UnparsedRequest::new(operation, Query::default(), &HeaderMap::new());
        assert_eq!(made.err().unwrap().code, ErrorCode::InvalidArgument);
    }
}

#[test]
fn malformed_parameters_are_refused() {
    for text in ["", "0", "-1", "10001", "1.0", "x", " 1"] {
        let number = format!("partNumber={text}&uploadId=u");
        for operation in [
            Operation::GetObject,
            Operation::HeadObject,
            Operation::UploadPart,
            Operation::UploadPartCopy,
        ] {
            let refused = parse(operation, &number);
            assert_eq!(refused, Err(ErrorCode::InvalidArgument), "{number}");
        }
    }
    for text in ["-1", "2147483648", "many", " 1"] {
        for name in ["max-parts", "part-number-marker"] {
            let query = format!("uploadId=u&{name}={text}");
            let refused = parse(Operation::ListParts, &query);
            assert_eq!(refused, Err(ErrorCode::InvalidArgument), "{query}");
        }
    }
    let without_version = parse(Operation::DeleteObject, "versionId");
    assert_eq!(without_version, Err(ErrorCode::InvalidArgument));
    let without_upload = parse(Operation::AbortMultipartUpload, "uploadId=");
    assert_eq!(without_upload, Err(ErrorCode::NoSuchUpload));
}

#[test]
fn a_range_excludes_a_part_number() {
    let with_range = |range: &'static str, query| {
        let headers = HeaderMap::from_iter([(RANGE, HeaderValue::from_static(range))]);
        parse_with(Operation::GetObject, query, &headers)
    };
    let range = RequestedPortion::Range(ByteRange::First {
        first: 1,
        last: Some(2),
    });
    let expected = S3Request::GetObject(read(None, range));
    assert_eq!(with_range("bytes=1-2", ""), Ok(expected));
    for ignored in ["bytes=1-2,4-5", "lines=1-2"] {
        let whole = S3Request::GetObject(read(None, RequestedPortion::Whole));
        assert_eq!(with_range(ignored, ""), Ok(whole), "{ignored}");
    }
    // Reported first, even if the number is malformed too.
    for query in ["partNumber=1", "partNumber=x"] {
        let refused = with_range("bytes=1-2", query);
        assert_eq!(refused, Err(ErrorCode::InvalidRequest), "{query}");
    }
}

#[test]
fn only_the_operations_own_parameters_are_forwarded() {
    let query = "acl&versionId=&X-Amz-Signature=s&x-id=GetObjectAcl";
    let headers = HeaderMap::new();
    let parsed = unparsed(Operation::GetObjectAcl, query, &headers).parse(&headers);
    let forwarded = parsed.unwrap().forwarded;
    assert_eq!(
        forwarded,
        [("acl".to_owned(), None), ("versionId".to_owned(), None)]
    );
}

/// Parameters whose meaning is the backend's alone: they select, filter or format its response.
const EVALUATED_BY_BACKEND: &[&str] = &[
    "bucket-region",
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "id",
    "max-buckets",
    "max-keys",
    "max-uploads",
    "prefix",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
];

#[test]
fn every_parameter_of_the_table_is_parsed_or_left_to_the_backend() {
    for operation in Operation::ALL.iter().copied() {
        let (sub_resource, name) = (operation.sub_resource(), operation.as_str());
        // Valid for every parameter that is parsed.
        let required = match sub_resource {
            "uploadId" => "uploadId=u&partNumber=7",
            other => other,
        };
        let parsed = parse(operation, required);
        if operation.kind() == Kind::Unsupported {
            assert_eq!(parsed, Err(ErrorCode::NotImplemented), "{name}");
            continue;
        }
        let without = parsed.unwrap();
        let is_forwarded = without == S3Request::Forward;
        for parameter in operation.parameters() {
            let value = if *parameter == "metadata" {
                "true"
            } else {
                "8"
            };
            let query = format!("{parameter}={value}&{required}");
            let is_parsed = parse(operation, &query).unwrap() != without;
            let is_known = EVALUATED_BY_BACKEND.contains(parameter) || is_forwarded;
            assert!(is_parsed || is_known, "{name} {parameter}");
        }
    }
}

#[test]
fn operations_on_object_data_are_never_forwarded_unread() {
    for operation in Operation::ALL.iter().copied() {
        let query = match operation.sub_resource() {
            "uploadId" => "uploadId=u&partNumber=7",
            other => other,
        };
        let is_forwarded = parse(operation, query) == Ok(S3Request::Forward);
        let expected = matches!(
            operation.kind(),
            Kind::Forward | Kind::ForwardXml | Kind::RestoreObject
        );
        assert_eq!(is_forwarded, expected, "{}", operation.as_str());
    }
}
