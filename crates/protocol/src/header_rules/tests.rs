use super::*;

fn map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
    headers
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect()
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

/// Headers that must never reach a backend, for any operation.
const NEVER: &[(&str, &str)] = &[
    ("authorization", "AWS4-HMAC-SHA256 x"),
    ("connection", "keep-alive"),
    ("content-length", "1"),
    ("content-md5", "x"),
    ("expect", "100-continue"),
    ("forwarded", "for=x"),
    ("host", "client"),
    ("proxy-authorization", "x"),
    ("range", "bytes=0-1"),
    ("te", "trailers"),
    ("transfer-encoding", "chunked"),
    ("upgrade", "h2c"),
    ("user-agent", "x"),
    ("x-amz-checksum-algorithm", "CRC32"),
    ("x-amz-checksum-crc32", "x"),
    ("x-amz-checksum-mode", "ENABLED"),
    ("x-amz-checksum-sha512", "x"),
    ("x-amz-checksum-type", "FULL_OBJECT"),
    ("x-amz-checksum-xxhash3", "x"),
    ("x-amz-content-sha256", "x"),
    ("x-amz-date", "x"),
    ("x-amz-decoded-content-length", "1"),
    ("x-amz-mp-object-size", "1"),
    ("x-amz-sdk-checksum-algorithm", "CRC32"),
    ("x-amz-security-token", "x"),
    ("x-amz-trailer", "x"),
    ("x-amz-write-offset-bytes", "1"),
    ("x-forwarded-for", "x"),
    ("x-forwarded-host", "x"),
];

#[test]
fn what_ends_at_the_proxy_reaches_the_backend_with_no_operation() {
    let client = map(NEVER);
    for operation in Operation::ALL {
        let backend = backend_request_headers(*operation, &client);
        assert!(backend.is_empty(), "{operation:?}: {:?}", names(&backend));
    }
}

#[test]
fn a_write_takes_along_what_describes_the_object() {
    let client = map(&[
        ("cache-control", "no-store"),
        ("content-type", "text/plain"),
        ("if-none-match", "*"),
        ("x-amz-acl", "private"),
        ("x-amz-meta-a", "1"),
        ("x-amz-object-lock-mode", "GOVERNANCE"),
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-storage-class", "STANDARD_IA"),
        ("x-amz-tagging", "a=b"),
        ("x-unknown", "1"),
    ]);
    let backend = backend_request_headers(Operation::PutObject, &client);
    let expected: Vec<&str> = names(&client)
        .into_iter()
        .filter(|name| *name != "x-unknown")
        .collect();
    assert_eq!(names(&backend), expected);
    // A part has no metadata; it belongs to the upload.
    assert!(backend_request_headers(Operation::UploadPart, &client).is_empty());
}

#[test]
fn a_copy_takes_along_its_source_and_no_other_write_does() {
    let client = map(&[
        ("x-amz-copy-source", "b/k"),
        ("x-amz-copy-source-if-match", "e"),
        ("x-amz-metadata-directive", "REPLACE"),
    ]);
    for operation in Operation::ALL {
        let backend = backend_request_headers(*operation, &client);
        let expected: &[&str] = match operation.kind() {
            Kind::CopyObject => &[
                "x-amz-copy-source",
                "x-amz-copy-source-if-match",
                "x-amz-metadata-directive",
            ],
            Kind::UploadPartCopy => &["x-amz-copy-source", "x-amz-copy-source-if-match"],
            _ => &[],
        };
        assert_eq!(names(&backend), expected, "{operation:?}");
    }
}

#[test]
fn customers_keys_go_along_with_everything_that_touches_the_data() {
    let client = map(&[("x-amz-server-side-encryption-customer-key", "x")]);
    for operation in [
        Operation::PutObject,
        Operation::GetObject,
        Operation::HeadObject,
        Operation::GetObjectAttributes,
        Operation::CopyObject,
        Operation::CreateMultipartUpload,
        Operation::UploadPart,
        Operation::UploadPartCopy,
        Operation::CompleteMultipartUpload,
        Operation::ListParts,
    ] {
        assert_eq!(
            backend_request_headers(operation, &client).len(),
            1,
            "{operation:?}"
        );
    }
}

