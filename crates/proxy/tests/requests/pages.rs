//! Requests of pages in a browser: every answer carries what the bucket's CORS rules give for it,
//! whoever made the answer, and nothing that they do not give.

mod questions;

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use s3proxy_protocol::operation::{Level, Operation};

use crate::catalogue;
use crate::harness::{
    Answer, ClientRequest, Credential, Proxy, RecordedRequest, Reply, raw_exchange,
};
use crate::memory_store::{Faults, MemoryStore};

const PAGE: &str = "https://page.example";

const MIB: usize = 1024 * 1024;

const METHODS: [&str; 5] = ["GET", "HEAD", "PUT", "POST", "DELETE"];

/// Which of its answers a server adds CORS headers to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Decorates {
    Everything,
    /// Errors come without.
    Successes,
    OnlyPreflights,
    /// Preflights are errors.
    AllButPreflights,
    /// The same as everything, and `*` where no page asked.
    EvenUnasked,
}

/// The rules of `bucket`: what [`PAGE`] may do. In other buckets it may do everything.
#[derive(Clone)]
struct Rules {
    methods: Vec<&'static str>,
    decorates: Decorates,
}

impl Rules {
    fn allowing(methods: &[&'static str]) -> Self {
        Self {
            methods: methods.to_vec(),
            decorates: Decorates::Everything,
        }
    }

    fn allow(&self, request: &RecordedRequest, method: &str) -> bool {
        let bucket = request.path().trim_start_matches('/');
        let is_other = bucket.split('/').next() != Some("bucket");
        request.header("origin") == PAGE && (is_other || self.methods.contains(&method))
    }

    fn preflight(&self, request: &RecordedRequest) -> Reply {
        let method = request.header("access-control-request-method").to_owned();
        if self.decorates == Decorates::AllButPreflights {
            return Reply::error(501, "NotImplemented");
        }
        if !self.allow(request, &method) {
            return Reply::error(403, "AccessForbidden");
        }
        let headers = [
            ("access-control-allow-origin", PAGE),
            ("access-control-allow-methods", method.as_str()),
            ("access-control-expose-headers", "ETag"),
            ("vary", "Origin"),
        ];
        Reply::answer(200, &headers, "")
    }

    fn decorate(&self, request: &RecordedRequest, reply: Reply) -> Reply {
        let Reply::Answer(mut response) = reply else {
            return reply;
        };
        let decorated = match self.decorates {
            Decorates::Everything | Decorates::AllButPreflights | Decorates::EvenUnasked => true,
            Decorates::Successes => response.status().is_success(),
            Decorates::OnlyPreflights => false,
        };
        if decorated && self.allow(request, request.method.as_str()) {
            let headers = response.headers_mut();
            headers.insert("access-control-allow-origin", PAGE.parse().unwrap());
            headers.insert("access-control-expose-headers", "ETag".parse().unwrap());
            headers.insert("vary", "Origin".parse().unwrap());
        }
        if self.decorates == Decorates::EvenUnasked && !request.headers.contains_key("origin") {
            let headers = response.headers_mut();
            headers.insert("access-control-allow-origin", "*".parse().unwrap());
        }
        Reply::Answer(response)
    }
}

async fn proxy_with(settings: &str) -> (Proxy, Arc<MemoryStore>) {
    let proxy = Proxy::builder().file(settings).start().await;
    let store = MemoryStore::new(Faults::default());
    store.behind(&proxy);
    (proxy, store)
}

fn set(proxy: &Proxy, store: &Arc<MemoryStore>, rules: Rules) {
    let store = Arc::clone(store);
    proxy.backend.script(move |request| {
        if request.method == Method::OPTIONS {
            rules.preflight(request)
        } else {
            rules.decorate(request, store.reply(request))
        }
    });
}

fn of_page(request: ClientRequest) -> ClientRequest {
    request.header("origin", PAGE)
}

#[track_caller]
fn assert_told(what: &str, answer: &Answer) {
    for (name, expected) in [
        ("access-control-allow-origin", PAGE),
        ("access-control-expose-headers", "ETag"),
        ("vary", "Origin"),
    ] {
        let values: Vec<_> = answer.headers.get_all(name).iter().collect();
        assert_eq!(values, [expected], "{what}: {name} in {answer:?}");
    }
}

#[track_caller]
fn assert_told_nothing(what: &str, answer: &Answer) {
    assert_ne!(answer.status(), 0, "{what}: {answer:?}");
    let told = answer
        .headers
        .keys()
        .find(|name| name.as_str().starts_with("access-control-"));
    assert_eq!(told, None, "{what}: {answer:?}");
}

/// Sends the request of every operation on a bucket, and has a look at each answer. `rules` are made
/// for the request's method.
async fn for_every_operation(rules: impl Fn(&Method) -> Rules, look: impl Fn(&str, &Answer)) {
    let (proxy, store) = proxy_with("").await;
    store.plant("bucket", "plain", "never sealed");
    let mut answers = 0;
    for operation in Operation::ALL.iter().copied() {
        let is_preflight = *operation.method() == Method::OPTIONS;
        if operation.level() == Level::Service || is_preflight {
            continue;
        }
        store.behind(&proxy);
        proxy.put("/bucket/key", "content").await;
        proxy.put("/bucket/source", "content").await;
        set(&proxy, &store, rules(operation.method()));
        let answer = proxy.send(of_page(catalogue::request(operation))).await;
        look(operation.as_str(), &answer);
        answers += 1;
    }
    assert!(answers > 90, "{answers} operations were tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operations_answer_carries_what_the_rules_give() {
    for decorates in [Decorates::Everything, Decorates::OnlyPreflights] {
        let only = |method: &Method| {
            let known = METHODS.into_iter().find(|known| *known == method.as_str());
            Rules {
                methods: known.into_iter().collect(),
                decorates,
            }
        };
        for_every_operation(only, assert_told).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_operations_answer_carries_what_the_rules_give_for_other_requests() {
    for decorates in [Decorates::Everything, Decorates::EvenUnasked] {
        let all_but = |method: &Method| {
            let others = METHODS
                .into_iter()
                .filter(|known| *known != method.as_str());
            Rules {
                methods: others.collect(),
                decorates,
            }
        };
        for_every_operation(all_but, assert_told_nothing).await;
    }
}

/// Every way in which an answer is made, under a name.
async fn answers(proxy: &Proxy, store: &MemoryStore) -> Vec<(&'static str, Answer)> {
    let mut answers = Vec::new();
    let send = |request| proxy.send(of_page(request));
    answers.push((
        "put",
        send(ClientRequest::put("/bucket/key", "content")).await,
    ));
    let large = vec![1; MIB + 1];
    let put = ClientRequest::put("/bucket/large", large);
    answers.push(("streamed put", send(put).await));
    store.plant("bucket", "plain", "never sealed");
    for (what, target, header) in [
        ("get", "/bucket/key", ("x-id", "")),
        ("range", "/bucket/key", ("range", "bytes=1-2")),
        ("416", "/bucket/key", ("range", "bytes=100-")),
        ("304", "/bucket/key", ("if-none-match", "*")),
        ("412", "/bucket/key", ("if-match", "\"other\"")),
        ("404", "/bucket/absent", ("x-id", "")),
        ("plain", "/bucket/plain", ("x-id", "")),
        ("range of plain", "/bucket/plain", ("range", "bytes=1-2")),
        ("501", "/bucket/key?torrent", ("x-id", "")),
        ("400", "/bucket/key?partNumber=0", ("x-id", "")),
    ] {
        let request = |method| ClientRequest::new(method, target).header(header.0, header.1);
        answers.push((what, send(request(Method::GET)).await));
        answers.push((what, send(request(Method::HEAD)).await));
    }
    let wrong = "AAAAAAAAAAAAAAAAAAAAAA==";
    let digest = ClientRequest::put("/bucket/bad", "x").header("content-md5", wrong);
    answers.push(("BadDigest", send(digest).await));
    for (what, source) in [
        ("copy", "/bucket/key"),
        ("copy of plain", "/bucket/plain"),
        ("copy of nothing", "/bucket/absent"),
        ("copy of another bucket's nothing", "/other/absent"),
    ] {
        let copy = ClientRequest::put("/bucket/copy", "").header("x-amz-copy-source", source);
        answers.push((what, send(copy).await));
    }
    let create = send(ClientRequest::post("/bucket/parts?uploads", "")).await;
    let id = create.element("UploadId");
    answers.push(("create", create));
    let part = |number: u16| format!("/bucket/parts?partNumber={number}&uploadId={id}");
    let mut listed = String::new();
    let copied = ClientRequest::put(part(3), "").header("x-amz-copy-source", "/bucket/key");
    for (what, number, request) in [
        ("part", 1, ClientRequest::put(part(1), vec![1; 5 * MIB])),
        ("staged part", 2, ClientRequest::put(part(2), "the last")),
        ("copied part", 3, copied),
    ] {
        let answer = send(request).await;
        let etag = answer.header("etag");
        if number < 3 {
            assert_ne!(etag, "", "{what}: {answer:?}");
            write!(
                listed,
                "<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
            )
            .unwrap();
        }
        answers.push((what, answer));
    }
    let upload = format!("/bucket/parts?uploadId={id}");
    answers.push(("list parts", send(ClientRequest::get(&upload)).await));
    let document = format!("<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>");
    let complete = ClientRequest::post(&upload, document);
    answers.push(("complete", send(complete.clone()).await));
    answers.push(("complete again", send(complete).await));
    let read = ClientRequest::get("/bucket/parts").header("range", "bytes=1-5242885");
    answers.push(("read in several requests", send(read).await));
    answers.push(("abort", send(ClientRequest::delete(&upload)).await));

    let unsigned = of_page(ClientRequest::get("/bucket/key"));
    answers.push(("unsigned", proxy.send_unsigned(unsigned.clone()).await));
    let owner = proxy.owner();
    let wrong = Credential::new(&owner.access_key_id, "wrong");
    answers.push((
        "wrong signature",
        proxy.send_as(&wrong, unsigned.clone()).await,
    ));
    let nobody = Credential::new("NOBODY", "wrong");
    answers.push(("unknown client", proxy.send_as(&nobody, unsigned).await));
    let expired = format!(
        "/bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}%2F20200101%2Fus-east-1%2Fs3\
         %2Faws4_request&X-Amz-Date=20200101T000000Z&X-Amz-Expires=1&X-Amz-SignedHeaders=host\
         &X-Amz-Signature={}",
        owner.access_key_id,
        "a".repeat(64)
    );
    let expired = of_page(ClientRequest::get(expired));
    let expired = proxy.send_unsigned(expired).await;
    assert!(expired.text().contains("expired"), "{expired:?}");
    answers.push(("expired", expired));
    let form = of_page(ClientRequest::post("/bucket", "--b--"))
        .header("content-type", "multipart/form-data; boundary=b");
    answers.push(("refused form", proxy.send_unsigned(form).await));
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_answering_carries_what_the_rules_give() {
    for decorates in [
        Decorates::Everything,
        Decorates::Successes,
        Decorates::OnlyPreflights,
        Decorates::EvenUnasked,
    ] {
        let (proxy, store) = proxy_with("").await;
        let methods = METHODS.to_vec();
        set(&proxy, &store, Rules { methods, decorates });
        for (what, answer) in answers(&proxy, &store).await {
            assert_told(what, &answer);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_unknown_length_is_refused_with_what_the_rules_give() {
    let (proxy, store) = proxy_with("").await;
    set(&proxy, &store, Rules::allowing(&["PUT"]));
    let put = of_page(ClientRequest::put("/bucket/key", "")).payload("UNSIGNED-PAYLOAD");
    let put = put.signed(proxy.owner(), &proxy.host());
    let request = String::from_utf8(put.to_bytes(&proxy.host())).unwrap();
    let request = request.replace("content-length: 0", "transfer-encoding: chunked") + "0\r\n\r\n";
    let answer = raw_exchange(proxy.address(), request.as_bytes()).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 411 "), "{answer}");
    let allowed = format!("access-control-allow-origin: {PAGE}\r\n");
    assert!(answer.contains(&allowed), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_bucket_has_no_rules_nothing_is_added() {
    for decorates in [Decorates::Everything, Decorates::EvenUnasked] {
        let (proxy, store) = proxy_with("").await;
        let methods = Vec::new();
        set(&proxy, &store, Rules { methods, decorates });
        for (what, answer) in answers(&proxy, &store).await {
            assert_told_nothing(what, &answer);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_answers_no_preflights_changes_no_answer() {
    let (proxy, store) = proxy_with("").await;
    let rules = Rules {
        methods: METHODS.to_vec(),
        decorates: Decorates::AllButPreflights,
    };
    set(&proxy, &store, rules);
    let put = of_page(ClientRequest::put("/bucket/key", "content"));
    assert_told("put", &proxy.send(put).await.expect(200));
    let range = of_page(ClientRequest::get("/bucket/key")).header("range", "bytes=100-");
    let answer = proxy.send(range).await;
    let answer = answer.expect_error(416, "InvalidRange");
    assert_told_nothing("416", &answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_takes_long_is_answered_with_the_rules_before_it_ends() {
    let (proxy, store) = proxy_with("").await;
    proxy.put("/bucket/key", "content").await;
    let rules = Rules::allowing(&["PUT"]);
    proxy.backend.script(move |request| match request.method {
        Method::OPTIONS => rules.preflight(request),
        Method::PUT => Reply::After(Duration::from_secs(6), Box::new(store.reply(request))),
        _ => store.reply(request),
    });
    let copy =
        of_page(ClientRequest::put("/bucket/copy", "")).header("x-amz-copy-source", "/bucket/key");
    let answer = proxy.send(copy).await.expect(200);
    assert_eq!(
        answer.header("content-length"),
        "",
        "its end was not known: {answer:?}"
    );
    assert_told("copy", &answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_preflight_is_answered_with_nothing_of_the_proxys_own() {
    let (proxy, store) = proxy_with("").await;
    set(&proxy, &store, Rules::allowing(&[]));
    let request = of_page(ClientRequest::new(Method::OPTIONS, "/bucket/key"))
        .header("access-control-request-method", "PUT");
    let answer = proxy.send_unsigned(request).await.expect(403);
    assert_told_nothing("preflight", &answer);
    assert_eq!(proxy.backend.take_requests().len(), 1);
}
