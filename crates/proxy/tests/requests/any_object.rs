//! Whatever S3 lets an object have comes back: arbitrary keys, metadata, headers, tags and bodies, through
//! every way of writing and reading them.
//!
//! A few cases by default; `PROPTEST_CASES=1000` tries more of them.

use std::collections::BTreeMap;

use http::Method;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::string::string_regex;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use s3proxy_protocol::percent::{self, Plus};
use tokio::runtime::Runtime;

use crate::harness::{Answer, ClientRequest, Proxy, encoded};
use crate::memory_store::{Faults, MemoryStore};

const CASES: u32 = 24;

/// Metadata of S3's: bytes of names and values together, and entries that a head of 8 KiB has room for.
const METADATA_BYTES: usize = 2048;
const MOST_ENTRIES: usize = 230;

/// What of it fits while it is sealed.
const SEALED_METADATA_BYTES: usize = 1024;

const META: &str = "x-amz-meta-";

/// A part that is stored at once, where shorter ones wait for the next.
const PART_BYTES: usize = 5 * 1024 * 1024;

type Headers = BTreeMap<String, String>;

/// What an object has besides its body.
#[derive(Clone, Debug)]
struct Attributes {
    metadata: Headers,
    content: Headers,
    tags: Headers,
}

#[derive(Clone, Debug)]
struct Case {
    keys: [String; 3],
    first: Attributes,
    second: Attributes,
    body_bytes: u8,
    has_large_part: bool,
}

fn key() -> impl Strategy<Value = String> {
    let odd = select(vec![
        "/", "//", ".", "..", "/../", "/./", "%", "%2F", "%zz", "+", " ", "?", "#", "&", "&amp;",
        "=", "<", ">", "\"", "'", "\\", "~", ";", ":", "@", "*", "|", "^", "`", "{", "}", "[", "]",
        "(", ")", "!", "$", ",", "\t", "\n", "\u{1}", "\u{7f}", "\u{85}", "\u{a0}", "\u{3000}",
        "é", "e\u{301}", "日本", "😀", "\u{fffd}",
    ]);
    let piece = prop_oneof![3 => odd.prop_map(str::to_owned), 2 => "[a-zA-Z0-9_-]{1,12}"];
    let short = vec(piece.clone(), 1..12);
    let long = vec(piece, 200..400);
    prop_oneof![4 => short, 1 => long].prop_map(|pieces| {
        let mut key = pieces.concat();
        while key.len() > 1024 {
            key.pop();
        }
        key
    })
}

/// Text as a header's value: no white space around it.
fn value(longest: usize) -> impl Strategy<Value = String> {
    let ascii = "[!-~]([ -~]{0,40}[!-~])?";
    let other = select(vec![
        "ü",
        "日本語",
        "😀",
        "=?UTF-8?B?w7w=?=",
        "a  b",
        "%20",
        "",
    ]);
    let long = string_regex(&format!("[a-z]{{0,{longest}}}")).unwrap();
    prop_oneof![4 => ascii, 2 => other.prop_map(str::to_owned), 1 => long]
}

fn metadata(most_bytes: usize) -> impl Strategy<Value = Headers> {
    let name = "[a-z0-9!#$&'*+.^_`|~-]{1,12}";
    let some = btree_map(name, value(most_bytes), 0..10);
    let many = btree_map("[a-z0-9_-]{1,2}", "[!-~]?", 100..MOST_ENTRIES);
    prop_oneof![3 => some, 1 => many].prop_map(move |entries| {
        let mut bytes = 0;
        let fits = entries.into_iter().filter(|(name, value)| {
            let fits = bytes + name.len() + value.len() <= most_bytes && name != "isec";
            bytes += if fits { name.len() + value.len() } else { 0 };
            fits
        });
        fits.map(|(name, value)| (format!("{META}{name}"), value))
            .collect()
    })
}

fn content() -> impl Strategy<Value = Headers> {
    let choices = [
        (
            "cache-control",
            &["no-cache", "max-age=3600, public", "private=\"a, b\""][..],
        ),
        (
            "content-disposition",
            &[
                "inline",
                "attachment; filename=\"a  b.txt\"; filename*=UTF-8''%e2%82%ac",
            ],
        ),
        ("content-encoding", &["gzip", "br,gzip", "x-mine"]),
        ("content-language", &["de", "en-US, fr-CA"]),
        (
            "content-type",
            &[
                "text/plain",
                "text/html;  charset=utf-8",
                "a",
                "application/x-www-form-urlencoded",
            ],
        ),
        ("expires", &["Thu, 01 Dec 2033 16:00:00 GMT", "0"]),
        (
            "x-amz-website-redirect-location",
            &["/other", "https://example.com/%20?a=b"],
        ),
        (
            "x-amz-storage-class",
            &["STANDARD_IA", "INTELLIGENT_TIERING"],
        ),
    ];
    let strategies: Vec<_> = choices
        .into_iter()
        .map(|(name, values)| {
            let value = select(values.to_vec());
            option::of(value.prop_map(move |value| (name.to_owned(), value.to_owned())))
        })
        .collect();
    strategies.prop_map(|chosen| chosen.into_iter().flatten().collect())
}

