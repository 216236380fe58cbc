//! Times in the format of S3's documents, for backends that return none: a response to PutObject
//! has only a `Date` header.

use http::{HeaderMap, header};
use s3proxy_protocol::headers;
use s3proxy_protocol::http_date;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

/// ISO 8601 in UTC, to the millisecond.
const FORM: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// Formats a time for a document.
pub(crate) fn in_documents(time: OffsetDateTime) -> String {
    let time = time.checked_to_offset(UtcOffset::UTC).unwrap_or(time);
    time.format(FORM)
        .expect("every component of the form is part of a time")
}

/// Time of the backend's response by its own clock, or by the proxy's if it has no `Date`.
pub(crate) fn answered(headers: &HeaderMap) -> String {
    let time = headers::text(headers, header::DATE).and_then(http_date::parse);
    in_documents(time.unwrap_or_else(OffsetDateTime::now_utc))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn times_are_written_as_s3_writes_them() {
        let time = datetime!(2026-03-01 13:00:00.7 +1);
        assert_eq!(in_documents(time), "2026-03-01T12:00:00.700Z");
    }

    #[test]
    fn the_backends_clock_is_the_one_that_counts() {
        let mut headers = HeaderMap::new();
        let date = HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
        headers.insert(header::DATE, date);
        assert_eq!(answered(&headers), "1994-11-06T08:49:37.000Z");
    }
}
