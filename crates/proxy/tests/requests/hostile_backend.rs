//! A lying backend: every operation meets every lie, and then a seeded mixture of them.
//!
//! For every lie, each client gets a response in time, nothing panics, memory stays bounded, and a
//! read under `deny` returns the sealed content or fails.

mod lies;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use http::Method;

use self::lies::{Lie, Random};
use crate::harness::{Answer, ClientRequest, Proxy, Reply};
use crate::memory_store::{Faults, MemoryStore};

const SETTINGS: &str = r#"
[policy]
plaintext_reads = "deny"
legacy_reads = "deny"

[backend]
retry_attempts = 1
response_timeout = "1s"
body_timeout = "1s"
"#;

/// Seed of the mixture; failures print it with the number of the request.
const SEED: u64 = 0x5EED_0012;

/// Number of requests in the mixture.
const MIXED: usize = 300;

/// Limit for one request: the backend may delay several responses by a second each.
const IN_TIME: Duration = Duration::from_secs(20);

/// Limit for the growth of the whole process in KiB, including other tests that run in it.
const MOST_MEMORY: u64 = 512 * 1024;

/// Panics outside of test code.
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn watch_panics() {
    static WATCHING: Once = Once::new();
    WATCHING.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let place = panic.location().map_or("", |place| place.file());
            // A failed assertion panics as well, but in test code.
            if !place.contains("tests/") {
                PANICS.fetch_add(1, Ordering::Relaxed);
            }
            before(panic);
        }));
    });
}

/// The expected content of reads.
struct Sealed {
    target: &'static str,
    content: Vec<u8>,
}

struct Drill {
    proxy: Proxy,
    store: Arc<MemoryStore>,
    objects: Vec<Sealed>,
    /// The id of an upload in progress.
    upload: String,
    random: Arc<Mutex<Random>>,
}

impl Drill {
    async fn start() -> Self {
        watch_panics();
        let proxy = Proxy::builder().file(SETTINGS).start().await;
        let store = MemoryStore::new(Faults::default());
        store.behind(&proxy);
        let content = |length: usize| (0..=250_u8).cycle().take(length).collect::<Vec<u8>>();
        let mut objects = Vec::new();
        for (target, length) in [("/bucket/small", 9), ("/bucket/large", 200_000)] {
            let content = content(length);
            proxy.put(target, content.clone()).await;
            objects.push(Sealed { target, content });
        }
        let upload = begin_upload(&proxy, "/bucket/upload").await;
        let whole = content(6 << 20);
        complete_upload(&proxy, "/bucket/parts", &whole).await;
        objects.push(Sealed {
            target: "/bucket/parts",
            content: whole,
        });
        Self {
            proxy,
            store,
            objects,
            upload,
            random: Arc::new(Mutex::new(Random::new(SEED))),
        }
    }

    /// A request of every kind. Writes go to other objects than those that reads check.
    fn requests(&self) -> Vec<ClientRequest> {
        let id = &self.upload;
        let copy = |target: String| {
            ClientRequest::new(Method::PUT, target).header("x-amz-copy-source", "/bucket/large")
        };
        let batch = "<Delete><Object><Key>other</Key></Object></Delete>";
        let complete = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>e</ETag>\
                        </Part></CompleteMultipartUpload>";
        let mut requests = vec![
            ClientRequest::get("/"),
            ClientRequest::head("/bucket"),
            ClientRequest::new(Method::PUT, "/other"),
            ClientRequest::delete("/other"),
            ClientRequest::get("/bucket"),
            ClientRequest::get("/bucket?list-type=2"),
            ClientRequest::get("/bucket?versions"),
            ClientRequest::get("/bucket?uploads"),
            ClientRequest::get("/bucket?location"),
            ClientRequest::get("/bucket/small?tagging"),
            ClientRequest::post("/bucket?delete", batch),
            ClientRequest::get("/bucket/parts?attributes")
                .header("x-amz-object-attributes", "ETag,ObjectParts,ObjectSize"),
            ClientRequest::put("/bucket/other", "body"),
            ClientRequest::put("/bucket/other", vec![1_u8; 3 << 20]),
            copy("/bucket/other".to_owned()),
            copy(format!("/bucket/upload?partNumber=2&uploadId={id}")),
            ClientRequest::delete("/bucket/other"),
            ClientRequest::post("/bucket/other?uploads", ""),
            ClientRequest::put(format!("/bucket/upload?partNumber=3&uploadId={id}"), "part"),
            ClientRequest::get(format!("/bucket/upload?uploadId={id}")),
            ClientRequest::post(format!("/bucket/upload?uploadId={id}"), complete),
            ClientRequest::delete("/bucket/upload?uploadId=unknown"),
        ];
        for object in &self.objects {
            requests.extend([
                ClientRequest::get(object.target),
                ClientRequest::head(object.target),
                ClientRequest::get(object.target).header("range", "bytes=2-7"),
                ClientRequest::get(object.target).header("range", "bytes=-5"),
                ClientRequest::get(object.target).header("if-none-match", "\"e\""),
                ClientRequest::get(format!("{}?partNumber=1", object.target)),
            ]);
        }
        requests
    }

