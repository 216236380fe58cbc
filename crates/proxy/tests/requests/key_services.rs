//! A key service that is silent, fails, throttles or returns errors, beside a tenant with a local
//! key.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::harness::{ClientRequest, Mood, Proxy, VaultServer};

/// A proxy that seals objects in the bucket `vault` with the service's key, and all others with a
/// local one.
async fn proxy(vault: &VaultServer, settings: &str) -> Proxy {
    proxy_with(vault, settings, "").await
}

/// As [`proxy`], with additional settings of the service's key.
async fn proxy_with(vault: &VaultServer, settings: &str, of_key: &str) -> Proxy {
    let proxy = Proxy::builder()
        .file(&format!(
            r#"
            [limits]
            body_memory = "4 MiB"
            [keys]
            active = "encrypt_key"
            {settings}
            [[keys.vault]]
            address = "http://{}"
            key = "s3proxy"
            token = "token"
            {of_key}
            [[rules]]
            buckets = ["vault"]
            key = "vault:transit/s3proxy"
            "#,
            vault.address()
        ))
        .start()
        .await;
    proxy.create_bucket("vault").await;
    proxy.create_bucket("local").await;
    proxy
}

/// Disables all caching of keys, so that every read and every write calls the service.
const NOTHING_REMEMBERED: &str = "kek_objects = 1\ncache_time = \"0s\"";

const MIB: usize = 1 << 20;

