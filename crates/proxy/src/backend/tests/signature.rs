//! Bytes on the wire against their signature, which is computed here a second time.

use std::fmt::Write;

use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderValue, Method};
use s3proxy_protocol::hex;

use super::support::{
    ACCESS_KEY, SECRET_KEY, Seen, Server, backend_at, backend_with, get, held, put, response,
    settings, streamed,
};
use crate::backend::{Backend, BackendError, Credentials, Request, RequestBody};

pub(super) fn assert_signed(seen: &Seen, secret: &str) {
    let authorization = seen.header("authorization");
    let field = |name: &str| {
        let (_, rest) = authorization.split_once(&format!("{name}=")).unwrap();
        rest.split(',').next().unwrap().to_owned()
    };
    let credential = field("Credential");
    let scope = credential.split_once('/').unwrap().1;
    let (path, query) = seen.target.split_once('?').unwrap_or((&*seen.target, ""));
    let mut parameters: Vec<String> = query
        .split('&')
        .filter(|parameter| !parameter.is_empty())
        .map(|parameter| {
            if parameter.contains('=') {
                parameter.to_owned()
            } else {
                format!("{parameter}=")
            }
        })
        .collect();
    // In the order of their encoded form, as the canonical request needs them.
    parameters.sort();
    let names = field("SignedHeaders");
    let mut canonical = format!("{}\n{path}\n{}\n", seen.method, parameters.join("&"));
    for name in names.split(';') {
        writeln!(canonical, "{name}:{}", seen.header(name)).unwrap();
    }
    write!(
        canonical,
        "\n{names}\n{}",
        seen.header("x-amz-content-sha256")
    )
    .unwrap();
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{}\n{scope}\n{}",
        seen.header("x-amz-date"),
        hex::encode(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref())
    );
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in scope.split('/') {
        key = mac(&key, part);
    }
    assert_eq!(
        field("Signature"),
        hex::encode(&mac(&key, &to_sign)),
        "{canonical}"
    );
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

async fn server() -> Server {
    Server::start(|_, _| response("200 OK", &[], "")).await
}

#[tokio::test]
async fn the_path_on_the_wire_is_the_encoded_key_and_is_what_was_signed() {
    let server = server().await;
    let backend = backend_at(server.address).await;
    for (key, path) in [
        ("plain", "/bucket/plain"),
        ("/a//b/", "/bucket//a//b/"),
        // Nothing is normalised: these are different objects.
        ("../x/./..", "/bucket/../x/./.."),
        ("%2F%zz", "/bucket/%252F%25zz"),
        ("a+b c&d=e?f#g", "/bucket/a%2Bb%20c%26d%3De%3Ff%23g"),
        ("ü/\u{1f600}", "/bucket/%C3%BC/%F0%9F%98%80"),
    ] {
        backend.send(get(key)).await.unwrap();
        let seen = server.seen().pop().unwrap();
        assert_eq!(seen.target, path);
        assert_signed(&seen, SECRET_KEY);
    }
}

#[tokio::test]
async fn a_key_of_1024_bytes_arrives() {
    let server = server().await;
    let key = "é".repeat(512);
    let backend = backend_at(server.address).await;
    backend.send(get(&key)).await.unwrap();
    let seen = server.seen().pop().unwrap();
    assert_eq!(seen.target, format!("/bucket/{}", "%C3%A9".repeat(512)));
    assert_signed(&seen, SECRET_KEY);
}

