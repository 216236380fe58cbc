//! AWS's published examples, the spellings of clients, and requests that must be refused.

use std::collections::HashMap;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use time::macros::datetime;

use super::*;
use crate::error::ErrorCode;

const ACCESS_KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const NOW: OffsetDateTime = datetime!(2007-03-27 19:36:42 UTC);
const DATE: &str = "Tue, 27 Mar 2007 19:36:42 +0000";

struct Request {
    method: Method,
    target: String,
    headers: HeaderMap,
    bucket: Option<BucketName>,
}

impl Request {
    fn new(method: &str, target: &str, headers: &[(&str, &str)]) -> Self {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::try_from(*name).unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        Self {
            method: Method::try_from(method).unwrap(),
            target: target.to_owned(),
            headers: map,
            bucket: None,
        }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers
            .insert(name, HeaderValue::from_str(value).unwrap());
        self
    }

    fn under(mut self, bucket: &str) -> Self {
        self.bucket = Some(BucketName::new(bucket).unwrap());
        self
    }

    fn verify(&self, now: OffsetDateTime) -> Result<PayloadMode, SigV2Error> {
        let (path, query) = match self.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.target.as_str(), None),
        };
        let signed = parse(query, &self.headers)?.expect("the request is signed");
        assert_eq!(signed.access_key_id(), ACCESS_KEY_ID);
        let parts = RequestParts {
            method: &self.method,
            raw_path: path,
            raw_query: query,
            headers: &self.headers,
            bucket_in_host: self.bucket.as_ref(),
        };
        signed.verify(&SecretAccessKey::new(SECRET.to_owned()), parts, now)
    }

    fn code(&self) -> Option<ErrorCode> {
        self.verify(NOW).err().map(|error| error.s3_error().code)
    }
}

/// The signature that a client computes for a text.
fn signature(string_to_sign: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET.as_bytes());
    STANDARD.encode(hmac::sign(&key, string_to_sign.as_bytes()))
}

fn authorization(signature: &str) -> String {
    format!("AWS {ACCESS_KEY_ID}:{signature}")
}

/// A request whose client signed this text.
fn signed(string_to_sign: &str, method: &str, target: &str, headers: &[(&str, &str)]) -> Request {
    Request::new(method, target, headers)
        .with("authorization", &authorization(&signature(string_to_sign)))
}

/// A GET at [`DATE`] whose client signed this resource.
fn get(resource: &str, target: &str) -> Request {
    let text = format!("GET\n\n\n{DATE}\n{resource}");
    signed(&text, "GET", target, &[("date", DATE)])
}

fn presigned(expires: &str, signature: &str, rest: &str) -> Request {
    let signature = signature.replace('+', "%2B");
    let query = format!("AWSAccessKeyId={ACCESS_KEY_ID}&Signature={signature}&Expires={expires}");
    Request::new("GET", &format!("/photos/puppy.jpg?{query}{rest}"), &[]).under("johnsmith")
}

