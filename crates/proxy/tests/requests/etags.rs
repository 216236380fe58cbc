//! One ETag of an object in every answer that shows one, and conditions on it.

use http::Method;

use crate::harness::{Answer, ClientRequest, Proxy, Reply};
use crate::memory_store::{Faults, MemoryStore};
use crate::uploads::{begin, complete, upload_part};

const MIB: usize = 1024 * 1024;

/// A date that is no object's.
const FUTURE: &str = "Fri, 01 Jan 2100 00:00:00 GMT";
const PAST: &str = "Sat, 01 Jan 2000 00:00:00 GMT";

async fn proxy_with_store() -> Proxy {
    let proxy = Proxy::start().await;
    let store = MemoryStore::new(Faults::default());
    proxy.backend.script(move |request| {
        // The store lists no versions; what it has is each key's only one.
        let lists_versions = request.has_parameter("versions");
        let mut asked = request.clone();
        asked.target = asked.target.replace("versions", "list-type=2");
        let Reply::Answer(mut answer) = store.reply(&asked) else {
            return Reply::Close;
        };
        if lists_versions {
            let text = String::from_utf8(std::mem::take(answer.body_mut())).unwrap();
            let text = text
                .replace("ListBucketResult", "ListVersionsResult")
                .replace("Contents>", "Version>")
                .replace("<Key>", "<VersionId>null</VersionId><Key>");
            *answer.body_mut() = text.into_bytes();
        }
        Reply::Answer(answer)
    });
    proxy
}

/// Every read that shows the ETag of `/bucket/{key}`, with where it stands.
fn reads(key: &str, etag: &str) -> Vec<(ClientRequest, u16, &'static str)> {
    let target = format!("/bucket/{key}");
    let object = |method: Method, status, (name, value): (&str, &str)| {
        let request = ClientRequest::new(method, &*target).header(name, value);
        (request, status, "header")
    };
    let mut reads = Vec::new();
    for method in [Method::GET, Method::HEAD] {
        for (status, condition) in [
            (200, ("accept", "*/*")),
            (200, ("if-match", etag)),
            (200, ("if-unmodified-since", FUTURE)),
            (200, ("if-none-match", "\"another\"")),
            (304, ("if-none-match", etag)),
            (304, ("if-none-match", "*")),
            (304, ("if-modified-since", FUTURE)),
        ] {
            reads.push(object(method.clone(), status, condition));
        }
    }
    reads.push(object(Method::GET, 206, ("range", "bytes=1-2")));
    let part = ClientRequest::get(format!("{target}?partNumber=1"));
    reads.push((part, 206, "header"));
    for query in ["", "&list-type=2", "&versions"] {
        let request = ClientRequest::get(format!("/bucket?prefix={key}{query}"));
        reads.push((request, 200, "ETag"));
    }
    reads
}

fn shown(answer: &Answer, place: &str) -> String {
    let text = if place == "header" {
        answer.header("etag").to_owned()
    } else {
        answer.element(place).replace("&quot;", "\"")
    };
    text.trim_matches('"').to_owned()
}

async fn expect_one_etag(proxy: &Proxy, key: &str, etag: &str) {
    let quoted = format!("\"{etag}\"");
    for (request, status, place) in reads(key, &quoted) {
        let described = format!(
            "{} {} {:?}",
            request.method, request.target, request.headers
        );
        let answer = proxy.send(request).await;
        assert_eq!(answer.status(), status, "{described}");
        assert_eq!(shown(&answer, place), etag, "{described}");
    }
}