#[tokio::test]
async fn query_and_amz_headers_are_signed_and_hop_headers_are_not_sent() {
    let server = server().await;
    let backend = backend_at(server.address).await;
    let mut request = get("k");
    request.query = vec![
        ("versionId".to_owned(), Some("a+b/c=".to_owned())),
        ("acl".to_owned(), None),
        ("X-b".to_owned(), Some(String::new())),
    ];
    for (name, value) in [
        ("x-amz-meta-a", "two  spaces"),
        ("range", "bytes=0-1"),
        ("authorization", "Basic x"),
        // Headers of the client's own signature and framing, which must not be passed on.
        ("x-amz-security-token", "the client's"),
        ("content-length", "12"),
        ("transfer-encoding", "chunked"),
    ] {
        request
            .headers
            .insert(name, HeaderValue::from_static(value));
    }
    backend.send(request).await.unwrap();
    let mut seen = server.seen().pop().unwrap();
    assert_eq!(seen.target, "/bucket/k?versionId=a%2Bb%2Fc%3D&acl&X-b=");
    assert!(
        seen.header("authorization")
            .contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-meta-a,")
    );
    assert!(
        seen.header("authorization")
            .contains(&format!("{ACCESS_KEY}/"))
    );
    assert_eq!(seen.header("range"), "bytes=0-1");
    for absent in [
        "x-amz-security-token",
        "content-length",
        "transfer-encoding",
    ] {
        assert_eq!(seen.header(absent), "", "{absent}");
    }
    // The canonical form of a value has single spaces.
    seen.headers
        .insert("x-amz-meta-a".to_owned(), "two spaces".to_owned());
    assert_signed(&seen, SECRET_KEY);
}

#[tokio::test]
async fn held_bodies_carry_both_hashes_and_streams_none() {
    let server = server().await;
    let backend = backend_at(server.address).await;
    backend.send(put("k", held("content"))).await.unwrap();
    backend
        .send(put("k", streamed(7, &["con", "tent"], None)))
        .await
        .unwrap();
    backend.send(put("k", RequestBody::Empty)).await.unwrap();
    let seen = server.seen();
    let sha256 = hex::encode(digest::digest(&digest::SHA256, b"content").as_ref());
    assert_eq!(seen[0].header("x-amz-content-sha256"), sha256);
    let md5 = BASE64_STANDARD
        .decode(seen[0].header("content-md5"))
        .unwrap();
    // MD5 of "content".
    assert_eq!(hex::encode(&md5), "9a0364b9e99bb480dd25e1f0284c8555");
    assert!(
        seen[0]
            .header("authorization")
            .contains("=content-md5;host;")
    );
    assert_eq!(seen[1].header("x-amz-content-sha256"), "UNSIGNED-PAYLOAD");
    assert_eq!(seen[1].header("content-md5"), "");
    assert_eq!(seen[1].body, b"content");
    for (seen, length) in seen.iter().zip(["7", "7", "0"]) {
        assert_eq!(seen.header("content-length"), length);
        assert_signed(seen, SECRET_KEY);
    }
}

#[tokio::test]
async fn a_session_token_is_sent_and_signed() {
    let server = server().await;
    let keys = Credentials::fixed(ACCESS_KEY, SECRET_KEY, Some("session"))
        .await
        .unwrap();
    let backend = Backend::new(settings(server.address), keys).unwrap();
    backend.send(get("k")).await.unwrap();
    let seen = server.seen().pop().unwrap();
    assert_eq!(seen.header("x-amz-security-token"), "session");
    assert_signed(&seen, SECRET_KEY);
}

#[tokio::test]
async fn metadata_in_utf_8_is_signed_and_sent_byte_for_byte() {
    let server = server().await;
    let backend = backend_at(server.address).await;
    let name = "Gr\u{fc}\u{df}e \u{1f600}";
    let mut request = put("k", held("content"));
    let value = HeaderValue::from_bytes(name.as_bytes()).unwrap();
    request.headers.insert("x-amz-meta-name", value);
    backend.send(request).await.unwrap();
    let seen = server.seen().pop().unwrap();
    assert_eq!(seen.header("x-amz-meta-name"), name);
    assert!(seen.header("authorization").contains("x-amz-meta-name"));
    assert_signed(&seen, SECRET_KEY);
}

#[tokio::test]
async fn a_signed_header_that_cannot_be_signed_is_refused_before_sending() {
    let server = server().await;
    let backend = backend_with(settings(server.address)).await;
    let mut request = Request::new(Method::PUT, Some("bucket"), Some("k"));
    // "ü" in Latin-1, which is not UTF-8.
    request
        .headers
        .insert("content-type", HeaderValue::from_bytes(b"\xfc").unwrap());
    let error = backend.send(request).await.err().unwrap();
    assert!(matches!(error, BackendError::Request(_)), "{error}");
    assert!(
        error.to_string().contains("content-type is not UTF-8"),
        "{error}"
    );
    assert_eq!(server.seen().len(), 0);
}
