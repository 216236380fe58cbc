//! ListObjectsV2 of the objects under a prefix: with pages, without delimiters and owners.

use std::fmt::Write;

use super::query::Query;
use super::store::Store;
use crate::xml;

/// Longest page, as in S3.
const PAGE: usize = 1000;

pub(super) fn page(store: &Store, bucket: &str, asked: &Query) -> String {
    let prefix = asked.text("prefix").unwrap_or_default();
    // A token is the last key of the previous page.
    let after = asked.text("continuation-token").unwrap_or_default();
    let limit = asked.number("max-keys").unwrap_or(PAGE).min(PAGE);
    let stored = store.beginning_with(&format!("{bucket}/{prefix}"));
    let mut objects = stored.iter().filter_map(|(name, object)| {
        let (_, key) = name.split_once('/')?;
        (key > after).then_some((key, object))
    });
    let mut entries = String::new();
    let (mut count, mut last) = (0, "");
    for (key, object) in objects.by_ref().take(limit) {
        let etag = xml::unquoted(object.etag.to_str().unwrap_or_default());
        let length = object.content.length();
        write!(
            entries,
            "<Contents><Key>{key}</Key><LastModified>2022-01-01T00:00:00.000Z</LastModified>\
             <ETag>&quot;{etag}&quot;</ETag><Size>{length}</Size>\
             <StorageClass>STANDARD</StorageClass></Contents>"
        )
        .expect("writing to a String cannot fail");
        (count, last) = (count + 1, key);
    }
    // `take` has left the iterator after the page, so another entry means another page.
    let truncated = objects.next().is_some();
    let next = if truncated {
        format!("<NextContinuationToken>{last}</NextContinuationToken>")
    } else {
        String::new()
    };
    format!(
        "<ListBucketResult><Name>{bucket}</Name><Prefix>{prefix}</Prefix>\
         <KeyCount>{count}</KeyCount><MaxKeys>{limit}</MaxKeys>\
         <IsTruncated>{truncated}</IsTruncated>{next}{entries}</ListBucketResult>"
    )
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Uri};

    use super::super::store::{Content, Object};
    use super::*;

    fn keys(page: &str) -> Vec<&str> {
        xml::contents(page, "Key").collect()
    }

    #[test]
    fn pages_join_to_the_keys_under_the_prefix() {
        let store = Store::new();
        for name in ["b/p/1", "b/p/2", "b/p/3", "b/q", "c/p/4"] {
            let content = Content::Made(7);
            let object = Object::new(content, &HeaderMap::new(), store.next_etag());
            store.keep(name.to_owned(), object);
        }
        let ask = |query: &str| {
            let uri: Uri = format!("/b?list-type=2&{query}").parse().expect("a path");
            page(&store, "b", &Query::of(&uri))
        };
        let all = ask("prefix=p%2F");
        assert_eq!(keys(&all), ["p/1", "p/2", "p/3"]);
        assert_eq!(xml::content(&all, "IsTruncated"), Some("false"));
        assert_eq!(xml::content(&all, "Size"), Some("7"));
        let first = ask("prefix=p%2F&max-keys=2");
        assert_eq!(keys(&first), ["p/1", "p/2"]);
        let token = xml::content(&first, "NextContinuationToken").expect("there is more");
        let second = ask(&format!(
            "prefix=p%2F&max-keys=2&continuation-token={token}"
        ));
        assert_eq!(keys(&second), ["p/3"]);
        assert_eq!(xml::content(&second, "IsTruncated"), Some("false"));
    }
}
