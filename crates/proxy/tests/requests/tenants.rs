//! Two tenants with a key each, and a backend that passes the objects of one off as the other's.
//!
//! Alice may use `tenant-a`, whose objects are sealed under the key `a`; Bob may use `tenant-b`, with
//! the key `b`; Carol uses `shared`, for which there is no rule. The backend answers Bob and Carol with
//! what it stores for Alice, under the same object key.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, Method};
use s3proxy_envelope::kek::Kek;

use crate::harness::{
    Answer, ClientRequest, Credential, Proxy, ProxyBuilder, RecordedRequest, Reply,
};

const KEY: &str = "payroll.csv";
const FIVE_MIB: usize = 5 << 20;

/// How an object is written, which decides its layout.
#[derive(Clone, Copy, Debug)]
enum Written {
    /// Layout 1.
    Whole,
    /// Layout 2: parts, seal and footer.
    InParts,
    /// Layout 2 below 5 MiB: one message.
    InOnePart,
}

const LAYOUTS: [Written; 3] = [Written::Whole, Written::InParts, Written::InOnePart];
const BINDINGS: [&str; 2] = ["key", "bucket-and-key"];

/// The keys `a` and `b`, as settings and as envelopes have them.
struct Keys {
    a: (String, String),
    b: (String, String),
}

impl Keys {
    fn generate() -> Self {
        let key = || {
            let kek = Kek::generate();
            (kek.to_configured().to_string(), kek.local_name())
        };
        Self { a: key(), b: key() }
    }

    fn settings(&self) -> String {
        let mut settings = String::new();
        for (label, (key, _)) in [("a", &self.a), ("b", &self.b)] {
            write!(
                settings,
                "[[keys.local]]\nlabel = \"{label}\"\nkey = \"{key}\"\n"
            )
            .unwrap();
        }
        for (name, bucket) in [
            ("alice", "tenant-a"),
            ("bob", "tenant-b"),
            ("carol", "shared"),
        ] {
            write!(
                settings,
                "[[clients.known]]\nname = \"{name}\"\naccess_key_id = \"{name}\"\n\
                 secret_access_key = \"secret of {name}\"\n\
                 [[clients.known.grants]]\nbuckets = [\"{bucket}\"]\n"
            )
            .unwrap();
        }
        settings
    }
}

/// `tenant-a` and `tenant-b` with a rule each; `more` is added to both.
fn rules(more: &str) -> String {
    ["a", "b"].map(|label| rule(label, more)).concat()
}

fn rule(label: &str, more: &str) -> String {
    format!("[[rules]]\nbuckets = [\"tenant-{label}\"]\nkey = \"{label}\"\n{more}\n")
}

fn client(name: &str) -> Credential {
    Credential::new(name, &format!("secret of {name}"))
}

async fn start(keys: &Keys, rules: &str) -> Proxy {
    start_built(Proxy::builder(), keys, rules).await
}

async fn start_built(builder: ProxyBuilder, keys: &Keys, rules: &str) -> Proxy {
    let proxy = builder.file(&keys.settings()).file(rules).start().await;
    for bucket in ["tenant-a", "tenant-b", "shared"] {
        let create = ClientRequest::new(Method::PUT, format!("/{bucket}"));
        proxy.send_to_store(create).await.expect(200);
    }
    proxy
}

/// An object as the backend has it.
#[derive(Clone)]
struct Stolen {
    headers: HeaderMap,
    body: Bytes,
}

impl Stolen {
    async fn from(proxy: &Proxy, target: &str) -> Self {
        let answer = proxy.send_to_store(ClientRequest::get(target)).await;
        let answer = answer.expect(200);
        Self {
            headers: answer.headers,
            body: answer.body,
        }
    }

    /// The same with the name of another key in its envelope.
    fn renamed(&self, from: &str, to: &str) -> Self {
        let envelope = self.headers["x-amz-meta-isec"].to_str().unwrap();
        let mut bytes = URL_SAFE_NO_PAD
            .decode(envelope.strip_prefix("s3p1.").unwrap())
            .unwrap();
        let at = bytes
            .windows(from.len())
            .position(|name| name == from.as_bytes())
            .unwrap();
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
        let mut renamed = self.clone();
        let envelope = format!("s3p1.{}", URL_SAFE_NO_PAD.encode(bytes));
        renamed
            .headers
            .insert("x-amz-meta-isec", envelope.parse().unwrap());
        renamed
    }

