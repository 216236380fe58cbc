//! Clients that sign with Signature Version 2, which the settings allow by name.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::harness::{Answer, ClientRequest, Credential, Proxy, encoded};

const SETTINGS: &str = r#"
    [[clients.known]]
    name = "old"
    access_key_id = "OLD"
    secret_access_key = "secret of old"
    signature_v2 = "allow"

    [[clients.known]]
    name = "new"
    access_key_id = "NEW"
    secret_access_key = "secret of new"

    [[clients.known]]
    name = "session"
    access_key_id = "SESSION"
    secret_access_key = "secret of session"
    session_token = "token/+"
    signature_v2 = "allow"
"#;

fn old() -> Credential {
    Credential::new("OLD", "secret of old")
}

async fn proxy() -> Proxy {
    let proxy = Proxy::builder().file(SETTINGS).start().await;
    let new = Credential::new("NEW", "secret of new");
    let bucket = ClientRequest::put("/photos", "");
    proxy.send_as(&new, bucket).await.expect(200);
    let object = ClientRequest::put("/photos/a%20cat", "content");
    proxy.send_as(&new, object).await.expect(200);
    proxy
}

fn mac(credential: &Credential, text: &str) -> String {
    let secret = credential.secret_access_key.as_bytes();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    STANDARD.encode(hmac::sign(&key, text.as_bytes()))
}

/// Signs in the header. `resource` is the resource as the client spells it in the string to sign.
fn signed(credential: &Credential, request: ClientRequest, resource: &str) -> ClientRequest {
    let date = OffsetDateTime::now_utc().format(&Rfc2822).unwrap();
    let value = |wanted: &str| {
        let found = request.headers.iter().find(|(name, _)| name == wanted);
        found.map_or("", |(_, value)| value.as_str()).to_owned()
    };
    let mut own: Vec<String> = request
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with("x-amz-"))
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    own.sort();
    let (md5, media) = (value("content-md5"), value("content-type"));
    let text = format!(
        "{}\n{md5}\n{media}\n{date}\n{}{resource}",
        request.method,
        own.concat()
    );
    let signature = mac(credential, &text);
    request.header("date", date).header(
        "authorization",
        format!("AWS {}:{signature}", credential.access_key_id),
    )
}

fn in_a_while(lifetime: Duration) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    (now + lifetime).as_secs()
}

/// A presigned target. `own` are the lines of headers that the query carries.
fn presigned(credential: &Credential, target: &str, own: &str, expires: u64) -> String {
    let path = target.split('?').next().unwrap();
    let signature = mac(credential, &format!("GET\n\n\n{expires}\n{own}{path}"));
    let separator = if target.contains('?') { '&' } else { '?' };
    format!(
        "{target}{separator}AWSAccessKeyId={}&Signature={}&Expires={expires}",
        credential.access_key_id,
        encoded(&signature)
    )
}

#[tokio::test]
async fn a_named_client_reads_and_writes() {
    let proxy = proxy().await;
    let send = async |request, resource: &str| {
        proxy.send_unsigned(signed(&old(), request, resource)).await
    };
    let put = ClientRequest::put("/photos/a%20dog", "barks")
        .header("content-type", "text/plain")
        .header("x-amz-meta-name", "Rex");
    send(put, "/photos/a%20dog").await.expect(200);
    let get = ClientRequest::get("/photos/a%20dog").header("range", "bytes=1-2");
    let got = send(get, "/photos/a%20dog").await.expect(206);
    assert_eq!(got.text(), "ar");
    assert_eq!(got.header("x-amz-meta-name"), "Rex");
    let list = ClientRequest::get("/photos?prefix=a&max-keys=1&list-type=2");
    let listed = send(list, "/photos/").await.expect(200);
    assert_eq!(listed.element("Key"), "a cat");
    let attributes = ClientRequest::get("/photos/a%20dog?attributes")
        .header("x-amz-object-attributes", "ObjectSize");
    let refused = send(attributes.clone(), "/photos/a%20dog").await;
    let refused = refused.expect_error(403, "AccessDenied");
    assert!(refused.text().contains("attributes"), "{}", refused.text());
    let answered = send(attributes, "/photos/a%20dog?attributes")
        .await
        .expect(200);
    assert_eq!(answered.element("ObjectSize"), "5");
    let delete = ClientRequest::delete("/photos/a%20dog");
    send(delete, "/photos/a%20dog").await.expect(204);
}

