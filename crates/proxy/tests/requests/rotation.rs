//! Rotating a key loses nothing: `rewrap` reports every object, upload and request in flight that
//! still needs the old key.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use s3proxy::app::StartError;
use s3proxy::commands::rewrap::{RewrapOptions, UpToDate, rewrap};
use s3proxy::commands::write_options::{OldVersions, RunMode, WriteOptions, Writers};
use s3proxy::commands::{CommandEnd, Format};
use s3proxy_envelope::header::Envelope;
use s3proxy_envelope::kek::Kek;
use s3proxy_envelope::layout::{PlaintextLength, stored_length};
use tokio::sync::Notify;

use crate::harness::{ClientRequest, Proxy, RecordedRequest, Reply, whole_bucket};
use crate::memory_store::{Faults, MemoryStore};

/// Two proxies with one store, before and after the rotation.
struct Rotation {
    store: Arc<MemoryStore>,
    old: Proxy,
    /// Seals with the new key and opens with both.
    new: Proxy,
    old_name: String,
    new_name: String,
}

impl Rotation {
    async fn begin(faults: Faults) -> Self {
        let store = MemoryStore::new(faults);
        let (old_key, new_key) = (Kek::generate(), Kek::generate());
        let old = Proxy::builder()
            .environment("S3PROXY_ENCRYPT_KEY", &old_key.to_configured())
            .environment("S3PROXY_LISTEN_ADMIN", "127.0.0.1:0");
        let new = Proxy::builder()
            .environment("S3PROXY_ENCRYPT_KEY", &new_key.to_configured())
            .environment("S3PROXY_KEYS_DECRYPT_KEYS", &old_key.to_configured());
        let (old, new) = (old.start().await, new.start().await);
        store.behind(&old);
        store.behind(&new);
        Self {
            store,
            old,
            new,
            old_name: old_key.local_name(),
            new_name: new_key.local_name(),
        }
    }

    async fn rewrap(&self, options: RewrapOptions) -> Result<CommandEnd, StartError> {
        let config = self.new.command_config();
        rewrap(config, whole_bucket(), Format::AllLines, options).await
    }

    /// The name of the key that an object needs.
    fn key_of(&self, key: &str) -> String {
        let envelope = self.store.header("bucket", key, "x-amz-meta-isec");
        Envelope::parse(&envelope.unwrap()).unwrap().key_name
    }

    async fn begin_upload(&self, key: &str) -> (String, String) {
        let created = ClientRequest::post(format!("/bucket/{key}?uploads"), "");
        let id = self.old.send(created).await.expect(200);
        let id = id.element("UploadId");
        let part = format!("/bucket/{key}?partNumber=1&uploadId={id}");
        let part = self.old.send(ClientRequest::put(part, "the only part"));
        let etag = part.await.expect(200).header("etag").to_owned();
        (id, etag)
    }
}

fn check() -> RewrapOptions {
    RewrapOptions {
        up_to_date: UpToDate::Skip,
        write: WriteOptions {
            mode: RunMode::Apply,
            old_versions: OldVersions::Keep,
            writers: Writers::Possible,
        },
        is_check: true,
        replicas: Vec::new(),
    }
}

fn check_offline() -> RewrapOptions {
    let mut options = check();
    options.write.writers = Writers::Stopped;
    options
}

fn complete(key: &str, id: &str, etag: &str) -> ClientRequest {
    let document = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part>\
         </CompleteMultipartUpload>",
        etag.trim_matches('"')
    );
    ClientRequest::post(format!("/bucket/{key}?uploadId={id}"), document)
}

/// Holds back the command's HEAD of one object until a client has done something.
struct Gate {
    reached: Arc<Notify>,
    passed: Arc<Notify>,
}

