//! Query of a request, parsed and decoded once.
//!
//! Order and duplicates are preserved, so that the forwarded query is the received one. `+` is a
//! space and `%XX` is decoded; bytes that are not UTF-8 are refused with `InvalidURI`. A name
//! without `=` has an empty value, which is how S3 writes most sub-resources (`?acl`). More than
//! [`MAXIMUM_PARAMETERS`] are refused before any of them is decoded.
//!
//! Of several values with the same name, [`Query::get`] returns the first. Callers that base a
//! decision on a parameter refuse duplicates first ([`Query::duplicate`]), since a backend may use
//! the last one.

use crate::error::{ErrorCode, S3Error};
use crate::percent::{self, Plus};

/// Maximum number of parameters in a query. Presigning adds eight.
pub const MAXIMUM_PARAMETERS: usize = 64;

/// Decoded parameters of a query.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Parses the text after the `?`, exactly as on the request line. Errors: `InvalidURI` if it
    /// cannot be decoded, `InvalidArgument` if it has too many parameters.
    pub fn parse(raw: Option<&str>) -> Result<Self, S3Error> {
        let pairs = raw
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty());
        if pairs.clone().nth(MAXIMUM_PARAMETERS).is_some() {
            return Err(S3Error::new(
                ErrorCode::InvalidArgument,
                format!("A query may have at most {MAXIMUM_PARAMETERS} parameters."),
            ));
        }
        let pairs = pairs
            .map(|pair| {
                // Split first: an encoded `=` or `&` is part of a name or value.
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((
                    percent::decode(name, Plus::Space)?,
                    percent::decode(value, Plus::Space)?,
                ))
            })
            .collect::<Result<_, S3Error>>()?;
        Ok(Self { pairs })
    }

    /// First value of a parameter: `None` if it is absent, empty if it has no value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs()
            .find(|(present, _)| *present == name)
            .map(|(_, value)| value)
    }

    /// Whether the parameter is present, with or without a value.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// All parameters in order, decoded.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The query without the parameters that `dropped` names.
    #[must_use]
    pub fn without(mut self, dropped: impl Fn(&str) -> bool) -> Self {
        self.pairs.retain(|(name, _)| !dropped(name));
        self
    }

    /// Whether there are no parameters.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The first name, compared without case, that appears more than once.
    #[must_use]
    pub fn duplicate(&self) -> Option<&str> {
        // Compare each of the at most 64 names with those before it: no allocation needed.
        let names = || self.pairs().map(|(name, _)| name);
        names().enumerate().find_map(|(index, name)| {
            let before = names().take(index);
            let mut same = before.filter(|other| other.eq_ignore_ascii_case(name));
            same.next().map(|_| name)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(raw: &str) -> Query {
        Query::parse(Some(raw)).unwrap()
    }

    #[test]
    fn tells_an_absent_parameter_from_one_without_value() {
        let parsed = query("acl&versionId=&prefix=a%20b+c%2Bd");
        assert_eq!(parsed.get("acl"), Some(""));
        assert_eq!(parsed.get("versionId"), Some(""));
        assert_eq!(parsed.get("prefix"), Some("a b c+d"));
        assert_eq!(parsed.get("delimiter"), None);
        assert!(parsed.contains("acl") && !parsed.contains("ACL"));
    }

    #[test]
    fn keeps_order_and_duplicates_and_skips_empty_segments() {
        let parsed = query("&b=2&&a=1&b=3=4&");
        let pairs: Vec<_> = parsed.pairs().collect();
        assert_eq!(pairs, [("b", "2"), ("a", "1"), ("b", "3=4")]);
        assert_eq!(parsed.get("b"), Some("2"));
    }

    #[test]
    fn no_query_and_an_empty_one_are_the_same() {
        assert_eq!(Query::parse(None), Query::parse(Some("")));
        assert!(query("").is_empty());
    }

    #[test]
    fn refuses_what_is_not_text() {
        for raw in ["a=%FF", "%FF=a", "a=%2", "%"] {
            assert_eq!(
                Query::parse(Some(raw)).unwrap_err().code,
                ErrorCode::InvalidURI,
                "{raw}"
            );
        }
    }

    #[test]
    fn finds_duplicates_whatever_their_case_or_encoding() {
        assert_eq!(query("a=1&b=2&c=3").duplicate(), None);
        // `%61` is `a`.
        assert!(query("a=1&b=2&%61=3").duplicate().is_some());
        assert!(query("X-Amz-Date=1&x=2&x-amz-date=3").duplicate().is_some());
    }

    #[test]
    fn a_query_has_at_most_64_parameters() {
        let names = |count: usize| "a&".repeat(count);
        assert_eq!(query(&names(64)).pairs().count(), 64);
        // Names after the limit are not decoded at all.
        for raw in [names(65), names(15_500), format!("{}%", names(65))] {
            let refused = Query::parse(Some(&raw)).unwrap_err();
            assert_eq!(refused.code, ErrorCode::InvalidArgument);
        }
        // Empty segments are no parameters.
        assert!(query(&"&".repeat(60_000)).is_empty());
    }
}
