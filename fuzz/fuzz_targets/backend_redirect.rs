//! Redirects of backends: a request is repeated only at a host of the same service, with the same
//! scheme and port; and a refusal that names a region changes only the region.

#![no_main]

use http::{StatusCode, Uri};
use libfuzzer_sys::fuzz_target;
use s3proxy::fuzzing::{Service, other_region, redirected};
use s3proxy_fuzz::choices::Choices;
use s3proxy_fuzz::head;

const AWS: [&str; 4] = [
    "s3.amazonaws.com",
    "s3.dualstack.us-east-1.amazonaws.com",
    "s3-fips.us-gov-west-1.amazonaws.com",
    "s3.cn-north-1.amazonaws.com.cn",
];
const OTHERS: [&str; 4] = ["storage.example", "localhost", "10.0.0.1", "::1"];

fn is_region(text: &str) -> bool {
    let is_label = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(is_label)
}

/// Whether `host` is a name of the service at `from`.
fn belongs_to(from: &str, host: &str) -> bool {
    let suffixes = [".amazonaws.com", ".amazonaws.com.cn"];
    if let Some(suffix) = suffixes.into_iter().find(|suffix| from.ends_with(suffix)) {
        let Some(labels) = host.strip_suffix(suffix) else {
            return false;
        };
        let is_plain = |label: &str| {
            let is_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            !label.is_empty() && label.bytes().all(|byte| is_byte(byte) || byte == b'-')
        };
        return (host.starts_with("s3.") || host.starts_with("s3-"))
            && labels.split('.').count() <= 3
            && labels.split('.').all(is_plain);
    }
    let is_address = from.parse::<std::net::IpAddr>().is_ok();
    host == from || (!is_address && host.ends_with(&format!(".{from}")))
}

fn check(from: &Service, bucket: Option<&str>, to: &Service) {
    assert_eq!((to.is_https, to.port()), (from.is_https, from.port()));
    assert!(belongs_to(&from.host, &to.host), "{from:?} {to:?}");
    assert!(is_region(&to.region), "{to:?}");
    let uri = to.locate(bucket, "key").expect("a service has URIs");
    let uri = Uri::try_from(uri).expect("a URI");
    assert_eq!(uri.scheme_str() == Some("https"), from.is_https);
    let host = uri.host().expect("it is absolute").trim_matches(['[', ']']);
    let without_bucket = bucket.and_then(|bucket| host.strip_prefix(bucket)?.strip_prefix('.'));
    assert!(
        host == to.host || without_bucket == Some(&to.host),
        "{uri} {to:?}"
    );
    assert!(uri.path().ends_with("/key") && uri.query().is_none());
}

fuzz_target!(|input: &[u8]| {
    let mut choices = Choices::new(input);
    let host = if choices.flag() {
        choices.pick(&AWS)
    } else {
        choices.pick(&OTHERS)
    };
    let from = Service {
        is_https: choices.flag(),
        host: host.to_owned(),
        port: choices.flag().then_some(9000),
        is_virtual_host: choices.flag(),
        region: "us-east-1".to_owned(),
    };
    let bucket = choices.pick(&[None, Some("bucket"), Some("my.bucket"), Some("s3")]);
    let status = choices.pick(&[400_u16, 400, 403, 301]);
    let status = StatusCode::from_u16(status).expect("a status");
    let length = usize::from(choices.u16());
    let Some(headers) = head::headers(choices.bytes(length)) else {
        return;
    };
    let body = choices.rest();
    if let Some(to) = redirected(&from, bucket, &headers, body) {
        assert_ne!(to, from, "it would go round in circles");
        check(&from, bucket, &to);
    }
    if let Some(to) = other_region(&from, status, &headers, body) {
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(is_region(&to.region) && to.region != from.region);
        let region = from.region.clone();
        assert_eq!(Service { region, ..to }, from);
    }
});
