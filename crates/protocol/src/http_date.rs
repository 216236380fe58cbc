//! HTTP dates (RFC 9110, section 5.6.7), for `Last-Modified` and the conditions on it.
//!
//! Written in the one preferred form; the two obsolete forms, which no S3 client sends, are not
//! read.

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};

const FORM: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT`; `None` where it is another form or no such day.
#[must_use]
pub fn parse(text: &str) -> Option<OffsetDateTime> {
    PrimitiveDateTime::parse(text.trim(), FORM)
        .ok()
        .map(PrimitiveDateTime::assume_utc)
}

/// Writes a time, to the second.
#[must_use]
pub fn format(time: OffsetDateTime) -> String {
    time.to_offset(UtcOffset::UTC)
        .format(FORM)
        .expect("every component of the form is part of a date and time")
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn reads_and_writes_the_preferred_form() {
        let text = "Sun, 06 Nov 1994 08:49:37 GMT";
        let time = datetime!(1994-11-06 08:49:37 UTC);
        assert_eq!(parse(text), Some(time));
        assert_eq!(format(time), text);
        assert_eq!(format(datetime!(1994-11-06 10:49:37 +2)), text);
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