#[tokio::test]
async fn only_named_clients_may_and_others_are_told_the_setting() {
    let proxy = proxy().await;
    let new = Credential::new("NEW", "secret of new");
    let get = || ClientRequest::get("/photos/a%20cat");
    let url = presigned(
        &new,
        "/photos/a%20cat",
        "",
        in_a_while(Duration::from_mins(1)),
    );
    for request in [
        signed(&new, get(), "/photos/a%20cat"),
        ClientRequest::get(url),
    ] {
        let refused = proxy.send_unsigned(request).await;
        let refused = refused.expect_error(501, "NotImplemented");
        assert!(
            refused.text().contains("clients.known[].signature_v2"),
            "{}",
            refused.text()
        );
    }
    let stranger = Credential::new("STRANGER", "x");
    let unknown = signed(&stranger, get(), "/photos/a%20cat");
    proxy
        .send_unsigned(unknown)
        .await
        .expect_error(403, "InvalidAccessKeyId");
    let other_secret = Credential::new("OLD", "x");
    let wrong = signed(&other_secret, get(), "/photos/a%20cat");
    proxy
        .send_unsigned(wrong)
        .await
        .expect_error(403, "SignatureDoesNotMatch");
    // A client that may sign with Version 2 may still sign with Version 4.
    proxy.send_as(&old(), get()).await.expect(200);
}

#[tokio::test]
async fn presigned_urls_work_until_they_expire_and_only_as_they_were_signed() {
    let proxy = proxy().await;
    let get = async |target: String| proxy.send_unsigned(ClientRequest::get(target)).await;
    let soon = in_a_while(Duration::from_mins(1));
    let url = presigned(&old(), "/photos/a%20cat", "", soon);
    assert_eq!(get(url.clone()).await.expect(200).text(), "content");
    // SDKs repeat the headers' values in the URL.
    get(format!("{url}&content-type=")).await.expect(200);
    for added in [
        "versionId=1",
        "response-content-type=text/html",
        "tagging",
        "x-amz-request-payer=requester",
    ] {
        let changed = get(format!("{url}&{added}")).await;
        changed.expect_error(403, "SignatureDoesNotMatch");
    }
    let moved = url.replace("a%20cat", "another");
    get(moved).await.expect_error(403, "SignatureDoesNotMatch");
    let past = in_a_while(Duration::ZERO) - 1;
    let expired = presigned(&old(), "/photos/a%20cat", "", past);
    get(expired).await.expect_error(403, "AccessDenied");
    let far = in_a_while(Duration::from_hours(8 * 24));
    let too_long = presigned(&old(), "/photos/a%20cat", "", far);
    get(too_long)
        .await
        .expect_error(400, "AuthorizationQueryParametersError");
    let twice = ClientRequest::get(&url).header("authorization", "AWS OLD:x");
    proxy
        .send_unsigned(twice)
        .await
        .expect_error(400, "InvalidRequest");
    get(format!("{url}&expires=1"))
        .await
        .expect_error(400, "InvalidRequest");
}

#[tokio::test]
async fn without_authentication_a_presigned_url_is_a_request_like_any_other() {
    let proxy = Proxy::builder()
        .file("[clients]\nauth = \"none\"\n")
        .start()
        .await;
    let put = ClientRequest::put("/photos", "");
    proxy.send_unsigned(put).await.expect(200);
    let put = ClientRequest::put("/photos/cat", "content");
    proxy.send_unsigned(put).await.expect(200);
    let url = presigned(&old(), "/photos/cat", "", 1);
    let got = proxy.send_unsigned(ClientRequest::get(url)).await;
    assert_eq!(got.expect(200).text(), "content");
}