#[test]
fn the_published_examples_verify() {
    let unicode = "/dictionary/fran%C3%A7ais/pr%c3%a9f%c3%a8re";
    let upload = [
        ("content-md5", "4gJE4saaMU4BqNR0kLY+lw=="),
        ("content-type", "application/x-download"),
        ("x-amz-acl", "public-read"),
        ("x-amz-meta-reviewedby", "joe@johnsmith.net"),
        ("x-amz-meta-reviewedby", "jane@johnsmith.net"),
        ("x-amz-meta-filechecksum", "0x02661779"),
        ("x-amz-meta-checksumalgorithm", "crc32"),
    ];
    let puppy = "/photos/puppy.jpg";
    let image = [("content-type", "image/jpeg")];
    for (method, bucket, target, headers, date, signature) in [
        (
            "GET",
            "johnsmith",
            puppy,
            &[][..],
            "Tue, 27 Mar 2007 19:36:42 +0000",
            "bWq2s1WEIj+Ydj0vQ697zp+IXMU=",
        ),
        (
            "PUT",
            "johnsmith",
            puppy,
            &image,
            "Tue, 27 Mar 2007 21:15:45 +0000",
            "MyyxeRY7whkBe+bq8fHCL/2kKUg=",
        ),
        (
            "GET",
            "johnsmith",
            "/?prefix=photos&max-keys=50&marker=puppy",
            &[],
            "Tue, 27 Mar 2007 19:42:41 +0000",
            "htDYFYduRNen8P9ZfE/s9SuKy0U=",
        ),
        (
            "GET",
            "johnsmith",
            "/?acl",
            &[],
            "Tue, 27 Mar 2007 19:44:46 +0000",
            "c2WLPFtWHVgbEmeEG93a4cG37dM=",
        ),
        (
            "DELETE",
            "",
            "/johnsmith/photos/puppy.jpg",
            &[],
            "Tue, 27 Mar 2007 21:20:26 +0000",
            "lx3byBScXR6KzyMaifNkardMwNk=",
        ),
        (
            "PUT",
            "static.johnsmith.net",
            "/db-backup.dat.gz",
            &upload,
            "Tue, 27 Mar 2007 21:06:08 +0000",
            "ilyl83RwaSoYIEdixDQcA4OnAnc=",
        ),
        (
            "GET",
            "",
            "/",
            &[],
            "Wed, 28 Mar 2007 01:29:59 +0000",
            "qGdzdERIC03wnaRNKh6OqZehG9s=",
        ),
        (
            "GET",
            "",
            unicode,
            &[],
            "Wed, 28 Mar 2007 01:49:49 +0000",
            "DNEZGsoieTZ92F3bUfSPQcbGmlM=",
        ),
    ] {
        let mut request = Request::new(method, target, headers)
            .with("date", date)
            .with("authorization", &authorization(signature));
        if !bucket.is_empty() {
            request = request.under(bucket);
        }
        let now = Timestamp::from_date_header(date).unwrap().instant();
        assert_eq!(
            request.verify(now),
            Ok(PayloadMode::Unsigned),
            "{method} {target}"
        );
        let other = Request {
            method: Method::HEAD,
            ..request
        };
        assert!(other.verify(now).is_err(), "{method} {target}");
    }
    let query = presigned("1175139620", "NpgCjnDzrM+WFzoENXmpNDUsSn8=", "");
    assert_eq!(query.verify(NOW), Ok(PayloadMode::Unsigned));
}

#[test]
fn path_style_and_virtual_hosts_sign_the_same_resource() {
    let in_path = get("/bucket/key", "/bucket/key");
    assert_eq!(in_path.code(), None);
    let in_host = get("/bucket/key", "/key").under("bucket");
    assert_eq!(in_host.code(), None);
    let elsewhere = get("/bucket/key", "/key").under("other");
    assert_eq!(elsewhere.code(), Some(ErrorCode::SignatureDoesNotMatch));
}

#[test]
fn a_resource_may_be_spelt_as_sent_or_as_s3_would_spell_it() {
    for (resource, target) in [
        ("/b/a%20b%28c%29", "/b/a%20b(c)"),
        ("/b/a%20b(c)", "/b/a%20b(c)"),
        ("/b/", "/b"),
        ("/b", "/b"),
        ("/b/?acl", "/b?acl="),
        ("/b/?acl=", "/b?acl="),
        (
            "/b/k?partNumber=1&uploadId=a/b",
            "/b/k?uploadId=a%2Fb&partNumber=1",
        ),
        (
            "/b/k?response-content-type=text/plain; charset=utf-8",
            "/b/k?response-content-type=text%2Fplain%3B%20charset%3Dutf-8&x-id=GetObject",
        ),
        ("/b/?encryption", "/b?encryption"),
        ("/b/k?retention&versionId=1", "/b/k?versionId=1&retention"),
    ] {
        assert_eq!(get(resource, target).code(), None, "{resource} {target}");
    }
}

#[test]
fn parameters_outside_the_signature_are_refused_unless_they_narrow_a_listing() {
    for added in [
        "prefix=a/",
        "list-type=2&start-after=x",
        "max-keys=1",
        "x-id=ListObjects",
        "any=1",
    ] {
        assert_eq!(get("/b/", &format!("/b?{added}")).code(), None, "{added}");
    }
    for added in [
        "acl",
        "versionId=1",
        "response-expires=0",
        "uploadId=1&partNumber=1",
        "delete",
    ] {
        let code = get("/b/k", &format!("/b/k?{added}")).code();
        assert_eq!(code, Some(ErrorCode::SignatureDoesNotMatch), "{added}");
    }
    for (resource, added) in [
        ("/b/", "encryption"),
        ("/b/", "object-lock"),
        ("/b/?analytics", "analytics&id=1"),
    ] {
        let error = get(resource, &format!("/b/?{added}"))
            .verify(NOW)
            .unwrap_err();
        assert!(matches!(error, SigV2Error::Uncovered(_)), "{added}");
        assert_eq!(error.s3_error().code, ErrorCode::AccessDenied);
    }
}