async fn wait_for(mut condition: impl AsyncFnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !condition().await {
        assert!(Instant::now() < patience, "it never comes true");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_key_service_takes_nothing_from_a_tenant_with_a_local_key() {
    let vault = VaultServer::start().await;
    let proxy = Arc::new(proxy(&vault, NOTHING_REMEMBERED).await);
    proxy.put("/vault/source", "x").await;
    vault.set(Mood::Silent);
    let mut waiting = JoinSet::new();
    // Together, these bodies are longer than the memory for bodies.
    for number in 0..60 {
        let proxy = Arc::clone(&proxy);
        waiting.spawn(async move {
            let request = ClientRequest::put(format!("/vault/{number}"), vec![7; MIB]);
            proxy.send(request).await
        });
    }
    // The first call sealed the source; the second shows that a write is waiting.
    wait_for(async || vault.calls().encrypt >= 2).await;
    for number in 0..6 {
        let began = Instant::now();
        let target = format!("/local/{number}");
        proxy.put(&target, vec![7; MIB]).await;
        let answer = proxy.send(ClientRequest::get(&target)).await.expect(200);
        assert_eq!(answer.body.len(), MIB);
        assert!(
            began.elapsed() < Duration::from_secs(3),
            "{:?}",
            began.elapsed()
        );
    }
    assert!(waiting.try_join_next().is_none(), "the others still wait");
    let ready = proxy.send_unsigned(ClientRequest::get("/readyz")).await;
    ready.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_waits_for_its_key_before_its_content_takes_memory() {
    let vault = VaultServer::start().await;
    let proxy = Arc::new(proxy(&vault, NOTHING_REMEMBERED).await);
    let target = "/local/plain";
    proxy
        .send_to_store(ClientRequest::put(target, vec![7; MIB]))
        .await
        .expect(200);
    vault.set(Mood::Silent);
    let mut waiting = JoinSet::new();
    for number in 0..20 {
        let proxy = Arc::clone(&proxy);
        waiting.spawn(async move {
            let copy = ClientRequest::put(format!("/vault/{number}"), "");
            proxy.send(copy.header("x-amz-copy-source", target)).await
        });
    }
    wait_for(async || vault.calls().encrypt >= 1).await;
    let began = Instant::now();
    proxy.put("/local/own", vec![7; MIB]).await;
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_fails_gets_few_calls_and_is_found_again() {
    let vault = VaultServer::start().await;
    let proxy = proxy(&vault, NOTHING_REMEMBERED).await;
    proxy.put("/vault/object", "plaintext").await;
    vault.set(Mood::Failing);
    let before = vault.calls();
    for _ in 0..100 {
        let answer = proxy.send(ClientRequest::get("/vault/object")).await;
        answer.expect_error(503, "ServiceUnavailable");
    }
    let calls = vault.calls().decrypt - before.decrypt;
    // A failing service is left alone for a while after a few calls.
    assert!(calls <= 12, "{calls} calls for 100 requests");
    vault.set(Mood::Well);
    wait_for(async || {
        let answer = proxy.send(ClientRequest::get("/vault/object")).await;
        answer.status() == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_limits_calls_is_not_asked_again_for_the_same_request() {
    let vault = VaultServer::start().await;
    let proxy = proxy(&vault, NOTHING_REMEMBERED).await;
    proxy.put("/vault/object", "plaintext").await;
    vault.set(Mood::Throttling);
    let before = vault.calls();
    let answer = proxy.send(ClientRequest::get("/vault/object")).await;
    answer.expect_error(503, "ServiceUnavailable");
    assert_eq!(vault.calls().decrypt - before.decrypt, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_of_an_object_whose_kek_the_service_does_not_know_are_one_call() {
    let vault = VaultServer::start().await;
    let proxy = proxy(&vault, NOTHING_REMEMBERED).await;
    proxy.put("/vault/object", "plaintext").await;
    vault.set(Mood::Foreign);
    let before = vault.calls();
    for _ in 0..20 {
        let answer = proxy.send(ClientRequest::get("/vault/object")).await;
        answer.expect_error(500, "InternalError");
    }
    assert_eq!(vault.calls().decrypt - before.decrypt, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_has_expired_is_unavailable_and_no_error_of_the_proxys() {
    let vault = VaultServer::start().await;
    let proxy = proxy(&vault, NOTHING_REMEMBERED).await;
    proxy.put("/vault/object", "plaintext").await;
    vault.set(Mood::Refusing);
    for request in [
        ClientRequest::get("/vault/object"),
        ClientRequest::put("/vault/another", "x"),
    ] {
        let answer = proxy.send(request).await;
        answer.expect_error(503, "ServiceUnavailable");
    }
    vault.set(Mood::Well);
    let answer = proxy.send(ClientRequest::get("/vault/object")).await;
    assert_eq!(answer.expect(200).text(), "plaintext");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_go_on_when_the_time_of_a_kek_ends() {
    let vault = VaultServer::start().await;
    let proxy = proxy(&vault, "kek_time = \"2s\"").await;
    proxy.put("/vault/first", "x").await;
    assert_eq!(vault.calls().encrypt, 1);
    wait_for(async || vault.calls().encrypt == 2).await;
    // The proxy creates a new KEK ahead of time, without a request, and it outlives the first one.
    vault.set(Mood::Failing);
    let renewed = Instant::now();
    let mut last = 0.0;
    while renewed.elapsed() < Duration::from_millis(1200) {
        proxy.put("/vault/next", "x").await;
        last = renewed.elapsed().as_secs_f64();
    }
    assert!(last > 1.0, "the first KEK had ended by then");
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_a_server_takes_for_the_envelope_is_refused() {
    let proxy = Proxy::start().await;
    proxy.create_bucket("bucket").await;
    for name in ["x-amz-meta-constellation_dek", "x-amz-meta-isec"] {
        let request = ClientRequest::put("/bucket/key", "x").header(name, "s3p1.AAAA");
        let answer = proxy.send(request).await;
        answer.expect_error(400, "InvalidArgument");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_asks_the_key_service_for_sealed_headers_only() {
    let vault = VaultServer::start().await;
    let proxy = proxy(&vault, NOTHING_REMEMBERED).await;
    proxy.put("/vault/object", "plaintext").await;
    let with_checksum = ClientRequest::put("/vault/checked", "plaintext")
        .header("x-amz-checksum-crc32c", "tPm8mg==")
        .header("x-amz-sdk-checksum-algorithm", "CRC32C");
    let stored = proxy.send(with_checksum).await;
    assert_eq!(stored.status(), 200, "{stored:?}");
    vault.set(Mood::Failing);
    let head = |target: &str| ClientRequest::head(target);
    let whole = proxy.send(head("/vault/object")).await.expect(200);
    assert_eq!(whole.header("content-length"), "9");
    let range = head("/vault/object").header("range", "bytes=1-2");
    proxy.send(range).await.expect(206);
    let listing = ClientRequest::get("/vault?list-type=2");
    let listing = proxy.send(listing).await.expect(200);
    assert!(listing.text().contains("<Size>9</Size>"), "{listing:?}");
    assert_eq!(vault.calls().decrypt, 0);

    for request in [
        head("/vault/object").header("x-amz-checksum-mode", "ENABLED"),
        head("/vault/checked"),
    ] {
        let before = vault.calls().decrypt;
        proxy.send(request).await.expect(503);
        assert!(vault.calls().decrypt > before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_asks_no_key_service_still_checks_the_place() {
    let vault = VaultServer::start().await;
    let proxy = proxy(&vault, NOTHING_REMEMBERED).await;
    proxy.put("/vault/object", "plaintext").await;
    for folder in ["local", "vault"] {
        let answer = proxy
            .send_to_store(ClientRequest::get("/vault/object"))
            .await;
        let mut moved = ClientRequest::put(format!("/{folder}/moved"), answer.body.clone());
        moved = moved.header("x-amz-meta-isec", answer.header("x-amz-meta-isec"));
        proxy.send_to_store(moved).await.expect(200);
    }
    proxy.backend.take_requests();
    vault.set(Mood::Failing);
    proxy
        .send(ClientRequest::head("/local/moved"))
        .await
        .expect(403);
    assert_eq!(vault.calls().decrypt, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_opens_the_envelope_where_metadata_are_to_be_sealed() {
    let vault = VaultServer::start().await;
    let settings = format!("{NOTHING_REMEMBERED}\n[policy]\nmetadata = \"sealed\"");
    let proxy = proxy(&vault, &settings).await;
    proxy.put("/vault/object", "plaintext").await;
    let head = || ClientRequest::head("/vault/object");
    proxy.send(head()).await.expect(200);
    assert_eq!(vault.calls().decrypt, 1);
    vault.set(Mood::Failing);
    proxy.send(head()).await.expect(503);
}

const ASSOCIATED: &str = "associated_data = \"on\"";

#[tokio::test(flavor = "multi_thread")]
async fn keys_with_associated_data_open_nothing_that_was_encrypted_without_it() {
    let vault = VaultServer::start().await;
    let bound = proxy_with(&vault, NOTHING_REMEMBERED, ASSOCIATED).await;
    let free = proxy(&vault, NOTHING_REMEMBERED).await;
    for (writer, reader) in [(&bound, &free), (&free, &bound)] {
        writer.put("/vault/object", "plaintext").await;
        let own = writer.send(ClientRequest::get("/vault/object")).await;
        assert_eq!(own.expect(200).text(), "plaintext");

        let stored = writer
            .send_to_store(ClientRequest::get("/vault/object"))
            .await;
        let copy = ClientRequest::put("/vault/object", stored.body.clone());
        let copy = copy.header("x-amz-meta-isec", stored.header("x-amz-meta-isec"));
        reader.send_to_store(copy).await.expect(200);
        let other = reader.send(ClientRequest::get("/vault/object")).await;
        other.expect_error(500, "InternalError");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ignores_associated_data_is_not_written_with() {
    let vault = VaultServer::start().await;
    // Such a server encrypts without the data and reports no error.
    vault.set(Mood::Older);
    let proxy = proxy_with(&vault, NOTHING_REMEMBERED, ASSOCIATED).await;
    let put = || ClientRequest::put("/vault/object", "plaintext");
    proxy.send(put()).await.expect_error(403, "AccessDenied");
    vault.set(Mood::Well);
    proxy.send(put()).await.expect(200);
    let before = vault.calls();
    proxy.send(put()).await.expect(200);
    assert_eq!(vault.calls().decrypt, before.decrypt, "it is known by now");
}