    /// Answers as S3 would if the object stood where the request asks.
    fn reply(&self, request: &RecordedRequest) -> Reply {
        let mut response = http::Response::builder().status(200);
        *response.headers_mut().unwrap() = self.headers.clone();
        let headers = response.headers_mut().unwrap();
        headers.remove("content-length");
        name_version(request, headers);
        let total = self.body.len();
        let mut range = 0..total;
        if let Some((first, last)) = request
            .header("range")
            .strip_prefix("bytes=")
            .and_then(|range| range.split_once('-'))
        {
            let last = last
                .parse()
                .map_or(total, |last: usize| total.min(last + 1));
            range = match first.parse::<usize>() {
                Ok(first) => first..last,
                Err(_) => total.saturating_sub(last - 1)..total,
            };
            let stretch = format!("bytes {}-{}/{total}", range.start, range.end - 1);
            headers.insert("content-range", stretch.parse().unwrap());
            response = response.status(206);
        }
        let response = response.body(self.body.slice(range).to_vec()).unwrap();
        Reply::Answer(response)
    }

    /// Puts it into the backend's own store.
    async fn store(self, proxy: &Proxy, bucket: &str) {
        let envelope = self.headers["x-amz-meta-isec"].to_str().unwrap();
        let put = ClientRequest::put(format!("/{bucket}/{KEY}"), self.body.clone())
            .header("x-amz-meta-isec", envelope);
        proxy.send_to_store(put).await.expect(200);
    }

    /// Has the backend answer with it wherever an object of `bucket` is read.
    fn pass_off(self, proxy: &Proxy, bucket: &str) {
        let target = format!("/{bucket}/{KEY}");
        proxy.backend.script(move |request| {
            let reads = [Method::GET, Method::HEAD].contains(&request.method);
            if reads && request.path() == target && !request.has_parameter("uploadId") {
                self.reply(request)
            } else {
                Reply::Store
            }
        });
    }
}

/// Names the version that a request asks for, as a backend with versions does.
fn name_version(request: &RecordedRequest, headers: &mut HeaderMap) {
    if let Some((_, version)) = request.query().split_once("versionId=") {
        headers.insert("x-amz-version-id", version.parse().unwrap());
    }
}

fn plaintext(written: Written) -> Bytes {
    let line: &[u8] = b"account,balance of Alice\n";
    let length = match written {
        Written::Whole => 28_000,
        Written::InParts => FIVE_MIB + 1000,
        Written::InOnePart => 70_000,
    };
    line.iter().copied().cycle().take(length).collect()
}

