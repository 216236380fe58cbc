//! Time of a signed request: as text for the string to sign, and as an instant for the comparison
//! with the clock.
//!
//! `x-amz-date` has the form `YYYYMMDD'T'HHMMSS'Z'` (ISO 8601 basic format). `Date` may replace it,
//! in that form or as an HTTP date; the string to sign contains the basic format in any case.

use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc2822;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};

const BASIC: &[BorrowedFormatItem<'_>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");

/// Time at which a request claims to have been signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Timestamp {
    text: String,
    instant: OffsetDateTime,
}

impl Timestamp {
    /// Parses the basic format of `x-amz-date`.
    pub(super) fn from_basic(text: &str) -> Option<Self> {
        // The parser accepts a sign before the year; with exactly 16 characters and a leading
        // digit, there cannot be one.
        if text.len() != 16 || !text.starts_with(|first: char| first.is_ascii_digit()) {
            return None;
        }
        let instant = PrimitiveDateTime::parse(text, BASIC).ok()?.assume_utc();
        Some(Self {
            text: text.to_owned(),
            instant,
        })
    }

    /// Reads a `Date` header: an HTTP date or the basic form.
    pub(crate) fn from_date_header(text: &str) -> Option<Self> {
        if let Some(timestamp) = Self::from_basic(text) {
            return Some(timestamp);
        }
        // Any offset is accepted, but the string to sign is in UTC.
        let instant = OffsetDateTime::parse(text, &Rfc2822)
            .ok()?
            .checked_to_offset(UtcOffset::UTC)?;
        let text = instant.format(BASIC).ok()?;
        Some(Self { text, instant })
    }

    /// The time as `YYYYMMDD'T'HHMMSS'Z'`.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The day, `YYYYMMDD`, which the credential scope has to repeat.
    pub(super) fn date(&self) -> &str {
        &self.text[..8]
    }

    pub(crate) fn instant(&self) -> OffsetDateTime {
        self.instant
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_accepted_spelling_gives_the_basic_form() {
        for text in ["20130524T000000Z", "Fri, 24 May 2013 00:00:00 GMT"] {
            let timestamp = Timestamp::from_date_header(text).unwrap();
            assert_eq!(timestamp.as_str(), "20130524T000000Z");
            assert_eq!(timestamp.date(), "20130524");
            assert_eq!(timestamp.instant().unix_timestamp(), 1_369_353_600);
        }
    }

    #[test]
    fn an_instant_outside_of_the_years_that_can_be_written_is_no_time() {
        // All of these are in the year 10000 in UTC.
        for text in [
            "Fri, 31 Dec 9999 23:59:59 -0100",
            "Fri, 31 Dec 9999 23:59:59 EST",
            "Fri, 31 Dec 9999 20:00:00 -2359",
        ] {
            assert_eq!(Timestamp::from_date_header(text), None, "{text}");
        }
        let last = Timestamp::from_date_header("Fri, 31 Dec 9999 23:59:59 +0000").unwrap();
        assert_eq!(last.as_str(), "99991231T235959Z");
    }

    #[test]
    fn other_spellings_are_no_x_amz_date() {
        for text in [
            "",
            "20130524",
            "2013-05-24T00:00:00Z",
            "20131324T000000Z",
            "20130524T000000z",
            "+0130524T000000Z",
            "20130524T000060Z",
            "Fri, 24 May 2013 00:00:00 GMT",
            // A full-width digit; 16 bytes in all.
            "２013052T000000Z",
        ] {
            assert_eq!(Timestamp::from_basic(text), None, "{text}");
        }
    }
}