#[test]
fn headers_of_amazon_are_signed_wherever_they_stand() {
    let text = format!("GET\n\n\n{DATE}\nx-amz-meta-a:1,2\nx-amz-security-token:t\n/b/k");
    let headers = [
        ("date", DATE),
        ("x-amz-security-token", " t "),
        ("x-amz-meta-a", "1"),
        ("x-amz-meta-a", "2"),
        ("x-amz-cf-id", "added on the way"),
    ];
    assert_eq!(signed(&text, "GET", "/b/k", &headers).code(), None);
    let mismatch = Some(ErrorCode::SignatureDoesNotMatch);
    let removed = signed(&text, "GET", "/b/k", &headers[..3]);
    assert_eq!(removed.code(), mismatch);
    let added = signed(&text, "GET", "/b/k?x-amz-acl=public-read", &headers);
    assert_eq!(added.code(), mismatch);

    // SDKs that presign put them into the query.
    let expires = (NOW + Duration::hours(1)).unix_timestamp().to_string();
    let text = format!("GET\n\n\n{expires}\nx-amz-security-token:t/+\n/johnsmith/photos/puppy.jpg");
    let token = "&x-amz-security-token=t%2F%2B";
    let request = presigned(&expires, &signature(&text), token);
    assert_eq!(request.code(), None);
    let twice = request.with("x-amz-security-token", "t/+");
    assert_eq!(twice.code(), None);
    let two = twice.with("x-amz-security-token", "other");
    assert_eq!(two.code(), Some(ErrorCode::InvalidArgument));
    let injected = presigned(
        &expires,
        &signature(&text),
        "&x-amz-meta-a=1%0Ax-amz-acl:private",
    );
    assert_eq!(injected.code(), Some(ErrorCode::InvalidArgument));
    let injected = presigned(
        &expires,
        &signature(&text),
        "&x-amz-acl%3Aprivate%0Ax-amz-meta-a=1",
    );
    assert_eq!(injected.code(), Some(ErrorCode::InvalidArgument));
}

#[test]
fn a_date_of_amazon_replaces_the_other_and_is_signed_itself() {
    let text = format!("GET\n\n\n\nx-amz-date:{DATE}\n/b/k");
    let headers = [
        ("date", "Mon, 01 Jan 2001 00:00:00 GMT"),
        ("x-amz-date", DATE),
    ];
    assert_eq!(signed(&text, "GET", "/b/k", &headers).code(), None);
}

#[test]
fn clocks_may_differ_by_fifteen_minutes() {
    let request = get("/b/k", "/b/k");
    for minutes in [-15, 15] {
        assert_eq!(
            request.verify(NOW + Duration::minutes(minutes)),
            Ok(PayloadMode::Unsigned)
        );
    }
    for minutes in [-16, 16] {
        let error = request
            .verify(NOW + Duration::minutes(minutes))
            .unwrap_err();
        assert_eq!(error.s3_error().code, ErrorCode::RequestTimeTooSkewed);
    }
    let undated = signed("GET\n\n\n\n/b/k", "GET", "/b/k", &[]);
    assert_eq!(undated.code(), Some(ErrorCode::AccessDenied));
}

#[test]
fn a_presigned_request_lives_for_seven_days_at_most() {
    let ends = NOW + Duration::days(7);
    let expires = ends.unix_timestamp().to_string();
    let text = format!("GET\n\n\n{expires}\n/johnsmith/photos/puppy.jpg");
    let request = presigned(&expires, &signature(&text), "");
    assert_eq!(request.verify(NOW), Ok(PayloadMode::Unsigned));
    assert_eq!(request.verify(ends), Ok(PayloadMode::Unsigned));
    let late = request.verify(ends + Duration::SECOND).unwrap_err();
    assert_eq!(late, SigV4Error::Expired.into());
    let early = request.verify(NOW - Duration::minutes(16)).unwrap_err();
    assert!(matches!(early, SigV2Error::QueryMalformed(_)));
    for expires in [
        "",
        "-1",
        "1e9",
        "99999999999999999999",
        "0x10",
        "99999999999999",
    ] {
        let refused = presigned(expires, "NpgCjnDzrM+WFzoENXmpNDUsSn8=", "").verify(NOW);
        assert!(
            matches!(refused, Err(SigV2Error::QueryMalformed(_))),
            "{expires}"
        );
    }
}

