//! The state of an upload belongs to its tenant.

use http::Method;

use super::stolen::Stolen;
use super::writing::{begin_upload, complete};
use super::{BINDINGS, KEY, Keys, client, rules, start};
use crate::harness::{ClientRequest, Proxy, Reply};

/// The path at which the proxy looks for the state of an upload with this id.
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
        let proxy = start(&keys, &rules(&format!("key_binding = \"{bind}\""))).await;
        let (alice, bob) = (client("alice"), client("bob"));
        let own = format!("/tenant-a/{KEY}");
        let id = begin_upload(&proxy, &alice, &own).await;
        let states = proxy.backend.take_requests();
        let state = states
            .iter()
            .find(|request| request.path().ends_with("/state"));
        let state = Stolen::from(&proxy, state.unwrap().path()).await;

        // The backend chooses upload ids, so it can give the same id to Bob.
        let target = format!("/tenant-b/{KEY}");
        let wanted = state_of(&proxy, "bob", &target, &id).await;
        proxy.backend.script(move |request| {
            if request.method == Method::GET && request.path() == wanted {
                state.reply(request)
            } else if request.path().starts_with("/tenant-b/.s3proxy/") {
                Reply::Store
            } else {
                // The upload exists, whatever the request.
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
            let refused = refused.expect_error(403, "AccessDenied");
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
