//! `inspect` reports objects that do not open in their place.

use std::num::NonZeroUsize;

use s3proxy::commands::inspect::inspect;
use s3proxy::commands::object_selection::{Extent, Selection, VersionScope};
use s3proxy::commands::{CommandEnd, Format};
use s3proxy_envelope::kek::Kek;
use serde_json::Value;

use crate::harness::{ClientRequest, Proxy, VaultServer};
use crate::older::{Kek as OlderKek, Known};

/// Copies a stored object with its envelope to another place.
async fn plant(proxy: &Proxy, source: &str, target: &str) {
    let stored = proxy.send_to_store(ClientRequest::get(source)).await;
    let envelope = stored.header("x-amz-meta-isec").to_owned();
    let planted = ClientRequest::put(target, stored.expect(200).body);
    let planted = planted.header("x-amz-meta-isec", envelope);
    proxy.send_to_store(planted).await.expect(200);
}

/// The lines of `inspect --json` for some buckets, sorted by object, and the summary.
async fn inspected(proxy: &Proxy, buckets: &[&str]) -> Vec<Value> {
    let selection = Selection {
        targets: buckets.iter().map(|name| name.parse().unwrap()).collect(),
        extent: Extent::Prefix,
        versions: VersionScope::Current,
        start_after: None,
        concurrency: NonZeroUsize::MIN,
        modified_since: None,
    };
    let mut output = Vec::new();
    let config = proxy.command_config();
    let ended = inspect(config, selection, Format::Json, &mut output).await;
    assert_eq!(ended.unwrap(), CommandEnd::Complete);
    let lines = output.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_do_not_open_in_their_place_are_told_without_a_key_service() {
    let vault = VaultServer::start().await;
    let key = Kek::generate();
    let proxy = Proxy::builder()
        .file(&format!(
            r#"
            [keys]
            active = "encrypt_key"
            [[keys.vault]]
            address = "http://{}"
            key = "s3proxy"
            token = "token"
            [[keys.local]]
            label = "a"
            key = "{}"
            [[rules]]
            buckets = ["tenant-a"]
            key = "a"
            [[rules]]
            buckets = ["tenant-b"]
            key = "vault:transit/s3proxy"
            [[rules]]
            buckets = ["demanding"]
            encryption = "required"
            "#,
            vault.address(),
            key.to_configured().as_str(),
        ))
        .start()
        .await;
    let buckets = ["demanding", "shared", "tenant-a", "tenant-b"];
    for bucket in buckets {
        proxy.create_bucket(bucket).await;
    }
    for bucket in ["shared", "tenant-a", "tenant-b"] {
        proxy.put(&format!("/{bucket}/own"), "content").await;
    }
    plant(&proxy, "/tenant-a/own", "/shared/own-of-a").await;
    plant(&proxy, "/tenant-b/own", "/tenant-a/own-of-b").await;
    plant(&proxy, "/shared/own", "/shared/renamed").await;
    let plain = ClientRequest::put("/demanding/plain", "content");
    proxy.send_to_store(plain).await.expect(200);
    let calls = vault.calls().decrypt;

    let lines = inspected(&proxy, &buckets).await;
    let (summary, objects) = lines.split_last().unwrap();
    let opens: Vec<(&str, &str, &Value)> = objects
        .iter()
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap();
            (text("bucket"), text("key"), &line["opens_here"])
        })
        .collect();
    assert_eq!(
        opens,
        [
            ("demanding", "plain", &Value::Bool(false)),
            ("shared", "own", &Value::Bool(true)),
            ("shared", "own-of-a", &Value::Bool(false)),
            ("shared", "renamed", &Value::Bool(false)),
            ("tenant-a", "own", &Value::Bool(true)),
            ("tenant-a", "own-of-b", &Value::Bool(false)),
            ("tenant-b", "own", &Value::Bool(true)),
        ]
    );
    let refusal = objects[2]["refusal"].as_str().unwrap();
    assert!(refusal.contains(&key.local_name()), "{refusal}");
    assert_eq!(summary["refused_objects"], 4);
    assert_eq!(vault.calls().decrypt, calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kek_version_of_an_older_object_is_named_and_an_unknown_one_does_not_open() {
    let proxy = Proxy::builder()
        .environment("S3PROXY_KEYS_DECRYPT_KEYS", "toto")
        .start()
        .await;
    proxy.create_bucket("bucket").await;
    let known = [OlderKek::TextVersion0, OlderKek::TextVersion1].map(Known::under);
    let newer = Known {
        version: Some("2"),
        ..known[1].clone()
    };
    for (key, object) in ["a", "b", "c"]
        .into_iter()
        .zip([&known[0], &known[1], &newer])
    {
        let mut put = ClientRequest::put(format!("/bucket/{key}"), object.body.clone());
        for (name, value) in &object.headers("isec") {
            put = put.header(name.as_str(), value.to_str().unwrap());
        }
        proxy.send_to_store(put).await.expect(200);
    }
    let lines = inspected(&proxy, &["bucket"]).await;
    let told: Vec<_> = lines[..3]
        .iter()
        .map(|line| {
            assert_eq!(line["format"], "intrinsec");
            let version = line["kek_version"].as_str().unwrap();
            (version, line["opens_here"] == true)
        })
        .collect();
    assert_eq!(told, [("0", true), ("1", true), ("2", false)]);
    let refusal = lines[2]["refusal"].as_str().unwrap();
    assert!(refusal.contains("newer version of Intrinsec"), "{refusal}");
}
