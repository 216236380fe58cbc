//! Keys and bindings separate tenants.

use super::reads::{every_read, expect_nothing};
use super::stolen::name_version;
use super::writing::{LAYOUTS, Written, plaintext, write};
use super::{BINDINGS, KEY, Keys, client, rule, rules, start};
use crate::harness::{ClientRequest, Reply};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_one_tenant_opens_for_another_or_where_no_rule_matches() {
    for bind in BINDINGS {
        let keys = Keys::generate();
        let proxy = start(&keys, &rules(&format!("key_binding = \"{bind}\""))).await;
        for written in LAYOUTS {
            let stolen = write(&proxy, "alice", "tenant-a", written).await;
            let renamed = stolen.renamed(&keys.a.1, &keys.b.1);
            for (name, bucket, passed_off) in [
                ("bob", "tenant-b", stolen.clone()),
                ("bob", "tenant-b", renamed),
                ("carol", "shared", stolen.clone()),
            ] {
                passed_off.pass_off(&proxy, bucket);
                let case = format!("{written:?}, bound to {bind}, {bucket}");
                expect_nothing(&case, every_read(&proxy, name, bucket).await);
            }
            // The same object in its own place opens, which proves that the backend's lie was
            // faithful.
            stolen.pass_off(&proxy, "tenant-a");
            let get = ClientRequest::get(format!("/tenant-a/{KEY}"));
            let own = proxy.send_as(&client("alice"), get).await.expect(200);
            assert_eq!(own.body, plaintext(written));
            proxy.backend.honest();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_under_the_active_key_opens_in_a_place_with_a_key_of_its_own() {
    let proxy = start(&Keys::generate(), &rules("")).await;
    for written in LAYOUTS {
        let stolen = write(&proxy, "carol", "shared", written).await;
        stolen.pass_off(&proxy, "tenant-b");
        let case = format!("{written:?}");
        expect_nothing(&case, every_read(&proxy, "bob", "tenant-b").await);
        proxy.backend.honest();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_opens_nothing_that_is_bound_to_less_than_its_rule_says() {
    // Both buckets have one key: only the binding distinguishes them.
    let keys = Keys::generate();
    let bound = "[[rules]]\nbuckets = [\"tenant-b\"]\nkey_binding = \"bucket-and-key\"\n";
    let proxy = start(&keys, bound).await;
    for written in LAYOUTS {
        let stolen = write(&proxy, "carol", "shared", written).await;
        stolen.pass_off(&proxy, "tenant-b");
        let case = format!("{written:?}");
        expect_nothing(&case, every_read(&proxy, "bob", "tenant-b").await);
        proxy.backend.honest();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_and_a_binding_that_a_rule_lists_open_until_objects_are_rewrapped() {
    for (rule_b, opens) in [
        ("key = \"b\"\nopens = [\"a\"]", true),
        (
            "key = \"b\"\nkey_binding = \"bucket-and-key\"\nopens = [\"a\"]",
            false,
        ),
        (
            "key = \"b\"\nkey_binding = \"bucket-and-key\"\nopens = [\"a\"]\nopens_key_binding = \"key\"",
            true,
        ),
        ("opens = [\"a\"]", true),
        ("key = \"b\"", false),
    ] {
        let rules = rule("a", "") + &format!("[[rules]]\nbuckets = [\"tenant-b\"]\n{rule_b}\n");
        let proxy = start(&Keys::generate(), &rules).await;
        let stolen = write(&proxy, "alice", "tenant-a", Written::Whole).await;
        // The backend itself makes the copies, so the object has to be in its store.
        stolen.store(&proxy, "tenant-b").await;
        proxy.backend.script(|request| {
            let asked = request.clone();
            Reply::altered(move |response| name_version(&asked, response.headers_mut()))
        });
        for (what, answer) in every_read(&proxy, "bob", "tenant-b").await {
            assert_eq!(answer.is_success(), opens, "{rule_b}: {what}: {answer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_learns_the_name_of_a_key_that_does_not_open_here() {
    let keys = Keys::generate();
    let proxy = start(&keys, &rules("")).await;
    let stolen = write(&proxy, "alice", "tenant-a", Written::Whole).await;
    stolen.pass_off(&proxy, "tenant-b");
    let get = ClientRequest::get(format!("/tenant-b/{KEY}"));
    let refused = proxy.send_as(&client("bob"), get).await;
    let refused = refused.expect_error(403, "AccessDenied");
    assert!(refused.text().contains(&keys.a.1), "{}", refused.text());
    assert!(!refused.text().contains(&keys.a.0));
}
