//! Tags of copies, for backends that do not keep them.
//!
//! To the backend a copy that moves data is a new object, without the source's tags. Ceph's gateway
//! (16) loses the tags of a copy whose metadata is replaced, as the metadata of a sealed copy
//! always is, and stores the tags of the request in a form that it cannot read again. The tags of
//! a copy that should have some are therefore checked, and corrected, until the backend has shown
//! once that it keeps them.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use s3proxy_protocol::headers::{self, TAGGING, TAGGING_COUNT};
use s3proxy_protocol::query::Query;
use s3proxy_protocol::xml::tagging;

use crate::backend::{Request, RequestBody};
use crate::failure::{Failure, Outcome};
use crate::objects::call::{failure_of, read_bounded};
use crate::objects::copy_directives::Directive;
use crate::objects::read::{Found, Source};
use crate::objects::{ObjectRef, StoreCall, versions};

/// Headers of the source's SSE-C key in a request for the source itself.
const CUSTOMER_KEY: [&str; 3] = [
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-server-side-encryption-customer-key",
    "x-amz-server-side-encryption-customer-key-md5",
];

/// Longest set of tags that is read, in bytes: S3 allows 10, with 128 and 256 characters.
const MAX_TAGGING_BYTES: usize = 64 * 1024;

/// Keys and values of tags.
type TagSet = Vec<(String, String)>;

/// Whether the backend has shown that it keeps the tags of copies.
#[derive(Default)]
pub(crate) struct TagKeeping(AtomicBool);

/// The tags that a copy should have.
pub(crate) enum Tags {
    None,
    /// The tags of the source, at least one.
    Sources,
    /// The tags of the request, at least one.
    Requests(TagSet),
}

impl Tags {
    /// Selects the tags by the directive, the request, and the tag count of the source.
    pub(crate) fn select(directive: Directive, request: &HeaderMap, source: &HeaderMap) -> Self {
        match directive {
            Directive::Copy => {
                let count = source.get(TAGGING_COUNT).map(HeaderValue::as_bytes);
                if count.is_none_or(|count| count == b"0") {
                    Self::None
                } else {
                    Self::Sources
                }
            }
            Directive::Replace => {
                let text = headers::text(request, TAGGING);
                let tags = text.and_then(|text| Query::parse(Some(text)).ok());
                let tags: TagSet = tags
                    .iter()
                    .flat_map(Query::pairs)
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .collect();
                if tags.is_empty() {
                    Self::None
                } else {
                    Self::Requests(tags)
                }
            }
        }
    }

    /// Corrects the tags of the copy, unless the backend is known to keep them.
    pub(crate) async fn settle(
        self,
        call: &StoreCall<'_>,
        target: ObjectRef<'_>,
        source: &Source<'_>,
        found: &Found,
        copied: &HeaderMap,
    ) -> Outcome<()> {
        // Relaxed: a stale `false` costs another check and nothing else.
        let keeping = &call.store.tag_keeping.0;
        if matches!(self, Self::None) || keeping.load(Ordering::Relaxed) {
            return Ok(());
        }
        let wanted = match self {
            Self::None => return Ok(()),
            Self::Sources => of_source(call, source, found).await?,
            Self::Requests(tags) => tags,
        };
        let has = match read(call, target_request(call, Method::GET, target, copied)).await {
            Ok(has) => has,
            // A credential may be allowed to write tags but not to read them.
            Err(failure) if is_forbidden(&failure) => {
                tracing::debug!("not allowed to read the tags of a copy; not verifying them");
                return Ok(());
            }
            Err(failure) => return Err(failure),
        };
        if sorted(has) == sorted(wanted.clone()) {
            keeping.store(true, Ordering::Relaxed);
            return Ok(());
        }
        let mut request = target_request(call, Method::PUT, target, copied);
        request.body = RequestBody::Held(Bytes::from(tagging::document(&wanted)));
        call.expect_success(request).await?;
        Ok(())
    }
}

/// Removes a tagging header that has no effect: one beside COPY, and an empty one, which some
/// backends store.
pub(crate) fn remove_unwanted(directive: Directive, request: &mut HeaderMap) {
    let is_empty = request.get(TAGGING).is_some_and(HeaderValue::is_empty);
    if directive == Directive::Copy || is_empty {
        request.remove(TAGGING);
    }
}

fn sorted(mut tags: TagSet) -> TagSet {
    tags.sort_unstable();
    tags
}

/// A request about the tags of the copy.
fn target_request(
    call: &StoreCall<'_>,
    method: Method,
    target: ObjectRef<'_>,
    copied: &HeaderMap,
) -> Request {
    tagging_request(call, method, target.at(versions::version(copied)))
}

