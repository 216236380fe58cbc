//! Values of single headers, from clients and backends: a parsed value is within its bounds, and
//! parses to the same value after it is written again.

#![no_main]

use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use s3proxy_envelope::multipart::PartEtag;
use s3proxy_fuzz::choices::Choices;
use s3proxy_fuzz::head;
use s3proxy_protocol::checksum::{ChecksumAlgorithm, ChecksumValue};
use s3proxy_protocol::chunked::Trailers;
use s3proxy_protocol::copy_source::{CopyRange, CopySource};
use s3proxy_protocol::payload::PayloadExpectation;
use s3proxy_protocol::percent::{self, Plus};
use s3proxy_protocol::range::{ContentRange, RangeRequest};
use s3proxy_protocol::sigv4::{Credential, PayloadMode};
use s3proxy_protocol::xml::attributes::ObjectAttributes;
use s3proxy_protocol::{conditional, etag, header_rules, http_date};

fn ranges(text: &str, length: u64) {
    if let RangeRequest::Single(range) = RangeRequest::parse(Some(text))
        && let Ok(range) = range.resolve(length)
    {
        assert!(range.first <= range.last && range.last < length);
        assert!(range.len() <= length);
    }
    if let Some(range) = ContentRange::parse(text) {
        assert_eq!(ContentRange::parse(&range.to_string()), Some(range));
        if let ContentRange::Satisfied { range, total } = range {
            assert!(range.first <= range.last);
            assert!(total.is_none_or(|total| range.last < total));
            assert!(range.len() > 0);
        }
    }
}

fn dates(text: &str) {
    let Some(time) = http_date::parse(text) else {
        return;
    };
    assert!((0..=9999).contains(&time.year()));
    assert!(conditional::if_range_holds(text, "\"e\"", Some(time)));
    assert!(!conditional::if_range_holds(text, "\"e\"", None));
    // If-Range with a date demands an exact match (RFC 9110, section 13.1.5).
    let later = time.checked_add(time::Duration::SECOND);
    assert!(later.is_none() || !conditional::if_range_holds(text, "\"e\"", later));
}

fn etags(text: &str) {
    let client = etag::to_client(text);
    // A text that ends like a client's tag is a backend's own `-0`, and not an MD5.
    if !text.contains("-0") {
        assert_eq!(etag::to_backend(&client), text);
        assert!(etag::list_names(&client, text) || text.contains([',', '"']) || is_weak(text));
    }
    assert!(etag::to_backend(text).len() <= text.len());
    assert!(etag::list_to_backend(text).len() <= text.len());
    if is_weak(text) {
        assert!(!etag::matches_strongly(text, text));
    }
    let quoted = format!("\"{text}\"");
    if !is_weak(text) && text.trim() == text && !text.contains('"') {
        assert!(etag::matches_strongly(&quoted, text));
    }
    if let Some(part) = PartEtag::parse(text) {
        assert_eq!(part.encode(), text);
    }
}

fn is_weak(text: &str) -> bool {
    text.trim().starts_with("W/")
}

fn names(text: &str) {
    if let Ok(source) = CopySource::parse(text) {
        assert_eq!(CopySource::parse(&source.encode()), Ok(source));
    }
    for plus in [Plus::Literal, Plus::Space] {
        if let Ok(decoded) = percent::decode(text, plus) {
            let encoded = percent::encode_component(&decoded);
            assert_eq!(percent::decode(&encoded, plus), Ok(decoded.clone()));
            let path = percent::encode_path(&decoded);
            assert_eq!(percent::decode(&path, Plus::Literal), Ok(decoded));
            assert!(path.is_ascii() && encoded.is_ascii());
        }
    }
    if let Ok(credential) = Credential::parse(text) {
        let scope = &credential.scope;
        assert_eq!(
            format!("{}/{}", credential.access_key_id, scope.as_str()),
            text
        );
        assert!(scope.as_str().starts_with(scope.date()));
        assert_eq!(scope.date().len(), 8);
    }
}

fn checksums(text: &str) {
    for algorithm in ChecksumAlgorithm::ALL {
        if let Some(value) = ChecksumValue::from_base64(algorithm, text.as_bytes()) {
            assert_eq!(value.as_bytes().len(), algorithm.length());
            assert_eq!(value.to_base64(), text);
        }
    }
}

/// Conditions, and the headers that describe a body.
fn together(mut headers: HeaderMap, body: &[u8]) {
    let _ = ObjectAttributes::parse(&headers);
    let time = http_date::parse("Sun, 06 Nov 1994 08:49:37 GMT");
    let _ = conditional::copy_source_holds(&headers, "\"0123456789abcdef0123456789abcdef\"", time);
    if let Ok(Some(range)) = CopyRange::from_headers(&headers) {
        assert!(range.first <= range.last);
        assert!(range.refuse_outside(range.last).is_err());
    }
    if let Ok(mode) = PayloadMode::of_unauthenticated(&headers)
        && let Ok(expectation) = PayloadExpectation::from_headers(&headers, &mode)
    {
        let announced = expectation.decoded_length();
        assert!(announced.is_some() || !mode.is_chunked());
        assert!(expectation.trailer_algorithm().is_none() || mode.has_trailers());
        let (known, trailer) = (
            expectation.known_checksum(),
            expectation.trailer_algorithm(),
        );
        assert!(known.is_none() || trailer.is_none());
        let awaits = trailer.is_some();
        let mut verifier = expectation.verifier();
        verifier.update(body);
        if verifier.finish(&Trailers::default()).is_ok() {
            assert!(announced.is_none_or(|announced| announced == body.len() as u64));
            assert!(!awaits, "a checksum that was announced has to come");
        }
    }
    let before = headers.len();
    if conditional::map_to_backend(&mut headers).is_ok() {
        assert_eq!(headers.len(), before);
    }
    header_rules::remove_aws_chunked(&mut headers);
    header_rules::retain_client_response_headers(&mut headers);
    for name in headers.keys() {
        assert!(!head::HOP_BY_HOP.contains(&name.as_str()), "{name}");
        assert!(!name.as_str().starts_with("x-amz-checksum-"), "{name}");
    }
}

fuzz_target!(|input: &[u8]| {
    let mut choices = Choices::new(input);
    let which = choices.byte() % 8;
    if which == 0 {
        let length = usize::from(choices.byte());
        let body = choices.bytes(length);
        if let Some(headers) = head::headers(choices.rest()) {
            together(headers, body);
        }
        return;
    }
    let length = choices.u64();
    let Ok(text) = std::str::from_utf8(choices.rest()) else {
        return;
    };
    match which {
        1 => ranges(text, length >> (length % 64)),
        2 => dates(text),
        3 => etags(text),
        4 => names(text),
        5 => checksums(text),
        _ => {
            ranges(text, length);
            dates(text);
            etags(text);
            names(text);
            checksums(text);
        }
    }
});
