//! PostObject: what may stand around the file of a form, and what its page is told.

use std::sync::Arc;

use crate::harness::{ClientRequest, Proxy, Reply};
use crate::memory_store::{Faults, MemoryStore};

const PAGE: &str = "https://page.example";

const BUTTON: &str = "--edge\r\nContent-Disposition: form-data; name=\"submit\"\r\n\r\nUpload\r\n";

async fn open_proxy(settings: &str) -> (Proxy, Arc<MemoryStore>) {
    let proxy = Proxy::builder()
        .file(settings)
        .environment("S3PROXY_CLIENTS_AUTH", "none")
        .start()
        .await;
    let store = MemoryStore::new(Faults::default());
    store.behind(&proxy);
    (proxy, store)
}

fn field(name: &str, value: &str) -> String {
    format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

/// A form with the field `key` and this file, without the delimiter behind it.
fn beginning(key: &str, file: &str) -> String {
    let key = field("key", key);
    format!(
        "{key}--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n{file}\r\n"
    )
}

fn post(body: String) -> ClientRequest {
    ClientRequest::post("/bucket", body)
        .header("content-type", "multipart/form-data; boundary=edge")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_around_the_file_of_a_small_form_is_ignored() {
    let (proxy, _) = open_proxy("").await;
    for (number, (before, behind)) in [
        ("", "--edge--\r\n".to_owned()),
        ("", format!("{BUTTON}--edge--\r\n")),
        ("", format!("{BUTTON}{BUTTON}--edge--")),
        ("", "--edge--\r\n\r\n".to_owned()),
        ("", "--edge-- \n".to_owned()),
        ("", format!("--edge--\r\n{}", "epilogue ".repeat(10_000))),
        ("\r\n", "--edge--\r\n".to_owned()),
        ("a preamble\r\n", format!("{BUTTON}--edge--\r\n\r\n")),
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("key-{number}");
        let body = format!("{before}{}{behind}", beginning(&key, "content"));
        proxy.send_unsigned(post(body)).await.expect(204);
        let read = ClientRequest::get(format!("/bucket/{key}"));
        let answer = proxy.send_unsigned(read).await.expect(200);
        assert_eq!(answer.text(), "content", "{before:?} {behind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_end_or_a_second_file_of_a_small_form_stores_nothing() {
    let (proxy, store) = open_proxy("").await;
    let second = BUTTON.replace("submit", "File");
    for (behind, code) in [
        (String::new(), "MalformedPOSTRequest"),
        (BUTTON.to_owned(), "MalformedPOSTRequest"),
        (format!("{BUTTON}--edge\r\n"), "MalformedPOSTRequest"),
        (format!("{BUTTON}--edges--\r\n"), "MalformedPOSTRequest"),
        (
            format!("{BUTTON}{second}--edge--\r\n"),
            "IncorrectNumberOfFilesInPostRequest",
        ),
    ] {
        let body = beginning("key", "content") + &behind;
        let answer = proxy.send_unsigned(post(body)).await;
        answer.expect_error(400, code);
        assert_eq!(store.keys("bucket", ""), [""; 0], "{behind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_form_ends_behind_its_file_or_stores_nothing() {
    let (proxy, store) = open_proxy("[limits]\nheld_body = \"64 KiB\"").await;
    let file = "x".repeat(100_000);
    for behind in [
        format!("{BUTTON}--edge--\r\n"),
        "--edge--\r\n\r\n".to_owned(),
    ] {
        let body = beginning("key", &file) + &behind;
        let answer = proxy.send_unsigned(post(body)).await;
        answer.expect_error(400, "IncorrectNumberOfFilesInPostRequest");
        assert_eq!(store.keys("bucket", ""), [""; 0], "{behind:?}");
    }
    let body = format!("\r\n{}--edge--\r\n", beginning("key", &file));
    proxy.send_unsigned(post(body)).await.expect(204);
    let read = proxy.send_unsigned(ClientRequest::get("/bucket/key")).await;
    assert_eq!(read.expect(200).body.len(), file.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_count_the_file_and_not_what_stands_behind_it() {
    let (proxy, store) = open_proxy("[limits]\nput_body = 10").await;
    let behind = format!("{BUTTON}--edge--\r\n");
    let body = beginning("key", "0123456789") + &behind;
    proxy.send_unsigned(post(body)).await.expect(204);
    let body = beginning("other", "0123456789a") + &behind;
    let answer = proxy.send_unsigned(post(body)).await;
    answer.expect_error(413, "EntityTooLarge");
    assert_eq!(store.keys("bucket", ""), ["key"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forms_page_is_told_what_the_rules_give_for_a_post() {
    let (proxy, store) = open_proxy("").await;
    let (form, end) = (beginning("key", "content"), "--edge--\r\n");
    for (method, told) in [("POST", true), ("PUT", false)] {
        let store = Arc::clone(&store);
        proxy.backend.script(move |request| {
            if request.method != http::Method::OPTIONS {
                // Some servers say so to anybody.
                let Reply::Answer(mut response) = store.reply(request) else {
                    unreachable!("the store answers")
                };
                let any = http::HeaderValue::from_static("*");
                let headers = response.headers_mut();
                headers.insert("access-control-allow-origin", any);
                return Reply::Answer(response);
            }
            let headers = [
                ("access-control-allow-origin", PAGE),
                ("access-control-allow-methods", method),
                ("access-control-expose-headers", "ETag"),
                ("vary", "Origin"),
                ("vary", "Origin, Access-Control-Request-Method"),
            ];
            Reply::answer(200, &headers, "")
        });
        // Another page each time, since what it is told is remembered.
        let origin = format!("{PAGE}/{method}");
        for (body, status) in [
            (form.clone() + end, 204),
            (form.clone() + BUTTON + end, 204),
            (field("success_action_status", "201") + &form + end, 201),
            (
                field("redirect", "https://page.example/done") + &form + end,
                303,
            ),
            (form.clone(), 400),
        ] {
            let request = post(body).header("origin", origin.as_str());
            let answer = proxy.send_unsigned(request).await.expect(status);
            let expected = if told { PAGE } else { "" };
            assert_eq!(answer.header("access-control-allow-origin"), expected);
            let vary: Vec<_> = answer.headers.get_all("vary").iter().collect();
            if told {
                assert_eq!(vary, ["Origin, Access-Control-Request-Method"]);
            } else {
                assert!(vary.is_empty(), "{vary:?}");
            }
        }
    }
}