/// A request about the tags of an object.
fn tagging_request(call: &StoreCall<'_>, method: Method, object: ObjectRef<'_>) -> Request {
    let mut request = call.request(method, object);
    request.query.insert(0, ("tagging".to_owned(), None));
    request
}

/// Tags of an object that is copied onto itself, read before the copy can lose them.
pub(crate) async fn before_replacement(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    found: &Found,
) -> Outcome<Tags> {
    match Tags::select(Directive::Copy, &HeaderMap::new(), &found.headers) {
        Tags::Sources if !call.store.tag_keeping.0.load(Ordering::Relaxed) => {
            of_source(call, source, found).await.map(Tags::Requests)
        }
        Tags::None | Tags::Sources | Tags::Requests(_) => Ok(Tags::None),
    }
}

/// The source's tags in the form of a header, for a copy whose content the proxy writes; `None` if
/// there are none.
pub(crate) async fn header_of_source(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    found: &Found,
) -> Outcome<Option<HeaderValue>> {
    let tags = of_source(call, source, found).await?;
    let header = HeaderValue::try_from(tagging::to_header(&tags));
    let header = header.expect("percent-encoded text is ASCII");
    Ok((!tags.is_empty()).then_some(header))
}

async fn of_source(call: &StoreCall<'_>, source: &Source<'_>, found: &Found) -> Outcome<TagSet> {
    let version = found.version().or(source.object.version);
    let mut request = tagging_request(call, Method::GET, source.object.at(version));
    request.headers.clone_from(&source.headers);
    // Tags are not encrypted with the customer's key, and S3 refuses such a key here.
    for name in CUSTOMER_KEY {
        request.headers.remove(name);
    }
    read(call, request).await
}

/// Reads a set of tags. It is empty if the backend has none or does not support tags.
async fn read(call: &StoreCall<'_>, request: Request) -> Outcome<TagSet> {
    let backed = call.send(request).await?;
    if !backed.status.is_success() {
        let failure = failure_of(backed).await;
        return if has_no_tags(&failure) {
            Ok(TagSet::new())
        } else {
            Err(failure)
        };
    }
    let document = read_bounded(backed.body, MAX_TAGGING_BYTES).await?;
    // Some backends return nothing for a set that they stored in an unreadable form.
    if document.is_empty() {
        return Ok(TagSet::new());
    }
    tagging::parse(&document).map_err(|_| Failure::Unusable("a malformed tag set"))
}

fn is_forbidden(failure: &Failure) -> bool {
    matches!(failure, Failure::Answer(answer) if answer.status == StatusCode::FORBIDDEN)
}

fn has_no_tags(failure: &Failure) -> bool {
    match failure {
        Failure::Answer(answer) => {
            answer.document.code == "NoSuchTagSet" || answer.status == StatusCode::NOT_IMPLEMENTED
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        [(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )]
        .into_iter()
        .collect()
    }

    #[test]
    fn a_header_that_says_nothing_is_not_sent() {
        for (directive, text, sent) in [
            (Directive::Copy, "a=1", false),
            (Directive::Replace, "", false),
            (Directive::Replace, "a=1", true),
            (Directive::Replace, "%", true),
        ] {
            let mut request = headers("x-amz-tagging", text);
            remove_unwanted(directive, &mut request);
            assert_eq!(request.contains_key(TAGGING), sent, "{text:?}");
        }
    }

    #[test]
    fn tags_are_looked_at_where_a_copy_should_have_some() {
        let none = HeaderMap::new();
        let tagged = headers("x-amz-tagging-count", "2");
        let asked = headers("x-amz-tagging", "a=1&b=x%20y+z&c");
        for (directive, request, source, expected) in [
            (Directive::Copy, &none, &none, "none"),
            (
                Directive::Copy,
                &none,
                &headers("x-amz-tagging-count", "0"),
                "none",
            ),
            (Directive::Copy, &asked, &none, "none"),
            (Directive::Copy, &none, &tagged, "source"),
            (Directive::Replace, &none, &tagged, "none"),
            (
                Directive::Replace,
                &headers("x-amz-tagging", ""),
                &tagged,
                "none",
            ),
            (Directive::Replace, &asked, &none, "request"),
        ] {
            let of = match Tags::select(directive, request, source) {
                Tags::None => "none",
                Tags::Sources => "source",
                Tags::Requests(tags) => {
                    let pairs = [("a", "1"), ("b", "x y z"), ("c", "")];
                    let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
                    assert_eq!(tags, pairs);
                    "request"
                }
            };
            assert_eq!(of, expected);
        }
    }
}