#[test]
fn aws_chunked_leaves_content_encoding_and_other_codings_stay() {
    for (codings, expected) in [
        (&["aws-chunked"][..], None),
        (&["AWS-Chunked, gzip"], Some("gzip")),
        (&["gzip,aws-chunked,br"], Some("gzip,br")),
        (&["aws-chunked", "gzip"], Some("gzip")),
        // Not touched, white space included, since there is nothing to remove.
        (&["gzip, br"], Some("gzip, br")),
        (&["", "aws-chunked"], None),
        (&[], None),
    ] {
        let mut headers = HeaderMap::new();
        for coding in codings {
            headers.append(CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        remove_aws_chunked(&mut headers);
        let found = headers
            .get(CONTENT_ENCODING)
            .map(|value| value.to_str().unwrap());
        assert_eq!(found, expected, "{codings:?}");
        assert!(headers.len() <= 1);
    }
}

#[test]
fn the_client_gets_nothing_about_stored_bytes_or_the_backends_insides() {
    let mut headers = map(&[
        ("alt-svc", "x"),
        ("connection", "x-internal, close"),
        ("date", "x"),
        ("keep-alive", "timeout=5"),
        ("server", "x"),
        ("set-cookie", "x"),
        ("transfer-encoding", "chunked"),
        ("x-amz-checksum-crc32", "x"),
        ("x-amz-checksum-type", "FULL_OBJECT"),
        ("x-internal", "x"),
        ("content-security-policy", "default-src 'none'"),
        ("location", "http://evil.example/"),
        ("refresh", "0;url=http://evil.example/"),
        ("seaweed-x-amz-owner", "main"),
        ("www-authenticate", "Basic"),
        ("x-accel-redirect", "/internal"),
        ("x-amz-object-size", "1"),
        ("x-amz-unknown", "x"),
        ("x-sendfile", "/etc/passwd"),
        ("access-control-allow-origin", "*"),
        ("content-type", "text/plain"),
        ("etag", "\"e\""),
        ("last-modified", "x"),
        ("x-amz-id-2", "x"),
        ("x-amz-meta-a", "1"),
        ("x-amz-request-id", "x"),
        ("x-amz-version-id", "v"),
    ]);
    retain_client_response_headers(&mut headers);
    assert_eq!(
        names(&headers),
        [
            "access-control-allow-origin",
            "content-type",
            "etag",
            "last-modified",
            "x-amz-meta-a",
            "x-amz-version-id",
        ]
    );
}

#[test]
fn a_header_that_connection_names_is_not_for_the_client() {
    let mut headers = map(&[
        ("connection", "etag, x-amz-meta-a"),
        ("etag", "\"e\""),
        ("x-amz-meta-a", "1"),
    ]);
    retain_client_response_headers(&mut headers);
    assert!(headers.is_empty(), "{headers:?}");
}

#[test]
fn empty_optional_headers_go_and_conditions_and_metadata_stay() {
    let gone = [
        "x-amz-tagging",
        "x-amz-acl",
        "x-amz-storage-class",
        "x-amz-server-side-encryption",
        "x-amz-object-lock-mode",
        "x-amz-tagging-directive",
        "x-amz-website-redirect-location",
        "cache-control",
        "content-encoding",
    ];
    let kept = [
        "if-match",
        "if-none-match",
        "x-amz-copy-source",
        "x-amz-copy-source-if-match",
        "x-amz-expected-bucket-owner",
        "x-amz-mfa",
        "x-amz-meta-empty",
    ];
    let mut headers = HeaderMap::new();
    for name in gone.iter().chain(&kept) {
        headers.insert(*name, HeaderValue::from_static(" "));
    }
    headers.insert("content-type", HeaderValue::from_static("text/plain"));
    remove_empty(&mut headers);
    assert_eq!(headers.len(), kept.len() + 1);
    for name in kept {
        assert!(headers.contains_key(name), "{name}");
    }
}
