//! CompleteMultipartUpload: repeated, concurrent, and with a part that the backend has altered.

use std::sync::Arc;

use bytes::Bytes;

use crate::harness::{Answer, ClientRequest, Proxy, Reply};
use crate::memory_store::{Faults, MemoryStore};

const FIVE_MIB: usize = 5 * 1024 * 1024;

/// Two replicas with the same store.
struct Deployment {
    store: Arc<MemoryStore>,
    proxy: Proxy,
    other: Proxy,
}

/// Numbers and ETags, as the client sends them back.
type Parts = Vec<(u16, String)>;

impl Deployment {
    async fn start() -> Self {
        let store = MemoryStore::new(Faults::default());
        let key = s3proxy_envelope::kek::Kek::generate().to_configured();
        let builder = || Proxy::builder().environment("S3PROXY_ENCRYPT_KEY", &key);
        let (proxy, other) = (builder().start().await, builder().start().await);
        store.behind(&proxy);
        store.behind(&other);
        Self {
            store,
            proxy,
            other,
        }
    }

    async fn create(&self) -> String {
        let created = self
            .proxy
            .send(ClientRequest::post("/bucket/key?uploads", ""));
        created.await.expect(200).element("UploadId")
    }

    /// Creates an upload with these parts, numbered from 1.
    async fn upload(&self, bodies: &[Bytes]) -> (String, Parts) {
        let id = self.create().await;
        let mut parts = Vec::new();
        for (number, body) in (1..).zip(bodies) {
            parts.push((number, self.part(&self.proxy, &id, number, body).await));
        }
        (id, parts)
    }

    async fn part(&self, proxy: &Proxy, id: &str, number: u16, body: &Bytes) -> String {
        let target = format!("/bucket/key?partNumber={number}&uploadId={id}");
        let stored = proxy.send(ClientRequest::put(target, body.clone())).await;
        stored
            .expect(200)
            .header("etag")
            .trim_matches('"')
            .to_owned()
    }

    async fn read(&self) -> Bytes {
        let read = self.other.send(ClientRequest::get("/bucket/key")).await;
        read.expect(200).body
    }
}

fn request(id: &str, parts: &[(u16, String)]) -> ClientRequest {
    let parts = parts.iter().map(|(number, etag)| {
        format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
    });
    let parts = parts.collect::<Vec<_>>().concat();
    let document = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    ClientRequest::post(format!("/bucket/key?uploadId={id}"), document)
}

async fn complete(proxy: &Proxy, id: &str, parts: &[(u16, String)]) -> Answer {
    proxy.send(request(id, parts)).await
}

fn long() -> Bytes {
    Bytes::from(vec![1; FIVE_MIB])
}