fn tags() -> impl Strategy<Value = Headers> {
    let text = |least, most| {
        let charset = "[a-zA-Z0-9 +=._:/@é日-]";
        string_regex(&format!("{charset}{{{least},{most}}}")).unwrap()
    };
    btree_map(text(1, 32), text(0, 64), 0..=10)
}

fn attributes(most_bytes: usize) -> impl Strategy<Value = Attributes> {
    (metadata(most_bytes), content(), tags()).prop_map(|(metadata, content, tags)| Attributes {
        metadata,
        content,
        tags,
    })
}

fn case(most_bytes: usize) -> impl Strategy<Value = Case> {
    let keys = [key(), key(), key()];
    let keys = keys.prop_filter("keys differ", |[a, b, c]| a != b && b != c && a != c);
    let attributes = (attributes(most_bytes), attributes(most_bytes));
    let has_large_part = proptest::bool::weighted(0.05);
    (keys, attributes, any::<u8>(), has_large_part).prop_map(
        |(keys, (first, second), body_bytes, has_large_part)| Case {
            keys,
            first,
            second,
            body_bytes,
            has_large_part,
        },
    )
}

impl Case {
    fn body(&self) -> Vec<u8> {
        (0..self.body_bytes).collect()
    }
}

impl Attributes {
    fn on(&self, mut request: ClientRequest) -> ClientRequest {
        for (name, value) in self.metadata.iter().chain(&self.content) {
            request = request.header(name, value.as_str());
        }
        if self.tags.is_empty() {
            return request;
        }
        let pairs = self.tags.iter();
        let pairs = pairs.map(|(key, value)| format!("{}={}", encoded(key), encoded(value)));
        request.header("x-amz-tagging", pairs.collect::<Vec<_>>().join("&"))
    }
}

type Verdict = Result<(), TestCaseError>;

