//! Conditions of a request: mapped for the backend, which judges them, and `If-Range`, which the
//! proxy judges itself, because the range that it asks the backend for is another one.
//!
//! Dates pass as they are: an object's modification time is the same on both sides. Sizes in
//! conditions (`x-amz-if-match-size`) are not mapped here, since stored lengths are not known to
//! this crate.

use http::header::{HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use time::OffsetDateTime;

use crate::error::{ErrorCode, S3Error};
use crate::{etag, http_date};

/// The headers whose values are lists of entity tags.
const TAG_LISTS: [HeaderName; 4] = [
    IF_MATCH,
    IF_NONE_MATCH,
    HeaderName::from_static("x-amz-copy-source-if-match"),
    HeaderName::from_static("x-amz-copy-source-if-none-match"),
];

/// Replaces clients' ETags in all conditions by the backend's.
///
/// Refuses with `InvalidArgument` a value that is not text, since it cannot be a list of ETags.
pub fn map_to_backend(headers: &mut HeaderMap) -> Result<(), S3Error> {
    for name in &TAG_LISTS {
        let mapped = headers
            .get_all(name)
            .iter()
            .map(|value| mapped_value(name, value))
            .collect::<Result<Vec<_>, _>>()?;
        headers.remove(name);
        for value in mapped {
            headers.append(name, value);
        }
    }
    Ok(())
}

fn mapped_value(name: &HeaderName, value: &HeaderValue) -> Result<HeaderValue, S3Error> {
    let mapped = value
        .to_str()
        .ok()
        .map(etag::list_to_backend)
        .and_then(|list| HeaderValue::try_from(list).ok());
    mapped.ok_or_else(|| {
        S3Error::new(
            ErrorCode::InvalidArgument,
            format!("The header {name} must hold ETags, or '*'."),
        )
    })
}

/// Whether the range of a request with this `If-Range` is to be served; otherwise the answer is
/// the whole object (RFC 9110, section 13.1.5). `etag` is the one that the client knows.
#[must_use]
pub fn if_range_holds(value: &str, etag: &str, last_modified: Option<OffsetDateTime>) -> bool {
    match http_date::parse(value) {
        // To the second, which is all that an HTTP date has.
        Some(date) => {
            last_modified.is_some_and(|modified| modified.unix_timestamp() == date.unix_timestamp())
        }
        None => etag::matches_strongly(value, etag),
    }
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
}
