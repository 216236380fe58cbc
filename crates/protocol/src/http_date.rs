//! HTTP dates (RFC 9110, section 5.6.7), used in `Last-Modified` and its conditions.
//!
//! Only the preferred format (IMF-fixdate) is parsed; no S3 client sends the two obsolete ones.

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

const FORM: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

/// Parses a date such as `Sun, 06 Nov 1994 08:49:37 GMT`. `None` if it has another format or the
/// date does not exist.
#[must_use]
pub fn parse(text: &str) -> Option<OffsetDateTime> {
    PrimitiveDateTime::parse(text.trim(), FORM)
        .ok()
        .map(PrimitiveDateTime::assume_utc)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn reads_the_preferred_form() {
        for (text, time) in [
            (
                "Sun, 06 Nov 1994 08:49:37 GMT",
                datetime!(1994-11-06 08:49:37 UTC),
            ),
            (
                "Fri, 31 Dec 9999 23:59:59 GMT",
                datetime!(9999-12-31 23:59:59 UTC),
            ),
        ] {
            assert_eq!(parse(text), Some(time));
        }
    }

    #[test]
    fn refuses_other_forms() {
        for text in [
            "",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "1994-11-06T08:49:37Z",
            "Sun, 31 Feb 1994 08:49:37 GMT",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
