//! Requests that must be refused, and the S3 error for each.

use http::Method;
use time::Duration;

use super::examples::{self, NOW};
use super::{Authentication, Request, SecretAccessKey, SigV4Error, parse};
use crate::error::ErrorCode;

fn code(request: &Request) -> Option<ErrorCode> {
    request.verify(NOW).err().map(|error| error.s3_error().code)
}

/// Calls `check` with every variant of `text` in which one byte is changed.
fn each_byte_changed(text: &str, mut check: impl FnMut(String)) {
    for index in 0..text.len() {
        let mut changed = text.as_bytes().to_vec();
        // Always another letter: a change of case alone may have no effect.
        changed[index] = match changed[index] {
            b'x' | b'X' => b'y',
            _ => b'x',
        };
        check(String::from_utf8(changed).unwrap());
    }
}

#[test]
fn any_changed_byte_of_path_and_query_is_refused() {
    for (name, request) in examples::all() {
        each_byte_changed(&request.path, |path| {
            let changed = Request {
                path,
                ..request.clone()
            };
            assert!(changed.verify(NOW).is_err(), "{name}: {}", changed.path);
        });
        let Some(query) = &request.query else {
            continue;
        };
        each_byte_changed(query, |query| {
            let changed = Request {
                query: Some(query.clone()),
                ..request.clone()
            };
            // With one name changed, the query may contain no authentication at all.
            let refused = match parse(Some(&query), &changed.headers) {
                Ok(Authentication::Anonymous) => true,
                Ok(Authentication::Signed(_)) | Err(_) => changed.verify(NOW).is_err(),
            };
            assert!(refused, "{name}: {query}");
        });
    }
}

#[test]
fn any_changed_byte_of_a_signed_header_or_the_authorization_is_refused() {
    for (name, request) in examples::all() {
        for (header, value) in &request.headers {
            each_byte_changed(value.to_str().unwrap(), |value| {
                let mut changed = request.clone();
                changed.headers.insert(header, value.parse().unwrap());
                assert!(changed.verify(NOW).is_err(), "{name}: {header}: {value}");
            });
        }
    }
}

#[test]
fn another_method_a_missing_or_an_added_header_and_query_are_refused() {
    for (name, request) in examples::all() {
        let mut changed = request.clone();
        changed.method = Method::DELETE;
        assert!(changed.verify(NOW).is_err(), "{name}");
        for header in request
            .headers
            .keys()
            .filter(|&header| header != "authorization")
        {
            let mut changed = request.clone();
            changed.headers.remove(header);
            assert!(changed.verify(NOW).is_err(), "{name}: {header}");
        }
        // An added `x-amz-*` header is not signed.
        let mut changed = request.clone();
        changed.append("x-amz-acl", "public-read");
        assert_eq!(code(&changed), Some(ErrorCode::AccessDenied), "{name}");
        let mut changed = request.clone();
        let query = request.query.as_deref().unwrap_or_default();
        changed.query = Some(format!("{query}&versionId=1"));
        assert_eq!(
            code(&changed),
            Some(ErrorCode::SignatureDoesNotMatch),
            "{name}"
        );
    }
}

#[test]
fn another_secret_is_refused_and_the_host_seen_is_named() {
    let request = examples::get_object();
    let error = request
        .parse()
        .unwrap()
        .verify(
            &SecretAccessKey::new("another".to_owned()),
            &request.method,
            &request.path,
            None,
            &request.headers,
            NOW,
        )
        .err()
        .unwrap();
    let answer = error.s3_error();
    assert_eq!(answer.code, ErrorCode::SignatureDoesNotMatch);
    assert!(answer.message.contains("'examplebucket.s3.amazonaws.com'"));
    assert!(!answer.message.contains("f0e8bdb8"), "{}", answer.message);
}

#[test]
fn clocks_further_apart_than_fifteen_minutes_are_refused() {
    let late = Duration::minutes(15) + Duration::SECOND;
    for (now, ahead) in [(NOW + late, -901), (NOW - late, 901)] {
        assert_eq!(
            examples::get_object().verify(now).err(),
            Some(SigV4Error::TooSkewed { ahead })
        );
    }
    for (ahead, told) in [
        (901, "15 minutes ahead of"),
        (-3 * 3600, "3 hours behind"),
        // The extreme value must not overflow while the message is formatted.
        (i64::MIN, " days behind"),
    ] {
        let message = SigV4Error::TooSkewed { ahead }.to_string();
        assert!(message.contains(told), "{message}");
    }
    let presigned = examples::presigned();
    assert_eq!(
        presigned.verify(NOW - late).err(),
        Some(SigV4Error::NotYetValid)
    );
    let expired = presigned
        .verify(NOW + Duration::DAY + Duration::SECOND)
        .err();
    assert_eq!(expired, Some(SigV4Error::Expired));
    assert_eq!(SigV4Error::Expired.s3_error().code, ErrorCode::AccessDenied);
}

