//! `verify` fails for objects that clients are refused.

use s3proxy::commands::verify::{VerifyScope, verify};
use s3proxy::commands::{CommandEnd, Format};

use crate::harness::{Proxy, whole_bucket};
use crate::memory_store::{Faults, MemoryStore};
use crate::older::{Kek, Known};

async fn verified(settings: &str, plaintext: bool, older: bool) -> CommandEnd {
    let store = MemoryStore::new(Faults::default());
    let builder = Proxy::builder().environment("S3PROXY_KEYS_DECRYPT_KEYS", "toto");
    let proxy = builder.file(settings).start().await;
    store.behind(&proxy);
    proxy.put("/bucket/sealed", "content").await;
    if plaintext {
        store.plant("bucket", "plain", "put there by the storage");
    }
    if older {
        Known::under(Kek::TextVersion0).plant(&proxy, "isec").await;
    }
    let selection = whole_bucket();
    let config = proxy.command_config();
    let ended = verify(config, selection, Format::AllLines, VerifyScope::Bodies).await;
    ended.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn plaintext_is_a_failure_where_it_is_refused() {
    let deny = "[policy]\nplaintext_reads = \"deny\"\n";
    assert_eq!(verified(deny, false, false).await, CommandEnd::Complete);
    assert_eq!(verified(deny, true, false).await, CommandEnd::Incomplete);
    let allow = "[policy]\nplaintext_reads = \"allow\"\n";
    assert_eq!(verified(allow, true, false).await, CommandEnd::Complete);
    let required = "[[rules]]\nbuckets = [\"bucket\"]\nencryption = \"required\"\n";
    assert_eq!(
        verified(required, true, false).await,
        CommandEnd::Incomplete
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_an_older_proxy_is_a_failure_where_it_is_refused() {
    let deny = "[policy]\nlegacy_reads = \"deny\"\n";
    assert_eq!(verified(deny, false, true).await, CommandEnd::Incomplete);
    let allow = "[policy]\nlegacy_reads = \"allow\"\n";
    assert_eq!(verified(allow, false, true).await, CommandEnd::Complete);
}
