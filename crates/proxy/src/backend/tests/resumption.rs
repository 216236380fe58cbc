//! A broken read is resumed where it broke, or fails; it never ends early or with other bytes.

use std::time::Duration;

use http::{HeaderValue, StatusCode};

use super::signature::assert_signed;
use super::support::{
    Reply, SECRET_KEY, Seen, Server, backend_at, backend_with, broken, get, head_and, response,
    settings, text,
};
use crate::backend::{BackendError, Request};

type Case = (&'static str, fn() -> Reply);

const CONTENT: &str = "0123456789";
const ETAG: (&str, &str) = ("ETag", "\"e1\"");

/// Sends `bytes` of the first response, then continues as `rest` says.
async fn read(
    request: Request,
    first: impl Fn() -> Reply + Send + Sync + 'static,
    rest: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
) -> (Result<String, BackendError>, Vec<Seen>) {
    let server = Server::start(move |number, seen| match number {
        0 => first(),
        _ => rest(seen),
    })
    .await;
    let backend = backend_at(server.address).await;
    let response = backend.send(request).await.unwrap();
    (text(response).await, server.seen())
}

fn first_four() -> Reply {
    broken("200 OK", &[ETAG], 10, &CONTENT[..4])
}

fn rest_as_asked(seen: &Seen) -> Reply {
    let range = seen.header("range").strip_prefix("bytes=").unwrap();
    let (first, last) = range.split_once('-').unwrap();
    let part = &CONTENT[first.parse().unwrap()..=last.parse().unwrap()];
    let range = format!("bytes {first}-{last}/10");
    response(
        "206 Partial Content",
        &[ETAG, ("Content-Range", &range)],
        part,
    )
}

#[tokio::test]
async fn a_whole_object_is_continued_pinned_to_its_etag() {
    let mut request = get("k");
    request.query = vec![("versionId".to_owned(), Some("v1".to_owned()))];
    let (read, seen) = read(request, first_four, rest_as_asked).await;
    assert_eq!(read.unwrap(), CONTENT);
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].header("range"), "bytes=4-9");
    assert_eq!(seen[1].header("if-match"), "\"e1\"");
    assert_eq!(seen[1].target, "/bucket/k?versionId=v1");
    assert_signed(&seen[1], SECRET_KEY);
}

#[tokio::test]
async fn a_range_is_continued_inside_itself() {
    let mut request = get("k");
    request
        .headers
        .insert("range", HeaderValue::from_static("bytes=2-7"));
    // The first response met this condition, so the continuation does not repeat it.
    request
        .headers
        .insert("if-none-match", HeaderValue::from_static("\"other\""));
    let first = || {
        let range = ("Content-Range", "bytes 2-7/10");
        broken("206 Partial Content", &[ETAG, range], 6, "234")
    };
    let (read, seen) = read(request, first, rest_as_asked).await;
    assert_eq!(read.unwrap(), "234567");
    assert_eq!(seen[1].header("range"), "bytes=5-7");
    assert_eq!(seen[1].header("if-none-match"), "");
}

#[tokio::test]
async fn a_part_is_continued_by_its_place_in_the_object() {
    let mut request = get("k");
    request.query = vec![("partNumber".to_owned(), Some("2".to_owned()))];
    let first = || {
        let range = ("Content-Range", "bytes 5-9/10");
        broken("206 Partial Content", &[ETAG, range], 5, "56")
    };
    let (read, seen) = read(request, first, rest_as_asked).await;
    assert_eq!(read.unwrap(), "56789");
    // A range and a part number exclude each other.
    assert_eq!(seen[1].target, "/bucket/k");
    assert_eq!(seen[1].header("range"), "bytes=7-9");
}

#[tokio::test]
async fn a_continuation_that_breaks_is_continued() {
    let (read, seen) = read(get("k"), first_four, |seen| match seen.header("range") {
        "bytes=4-9" => {
            let range = ("Content-Range", "bytes 4-9/10");
            broken("206 Partial Content", &[ETAG, range], 6, "45")
        }
        _ => rest_as_asked(seen),
    })
    .await;
    assert_eq!(read.unwrap(), CONTENT);
    assert_eq!(seen[2].header("range"), "bytes=6-9");
}

#[tokio::test]
async fn a_transfer_that_breaks_forever_is_given_up() {
    let (read, seen) = read(get("k"), first_four, |_| {
        broken(
            "206 Partial Content",
            &[ETAG, ("Content-Range", "bytes 4-9/10")],
            6,
            "",
        )
    })
    .await;
    assert!(matches!(read, Err(BackendError::Broken { .. })), "{read:?}");
    // The request and eight continuations.
    assert_eq!(seen.len(), 9);
}

#[tokio::test]
async fn only_the_missing_part_of_the_same_object_is_joined() {
    let wrong: [Case; 6] = [
        ("another object", || {
            let range = ("Content-Range", "bytes 4-9/10");
            response(
                "206 Partial Content",
                &[("ETag", "\"e2\""), range],
                "456789",
            )
        }),
        ("another place", || {
            let range = ("Content-Range", "bytes 3-8/10");
            response("206 Partial Content", &[ETAG, range], "345678")
        }),
        ("another size", || {
            let range = ("Content-Range", "bytes 4-9/11");
            response("206 Partial Content", &[ETAG, range], "456789")
        }),
        ("another length", || {
            let range = ("Content-Range", "bytes 4-9/10");
            response("206 Partial Content", &[ETAG, range], "45678")
        }),
        ("the whole object", || response("200 OK", &[ETAG], CONTENT)),
        ("gone", || {
            response("412 Precondition Failed", &[], "<Error/>")
        }),
    ];
    for (case, reply) in wrong {
        let (read, seen) = read(get("k"), first_four, move |_| reply()).await;
        assert!(matches!(read, Err(BackendError::Broken { .. })), "{case}");
        assert_eq!(seen.len(), 2, "{case}");
    }
}

#[tokio::test]
async fn reads_that_cannot_be_pinned_are_not_continued() {
    let mut about_the_object = get("k");
    about_the_object.query = vec![("acl".to_owned(), None)];
    // A weak ETag does not promise the same bytes.
    let weak = || broken("200 OK", &[("ETag", "W/\"e1\"")], 10, &CONTENT[..4]);
    let without = || broken("200 OK", &[], 10, &CONTENT[..4]);
    for (request, first) in [
        (get("k"), weak as fn() -> Reply),
        (get("k"), without),
        (about_the_object, first_four),
        (
            Request::new(http::Method::GET, Some("bucket"), None),
            first_four,
        ),
    ] {
        let (read, seen) = read(request, first, rest_as_asked).await;
        assert!(matches!(read, Err(BackendError::Broken { .. })), "{read:?}");
        assert_eq!(seen.len(), 1);
    }
}

#[tokio::test]
async fn a_silent_transfer_is_continued_on_another_connection() {
    let server = Server::start(|number, seen| match number {
        0 => Reply::RespondAndHang(head_and("200 OK", &[ETAG], 10, &CONTENT[..4])),
        _ => rest_as_asked(seen),
    })
    .await;
    let mut settings = settings(server.address);
    // The first response hangs after four bytes.
    settings.body_timeout = Duration::from_millis(100);
    let response = backend_with(settings).await.send(get("k")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(text(response).await.unwrap(), CONTENT);
    let seen = server.seen();
    assert_eq!((seen[0].connection, seen[1].connection), (0, 1));
}