fn short() -> Bytes {
    Bytes::from_static(b"the last part")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_that_is_told_again_is_the_success_that_it_was() {
    let deployment = Deployment::start().await;
    for bodies in [vec![long(), short()], vec![short()]] {
        let (id, parts) = deployment.upload(&bodies).await;
        let first = complete(&deployment.proxy, &id, &parts).await.expect(200);
        let again = complete(&deployment.proxy, &id, &parts).await.expect(200);
        assert_eq!(again.element("ETag"), first.element("ETag"));
        // A repetition must succeed although the object exists by now.
        let conditional = request(&id, &parts).header("if-none-match", "*");
        deployment.proxy.send(conditional).await.expect(200);
        assert_eq!(deployment.read().await, bodies.concat());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_replica_knows_a_large_object_by_its_seal_and_no_small_one() {
    let deployment = Deployment::start().await;
    let (id, parts) = deployment.upload(&[long(), short()]).await;
    complete(&deployment.proxy, &id, &parts).await.expect(200);
    // The seal in the object's tail lists the parts; a small object has no such list.
    complete(&deployment.other, &id, &parts).await.expect(200);
    let (id, parts) = deployment.upload(&[short()]).await;
    complete(&deployment.proxy, &id, &parts).await.expect(200);
    let again = complete(&deployment.other, &id, &parts).await;
    again.expect_error(404, "NoSuchUpload");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_complete_of_other_parts_is_no_success() {
    let deployment = Deployment::start().await;
    for bodies in [vec![long(), short()], vec![short()]] {
        let (id, parts) = deployment.upload(&bodies).await;
        let last = parts.len() - 1;
        let (number, etag) = parts[last].clone();
        complete(&deployment.proxy, &id, &parts).await.expect(200);
        let mut more = parts.clone();
        more.push((number + 1, etag.clone()));
        let mut renumbered = parts.clone();
        renumbered[last].0 += 1;
        let mut other = parts.clone();
        other[last].1 = format!("{}-{}-00000000", "0".repeat(32), "1".repeat(16));
        let mut unmarked = parts.clone();
        unmarked[last].1 = format!("{}-0", "0".repeat(32));
        for wrong in [more, renumbered, other, unmarked] {
            for proxy in [&deployment.proxy, &deployment.other] {
                let again = complete(proxy, &id, &wrong).await;
                again.expect_error(404, "NoSuchUpload");
            }
        }
        let size = bodies.concat().len();
        let sized = request(&id, &parts).header("x-amz-mp-object-size", (size + 1).to_string());
        let sized = deployment.proxy.send(sized).await;
        sized.expect_error(404, "NoSuchUpload");
        let sized = request(&id, &parts).header("x-amz-mp-object-size", size.to_string());
        deployment.proxy.send(sized).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_came_after_the_end_is_not_said_to_be_in_the_object() {
    let deployment = Deployment::start().await;
    let (id, parts) = deployment.upload(&[long()]).await;
    // This write puts the upload into the other replica's cache.
    deployment.part(&deployment.other, &id, 1, &long()).await;
    let etag = deployment.part(&deployment.proxy, &id, 1, &long()).await;
    let parts: Parts = vec![(parts[0].0, etag)];
    complete(&deployment.proxy, &id, &parts).await.expect(200);
    let late = deployment.part(&deployment.other, &id, 2, &short()).await;
    let both = [parts[0].clone(), (2, late)];
    let completed = complete(&deployment.other, &id, &both).await;
    completed.expect_error(404, "NoSuchUpload");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_complete_that_lost_its_answer_in_a_crash_is_known_by_its_content() {
    let deployment = Deployment::start().await;
    let (id, parts) = deployment.upload(&[short()]).await;
    // No deletion succeeds, as if the program had crashed right after the backend's completion.
    let store = Arc::clone(&deployment.store);
    deployment.proxy.backend.script(move |request| {
        if request.method == http::Method::DELETE {
            Reply::error(403, "AccessDenied")
        } else {
            store.reply(request)
        }
    });
    complete(&deployment.proxy, &id, &parts).await.expect(200);
    complete(&deployment.other, &id, &parts).await.expect(200);
    let late = Bytes::from_static(b"the late part");
    let etag = deployment.part(&deployment.other, &id, 1, &late).await;
    let completed = complete(&deployment.other, &id, &[(1, etag)]).await;
    completed.expect_error(404, "NoSuchUpload");
    assert_eq!(deployment.read().await, short());
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_completes_at_once_are_all_told_of_success() {
    let deployment = Deployment::start().await;
    for round in 0..10 {
        let bodies = if round % 2 == 0 {
            vec![short()]
        } else {
            vec![long(), short()]
        };
        let (id, parts) = deployment.upload(&bodies).await;
        let send = || complete(&deployment.proxy, &id, &parts);
        let (one, two, three, four) = tokio::join!(send(), send(), send(), send());
        for answer in [one, two, three, four] {
            answer.expect(200);
        }
        assert_eq!(deployment.read().await, bodies.concat());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_staged_part_that_the_backend_alters_makes_the_complete_fail() {
    let deployment = Deployment::start().await;
    // In turn a byte of the salt, the commitment, the ciphertext and the tag.
    for position in [0, 40, 60, 80] {
        let (id, parts) = deployment.upload(&[long(), short()]).await;
        let store = Arc::clone(&deployment.store);
        deployment.proxy.backend.script(move |request| {
            let staged = request.path().ends_with("/part-2");
            let reply = store.reply(request);
            match reply {
                Reply::Answer(mut answer) if staged && request.method == http::Method::GET => {
                    answer.body_mut()[position] ^= 1;
                    Reply::Answer(answer)
                }
                reply => reply,
            }
        });
        let completed = complete(&deployment.proxy, &id, &parts).await;
        completed.expect_error(500, "InternalError");
        assert_eq!(deployment.store.keys("bucket", "key"), [""; 0]);
        deployment.store.behind(&deployment.proxy);
        complete(&deployment.proxy, &id, &parts).await.expect(200);
        assert_eq!(deployment.read().await, [long(), short()].concat());
        deployment
            .proxy
            .send(ClientRequest::delete("/bucket/key"))
            .await;
    }
}
