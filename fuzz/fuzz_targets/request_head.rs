//! Any request head, up to the admitted request: a request without a signature gets only public
//! access, and names, parameters and copy sources mean the same to the backend as to the gate.

#![no_main]

use std::sync::LazyLock;

use http::request::Parts;
use libfuzzer_sys::fuzz_target;
use s3proxy::fuzzing::{Admitted, AdmittedRequest, DOMAIN, Gate};
use s3proxy_fuzz::head;
use s3proxy_fuzz::signing::{ACCESS_KEY_ID, NOW, SECRET};
use s3proxy_protocol::address::{self, Address, AddressingStyle, EndpointSelection, HostRules};
use s3proxy_protocol::copy_source::CopySource;
use s3proxy_protocol::header_rules;
use s3proxy_protocol::name::ObjectKey;
use s3proxy_protocol::operation::Kind;
use s3proxy_protocol::percent;
use s3proxy_protocol::query::Query;

const PUBLIC: &str = "public";

static KNOWN: LazyLock<Gate> =
    LazyLock::new(|| Gate::with_client(ACCESS_KEY_ID, SECRET, None, PUBLIC));
static OPEN: LazyLock<Gate> = LazyLock::new(Gate::without_authentication);

/// Checks a request without a signature: only a preflight, or a read of a public object with
/// unchanged response headers, may be admitted.
fn unsigned(request: &AdmittedRequest) {
    let kind = request.operation.kind();
    if kind == Kind::Preflight {
        return;
    }
    assert!(
        matches!(kind, Kind::GetObject | Kind::HeadObject),
        "{:?}",
        request.operation
    );
    assert_eq!(
        request.address.bucket.as_ref().map(|name| name.as_str()),
        Some(PUBLIC)
    );
    assert!(request.address.key.is_some());
    assert!(
        !request
            .query
            .pairs()
            .any(|(name, _)| name.starts_with("response-"))
    );
    assert!(!request.is_chunked, "nobody checks its chunks");
}

/// Writes the address again, and checks that it parses to the same names.
fn address(found: &Address) {
    let rules = HostRules {
        virtual_host_domains: vec![DOMAIN.to_owned()],
        names: Vec::new(),
        selection: EndpointSelection::Configured,
    };
    let key = found
        .key
        .as_ref()
        .map(ObjectKey::encode)
        .unwrap_or_default();
    let Some(bucket) = &found.bucket else {
        assert!(found.key.is_none());
        return;
    };
    let path = format!("/{bucket}/{key}");
    let again = address::address(&rules, DOMAIN, &path).expect("names that were read before");
    assert_eq!((&again.bucket, &again.key), (&found.bucket, &found.key));
    assert!(path.is_ascii() && !path.contains(['?', '#', ' ', '\\']));
    if found.style == AddressingStyle::VirtualHost {
        let host = format!("{bucket}.{DOMAIN}");
        let again = address::address(&rules, &host, &format!("/{key}"));
        let again = again.expect("the host was read before");
        let same = again.bucket.as_ref().zip(found.bucket.as_ref());
        assert!(
            same.is_some_and(|(one, other)| { one.as_str().eq_ignore_ascii_case(other.as_str()) })
        );
        assert_eq!(again.key, found.key);
    }
}

fn query(found: &Query) {
    let pairs = found.pairs().map(|(name, value)| {
        let name = percent::encode_component(name);
        format!("{name}={}", percent::encode_component(value))
    });
    let text = pairs.collect::<Vec<_>>().join("&");
    let again = Query::parse(Some(&text)).expect("what was written is read");
    // A pair with an empty name and value is written as `=`, not left out.
    assert_eq!(&again, found);
}

fn check(request: &AdmittedRequest) {
    address(&request.address);
    query(&request.query);
    let is_copy = matches!(
        request.operation.kind(),
        Kind::CopyObject | Kind::UploadPartCopy
    );
    assert_eq!(request.copy_source.is_some(), is_copy);
    if let Some(source) = &request.copy_source {
        assert_eq!(CopySource::parse(&source.encode()).as_ref(), Ok(source));
    }
    assert_eq!(request.is_chunked, request.payload.is_chunked());
    let sent = header_rules::backend_request_headers(request.operation, &request.headers);
    for name in sent.keys() {
        assert!(!head::HOP_BY_HOP.contains(&name.as_str()), "{name}");
        for own in [
            "authorization",
            "host",
            "cookie",
            "x-amz-date",
            "x-amz-content-sha256",
        ] {
            assert_ne!(name, own);
        }
        assert!(request.headers.contains_key(name));
    }
}

fn parts(input: &[u8]) -> Option<Parts> {
    head::parse(input)
}

fuzz_target!(|input: &[u8]| {
    let Some(head) = parts(input) else {
        return;
    };
    if let Ok(Admitted::Request(request)) = KNOWN.admit(head.clone(), NOW) {
        if request.is_signed {
            assert_eq!(request.client, "client");
        } else {
            unsigned(&request);
        }
        check(&request);
    }
    // Without authentication, more heads reach the checks.
    if let Ok(Admitted::Request(request)) = OPEN.admit(head, NOW) {
        check(&request);
    }
});
