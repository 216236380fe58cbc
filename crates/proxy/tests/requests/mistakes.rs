//! Mistakes of clients: the requests, and the proxy's error messages. The messages are in a
//! snapshot; each says more than its code, and none shows a secret.

use std::fmt::Write as _;

use http::Method;

use super::harness::{Answer, ClientRequest, Credential, Proxy};

/// The number of rows in the review's table.
const LEAST_ROWS: usize = 30;

const CLIENTS: &str = r#"
[[clients.known]]
name = "owner"
access_key_id = "OWNER"
secret_access_key = "owners-secret-key"

[[clients.known]]
name = "reader"
access_key_id = "READER"
secret_access_key = "readers-secret-key"
grants = [{ operations = ["read"], buckets = ["photos"], prefixes = ["public/"] }]

[policy]
plaintext_reads = "deny"
"#;

fn owner() -> Credential {
    Credential::new("OWNER", "owners-secret-key")
}

fn reader() -> Credential {
    Credential::new("READER", "readers-secret-key")
}

fn signed_by(
    credential: Credential,
    request: ClientRequest,
) -> (Option<Credential>, ClientRequest) {
    (Some(credential), request)
}

fn authorized(text: &str) -> (Option<Credential>, ClientRequest) {
    (
        None,
        ClientRequest::get("/photos/cat").header("authorization", text),
    )
}

/// The requests, with the credential that signs each.
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn rows() -> Vec<(&'static str, (Option<Credential>, ClientRequest))> {
    let get = || ClientRequest::get("/photos/cat");
    let put = |body: &'static str| ClientRequest::put("/photos/new", body);
    let sub = |target: &str| ClientRequest::get(target.to_owned());
    vec![
        ("no signature", (None, get())),
        (
            "no signature, HEAD",
            (None, ClientRequest::head("/photos/cat")),
        ),
        (
            "another secret",
            signed_by(Credential::new("OWNER", "another"), get()),
        ),
        (
            "another secret, HEAD",
            signed_by(
                Credential::new("OWNER", "another"),
                ClientRequest::head("/photos/cat"),
            ),
        ),
        (
            "an access key that is not listed",
            signed_by(Credential::new("STRANGER", "x"), get()),
        ),
        (
            "a session token",
            signed_by(owner(), get().header("x-amz-security-token", "token")),
        ),
        ("a password", authorized("Basic dXNlcjpwYXNz")),
        ("a bearer token", authorized("Bearer abc")),
        (
            "a signature of version 2",
            authorized("AWS OWNER:c2lnbmF0dXJl"),
        ),
        (
            "half a signature",
            authorized("AWS4-HMAC-SHA256 Credential=OWNER"),
        ),
        (
            "a presigned URL of version 2",
            (
                None,
                sub("/photos/cat?AWSAccessKeyId=OWNER&Signature=x&Expires=1"),
            ),
        ),
        (
            "a presigned URL that was cut",
            (
                None,
                sub("/photos/cat?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=OWNER"),
            ),
        ),
        (
            "a signature in header and query",
            (
                None,
                sub("/photos/cat?X-Amz-Algorithm=AWS4-HMAC-SHA256")
                    .header("authorization", "AWS4-HMAC-SHA256 x"),
            ),
        ),
        (
            "a bucket that is not there",
            signed_by(owner(), sub("/absent/cat")),
        ),
        (
            "a bucket's name that is none",
            signed_by(owner(), sub("/A/cat")),
        ),
        (
            "an object that is not there",
            signed_by(owner(), sub("/photos/absent")),
        ),
        (
            "an object that was never sealed",
            signed_by(owner(), sub("/photos/plain")),
        ),
        (
            "an object that was never sealed, HEAD",
            signed_by(owner(), ClientRequest::head("/photos/plain")),
        ),
        ("a torrent", signed_by(owner(), sub("/photos/cat?torrent"))),
        (
            "a selection",
            signed_by(
                owner(),
                ClientRequest::post("/photos/cat?select&select-type=2", ""),
            ),
        ),
        (
            "an unknown sub-resource",
            signed_by(owner(), ClientRequest::put("/photos/new?colour", "x")),
        ),
        (
            "an unknown header",
            signed_by(owner(), put("x").header("x-amz-colour", "red")),
        ),
        ("no grant for a write", signed_by(reader(), put("x"))),
        ("no grant for a prefix", signed_by(reader(), get())),
        (
            "no grant for a prefix, HEAD",
            signed_by(reader(), ClientRequest::head("/photos/cat")),
        ),
        (
            "another digest",
            signed_by(
                owner(),
                put("x").header("content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="),
            ),
        ),
        (
            "another checksum",
            signed_by(owner(), put("x").header("x-amz-checksum-crc32", "AAAAAA==")),
        ),
        (
            "another payload",
            signed_by(
                owner(),
                put("x")
                    .payload("0000000000000000000000000000000000000000000000000000000000000000"),
            ),
        ),
        (
            "a payload of no known kind",
            signed_by(owner(), put("x").payload("NONE")),
        ),
        (
            "metadata of the proxy's own",
            signed_by(owner(), put("x").header("x-amz-meta-isec", "x")),
        ),
        (
            "a key under the proxy's own prefix",
            signed_by(owner(), sub("/photos/.s3proxy/x")),
        ),
        (
            "a range that is none",
            signed_by(owner(), get().header("range", "bytes=100-")),
        ),
        ("a percent sign alone", (None, sub("/photos/%zz"))),
        (
            "a method of nobody's",
            (None, ClientRequest::new(Method::PATCH, "/photos/cat")),
        ),
        (
            "parts of an upload that is not there",
            signed_by(owner(), sub("/photos/cat?uploadId=none")),
        ),
        (
            "a completion that is no document",
            signed_by(
                owner(),
                ClientRequest::post("/photos/cat?uploadId=none", "{}"),
            ),
        ),
        (
            "a request through another proxy",
            (None, get().header("x-s3proxy-hop", "0123456789abcdef")),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_of_clients_are_explained() {
    let proxy = Proxy::builder().file(CLIENTS).start().await;
    let made = ClientRequest::new(Method::PUT, "/photos");
    proxy.send_as(&owner(), made).await.expect(200);
    let sealed = ClientRequest::put("/photos/cat", "meow");
    proxy.send_as(&owner(), sealed).await.expect(200);
    let plain = ClientRequest::put("/photos/plain", "meow");
    proxy.send_to_store(plain).await.expect(200);

    let rows = rows();
    assert!(rows.len() >= LEAST_ROWS);
    let mut answers = String::new();
    for (name, (credential, request)) in rows {
        let sent = format!("{} {}", request.method, request.target);
        let answer = match &credential {
            Some(credential) => proxy.send_as(credential, request).await,
            None => proxy.send_unsigned(request).await,
        };
        let told = told(&answer).replace(&proxy.host(), "HOST");
        assert!(answer.status() >= 400, "{name}: {told}");
        assert!(!told.contains("secret-key"), "{name}: {told}");
        writeln!(answers, "## {name}\n\n{sent}\n{told}\n").unwrap();
    }
    insta::assert_snapshot!(answers);
}

/// Status, code and message. If there is no body, the reason from the header.
fn told(answer: &Answer) -> String {
    let status = answer.status();
    if answer.body.is_empty() {
        return format!("{status} (no body) {}", answer.header("x-s3proxy-reason"));
    }
    format!("{status} {}: {}", answer.code(), answer.element("Message"))
}