#[test]
fn malformed_authorization_headers_are_refused_by_name() {
    const CREDENTIAL: &str = "Credential=A/20130524/us-east-1/s3/aws4_request";
    let signature = format!("Signature={}", "0".repeat(64));
    for (value, expected) in [
        ("AWS A:c2ln".to_owned(), ErrorCode::NotImplemented),
        (
            "AWS4-ECDSA-P256-SHA256 Credential=A".to_owned(),
            ErrorCode::NotImplemented,
        ),
        ("Basic QTpi".to_owned(), ErrorCode::InvalidArgument),
        (
            "AWS4-HMAC-SHA256".to_owned(),
            ErrorCode::AuthorizationHeaderMalformed,
        ),
        (
            format!("AWS4-HMAC-SHA256 {CREDENTIAL}, SignedHeaders=host"),
            ErrorCode::AuthorizationHeaderMalformed,
        ),
        (
            format!("AWS4-HMAC-SHA256 {CREDENTIAL}, SignedHeaders=host, {signature}, {signature}"),
            ErrorCode::AuthorizationHeaderMalformed,
        ),
        (
            format!("AWS4-HMAC-SHA256 {CREDENTIAL}, SignedHeaders=host;host, {signature}"),
            ErrorCode::AuthorizationHeaderMalformed,
        ),
        (
            format!("AWS4-HMAC-SHA256 {CREDENTIAL}, SignedHeaders=Host, {signature}"),
            ErrorCode::AuthorizationHeaderMalformed,
        ),
        (
            format!(
                "AWS4-HMAC-SHA256 {}, SignedHeaders=host, {signature}",
                CREDENTIAL.replace("0524", "0525")
            ),
            ErrorCode::AuthorizationHeaderMalformed,
        ),
        (
            format!(
                "AWS4-HMAC-SHA256 {CREDENTIAL}, SignedHeaders=x-amz-content-sha256;x-amz-date, \
                 {signature}"
            ),
            ErrorCode::AccessDenied,
        ),
    ] {
        let mut request = examples::get_lifecycle();
        request.set("authorization", &value);
        assert_eq!(code(&request), Some(expected), "{value}");
    }
}

#[test]
fn headers_that_belong_to_a_signature_are_required_once() {
    let mut request = examples::get_object();
    request.headers.remove("x-amz-content-sha256");
    assert_eq!(
        request.verify(NOW).err(),
        Some(SigV4Error::MissingContentSha256)
    );
    let mut request = examples::get_object();
    request.headers.remove("x-amz-date");
    assert_eq!(request.verify(NOW).err(), Some(SigV4Error::MissingDate));
    for (header, expected) in [
        ("authorization", ErrorCode::AuthorizationHeaderMalformed),
        ("x-amz-content-sha256", ErrorCode::InvalidArgument),
        ("x-amz-date", ErrorCode::AccessDenied),
    ] {
        let mut request = examples::get_object();
        let value = request.headers[header].to_str().unwrap().to_owned();
        request.append(header, &value);
        assert_eq!(code(&request), Some(expected), "{header}");
    }
}

#[test]
fn malformed_presigned_requests_are_refused_by_name() {
    let good = examples::presigned().query.unwrap();
    for parameter in good.split('&') {
        // Each parameter missing, repeated, and repeated in another case.
        for query in [
            good.replace(parameter, ""),
            format!("{good}&{parameter}"),
            format!("{good}&{}", parameter.to_lowercase()),
        ] {
            let mut request = examples::presigned();
            request.query = Some(query.clone());
            let expected = Some(ErrorCode::AuthorizationQueryParametersError);
            assert_eq!(code(&request), expected, "{query}");
        }
    }
    for (from, to, expected) in [
        (
            "=86400",
            "=604801",
            ErrorCode::AuthorizationQueryParametersError,
        ),
        (
            "=86400",
            "=-1",
            ErrorCode::AuthorizationQueryParametersError,
        ),
        ("=86400", "=", ErrorCode::AuthorizationQueryParametersError),
        // An allowed value, but not the one that was signed.
        ("=86400", "=604800", ErrorCode::SignatureDoesNotMatch),
        (
            "%2Fs3%2F",
            "%2Fsts%2F",
            ErrorCode::AuthorizationQueryParametersError,
        ),
        (
            "HMAC-SHA256",
            "ECDSA-P256-SHA256",
            ErrorCode::NotImplemented,
        ),
        ("=host", "=date", ErrorCode::AccessDenied),
        ("/test", "/%zz", ErrorCode::InvalidURI),
    ] {
        let mut request = examples::presigned();
        request.query = Some(good.replace(from, to));
        request.path = request.path.replace(from, to);
        assert_eq!(code(&request), Some(expected), "{from} -> {to}");
    }
}

#[test]
fn two_ways_to_authenticate_in_one_request_are_refused() {
    let mut request = examples::get_object();
    request.query = examples::presigned().query;
    assert_eq!(request.parse().err(), Some(SigV4Error::SeveralMechanisms));
    request.query = Some("AWSAccessKeyId=A&Signature=s&Expires=1".to_owned());
    assert_eq!(request.parse().err(), Some(SigV4Error::SeveralMechanisms));
    request.headers.remove("authorization");
    assert_eq!(code(&request), Some(ErrorCode::NotImplemented));
}

#[test]
fn a_request_without_any_authentication_is_anonymous() {
    let mut request = examples::get_object();
    request.headers.remove("authorization");
    // `Signature` alone is an ordinary parameter.
    for query in [None, Some("list-type=2&Signature=part-of-a-name")] {
        let authentication = parse(query, &request.headers).unwrap();
        assert!(matches!(authentication, Authentication::Anonymous));
    }
}

#[test]
fn two_statements_about_a_presigned_body_are_refused() {
    let mut request = examples::presigned();
    request.append("x-amz-content-sha256", &"0".repeat(64));
    let query = request.query.take().unwrap();
    request.query = Some(format!("{query}&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD"));
    assert_eq!(
        request.parse().err(),
        Some(SigV4Error::InvalidContentSha256)
    );
}