#[tokio::test]
async fn session_tokens_have_to_be_the_clients() {
    let proxy = proxy().await;
    let session = Credential::new("SESSION", "secret of session");
    let soon = in_a_while(Duration::from_mins(1));
    let get = async |token: &str| {
        let target = format!("/photos/a%20cat?x-amz-security-token={}", encoded(token));
        let line = format!("x-amz-security-token:{token}\n");
        let url = presigned(&session, &target, &line, soon);
        proxy.send_unsigned(ClientRequest::get(url)).await
    };
    get("token/+").await.expect(200);
    get("another").await.expect_error(400, "InvalidToken");
    let without = presigned(&session, "/photos/a%20cat", "", soon);
    let without = proxy.send_unsigned(ClientRequest::get(without)).await;
    without.expect_error(400, "InvalidToken");
}

#[tokio::test]
async fn bodies_are_checked_by_their_checksums_and_chunks_are_refused() {
    let proxy = proxy().await;
    let put = async |name: &str, value: &str| {
        let request = ClientRequest::put("/photos/a", "content").header(name, value);
        proxy
            .send_unsigned(signed(&old(), request, "/photos/a"))
            .await
    };
    put("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")
        .await
        .expect_error(400, "BadDigest");
    put("x-amz-checksum-crc32", "AAAAAA==")
        .await
        .expect_error(400, "BadDigest");
    let digest = "0".repeat(64);
    put("x-amz-content-sha256", &digest)
        .await
        .expect_error(400, "XAmzContentSHA256Mismatch");
    let chunks = put("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER").await;
    chunks.expect_error(501, "NotImplemented");
    let absent = ClientRequest::head("/photos/a");
    proxy.send_as(&old(), absent).await.expect(404);
}

/// Sends a form with this key, whose policy allows keys of `uploads/`.
async fn post(proxy: &Proxy, credential: &Credential, key: &str) -> Answer {
    let policy = STANDARD.encode(
        r#"{"expiration": "2100-01-01T00:00:00Z", "conditions":
            [{"bucket": "photos"}, ["starts-with", "$key", "uploads/"]]}"#,
    );
    let signature = mac(credential, &policy);
    let fields = [
        ("key", key),
        ("AWSAccessKeyId", &credential.access_key_id),
        ("policy", &policy),
        ("signature", &signature),
    ];
    let field = |(name, value): (&str, &str)| {
        format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let fields: String = fields.map(field).concat();
    let file = "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nposted\r\n--edge--\r\n";
    let form = ClientRequest::post("/photos", format!("{fields}{file}"))
        .header("content-type", "multipart/form-data; boundary=edge");
    proxy.send_unsigned(form).await
}

#[tokio::test]
async fn forms_are_taken_from_named_clients() {
    let proxy = proxy().await;
    post(&proxy, &old(), "uploads/a").await.expect(204);
    let stored = ClientRequest::get("/photos/uploads/a");
    assert_eq!(
        proxy.send_as(&old(), stored).await.expect(200).text(),
        "posted"
    );
    let outside = post(&proxy, &old(), "elsewhere/a").await;
    outside.expect_error(403, "AccessDenied");
    let wrong = post(&proxy, &Credential::new("OLD", "x"), "uploads/b").await;
    wrong.expect_error(403, "SignatureDoesNotMatch");
    let new = Credential::new("NEW", "secret of new");
    let refused = post(&proxy, &new, "uploads/b").await;
    let refused = refused.expect_error(501, "NotImplemented");
    assert!(
        refused.text().contains("signature_v2"),
        "{}",
        refused.text()
    );
}
