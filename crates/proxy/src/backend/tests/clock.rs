//! Learning the backend's clock, and using it for signatures.

use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::signature::assert_signed;
use super::support::{SECRET_KEY, Seen, Server, backend_at, get, response};
use crate::backend::Request;

const HTTP_DATE: &[BorrowedFormatItem<'static>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);
const AMZ_DATE: &[BorrowedFormatItem<'static>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");

fn in_an_hour() -> String {
    let then = OffsetDateTime::from(SystemTime::now() + Duration::from_hours(1));
    then.format(HTTP_DATE).unwrap()
}

/// Returns the seconds from now to the time of the signature.
fn signed_ahead(seen: &Seen) -> i64 {
    let signed = time::PrimitiveDateTime::parse(seen.header("x-amz-date"), AMZ_DATE).unwrap();
    (signed.assume_utc() - OffsetDateTime::now_utc()).whole_seconds()
}

const SKEWED: &str = "<Error><Code>RequestTimeTooSkewed</Code></Error>";

#[tokio::test]
async fn the_next_signature_uses_the_time_of_a_refusal() {
    let server = Server::start(|number, _| match number {
        0 => response("403 Forbidden", &[("Date", &in_an_hour())], SKEWED),
        _ => response("200 OK", &[], ""),
    })
    .await;
    let backend = backend_at(server.address).await;
    assert_eq!(backend.clock_offset(), 0);
    backend.send(get("k")).await.unwrap();
    backend.send(get("k")).await.unwrap();
    assert!((3590..=3610).contains(&backend.clock_offset()));
    let seen = server.seen();
    // The first request was sent again after its refusal.
    assert_eq!(seen.len(), 3);
    assert!(signed_ahead(&seen[0]).abs() < 30);
    assert!((3570..=3630).contains(&signed_ahead(&seen[2])));
    assert_signed(&seen[2], SECRET_KEY);
}

#[tokio::test]
async fn no_other_response_moves_the_clock() {
    for (status, body) in [
        ("200 OK", ""),
        // Only a 403 with this code says that the clocks differ.
        ("404 Not Found", SKEWED),
        ("403 Forbidden", ""),
        ("403 Forbidden", "<Error><Code>AccessDenied</Code></Error>"),
        ("503 Slow Down", SKEWED),
    ] {
        let server = Server::start(move |_, _| response(status, &[("Date", &in_an_hour())], body));
        let backend = backend_at(server.await.address).await;
        backend.send(get("k")).await.unwrap();
        assert_eq!(backend.clock_offset(), 0, "{status} {body}");
    }
}

#[tokio::test]
async fn a_time_more_than_a_day_away_is_ignored() {
    for date in [
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT",
    ] {
        let server =
            Server::start(move |_, _| response("403 Forbidden", &[("Date", date)], SKEWED));
        let server = server.await;
        let backend = backend_at(server.address).await;
        for _ in 0..2 {
            backend.send(get("k")).await.unwrap();
        }
        assert_eq!(backend.clock_offset(), 0, "{date}");
        let seen = server.seen();
        assert_eq!(seen.len(), 2);
        assert!(signed_ahead(&seen[1]).abs() < 30);
    }
}

#[tokio::test]
async fn a_head_refused_without_a_reason_is_signed_again_at_the_time_of_the_refusal() {
    let server = Server::start(|_, _| response("403 Forbidden", &[("Date", &in_an_hour())], ""));
    let server = server.await;
    let backend = backend_at(server.address).await;
    // A response to HEAD has no body that could give the reason.
    let head = || Request::new(Method::HEAD, Some("bucket"), Some("k"));
    backend.send(head()).await.unwrap();
    assert_eq!(server.seen().len(), 2);
    assert!((3590..=3610).contains(&backend.clock_offset()));
}

async fn requests_with_a_skewed_clock(body: &'static str) -> (StatusCode, Vec<Seen>) {
    let server =
        Server::start(move |_, _| response("403 Forbidden", &[("Date", &in_an_hour())], body))
            .await;
    let backend = backend_at(server.address).await;
    let response = backend.send(get("k")).await.unwrap();
    (response.status(), server.seen())
}

#[tokio::test]
async fn a_request_refused_for_its_time_is_signed_again_once() {
    let (status, seen) = requests_with_a_skewed_clock(SKEWED).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(seen.len(), 2);
    assert!((3570..=3630).contains(&signed_ahead(&seen[1])));
}

#[tokio::test]
async fn a_request_refused_for_another_reason_is_not_repeated() {
    let body = "<Error><Code>AccessDenied</Code></Error>";
    let (_, seen) = requests_with_a_skewed_clock(body).await;
    assert_eq!(seen.len(), 1);
}