async fn attributes(proxy: &Proxy, key: &str) -> String {
    let request = ClientRequest::get(format!("/bucket/{key}?attributes"))
        .header("x-amz-object-attributes", "ETag");
    let answer = proxy.send(request).await.expect(200);
    shown(&answer, "ETag")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_object_has_one_etag_in_every_answer() {
    let proxy = proxy_with_store().await;
    let etag = proxy.put("/bucket/key", "plaintext").await;
    let etag = etag.trim_matches('"');
    assert!(etag.ends_with("-0"), "{etag}");
    expect_one_etag(&proxy, "key", etag).await;
    assert_eq!(attributes(&proxy, "key").await, etag);

    let request = ClientRequest::put("/bucket/copy", "")
        .header("x-amz-copy-source", "/bucket/key")
        .header("x-amz-copy-source-if-match", format!("\"{etag}\""));
    let copied = proxy.send(request).await.expect(200);
    expect_one_etag(&proxy, "copy", &shown(&copied, "ETag")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uploaded_object_has_one_etag_in_every_answer() {
    let proxy = proxy_with_store().await;
    for (key, sizes) in [("short", &[9][..]), ("long", &[5 * MIB, 10])] {
        let id = begin(&proxy, key).await;
        let mut parts = Vec::new();
        for (number, size) in (1..).zip(sizes) {
            let etag = upload_part(&proxy, (key, &id), number, vec![1; *size]).await;
            parts.push((number, etag));
        }
        let completed = complete(&proxy, (key, &id), &parts).await.expect(200);
        let etag = shown(&completed, "ETag");
        expect_one_etag(&proxy, key, &etag).await;
        assert_eq!(attributes(&proxy, key).await, etag);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_object_keeps_the_backends_etag_in_every_answer() {
    let proxy = Proxy::start().await;
    let store = MemoryStore::new(Faults::default());
    store.plant("bucket", "key", "plaintext");
    store.behind(&proxy);
    let head = ClientRequest::head("/bucket/key");
    let etag = shown(&proxy.send(head).await.expect(200), "header");
    assert_eq!(etag.len(), 32);
    for (condition, value) in [
        ("if-none-match", format!("\"{etag}\"")),
        ("if-none-match", "*".to_owned()),
        ("if-modified-since", FUTURE.to_owned()),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let request = ClientRequest::new(method, "/bucket/key").header(condition, &*value);
            let answer = proxy.send(request).await.expect(304);
            assert_eq!(shown(&answer, "header"), etag, "{condition}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etag_that_nobody_can_vouch_for_is_not_in_a_304() {
    let proxy = proxy_with_store().await;
    proxy.put("/bucket/key", "plaintext").await;
    let etag = "\"0123456789abcdef0123456789abcdef\"";
    // Replaced between the answer and the look at it.
    proxy.backend.script(move |request| {
        if request.header("if-modified-since").is_empty() {
            Reply::answer(200, &[("etag", "\"another\""), ("content-length", "9")], "")
        } else {
            Reply::answer(304, &[("etag", etag)], "")
        }
    });
    let request = ClientRequest::get("/bucket/key").header("if-modified-since", FUTURE);
    let answer = proxy.send(request).await.expect(304);
    assert_eq!(answer.header("etag"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_changes_show_no_etag_of_the_backends() {
    let proxy = Proxy::start().await;
    let store = MemoryStore::new(Faults::default());
    store.behind(&proxy);
    let etag = proxy.put("/bucket/key", "plaintext").await;
    let backends = etag.trim_matches('"').trim_end_matches("-0").to_owned();
    let tagged = format!("\"{backends}\"");
    proxy
        .backend
        .script(move |request| match store.reply(request) {
            Reply::Answer(mut answer) if !request.method.is_safe() => {
                answer.headers_mut().insert("etag", tagged.parse().unwrap());
                Reply::Answer(answer)
            }
            reply => reply,
        });
    let copy = |name: &str, value: &str| {
        ClientRequest::put("/bucket/copy", "")
            .header("x-amz-copy-source", "/bucket/key")
            .header(name, value)
    };
    for request in [
        ClientRequest::get("/bucket/key").header("if-match", "\"another\""),
        ClientRequest::get("/bucket/key").header("if-unmodified-since", PAST),
        ClientRequest::head("/bucket/key").header("if-unmodified-since", PAST),
        copy("x-amz-copy-source-if-none-match", "*"),
        copy("x-amz-copy-source-if-none-match", &etag),
        copy("x-amz-copy-source-if-match", "\"another\""),
        copy("x-amz-copy-source-if-modified-since", FUTURE),
        ClientRequest::put("/bucket/key", "x").header("if-match", "\"another\""),
        ClientRequest::put(
            "/bucket/key?tagging",
            "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
        ),
        ClientRequest::delete("/bucket/key"),
    ] {
        let described = format!(
            "{} {} {:?}",
            request.method, request.target, request.headers
        );
        let answer = proxy.send(request).await;
        let told = format!("{:?} {}", answer.headers, answer.text());
        let unmarked = told.replace(&format!("{backends}-0"), "");
        assert!(!unmarked.contains(&backends), "{described}: {told}");
    }
}

/// Ceph's gateway (16) compares the condition of a PUT with the ETag as text.
#[tokio::test(flavor = "multi_thread")]
async fn conditions_of_a_put_hold_at_a_server_that_compares_their_quotes() {
    for asked_before in [true, false] {
        let proxy = Proxy::start().await;
        let faults = Faults {
            compares_quotes: true,
            ..Faults::default()
        };
        let store = MemoryStore::new(faults);
        store.plant("bucket", "key", "old");
        store.behind(&proxy);
        let etag = if asked_before {
            let head = ClientRequest::head("/bucket/key");
            proxy.send(head).await.expect(200).header("etag").to_owned()
        } else {
            format!("\"{:032x}\"", 1)
        };
        let put = |etag: &str| ClientRequest::put("/bucket/key", "new").header("if-match", etag);
        let written = proxy.send(put(&etag)).await.expect(200);
        proxy
            .send(put(&etag))
            .await
            .expect_error(412, "PreconditionFailed");
        proxy.send(put(written.header("etag"))).await.expect(200);
    }
}