    /// Has the backend tell the lie in every response, or in one of `one_in`.
    fn lie(&self, lie: Option<Lie>, one_in: u64) {
        let random = Arc::clone(&self.random);
        let store = Arc::clone(&self.store);
        self.proxy.backend.script(move |request| {
            let Reply::Answer(truth) = store.reply(request) else {
                return Reply::Close;
            };
            let mut random = random.lock().unwrap();
            if random.below(one_in) > 0 {
                return lies::honest(truth, &random);
            }
            let lie = lie.unwrap_or_else(|| random.lie());
            lie.told(request, truth, &mut random)
        });
    }

    /// Sends a request and judges the response.
    async fn send(&self, request: ClientRequest, told: &str) {
        let (method, target) = (request.method.clone(), request.target.clone());
        let range = request
            .headers
            .iter()
            .find(|(name, _)| name == "range")
            .map(|(_, value)| value.clone());
        let began = Instant::now();
        let answer = self.proxy.send(request).await;
        let what = format!("{method} {target} {range:?} under {told}");
        assert!(began.elapsed() < IN_TIME, "{what}: {:?}", began.elapsed());
        assert_ne!(answer.status(), 0, "{what}: no answer");
        assert_eq!(PANICS.load(Ordering::Relaxed), 0, "{what}: a panic");
        let path = target.split('?').next().unwrap_or_default();
        let object = self.objects.iter().find(|object| object.target == path);
        let is_content = !target.contains("tagging") && !target.contains("attributes");
        if let Some(object) = object.filter(|_| method == Method::GET && is_content) {
            judge_content(&answer, object, range.as_deref(), &what);
        }
    }
}

/// If a client counts a read as a success, it must have the sealed content.
fn judge_content(answer: &Answer, object: &Sealed, range: Option<&str>, what: &str) {
    let content = &object.content;
    let expected = match (answer.status(), range) {
        (206, Some("bytes=2-7")) => &content[2..8],
        (206, Some("bytes=-5")) => &content[content.len() - 5..],
        // Here, the first part of each object is the whole object.
        (200 | 206, _) => content.as_slice(),
        (status, _) => {
            assert!((300..600).contains(&status), "{what}: {status}");
            return;
        }
    };
    if answer.is_success() {
        assert!(
            answer.body == expected,
            "{what}: a success with other content"
        );
    } else {
        assert!(
            expected.starts_with(&answer.body),
            "{what}: other content, broken off"
        );
    }
}

async fn begin_upload(proxy: &Proxy, target: &str) -> String {
    let created = proxy
        .send(ClientRequest::post(format!("{target}?uploads"), ""))
        .await
        .expect(200);
    created.element("UploadId")
}

async fn complete_upload(proxy: &Proxy, target: &str, content: &[u8]) {
    let id = begin_upload(proxy, target).await;
    let part = format!("{target}?partNumber=1&uploadId={id}");
    let etag = proxy.put(&part, content.to_vec()).await;
    let document = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>\
         </CompleteMultipartUpload>"
    );
    let complete = ClientRequest::post(format!("{target}?uploadId={id}"), document);
    proxy.send(complete).await.expect(200);
}

/// The peak of the process's resident memory in KiB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_meets_every_lie_with_an_answer() {
    let drill = Drill::start().await;
    let before = peak_memory();
    for lie in Lie::ALL {
        drill.lie(Some(*lie), 1);
        let requests = drill.requests().into_iter();
        let told = format!("{lie:?}");
        // In parallel, since some lies are silence.
        let sent = requests.map(|request| drill.send(request, &told));
        futures_util::future::join_all(sent).await;
    }
    let grown = peak_memory().saturating_sub(before);
    assert!(grown < MOST_MEMORY, "{grown} KiB");
    drill.store.behind(&drill.proxy);
    for object in &drill.objects {
        let answer = drill.proxy.send(ClientRequest::get(object.target)).await;
        assert!(
            answer.expect(200).body == object.content,
            "{}",
            object.target
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mixture_of_lies_and_truth_leaves_reads_right_or_refused() {
    let drill = Drill::start().await;
    let before = peak_memory();
    drill.lie(None, 3);
    let mut requests = Vec::new();
    let mut order = Random::new(SEED + 1);
    for number in 0..MIXED {
        let mut all = drill.requests();
        let chosen = order.below(all.len() as u64);
        requests.push((number, all.swap_remove(usize::try_from(chosen).unwrap())));
    }
    let mut requests = requests.into_iter().peekable();
    while requests.peek().is_some() {
        let some = requests.by_ref().take(30);
        let sent = some.map(|(number, request)| {
            let drill = &drill;
            async move {
                drill
                    .send(request, &format!("seed {SEED:#x}, {number}"))
                    .await;
            }
        });
        futures_util::future::join_all(sent).await;
    }
    let grown = peak_memory().saturating_sub(before);
    assert!(grown < MOST_MEMORY, "{grown} KiB");
}