/// Writes an object through the proxy; what the backend then has comes back.
async fn write(proxy: &Proxy, name: &str, bucket: &str, written: Written) -> Stolen {
    let (owner, target, body) = (client(name), format!("/{bucket}/{KEY}"), plaintext(written));
    let parts = match written {
        Written::Whole => {
            let put = ClientRequest::put(&target, body).header("x-amz-meta-colour", "blue");
            proxy.send_as(&owner, put).await.expect(200);
            return Stolen::from(proxy, &target).await;
        }
        Written::InParts => vec![body.slice(..FIVE_MIB), body.slice(FIVE_MIB..)],
        Written::InOnePart => vec![body],
    };
    let upload = Upload::take_over(proxy);
    let id = begin_upload(proxy, &owner, &target).await;
    let mut list = String::new();
    for (number, part) in (1..).zip(parts) {
        let target = format!("{target}?partNumber={number}&uploadId={id}");
        let stored = proxy
            .send_as(&owner, ClientRequest::put(target, part))
            .await;
        let etag = stored.expect(200).header("etag").to_owned();
        write!(
            list,
            "<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        )
        .unwrap();
    }
    let complete = complete(&target, &id, &list);
    proxy.send_as(&owner, complete).await.expect(200);
    proxy.backend.honest();
    let upload = upload.lock().unwrap();
    Stolen {
        headers: upload.headers.clone(),
        body: upload.parts.values().flatten().copied().collect(),
    }
}

/// An upload that the script keeps in the embedded store's place, which lists parts without ETags.
#[derive(Default)]
struct Upload {
    headers: HeaderMap,
    parts: BTreeMap<u16, Bytes>,
    /// ETags of staged parts, by the ends of their keys.
    staged: BTreeMap<String, String>,
}

/// Adds what the embedded store leaves out of its listings, too.
fn reply_with_upload(upload: &Arc<Mutex<Upload>>, request: &RecordedRequest) -> Reply {
    let kept = Arc::clone(upload);
    if let Some((_, number)) = request.path().split_once("/part-")
        && request.method == Method::PUT
    {
        let number = number.to_owned();
        return Reply::altered(move |response| {
            let etag = response.headers()["etag"].to_str().unwrap().to_owned();
            kept.lock().unwrap().staged.insert(number, etag);
        });
    }
    if request.has_parameter("list-type") {
        return Reply::altered(move |response| {
            let mut list = String::from_utf8(response.body().clone()).unwrap();
            for (number, etag) in &kept.lock().unwrap().staged {
                let key = format!("/part-{number}</Key>");
                list = list.replace(&key, &format!("{key}<ETag>{etag}</ETag>"));
            }
            response.headers_mut().remove("content-length");
            *response.body_mut() = list.into_bytes();
        });
    }
    upload.lock().unwrap().reply(request)
}

impl Upload {
    fn take_over(proxy: &Proxy) -> Arc<Mutex<Self>> {
        let upload = Arc::<Mutex<Self>>::default();
        let kept = Arc::clone(&upload);
        proxy
            .backend
            .script(move |request| reply_with_upload(&kept, request));
        upload
    }

    fn reply(&mut self, request: &RecordedRequest) -> Reply {
        let of_upload = request.has_parameter("uploads") || request.has_parameter("uploadId");
        if !of_upload || request.path().contains("/.s3proxy/") {
            return Reply::Store;
        }
        let number = request
            .query()
            .split('&')
            .find_map(|pair| pair.strip_prefix("partNumber="));
        let document = match (&request.method, number) {
            (&Method::PUT, Some(number)) => {
                self.parts
                    .insert(number.parse().unwrap(), request.body.clone());
                return Reply::answer(200, &[("etag", &format!("\"e{number}\""))], "");
            }
            (&Method::POST, _) if request.has_parameter("uploads") => {
                let envelope = request.headers["x-amz-meta-isec"].clone();
                self.headers.insert("x-amz-meta-isec", envelope);
                self.headers.insert("etag", "\"whole\"".parse().unwrap());
                "<InitiateMultipartUploadResult><UploadId>u</UploadId>\
                 </InitiateMultipartUploadResult>"
                    .to_owned()
            }
            (&Method::POST, _) => "<CompleteMultipartUploadResult><ETag>\"whole\"</ETag>\
                                   </CompleteMultipartUploadResult>"
                .to_owned(),
            _ => self.listed(),
        };
        Reply::answer(200, &[("content-type", "application/xml")], document)
    }

    fn listed(&self) -> String {
        let mut parts = String::new();
        for (number, body) in &self.parts {
            write!(
                parts,
                "<Part><PartNumber>{number}</PartNumber><ETag>\"e{number}\"</ETag>\
                 <Size>{}</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified></Part>",
                body.len()
            )
            .unwrap();
        }
        format!("<ListPartsResult><IsTruncated>false</IsTruncated>{parts}</ListPartsResult>")
    }
}

fn complete(target: &str, id: &str, list: &str) -> ClientRequest {
    let document = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
    ClientRequest::post(format!("{target}?uploadId={id}"), document)
}

async fn begin_upload(proxy: &Proxy, owner: &Credential, target: &str) -> String {
    let create = ClientRequest::new(Method::POST, format!("{target}?uploads"));
    let created = proxy.send_as(owner, create).await.expect(200);
    created.element("UploadId")
}

/// Every way in which a client gets at an object of its bucket, with the body and headers of the
/// answer; those that copy look at the copy.
async fn every_read(proxy: &Proxy, name: &str, bucket: &str) -> Vec<(&'static str, Answer)> {
    let owner = client(name);
    let target = format!("/{bucket}/{KEY}");
    let get = || ClientRequest::get(&target);
    let attributes = ClientRequest::get(format!("{target}?attributes")).header(
        "x-amz-object-attributes",
        "ETag,ObjectSize,StorageClass,ObjectParts,Checksum",
    );
    let copy = ClientRequest::put(format!("/{bucket}/copy"), "")
        .header("x-amz-copy-source", format!("/{bucket}/{KEY}"));
    let replacing = copy.clone().header("x-amz-metadata-directive", "REPLACE");
    let version = format!("{target}?versionId=3");
    let of_version = ClientRequest::put(format!("/{bucket}/copy"), "")
        .header("x-amz-copy-source", format!("{target}?versionId=3"));
    let mut answers = Vec::new();
    for (what, request) in [
        ("GET", get()),
        ("GET of a range", get().header("range", "bytes=100-199")),
        ("GET of the end", get().header("range", "bytes=-50")),
        (
            "GET of a part",
            ClientRequest::get(format!("{target}?partNumber=1")),
        ),
        ("GET of a version", ClientRequest::get(&version)),
        ("HEAD", ClientRequest::head(&target)),
        (
            "HEAD with checksum",
            ClientRequest::head(&target).header("x-amz-checksum-mode", "ENABLED"),
        ),
        (
            "HEAD of a part",
            ClientRequest::head(format!("{target}?partNumber=1")),
        ),
        ("HEAD of a version", ClientRequest::head(&version)),
        ("GetObjectAttributes", attributes),
        ("CopyObject", copy),
        ("CopyObject of a version", of_version),
        ("CopyObject with other metadata", replacing),
    ] {
        answers.push((what, proxy.send_as(&owner, request).await));
    }
    let id = begin_upload(proxy, &owner, &format!("/{bucket}/parts")).await;
    for (what, range) in [
        ("UploadPartCopy", None),
        ("UploadPartCopy of a range", Some("bytes=0-99")),
    ] {
        let mut part =
            ClientRequest::put(format!("/{bucket}/parts?partNumber=1&uploadId={id}"), "")
                .header("x-amz-copy-source", format!("/{bucket}/{KEY}"));
        if let Some(range) = range {
            part = part.header("x-amz-copy-source-range", range);
        }
        answers.push((what, proxy.send_as(&owner, part).await));
    }
    answers
}

/// Fails unless nothing of an object came out, by any way.
#[track_caller]
fn expect_nothing(case: &str, answers: Vec<(&'static str, Answer)>) {
    for (what, answer) in answers {
        assert!(!answer.is_success(), "{case}: {what}: {answer:?}");
        assert!(answer.status() >= 400, "{case}: {what}: {answer:?}");
        assert!(!answer.text().contains("account"), "{case}: {what}");
        assert_eq!(answer.header("x-amz-meta-colour"), "", "{case}: {what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_one_tenant_opens_for_another_or_where_no_rule_matches() {
    for bind in BINDINGS {
        let keys = Keys::generate();
        let proxy = start(&keys, &rules(&format!("bind = \"{bind}\""))).await;
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
            // The same in its own place, so that the backend's lie is known to be a faithful one.
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
    // One key for two buckets: only the binding can tell them apart.
    let keys = Keys::generate();
    let bound = "[[rules]]\nbuckets = [\"tenant-b\"]\nbind = \"bucket-and-key\"\n";
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
            "key = \"b\"\nbind = \"bucket-and-key\"\nopens = [\"a\"]",
            false,
        ),
        (
            "key = \"b\"\nbind = \"bucket-and-key\"\nopens = [\"a\"]\nopens_bind = \"key\"",
            true,
        ),
        ("opens = [\"a\"]", true),
        ("key = \"b\"", false),
    ] {
        let rules = rule("a", "") + &format!("[[rules]]\nbuckets = [\"tenant-b\"]\n{rule_b}\n");
        let proxy = start(&Keys::generate(), &rules).await;
        let stolen = write(&proxy, "alice", "tenant-a", Written::Whole).await;
        // Copies are the backend's to make, so it has to lie there for good.
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
    let refused = refused.expect_error(500, "InternalError");
    assert!(refused.text().contains(&keys.a.1), "{}", refused.text());
    assert!(!refused.text().contains(&keys.a.0));
}

/// Where the proxy looks for the state of an upload of this id.
async fn state_of(proxy: &Proxy, name: &str, target: &str, id: &str) -> String {
    proxy.backend.take_requests();
    let list = ClientRequest::get(format!("{target}?uploadId={id}"));
    proxy.send_as(&client(name), list).await;
    let requests = proxy.backend.take_requests();
    let state = requests
        .iter()
        .find(|request| request.path().ends_with("/state"));
    state.unwrap().path().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_one_tenants_upload_opens_no_upload_of_another() {
    for bind in BINDINGS {
        let keys = Keys::generate();
        let proxy = start(&keys, &rules(&format!("bind = \"{bind}\""))).await;
        let (alice, bob) = (client("alice"), client("bob"));
        let own = format!("/tenant-a/{KEY}");
        let id = begin_upload(&proxy, &alice, &own).await;
        let states = proxy.backend.take_requests();
        let state = states
            .iter()
            .find(|request| request.path().ends_with("/state"));
        let state = Stolen::from(&proxy, state.unwrap().path()).await;

        // The backend chooses upload ids, so it can give Bob the same one.
        let target = format!("/tenant-b/{KEY}");
        let wanted = state_of(&proxy, "bob", &target, &id).await;
        proxy.backend.script(move |request| {
            if request.method == Method::GET && request.path() == wanted {
                state.reply(request)
            } else if request.path().starts_with("/tenant-b/.s3proxy/") {
                Reply::Store
            } else {
                // Whatever it is asked, the upload is there.
                Reply::answer(200, &[("etag", "\"e\"")], "")
            }
        });
        let part = format!("{target}?partNumber=1&uploadId={id}");
        let list = "<Part><PartNumber>1</PartNumber><ETag>\"e-0\"</ETag></Part>";
        for (what, request) in [
            ("UploadPart", ClientRequest::put(&part, "content of Bob")),
            (
                "UploadPartCopy",
                ClientRequest::put(&part, "").header("x-amz-copy-source", "/tenant-b/other"),
            ),
            (
                "ListParts",
                ClientRequest::get(format!("{target}?uploadId={id}")),
            ),
            ("Complete", complete(&target, &id, list)),
        ] {
            let refused = proxy.send_as(&bob, request).await;
            let refused = refused.expect_error(500, "InternalError");
            assert!(
                refused.text().contains(&keys.a.1),
                "{what}, bound to {bind}"
            );
        }
        let asked = proxy.backend.take_requests();
        let writes = asked.iter().filter(|request| request.method != Method::GET);
        assert_eq!(
            writes.count(),
            0,
            "nothing is written under Alice's data key"
        );
    }
}

/// An object of an older proxy, from the known answers: `toto`'s, or that of the all-zero key.
fn older(all_zero: bool) -> Stolen {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../envelope/tests/vectors/legacy.json"
    );
    let vectors: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let object = vectors["objects"]
        .as_array()
        .unwrap()
        .iter()
        .find(|object| {
            object["all_zero_kek"] == all_zero && object["plaintext_length"].as_u64() > Some(0)
        });
    let object = object.unwrap();
    let hex = object["body"].as_str().unwrap();
    let body = (0..hex.len()).step_by(2);
    let body = body.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
    let mut headers = HeaderMap::new();
    let value = object["metadata_value"].as_str().unwrap();
    headers.insert("x-amz-meta-isec", value.parse().unwrap());
    headers.insert("etag", "\"older\"".parse().unwrap());
    Stolen {
        headers,
        body: body.collect(),
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
            .environment("S3PROXY_DECRYPT_KEYS", "toto")
            .environment("S3PROXY_DECRYPTION_FALLBACK", fallback);
        let proxy = start_built(builder, &Keys::generate(), required).await;
        for (what, object, elsewhere) in [
            ("plaintext", plain(), true),
            ("an older format", older(false), true),
            ("the all-zero key", older(true), fallback == "allow"),
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
    let builder = Proxy::builder().environment("S3PROXY_DECRYPT_KEYS", "toto");
    let proxy = start_built(builder, &Keys::generate(), migrating).await;
    for (object, name, bucket, opens) in [
        (older(false), "bob", "tenant-b", true),
        (older(true), "bob", "tenant-b", true),
        (older(false), "carol", "shared", false),
        (older(true), "carol", "shared", false),
        // Here such objects open, but not under a key that is not Alice's.
        (older(false), "alice", "tenant-a", false),
        (older(true), "alice", "tenant-a", false),
    ] {
        object.pass_off(&proxy, bucket);
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
