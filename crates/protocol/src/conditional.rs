//! Conditional headers. They are mapped and forwarded, and the backend evaluates them, with two
//! exceptions that the proxy evaluates itself: `If-Range`, because the proxy requests another range
//! from the backend, and conditions on a copy's source, because the proxy replaces them by one of
//! its own.
//!
//! Dates are forwarded unchanged: an object's modification time is the same on both sides. Size
//! conditions (`x-amz-if-match-size`) are not mapped here, since this crate does not know stored
//! lengths.

use http::header::{HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use time::OffsetDateTime;

use crate::error::{ErrorCode, S3Error};
use crate::headers::{
    self, COPY_SOURCE_IF_MATCH, COPY_SOURCE_IF_MODIFIED_SINCE, COPY_SOURCE_IF_NONE_MATCH,
    COPY_SOURCE_IF_UNMODIFIED_SINCE, single_text,
};
use crate::{etag, http_date};

/// Headers whose values are lists of entity tags.
const TAG_LISTS: [HeaderName; 4] = [
    IF_MATCH,
    IF_NONE_MATCH,
    COPY_SOURCE_IF_MATCH,
    COPY_SOURCE_IF_NONE_MATCH,
];

/// Replaces clients' ETags by the backend's in all conditional headers.
///
/// Fails with `InvalidArgument` if a value is not ASCII text, since it cannot be a list of ETags.
pub fn map_to_backend(headers: &mut HeaderMap) -> Result<(), S3Error> {
    for name in &TAG_LISTS {
        let mapped = headers
            .get_all(name)
            .iter()
            .map(|value| mapped_value(name, value))
            .collect::<Result<Vec<_>, _>>()?;
        // All values are mapped before the first is replaced: removal ends the borrow of the old
        // ones, and repeated header lines stay separate lines.
        headers.remove(name);
        for value in mapped {
            headers.append(name, value);
        }
    }
    Ok(())
}

fn mapped_value(name: &HeaderName, value: &HeaderValue) -> Result<HeaderValue, S3Error> {
    let mapped = headers::value_text(value)
        .map(etag::list_to_backend)
        .and_then(|list| HeaderValue::try_from(list).ok());
    mapped.ok_or_else(|| {
        S3Error::new(
            ErrorCode::InvalidArgument,
            format!("The header {name} must hold ETags, or '*'."),
        )
    })
}

/// Evaluates `If-Range`: whether to serve the requested range instead of the whole object (RFC
/// 9110, section 13.1.5). `etag` is the ETag in the client's form.
#[must_use]
pub fn if_range_holds(value: &str, etag: &str, last_modified: Option<OffsetDateTime>) -> bool {
    match http_date::parse(value) {
        // Compared in seconds, the precision of an HTTP date.
        Some(date) => {
            last_modified.is_some_and(|modified| modified.unix_timestamp() == date.unix_timestamp())
        }
        None => etag::matches_strongly(value, etag),
    }
}

/// Evaluates the `x-amz-copy-source-if-*` conditions of a copy. `etag` and `last_modified` are the
/// source's, from the backend's response.
///
/// A condition on the ETag takes precedence over its counterpart on the date: with a matching ETag
/// the object may have been modified since, and with a different one it may be unmodified (S3 API
/// Reference, `CopyObject`; RFC 9110, section 13.2.2). Fails with `InvalidArgument` if a value is
/// repeated, not ASCII or not a date.
pub fn copy_source_holds(
    headers: &HeaderMap,
    etag: &str,
    last_modified: Option<OffsetDateTime>,
) -> Result<bool, S3Error> {
    let matches = |tags: &str| etag::list_names(tags, etag);
    // `None` without a modification time. Neither date condition holds then: an unknown date must
    // not let a copy through.
    let modified_since = |date: OffsetDateTime| {
        last_modified.map(|modified| modified.unix_timestamp() > date.unix_timestamp())
    };
    let first = match single_text(headers, &COPY_SOURCE_IF_MATCH)? {
        Some(tags) => matches(tags),
        None => match date(headers, &COPY_SOURCE_IF_UNMODIFIED_SINCE)? {
            Some(date) => modified_since(date) == Some(false),
            None => true,
        },
    };
    let second = match single_text(headers, &COPY_SOURCE_IF_NONE_MATCH)? {
        Some(tags) => !matches(tags),
        None => match date(headers, &COPY_SOURCE_IF_MODIFIED_SINCE)? {
            Some(date) => modified_since(date) == Some(true),
            None => true,
        },
    };
    Ok(first && second)
}

/// Parses the only value of a header as an HTTP date.
fn date(headers: &HeaderMap, name: &HeaderName) -> Result<Option<OffsetDateTime>, S3Error> {
    let Some(text) = single_text(headers, name)? else {
        return Ok(None);
    };
    let date = http_date::parse(text);
    date.map(Some).ok_or_else(|| {
        S3Error::new(
            ErrorCode::InvalidArgument,
            format!("The header {name} must hold a date such as Wed, 21 Oct 2026 07:28:00 GMT."),
        )
    })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

    #[test]
    fn maps_the_etags_of_every_condition_and_nothing_else() {
        let mut headers = HeaderMap::new();
        let client = HeaderValue::try_from(format!("\"{MD5}-0\", *")).unwrap();
        for name in [
            "if-match",
            "if-none-match",
            "x-amz-copy-source-if-match",
            "x-amz-copy-source-if-none-match",
            "x-amz-meta-etag",
        ] {
            headers.append(name, client.clone());
        }
        headers.append("if-match", HeaderValue::from_static("\"other\""));
        map_to_backend(&mut headers).unwrap();
        let mapped = format!("\"{MD5}\", *");
        for name in TAG_LISTS {
            assert_eq!(headers[&name], mapped, "{name}");
        }
        assert_eq!(headers["x-amz-meta-etag"], client);
        assert_eq!(headers.get_all("if-match").iter().count(), 2);
    }

    #[test]
    fn refuses_conditions_that_are_not_text() {
        let mut headers = HeaderMap::new();
        headers.insert("if-match", HeaderValue::from_bytes(b"\"\xff\"").unwrap());
        let error = map_to_backend(&mut headers).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidArgument);
    }

    #[test]
    fn if_range_holds_for_the_same_etag_or_the_same_second() {
        let modified = Some(datetime!(1994-11-06 08:49:37.5 UTC));
        for (value, holds) in [
            ("\"abc\"", true),
            ("\"abd\"", false),
            ("W/\"abc\"", false),
            ("Sun, 06 Nov 1994 08:49:37 GMT", true),
            ("Sun, 06 Nov 1994 08:49:38 GMT", false),
            ("Sun, 06 Nov 1994 08:49:36 GMT", false),
            ("", false),
        ] {
            assert_eq!(if_range_holds(value, "\"abc\"", modified), holds, "{value}");
        }
        assert!(!if_range_holds(
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "\"abc\"",
            None
        ));
    }

    /// Evaluates conditions for a source whose ETag at the backend is [`MD5`], modified at noon.
    fn holds(conditions: &[(HeaderName, &str)]) -> Result<bool, S3Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in conditions {
            headers.append(name, HeaderValue::try_from(*value).unwrap());
        }
        // With a fraction of a second, which HTTP dates do not have.
        let noon = datetime!(2026-03-01 12:00:00.7 UTC);
        copy_source_holds(&headers, &format!("\"{MD5}\""), Some(noon))
    }

    const BEFORE: &str = "Sun, 01 Mar 2026 11:59:59 GMT";
    const NOON: &str = "Sun, 01 Mar 2026 12:00:00 GMT";

    #[test]
    fn conditions_on_a_copys_source_are_judged_as_s3_does() {
        let known = format!("\"{MD5}-0\"");
        let plain = MD5.to_owned();
        let list = format!("\"x\", {known}");
        let other = "\"x\"".to_owned();
        for (tags, matches) in [
            (&known, true),
            (&plain, true),
            (&list, true),
            (&"*".to_owned(), true),
            (&other, false),
        ] {
            assert_eq!(
                holds(&[(COPY_SOURCE_IF_MATCH, tags)]),
                Ok(matches),
                "{tags}"
            );
            assert_eq!(
                holds(&[(COPY_SOURCE_IF_NONE_MATCH, tags)]),
                Ok(!matches),
                "{tags}"
            );
            for date in [BEFORE, NOON] {
                // The ETag takes precedence over any date beside it.
                let first = [
                    (COPY_SOURCE_IF_MATCH, tags.as_str()),
                    (COPY_SOURCE_IF_UNMODIFIED_SINCE, date),
                ];
                let second = [
                    (COPY_SOURCE_IF_NONE_MATCH, tags.as_str()),
                    (COPY_SOURCE_IF_MODIFIED_SINCE, date),
                ];
                assert_eq!(holds(&first), Ok(matches), "{tags} {date}");
                assert_eq!(holds(&second), Ok(!matches), "{tags} {date}");
            }
        }
        for (date, modified_since) in [(BEFORE, true), (NOON, false)] {
            let until = [(COPY_SOURCE_IF_UNMODIFIED_SINCE, date)];
            let since = [(COPY_SOURCE_IF_MODIFIED_SINCE, date)];
            assert_eq!(holds(&until), Ok(!modified_since), "{date}");
            assert_eq!(holds(&since), Ok(modified_since), "{date}");
        }
        assert_eq!(holds(&[]), Ok(true));
        let both = [
            (COPY_SOURCE_IF_MATCH, known.as_str()),
            (COPY_SOURCE_IF_MODIFIED_SINCE, NOON),
        ];
        assert_eq!(holds(&both), Ok(false), "both pairs have to hold");
    }

    #[test]
    fn conditions_on_a_copys_source_that_say_nothing_are_refused() {
        for conditions in [
            &[(COPY_SOURCE_IF_MODIFIED_SINCE, "yesterday")] as &[_],
            &[(COPY_SOURCE_IF_UNMODIFIED_SINCE, "")],
            &[(COPY_SOURCE_IF_MATCH, "\"\u{e9}\"")],
            &[
                (COPY_SOURCE_IF_MATCH, "\"a\""),
                (COPY_SOURCE_IF_MATCH, "\"b\""),
            ],
        ] {
            let refused = holds(conditions).unwrap_err();
            assert_eq!(refused.code, ErrorCode::InvalidArgument, "{conditions:?}");
        }
    }

    #[test]
    fn a_date_cannot_hold_for_a_source_without_one() {
        for name in [
            COPY_SOURCE_IF_MODIFIED_SINCE,
            COPY_SOURCE_IF_UNMODIFIED_SINCE,
        ] {
            let mut headers = HeaderMap::new();
            headers.append(name, HeaderValue::from_static(NOON));
            assert_eq!(copy_source_holds(&headers, "\"x\"", None), Ok(false));
        }
    }
}
