//! Objects in older formats, and plaintext.

use bytes::Bytes;
use http::HeaderMap;

use super::reads::{every_read, expect_nothing};
use super::stolen::Stolen;
use super::{KEY, Keys, client, start_built};
use crate::harness::{ClientRequest, Proxy};
use crate::older::{Kek, Known};

/// An object of an older proxy, from the known answers.
fn older(kek: Kek) -> Stolen {
    let known = Known::under(kek);
    let mut headers = known.headers("isec");
    headers.insert("etag", "\"older\"".parse().unwrap());
    Stolen {
        headers,
        body: known.body,
    }
}

fn plain() -> Stolen {
    let mut headers = HeaderMap::new();
    headers.insert("etag", "\"plain\"".parse().unwrap());
    Stolen {
        headers,
        body: Bytes::from_static(b"account,balance\nmallory,1000000\n"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_encryption_is_required_neither_plaintext_nor_an_older_format_is_served() {
    let required = "[[rules]]\nbuckets = [\"tenant-b\"]\nencryption = \"required\"\n";
    for fallback in ["allow", "deny"] {
        let builder = Proxy::builder()
            .environment("S3PROXY_KEYS_DECRYPT_KEYS", "toto")
            .environment("S3PROXY_DECRYPTION_FALLBACK", fallback);
        let proxy = start_built(builder, &Keys::generate(), required).await;
        for (what, object, elsewhere) in [
            ("plaintext", plain(), true),
            ("an older format", older(Kek::TextVersion0), true),
            ("KEK version 1", older(Kek::TextVersion1), true),
            ("the all-zero key", older(Kek::Zero), fallback == "allow"),
        ] {
            object.clone().pass_off(&proxy, "tenant-b");
            expect_nothing(what, every_read(&proxy, "bob", "tenant-b").await);
            object.pass_off(&proxy, "shared");
            let get = ClientRequest::get(format!("/shared/{KEY}"));
            let read = proxy.send_as(&client("carol"), get).await;
            assert_eq!(read.is_success(), elsewhere, "{what}: {read:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_opens_older_formats_and_the_all_zero_key_for_its_prefix_alone() {
    let migrating = "[policy]\nlegacy_reads = \"deny\"\n\
         [[rules]]\nbuckets = [\"tenant-b\"]\nlegacy_reads = \"allow\"\n\
         decryption_fallback = \"allow\"\n\
         [[rules]]\nbuckets = [\"tenant-a\"]\nkey = \"a\"\nlegacy_reads = \"allow\"\n";
    let builder = Proxy::builder().environment("S3PROXY_KEYS_DECRYPT_KEYS", "toto");
    let proxy = start_built(builder, &Keys::generate(), migrating).await;
    let places = [
        ("bob", "tenant-b", true),
        ("carol", "shared", false),
        // Objects under this key open here, but not with a key other than Alice's.
        ("alice", "tenant-a", false),
    ];
    let cases = Kek::ALL.map(|kek| places.map(|place| (kek, place)));
    for (kek, (name, bucket, opens)) in cases.into_iter().flatten() {
        older(kek).pass_off(&proxy, bucket);
        for request in [
            ClientRequest::get(format!("/{bucket}/{KEY}")),
            ClientRequest::head(format!("/{bucket}/{KEY}")),
        ] {
            let method = request.method.clone();
            let read = proxy.send_as(&client(name), request).await;
            assert_eq!(read.is_success(), opens, "{method} {bucket}: {read:?}");
        }
    }
}