fn told(answer: &Answer, name: &str) -> Option<String> {
    let value = answer.headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn expect(answer: Answer, status: u16) -> Result<Answer, TestCaseError> {
    prop_assert!(answer.broken.is_none(), "{answer:?}");
    prop_assert_eq!(answer.status(), status, "{:?}", answer);
    Ok(answer)
}

fn assert_has(answer: &Answer, attributes: &Attributes) -> Verdict {
    let metadata: Headers = answer
        .headers
        .keys()
        .filter(|name| name.as_str().starts_with(META))
        .map(|name| (name.to_string(), told(answer, name.as_str()).unwrap()))
        .collect();
    prop_assert_eq!(&metadata, &attributes.metadata);
    for (name, value) in &attributes.content {
        let value = Some(value.clone());
        prop_assert_eq!(told(answer, name), value, "{}", name);
    }
    Ok(())
}

/// Whether HEAD, GET, the tags and both listings show what was written.
async fn assert_stored(proxy: &Proxy, key: &str, attributes: &Attributes, body: &[u8]) -> Verdict {
    let target = target(key);
    let head = expect(proxy.send(ClientRequest::head(&target)).await, 200)?;
    assert_has(&head, attributes)?;
    prop_assert_eq!(head.header("content-length"), body.len().to_string());
    let get = expect(proxy.send(ClientRequest::get(&target)).await, 200)?;
    assert_has(&get, attributes)?;
    prop_assert!(
        get.body == body,
        "{} bytes of {}",
        get.body.len(),
        body.len()
    );

    let tagging = proxy.send(ClientRequest::get(format!("{target}?tagging")));
    let tagging = expect(tagging.await, 200)?.text();
    let tags: Headers = tagging
        .split("<Tag>")
        .skip(1)
        .map(|tag| (text(tag, "Key"), text(tag, "Value")))
        .collect();
    prop_assert_eq!(&tags, &attributes.tags);

    for (version, encoding) in [
        ("", "encoding-type=url&"),
        ("list-type=2&", "encoding-type=url&"),
        ("list-type=2&", ""),
    ] {
        let list = format!("/bucket?{version}{encoding}prefix={}", encoded(key));
        let list = expect(proxy.send(ClientRequest::get(list)).await, 200)?.text();
        let entries = list.split("<Contents>").skip(1);
        let decoded = |key: String| match encoding {
            "" => key,
            _ => percent::decode(&key, Plus::Space).unwrap(),
        };
        let entries: BTreeMap<String, String> = entries
            .map(|entry| (decoded(text(entry, "Key")), text(entry, "Size")))
            .collect();
        prop_assert_eq!(entries.get(key), Some(&body.len().to_string()), "{}", list);
    }
    Ok(())
}

/// The text of an element, unescaped.
fn text(markup: &str, name: &str) -> String {
    let Some((_, rest)) = markup.split_once(&format!("<{name}>")) else {
        return String::new();
    };
    let text = rest.split_once("</").unwrap().0;
    quick_xml::escape::unescape(text).unwrap().into_owned()
}

fn target(key: &str) -> String {
    let segments: Vec<String> = key.split('/').map(encoded).collect();
    format!("/bucket/{}", segments.join("/"))
}

async fn round_trip(proxy: &Proxy, case: &Case) -> Verdict {
    let [key, copy, parts] = &case.keys;
    let (first, second) = (&case.first, &case.second);
    let put = ClientRequest::put(target(key), case.body());
    expect(proxy.send(first.on(put)).await, 200)?;
    assert_stored(proxy, key, first, &case.body()).await?;

    let copied =
        ClientRequest::new(Method::PUT, target(copy)).header("x-amz-copy-source", target(key));
    expect(proxy.send(copied.clone()).await, 200)?;
    // A copy has a storage class and a redirect of its own.
    let mut kept = first.clone();
    kept.content.retain(|name, _| !name.starts_with("x-amz-"));
    assert_stored(proxy, copy, &kept, &case.body()).await?;
    let replaced = copied
        .header("x-amz-metadata-directive", "REPLACE")
        .header("x-amz-tagging-directive", "REPLACE");
    expect(proxy.send(second.on(replaced)).await, 200)?;
    assert_stored(proxy, copy, second, &case.body()).await?;

    let body = upload(proxy, parts, second, case).await?;
    assert_stored(proxy, parts, second, &body).await?;
    for key in &case.keys {
        expect(proxy.send(ClientRequest::delete(target(key))).await, 204)?;
    }
    Ok(())
}

/// Uploads the case's body as the last part, behind a large one or alone.
async fn upload(
    proxy: &Proxy,
    key: &str,
    attributes: &Attributes,
    case: &Case,
) -> Result<Vec<u8>, TestCaseError> {
    let target = target(key);
    let create = ClientRequest::post(format!("{target}?uploads"), "");
    let created = expect(proxy.send(attributes.on(create)).await, 200)?.text();
    prop_assert_eq!(text(&created, "Key"), key);
    let id = text(&created, "UploadId");
    let large = case.has_large_part.then(|| vec![7; PART_BYTES]);
    let parts: Vec<Vec<u8>> = large.into_iter().chain([case.body()]).collect();
    let mut listed = String::new();
    for (number, part) in (1..).zip(&parts) {
        let part = ClientRequest::put(
            format!("{target}?partNumber={number}&uploadId={id}"),
            part.clone(),
        );
        let answer = expect(proxy.send(part).await, 200)?;
        let etag = answer.header("etag");
        let part = format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
        listed.push_str(&part);
    }
    let list = proxy.send(ClientRequest::get(format!("{target}?uploadId={id}")));
    let list = expect(list.await, 200)?.text();
    prop_assert_eq!(text(&list, "Key"), key);
    prop_assert_eq!(list.matches("<Part>").count(), parts.len());
    let document = format!("<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>");
    let complete = ClientRequest::post(format!("{target}?uploadId={id}"), document);
    let completed = expect(proxy.send(complete).await, 200)?.text();
    prop_assert_eq!(text(&completed, "Key"), key);
    Ok(parts.concat())
}

fn cases_survive(settings: &str, most_bytes: usize) {
    let runtime = Runtime::new().unwrap();
    let proxy = runtime.block_on(Proxy::builder().file(settings).start());
    MemoryStore::new(Faults::default()).behind(&proxy);
    let cases = std::env::var("PROPTEST_CASES").map_or(CASES, |cases| cases.parse().unwrap());
    let config = Config {
        cases,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&case(most_bytes), |case| {
        runtime.block_on(round_trip(&proxy, &case))
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn everything_that_an_object_may_have_survives() {
    cases_survive("", METADATA_BYTES);
}

#[test]
fn everything_survives_with_sealed_metadata() {
    cases_survive("[policy]\nmetadata = \"sealed\"", SEALED_METADATA_BYTES);
}
