//! The backend's clock is learnt, and used for signatures.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::signature::assert_signed;
use super::support::{SECRET_KEY, Seen, Server, answer, backend_at, get};

const HTTP_DATE: &[BorrowedFormatItem<'static>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);
const AMZ_DATE: &[BorrowedFormatItem<'static>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");

fn in_an_hour() -> String {
    let then = OffsetDateTime::from(SystemTime::now() + Duration::from_hours(1));
    then.format(HTTP_DATE).unwrap()
}

/// Seconds from now to the time of the signature.
fn signed_ahead(seen: &Seen) -> i64 {
    let signed = time::PrimitiveDateTime::parse(seen.header("x-amz-date"), AMZ_DATE).unwrap();
    (signed.assume_utc() - OffsetDateTime::now_utc()).whole_seconds()
}

#[tokio::test]
async fn the_next_signature_uses_the_backends_time() {
    let server = Server::start(|_, _| answer("200 OK", &[("Date", &in_an_hour())], "")).await;
    let backend = backend_at(server.address).await;
    assert_eq!(backend.clock_offset(), 0);
    backend.send(get("k")).await.unwrap();
    backend.send(get("k")).await.unwrap();
    assert!((3590..=3610).contains(&backend.clock_offset()));
    let seen = server.seen();
    assert!(signed_ahead(&seen[0]).abs() < 30);
    assert!((3570..=3630).contains(&signed_ahead(&seen[1])));
    assert_signed(&seen[1], SECRET_KEY);
}

async fn requests_with_a_skewed_clock(body: &'static str) -> (StatusCode, Vec<Seen>) {
    let server =
        Server::start(move |_, _| answer("403 Forbidden", &[("Date", &in_an_hour())], body)).await;
    let backend = backend_at(server.address).await;
    let response = backend.send(get("k")).await.unwrap();
    (response.status(), server.seen())
}

#[tokio::test]
async fn a_request_refused_for_its_time_is_signed_again_once() {
    let body = "<Error><Code>RequestTimeTooSkewed</Code></Error>";
    for body in [body, ""] {
        let (status, seen) = requests_with_a_skewed_clock(body).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert_eq!(seen.len(), 2);
        assert!((3570..=3630).contains(&signed_ahead(&seen[1])));
    }
}

#[tokio::test]
async fn a_request_refused_for_another_reason_is_not_repeated() {
    let body = "<Error><Code>AccessDenied</Code></Error>";
    let (_, seen) = requests_with_a_skewed_clock(body).await;
    assert_eq!(seen.len(), 1);
}
