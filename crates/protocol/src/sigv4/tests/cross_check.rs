//! Requests signed by AWS's own signer and verified by this crate. Keys and queries are arbitrary
//! text.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use http::Method;
use proptest::collection::vec;
use proptest::prelude::*;

use super::examples::{ACCESS_KEY_ID, NOW, SECRET};
use super::{Request, SigV4Error};
use crate::error::ErrorCode;

const HOST: &str = "bucket.s3.eu-west-3.amazonaws.com:8443";
const TOKEN: &str = "a token/with+signs==";

/// Signs `target` with AWS's crate.
fn sign_request(
    location: SignatureLocation,
    target: &str,
    metadata: Option<&str>,
    token: Option<&str>,
) -> Request {
    let mut request = Request::new(Method::PUT, target, &[("host", HOST)]);
    if let Some(metadata) = metadata {
        request.append("x-amz-meta-text", metadata);
    }
    let credentials = Credentials::new(ACCESS_KEY_ID, SECRET, token.map(str::to_owned), None, "");
    let identity = credentials.into();
    let mut settings = SigningSettings::default();
    // S3 encodes paths once and does not normalise them, in contrast to other AWS services.
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings.signature_location = location;
    settings.expires_in = Some(std::time::Duration::from_hours(1));
    let params = SigningParams::builder()
        .identity(&identity)
        .region("eu-west-3")
        .name("s3")
        .time(SystemTime::from(NOW))
        .settings(settings)
        .build()
        .unwrap();
    let headers = request.headers.iter().map(|(name, value)| {
        (
            name.as_str(),
            std::str::from_utf8(value.as_bytes()).unwrap(),
        )
    });
    let signable = SignableRequest::new(
        "PUT",
        format!("http://{HOST}{target}"),
        headers,
        SignableBody::UnsignedPayload,
    )
    .unwrap();
    let (instructions, _) = sign(signable, &params.into()).unwrap().into_parts();
    let (headers, parameters) = instructions.into_parts();
    for header in headers {
        request.append(header.name(), header.value());
    }
    for (name, value) in parameters {
        // The signer returns parameters decoded.
        let query = request.query.take().unwrap_or_default();
        let value = escape(&value, |_| true);
        request.query = Some(format!("{query}&{name}={value}"));
    }
    request
}

/// Escapes all characters that HTTP requires to be escaped, and those optional ones that `also`
/// selects.
fn escape(text: &str, mut also: impl FnMut(char) -> bool) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        let unreserved = character.is_ascii_alphanumeric() || "-._~".contains(character);
        let optional = "/!$'()*,;:@+".contains(character);
        if unreserved || (optional && !also(character)) {
            escaped.push(character);
        } else {
            let bytes = character.to_string().into_bytes();
            escaped.extend(bytes.iter().map(|byte| format!("%{byte:02X}")));
        }
    }
    escaped
}

/// The key in the spelling of S3's canonical URI.
fn canonical(key: &str) -> String {
    escape(key, |character| character != '/')
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,40}",
        "[a-c/.+ %~!$&'()*,;:=@?#\\[\\]-]{0,40}",
        Just("a//b/../c/%2F+é😀".to_owned()),
    ]
}

fn query() -> impl Strategy<Value = Vec<(String, String)>> {
    vec(("[a-cA-C .+%&=/~é-]{1,6}", "\\PC{0,12}"), 0..5)
}

fn query_text(query: &[(String, String)]) -> String {
    let pairs: Vec<String> = query
        .iter()
        .map(|(name, value)| format!("{}={}", escape(name, |_| true), escape(value, |_| true)))
        .collect();
    pairs.join("&")
}

#[test]
fn a_signed_header_may_be_empty_but_not_absent() {
    let location = SignatureLocation::Headers;
    let mut request = sign_request(location, "/key", Some(""), None);
    assert_eq!(request.verify(NOW).err(), None);
    request.headers.remove("x-amz-meta-text");
    let name = "x-amz-meta-text".to_owned();
    let error = SigV4Error::MissingSignedHeader(name);
    assert_eq!(error.s3_error().code, ErrorCode::SignatureDoesNotMatch);
    assert_eq!(request.verify(NOW).err(), Some(error));
}

proptest! {
    #[test]
    fn header_signatures_verify(
        key in key(),
        query in query(),
        metadata in "[!-~][ -~\t]{0,30}",
        token in prop::option::of(Just(TOKEN)),
    ) {
        let target = format!("/{}?{}", canonical(&key), query_text(&query));
        let request = sign_request(SignatureLocation::Headers, &target, Some(&metadata), token);
        prop_assert_eq!(request.verify(NOW).err(), None);
        let signed = request.parse().unwrap();
        prop_assert_eq!(signed.session_token(), token);
    }

    #[test]
    fn presigned_requests_verify(
        key in key(),
        query in query(),
        token in prop::option::of(Just(TOKEN)),
    ) {
        let target = format!("/{}?{}", canonical(&key), query_text(&query));
        let request = sign_request(SignatureLocation::QueryParams, &target, None, token);
        prop_assert_eq!(request.verify(NOW).err(), None);
        let signed = request.parse().unwrap();
        prop_assert_eq!(signed.session_token(), token);
    }

    /// Clients that sign S3's canonical spelling may send any other one.
    #[test]
    fn any_spelling_of_a_signed_path_verifies(key in key(), choices in vec(any::<bool>(), 40)) {
        let mut request = sign_request(
            SignatureLocation::Headers,
            &format!("/{}", canonical(&key)),
            None,
            None,
        );
        let mut choices = choices.into_iter().cycle();
        request.path = format!("/{}", escape(&key, |_| choices.next().unwrap()));
        prop_assert_eq!(request.verify(NOW).err(), None);
    }

    /// Clients that sign the spelling they send may escape as they like.
    #[test]
    fn a_path_signed_as_it_is_sent_verifies(key in key(), choices in vec(any::<bool>(), 40)) {
        let mut choices = choices.into_iter().cycle();
        let target = format!("/{}", escape(&key, |_| choices.next().unwrap()));
        let request = sign_request(SignatureLocation::Headers, &target, None, None);
        prop_assert_eq!(request.verify(NOW).err(), None);
    }

    #[test]
    fn another_key_is_refused(key in key(), other in key()) {
        prop_assume!(key != other);
        let target = format!("/{}", canonical(&key));
        let mut request = sign_request(SignatureLocation::Headers, &target, None, None);
        request.path = format!("/{}", canonical(&other));
        prop_assert!(request.verify(NOW).is_err());
    }
}

#[test]
fn plus_and_tilde_verify_in_every_spelling() {
    for (signed, sent) in [
        ("/a%2Bb", "/a+b"),
        ("/a+b", "/a+b"),
        ("/a~b", "/a%7Eb"),
        ("/a%7Eb", "/a%7eb"),
        ("/a%7Eb", "/a%7Eb"),
        ("/a/b", "/a%2Fb"),
        ("/a%2Fb", "/a%2Fb"),
        ("/?prefix=a%20b", "/?prefix=a+b"),
        ("/?prefix=a%2Fb~c", "/?prefix=a/b%7Ec"),
    ] {
        let mut request = sign_request(SignatureLocation::Headers, signed, None, None);
        let sent_request = Request::new(Method::PUT, sent, &[]);
        request.path = sent_request.path;
        request.query = sent_request.query;
        let refused = request.verify(NOW).err();
        // Refused only if the signed spelling is neither the canonical one nor the one sent.
        let both_differ = signed == "/a%7Eb" && sent == "/a%7eb";
        assert_eq!(refused.is_some(), both_differ, "{signed} {sent}");
    }
}