impl Gate {
    fn at(rotation: &Rotation, path: &'static str) -> Self {
        let gate = Self {
            reached: Arc::default(),
            passed: Arc::default(),
        };
        let store = Arc::clone(&rotation.store);
        let (reached, passed) = (Arc::clone(&gate.reached), Arc::clone(&gate.passed));
        let is_first = AtomicBool::new(true);
        rotation.new.backend.script(move |request| {
            let is_look = request.method == http::Method::HEAD && request.path() == path;
            // Only the first HEAD waits; the client's own requests and later looks pass.
            if !is_look || !is_first.swap(false, Ordering::Relaxed) {
                return store.reply(request);
            }
            let (store, request) = (Arc::clone(&store), request.clone());
            let (reached, passed) = (Arc::clone(&reached), Arc::clone(&passed));
            Reply::When(Box::pin(async move {
                reached.notify_one();
                passed.notified().await;
                store.reply(&request)
            }))
        });
        gate
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_finds_the_object_of_an_upload_that_completed_under_way() {
    let rotation = Rotation::begin(Faults::default()).await;
    rotation.old.put("/bucket/zzz", "walked").await;
    let (id, etag) = rotation.begin_upload("aaa").await;
    let gate = Gate::at(&rotation, "/bucket/zzz");
    let client = async {
        gate.reached.notified().await;
        let completed = rotation.old.send(complete("aaa", &id, &etag)).await;
        completed.expect(200);
        gate.passed.notify_one();
    };
    let (ended, ()) = tokio::join!(rotation.rewrap(check()), client);
    assert_eq!(ended.unwrap(), CommandEnd::Complete);
    assert_eq!(rotation.key_of("zzz"), rotation.new_name);
    assert_eq!(rotation.key_of("aaa"), rotation.new_name);
    let read = rotation.new.send(ClientRequest::get("/bucket/aaa")).await;
    assert_eq!(read.expect(200).text(), "the only part");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_still_open_keeps_its_key_needed() {
    let rotation = Rotation::begin(Faults::default()).await;
    let (id, etag) = rotation.begin_upload("aaa").await;
    assert_eq!(
        rotation.rewrap(check()).await.unwrap(),
        CommandEnd::KeyStillNeeded
    );
    let completed = rotation.new.send(complete("aaa", &id, &etag)).await;
    completed.expect(200);
    assert_eq!(rotation.key_of("aaa"), rotation.old_name);
    assert_eq!(
        rotation.rewrap(check()).await.unwrap(),
        CommandEnd::Complete
    );
    assert_eq!(rotation.key_of("aaa"), rotation.new_name);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_finds_an_object_that_a_late_request_stored_behind_the_walk() {
    let rotation = Rotation::begin(Faults::default()).await;
    rotation.old.put("/bucket/zzz", "walked").await;
    let gate = Gate::at(&rotation, "/bucket/zzz");
    let client = async {
        gate.reached.notified().await;
        rotation.old.put("/bucket/aaa", "late").await;
        gate.passed.notify_one();
    };
    let (ended, ()) = tokio::join!(rotation.rewrap(check()), client);
    assert_eq!(ended.unwrap(), CommandEnd::Complete);
    assert_eq!(rotation.key_of("aaa"), rotation.new_name);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_that_a_copy_left_as_it_was_is_a_failure() {
    let faults = Faults {
        keeps_metadata: true,
        ..Faults::default()
    };
    let rotation = Rotation::begin(faults).await;
    rotation.old.put("/bucket/key", "content").await;
    assert_eq!(
        rotation.rewrap(check()).await.unwrap(),
        CommandEnd::Incomplete
    );
    assert_eq!(rotation.key_of("key"), rotation.old_name);
    rotation.store.set_faults(Faults::default());
    assert_eq!(
        rotation.rewrap(check()).await.unwrap(),
        CommandEnd::Complete
    );
    assert_eq!(rotation.key_of("key"), rotation.new_name);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_keeps_the_condition_on_the_source_alone_is_refused_unless_nobody_writes() {
    let faults = Faults {
        ignores_target: true,
        ..Faults::default()
    };
    let rotation = Rotation::begin(faults).await;
    rotation.old.put("/bucket/key", "content").await;
    let refused = rotation.rewrap(check()).await.unwrap_err().to_string();
    assert!(
        refused.contains("on the target") && refused.contains("--offline"),
        "{refused}"
    );
    assert_eq!(rotation.key_of("key"), rotation.old_name);
    // The probe of the backend's conditions removed its own object.
    assert_eq!(rotation.store.keys("bucket", ".s3proxy/"), [""; 0]);
    assert_eq!(
        rotation.rewrap(check_offline()).await.unwrap(),
        CommandEnd::Complete
    );
    assert_eq!(rotation.key_of("key"), rotation.new_name);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_between_look_and_copy_is_kept() {
    let rotation = Rotation::begin(Faults::default()).await;
    rotation.old.put("/bucket/key", "before").await;
    let store = Arc::clone(&rotation.store);
    let is_first = AtomicBool::new(true);
    rotation.new.backend.script(move |request| {
        let is_copy =
            request.path() == "/bucket/key" && !request.header("x-amz-copy-source").is_empty();
        if is_copy && is_first.swap(false, Ordering::Relaxed) {
            // The write changes the ETag, so the copy's condition fails.
            store.plant("bucket", "key", "written meanwhile");
        }
        store.reply(request)
    });
    assert_eq!(
        rotation.rewrap(check()).await.unwrap(),
        CommandEnd::Complete
    );
    let stored = rotation.new.send(ClientRequest::get("/bucket/key")).await;
    assert_eq!(stored.expect(200).text(), "written meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_still_seals_under_the_old_key_keeps_it_needed() {
    let rotation = Rotation::begin(Faults::default()).await;
    rotation.old.put("/bucket/key", "content").await;
    let replica = |proxy: &Proxy| RewrapOptions {
        replicas: vec![proxy.admin_address().to_string()],
        ..check()
    };
    let ended = rotation.rewrap(replica(&rotation.old)).await.unwrap();
    assert_eq!(ended, CommandEnd::KeyStillNeeded);
    assert_eq!(rotation.key_of("key"), rotation.new_name);
    let unreachable = RewrapOptions {
        replicas: vec!["127.0.0.1:1".to_owned()],
        ..check()
    };
    assert_eq!(
        rotation.rewrap(unreachable).await.unwrap(),
        CommandEnd::KeyStillNeeded
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_older_proxies_keep_a_check_from_passing() {
    let rotation = Rotation::begin(Faults::default()).await;
    let sealed = "9e".repeat(40);
    let older = ClientRequest::put("/bucket/older", vec![7; 64]);
    let address = rotation.old.backend.address();
    let planted = older.header("x-amz-meta-isec", sealed);
    planted
        .send_from(None, address, "backend")
        .await
        .expect(200);
    assert_eq!(
        rotation.rewrap(check()).await.unwrap(),
        CommandEnd::KeyStillNeeded
    );
}

/// A page of upload states, with names of the maximum length.
fn page_of_states(number: usize, pages: usize) -> Reply {
    let padding = "x".repeat(900);
    let entries: Vec<String> = (0..1000)
        .map(|entry| {
            let key = format!(".s3proxy/uploads/{number}-{entry}-{padding}/state");
            format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>")
        })
        .collect();
    let entries = entries.concat();
    let (next, more) = (number + 1, number + 1 < pages);
    let page = format!(
        "<ListBucketResult>{entries}<IsTruncated>{more}</IsTruncated>\
         <NextContinuationToken>{next}</NextContinuationToken></ListBucketResult>"
    );
    Reply::answer(200, &[("content-type", "application/xml")], page)
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_beyond_a_bound_on_memory_are_a_failure_and_are_not_read() {
    const PAGES: usize = 60;
    let rotation = Rotation::begin(Faults::default()).await;
    rotation.old.put("/bucket/key", "content").await;
    let store = Arc::clone(&rotation.store);
    rotation.new.backend.script(move |request| {
        let lists_states =
            request.has_parameter("list-type") && request.query().contains("uploads");
        if !lists_states {
            return store.reply(request);
        }
        let token = request.query().split_once("continuation-token=");
        let token = token.and_then(|(_, rest)| rest.split('&').next()?.parse().ok());
        page_of_states(token.unwrap_or(0), PAGES)
    });
    let ended = rotation.rewrap(check()).await.unwrap();
    assert_eq!(ended, CommandEnd::Incomplete);
    assert_eq!(
        rotation.key_of("key"),
        rotation.new_name,
        "the walk goes on"
    );
    let requests = rotation.new.backend.requests();
    let reads = requests.iter().filter(|it| it.path().ends_with("/state"));
    assert_eq!(reads.count(), 0);
}

/// A backend that reports one object as larger than 5 GiB, and copies it only in parts.
#[derive(Default)]
struct LargeObject {
    /// Headers of the request that created the upload.
    begun: Option<http::HeaderMap>,
    /// Copied ranges, with the ETag in each request's condition.
    copied: Vec<(String, String)>,
    /// The condition of the completion.
    completed: Option<String>,
}

const LARGE_PATH: &str = "/bucket/large";
const LARGE_BYTES: u64 = 6 << 30;

impl LargeObject {
    fn take_over(rotation: &Rotation) -> Arc<Mutex<Self>> {
        let large = Arc::<Mutex<Self>>::default();
        let (kept, store) = (Arc::clone(&large), Arc::clone(&rotation.store));
        rotation.new.backend.script(move |request| {
            let own = kept.lock().unwrap().reply(request);
            own.unwrap_or_else(|| match store.reply(request) {
                Reply::Answer(answer)
                    if request.method == "HEAD" && request.path() == LARGE_PATH =>
                {
                    kept.lock().unwrap().alter(answer)
                }
                reply => reply,
            })
        });
        large
    }

    fn reply(&mut self, request: &RecordedRequest) -> Option<Reply> {
        let document = match (request.method.as_str(), request.path()) {
            ("POST", LARGE_PATH) if request.has_parameter("uploads") => {
                self.begun = Some(request.headers.clone());
                "<InitiateMultipartUploadResult><UploadId>u</UploadId>\
                 </InitiateMultipartUploadResult>"
            }
            ("POST", LARGE_PATH) => {
                self.completed = Some(request.header("if-match").to_owned());
                "<CompleteMultipartUploadResult><ETag>\"copied-6\"</ETag>\
                 </CompleteMultipartUploadResult>"
            }
            ("PUT", LARGE_PATH) if request.has_parameter("partNumber") => {
                let text = |name| request.header(name).to_owned();
                let range = text("x-amz-copy-source-range");
                self.copied
                    .push((range, text("x-amz-copy-source-if-match")));
                "<CopyPartResult><ETag>\"part\"</ETag></CopyPartResult>"
            }
            ("GET", LARGE_PATH) if request.has_parameter("tagging") => {
                "<Tagging><TagSet><Tag><Key>colour</Key><Value>blue</Value></Tag></TagSet></Tagging>"
            }
            ("PUT", LARGE_PATH) => return Some(Reply::error(400, "InvalidRequest")),
            _ => return None,
        };
        Some(Reply::answer(200, &[], document))
    }

    /// The object's own response with the large length, and after the copy with the new envelope.
    fn alter(&self, mut answer: http::Response<Vec<u8>>) -> Reply {
        let stored = stored_length(PlaintextLength(LARGE_BYTES)).0;
        let headers = answer.headers_mut();
        headers.insert("content-length", stored.into());
        if let (Some(_), Some(begun)) = (&self.completed, &self.begun) {
            headers.insert("etag", "\"copied-6\"".parse().unwrap());
            headers.insert("x-amz-meta-isec", begun["x-amz-meta-isec"].clone());
        }
        Reply::Answer(answer)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_above_5_gib_is_copied_in_parts_where_nobody_writes() {
    let rotation = Rotation::begin(Faults::default()).await;
    let (id, etag) = rotation.begin_upload("large").await;
    let completed = rotation.old.send(complete("large", &id, &etag)).await;
    completed.expect(200);
    let large = LargeObject::take_over(&rotation);

    assert_eq!(
        rotation.rewrap(check()).await.unwrap(),
        CommandEnd::Incomplete
    );
    assert!(
        large.lock().unwrap().begun.is_none(),
        "a write could be lost"
    );

    assert_eq!(
        rotation.rewrap(check_offline()).await.unwrap(),
        CommandEnd::Complete
    );
    let large = large.lock().unwrap();
    let begun = large.begun.as_ref().unwrap();
    assert_eq!(begun["x-amz-tagging"], "colour=blue");
    let envelope = begun["x-amz-meta-isec"].to_str();
    let envelope = Envelope::parse(envelope.unwrap()).unwrap();
    assert_eq!(envelope.key_name, rotation.new_name);
    let pin = large.completed.clone().unwrap();
    let stored = stored_length(PlaintextLength(LARGE_BYTES)).0;
    let mut next = 0;
    for (range, pinned) in &large.copied {
        assert_eq!(*pinned, pin);
        let (first, last) = range["bytes=".len()..].split_once('-').unwrap();
        assert_eq!(first.parse::<u64>().unwrap(), next);
        next = last.parse::<u64>().unwrap() + 1;
    }
    assert_eq!(next, stored);
}
