//! The sweep removes the state of an upload only if exactly that upload has ended.

use std::sync::Arc;
use std::time::Duration;

use s3proxy::commands::CommandEnd;
use s3proxy::commands::sweep::{Mode, Nameless, SweepOptions, sweep};

use crate::harness::{ClientRequest, Proxy, Reply};
use crate::memory_store::{Faults, MemoryStore};

const STATES: &str = ".s3proxy/uploads/";

struct Deployment {
    store: Arc<MemoryStore>,
    proxy: Proxy,
}

impl Deployment {
    async fn with(faults: Faults) -> Self {
        let store = MemoryStore::new(faults);
        let proxy = Proxy::start().await;
        store.behind(&proxy);
        Self { store, proxy }
    }

    async fn begin_upload(&self) -> (String, String) {
        let created = ClientRequest::post("/bucket/a%20key?uploads", "");
        let id = self.proxy.send(created).await.expect(200);
        let id = id.element("UploadId");
        let part = format!("/bucket/a%20key?partNumber=1&uploadId={id}");
        let part = self.proxy.send(ClientRequest::put(part, "short")).await;
        let etag = part.expect(200).header("etag").to_owned();
        (id, etag)
    }

    async fn sweep(&self, nameless: Nameless) -> (CommandEnd, Vec<String>) {
        let options = SweepOptions {
            buckets: vec!["bucket".to_owned()],
            older_than: Duration::ZERO,
            mode: Mode::Remove,
            nameless,
        };
        let mut lines = Vec::new();
        let config = self.proxy.command_config();
        let swept = sweep(config, options, |line| lines.push(line.to_owned())).await;
        (swept.unwrap(), lines)
    }

    fn kept(&self) -> usize {
        self.store.keys("bucket", STATES).len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_the_backend_does_not_list_keeps_its_state() {
    let faults = Faults {
        hides_uploads: true,
        ..Faults::default()
    };
    let deployment = Deployment::with(faults).await;
    let (id, etag) = deployment.begin_upload().await;
    deployment.store.age();
    // The state names its upload, so the backend's list decides nothing here.
    for nameless in [Nameless::Stay, Nameless::ByList] {
        let (swept, lines) = deployment.sweep(nameless).await;
        assert_eq!((swept, deployment.kept()), (CommandEnd::Complete, 2));
        assert!(lines[0].contains("1 upload in progress"), "{lines:?}");
    }
    let document = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part>\
         </CompleteMultipartUpload>",
        etag.trim_matches('"')
    );
    let completed = ClientRequest::post(format!("/bucket/a%20key?uploadId={id}"), document);
    deployment.proxy.send(completed).await.expect(200);
    assert_eq!(deployment.kept(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_an_upload_that_ended_around_the_proxy_is_removed() {
    let deployment = Deployment::with(Faults::default()).await;
    let (id, _) = deployment.begin_upload().await;
    deployment.store.end_upload(&id);
    let (swept, _) = deployment.sweep(Nameless::Stay).await;
    assert_eq!((swept, deployment.kept()), (CommandEnd::Complete, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_answer_than_no_such_upload_is_no_evidence() {
    let deployment = Deployment::with(Faults::default()).await;
    let (id, _) = deployment.begin_upload().await;
    deployment.store.end_upload(&id);
    for (status, code) in [
        (404, "NoSuchBucket"),
        (403, "AccessDenied"),
        (500, "InternalError"),
        (400, "NoSuchUpload"),
    ] {
        let store = Arc::clone(&deployment.store);
        deployment.proxy.backend.script(move |request| {
            if request.has_parameter("uploadId") {
                Reply::error(status, code)
            } else {
                store.reply(request)
            }
        });
        let (swept, lines) = deployment.sweep(Nameless::ByList).await;
        assert_eq!(swept, CommandEnd::Incomplete, "{code}: {lines:?}");
        assert_eq!(deployment.kept(), 2, "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_such_key_counts_where_the_list_under_the_key_agrees() {
    let faults = Faults {
        hides_uploads: true,
        ..Faults::default()
    };
    let deployment = Deployment::with(faults).await;
    let (id, _) = deployment.begin_upload().await;
    let store = Arc::clone(&deployment.store);
    // Ceph's gateway responds in this way for an upload that has ended.
    deployment.proxy.backend.script(move |request| {
        if request.has_parameter("uploadId") {
            Reply::error(404, "NoSuchKey")
        } else {
            store.reply(request)
        }
    });
    deployment.sweep(Nameless::Stay).await;
    assert_eq!(deployment.kept(), 2);
    deployment.store.end_upload(&id);
    let (swept, _) = deployment.sweep(Nameless::Stay).await;
    assert_eq!((swept, deployment.kept()), (CommandEnd::Complete, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_names_no_upload_stays_unless_the_list_is_vouched_for() {
    let deployment = Deployment::with(Faults::default()).await;
    let folder = format!("{STATES}gaytemzugu3doobzmfrggzdfmztwq2lk");
    deployment.store.plant(
        "bucket",
        &format!("{folder}/state"),
        "of an earlier version",
    );
    let (swept, lines) = deployment.sweep(Nameless::Stay).await;
    assert_eq!((swept, deployment.kept()), (CommandEnd::Complete, 1));
    assert!(
        lines.iter().any(|line| line.contains("--by-list")),
        "{lines:?}"
    );
    let (swept, _) = deployment.sweep(Nameless::ByList).await;
    assert_eq!((swept, deployment.kept()), (CommandEnd::Complete, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_cannot_have_another_upload_asked_for() {
    let deployment = Deployment::with(Faults::default()).await;
    let (id, _) = deployment.begin_upload().await;
    let states = deployment.store.keys("bucket", STATES);
    let state = states.iter().find(|key| key.ends_with("/state")).unwrap();
    let bytes = deployment.store.body("bucket", state).unwrap();
    let other = format!("{STATES}gaytemzugu3doobzmfrggzdfmztwq2lk/state");
    deployment.store.plant("bucket", &other, bytes);
    deployment.store.end_upload(&id);
    deployment.sweep(Nameless::Stay).await;
    // The copied state names an upload whose folder is another one, so it is not trusted.
    assert_eq!(deployment.store.keys("bucket", STATES), [other]);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_without_a_state_belong_to_nobody() {
    let deployment = Deployment::with(Faults::default()).await;
    let part = format!("{STATES}gaytemzugu3doobzmfrggzdfmztwq2lk/part-3");
    deployment.store.plant("bucket", &part, "left over");
    let (swept, _) = deployment.sweep(Nameless::Stay).await;
    assert_eq!((swept, deployment.kept()), (CommandEnd::Complete, 0));
}