#[test]
fn signatures_that_are_none_and_mixtures_are_refused() {
    let header =
        |value: &str| Request::new("GET", "/b/k", &[("date", DATE)]).with("authorization", value);
    for (request, code) in [
        (
            header(&authorization("c2hvcnQ=")),
            ErrorCode::SignatureDoesNotMatch,
        ),
        (header(&authorization("")), ErrorCode::SignatureDoesNotMatch),
        (
            header("AWS AKIAIOSFODNN7EXAMPLE"),
            ErrorCode::AuthorizationHeaderMalformed,
        ),
        (header("AWS"), ErrorCode::AuthorizationHeaderMalformed),
        (
            presigned("1175139620", "NpgCjnDzrM+WFzoENXmpNDUsSn8=", "")
                .with("authorization", "AWS a:b"),
            ErrorCode::InvalidArgument,
        ),
        (
            presigned(
                "1175139620",
                "NpgCjnDzrM+WFzoENXmpNDUsSn8=",
                "&X-Amz-Date=1",
            ),
            ErrorCode::InvalidArgument,
        ),
        (
            presigned("1175139620", "NpgCjnDzrM+WFzoENXmpNDUsSn8=", "&expires=1"),
            ErrorCode::AuthorizationQueryParametersError,
        ),
        (
            Request::new(
                "GET",
                "/b/k?AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Expires=1",
                &[],
            ),
            ErrorCode::AuthorizationQueryParametersError,
        ),
        (get("/b/k", "/b/%zz"), ErrorCode::InvalidURI),
    ] {
        assert_eq!(request.code(), Some(code), "{}", request.target);
    }
    for value in ["AWS4-HMAC-SHA256 x", "aws a:b", "Basic x", "AWSX a:b"] {
        let none = parse(None, &header(value).headers);
        assert!(none.unwrap().is_none(), "{value}");
    }
}

#[test]
fn a_digest_of_the_body_is_kept_and_chunks_are_refused() {
    let with = |content: &str| {
        let text = format!("PUT\n\n\n{DATE}\nx-amz-content-sha256:{content}\n/b/k");
        let headers = [("date", DATE), ("x-amz-content-sha256", content)];
        signed(&text, "PUT", "/b/k", &headers).verify(NOW)
    };
    assert_eq!(with(&"0f".repeat(32)), Ok(PayloadMode::Sha256([0x0f; 32])));
    assert_eq!(with("UNSIGNED-PAYLOAD"), Ok(PayloadMode::Unsigned));
    for chunked in [
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    ] {
        assert_eq!(with(chunked), Err(SigV2Error::Chunks));
    }
}

#[test]
fn the_parameters_of_a_signature_end_with_it() {
    let rest = |raw: &str| {
        let query = without_signature(Query::parse(Some(raw)).unwrap());
        let names: Vec<_> = query.pairs().map(|(name, _)| name.to_owned()).collect();
        names.join(",")
    };
    assert_eq!(
        rest("AWSAccessKeyId=a&Signature=b&Expires=1&content-type=c&versionId=d"),
        "versionId"
    );
    assert_eq!(rest("Expires=1&content-type=c"), "Expires,content-type");
}

#[test]
fn a_form_is_signed_by_its_policy() {
    let fields = HashMap::from([
        ("awsaccesskeyid", ACCESS_KEY_ID.to_owned()),
        ("policy", "cG9saWN5".to_owned()),
        ("signature", signature("cG9saWN5")),
    ]);
    let verify = |fields: &HashMap<&str, String>| {
        let signed = SignedPolicy::parse(|name| fields.get(name).map(String::as_str))?;
        signed
            .unwrap()
            .verify(&SecretAccessKey::new(SECRET.to_owned()))
    };
    assert_eq!(verify(&fields), Ok(()));
    let altered = |name: &'static str, value: &str| {
        let mut altered = fields.clone();
        altered.insert(name, value.to_owned());
        verify(&altered).unwrap_err()
    };
    assert_eq!(
        altered("policy", "cG9saWN6"),
        SigV4Error::PolicyMismatch.into()
    );
    assert_eq!(altered("signature", "x"), SigV4Error::PolicyMismatch.into());
    let both = altered("x-amz-signature", "x");
    assert!(matches!(both, SigV2Error::FormMalformed(_)));
    for name in fields.keys() {
        let mut incomplete = fields.clone();
        incomplete.remove(name);
        let parsed = SignedPolicy::parse(|name| incomplete.get(name).map(String::as_str));
        assert!(parsed.is_err(), "{name}");
    }
    assert!(SignedPolicy::parse(|_| None).unwrap().is_none());
}
