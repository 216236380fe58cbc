//! Tags of copies, for backends that do not keep them.
//!
//! To the backend a copy that moves data is a new object, without the source's tags. Ceph's gateway
//! (16) loses the tags of a copy whose metadata is replaced, as the metadata of a sealed copy
//! always is, and stores the tags of the request in a form that it cannot read again. The tags of
//! a copy that should have some are therefore checked, and corrected, until the backend has shown
//! once that it keeps them.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use s3proxy_protocol::query::Query;
use s3proxy_protocol::xml::tagging;

use super::carried::Directive;
use super::origin;
use crate::backend::{Request, RequestBody};
use crate::execute::answer;
use crate::execute::source::{Found, Source};
use crate::execute::{Job, Outcome};
use crate::respond::Failure;

pub(super) const TAGGING: HeaderName = HeaderName::from_static("x-amz-tagging");

const TAGGING_COUNT: &str = "x-amz-tagging-count";

const VERSION_ID: &str = "x-amz-version-id";

/// Longest set of tags that is read, in bytes: S3 allows 10, with 128 and 256 characters.
const MAX_TAGGING_BYTES: usize = 64 * 1024;

/// Keys and values of tags.
type TagSet = Vec<(String, String)>;

/// Whether the backend has shown that it keeps the tags of copies.
#[derive(Default)]
pub(crate) struct TagKeeping(AtomicBool);

/// The tags that a copy should have.
pub(super) enum Tags {
    None,
    /// The tags of the source, at least one.
    Sources,
    /// The tags of the request, at least one.
    Requests(TagSet),
}

impl Tags {
    /// Selects the tags by the directive, the request, and the tag count of the source.
    pub(super) fn of(directive: Directive, request: &HeaderMap, source: &HeaderMap) -> Self {
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
                let text = request.get(TAGGING).and_then(|value| value.to_str().ok());
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
    pub(super) async fn settle(
        self,
        job: &Job<'_>,
        source: &Source<'_>,
        found: &Found,
        copied: &HeaderMap,
    ) -> Outcome<()> {
        // Relaxed: a stale `false` costs another check and nothing else.
        let keeping = &job.parts.tag_keeping.0;
        if matches!(self, Self::None) || keeping.load(Ordering::Relaxed) {
            return Ok(());
        }
        let wanted = match self {
            Self::None => return Ok(()),
            Self::Sources => of_source(job, source, found).await?,
            Self::Requests(tags) => tags,
        };
        let has = match read(job, target_request(job, Method::GET, copied)).await {
            Ok(has) => has,
            // A credential may be allowed to write tags but not to read them.
            Err(failure) if is_forbidden(&failure) => {
                tracing::debug!("the tags of a copy may not be looked at; the backend is believed");
                return Ok(());
            }
            Err(failure) => return Err(failure),
        };
        if sorted(has) == sorted(wanted.clone()) {
            keeping.store(true, Ordering::Relaxed);
            return Ok(());
        }
        let mut request = target_request(job, Method::PUT, copied);
        request.body = RequestBody::Held(Bytes::from(tagging::document(&wanted)));
        answer::expect_success(job, job.parts.backend.send(request).await?).await?;
        Ok(())
    }
}

/// Removes a tagging header that has no effect: one beside COPY, and an empty one, which some
/// backends store.
pub(super) fn remove_unwanted(directive: Directive, request: &mut HeaderMap) {
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
fn target_request(job: &Job<'_>, method: Method, copied: &HeaderMap) -> Request {
    let mut request = answer::request_for(job, method);
    request.query = vec![("tagging".to_owned(), None)];
    if let Some(version) = copied.get(VERSION_ID).and_then(|value| value.to_str().ok()) {
        let version = ("versionId".to_owned(), Some(version.to_owned()));
        request.query.push(version);
    }
    request
}

/// Tags of an object that is copied onto itself, read before the copy can lose them.
pub(super) async fn before_replacement(
    job: &Job<'_>,
    source: &Source<'_>,
    found: &Found,
) -> Outcome<Tags> {
    match Tags::of(Directive::Copy, &HeaderMap::new(), &found.headers) {
        Tags::Sources if !job.parts.tag_keeping.0.load(Ordering::Relaxed) => {
            of_source(job, source, found).await.map(Tags::Requests)
        }
        Tags::None | Tags::Sources | Tags::Requests(_) => Ok(Tags::None),
    }
}

/// The source's tags in the form of a header, for a copy whose content the proxy writes; `None` if
/// there are none.
pub(super) async fn header_of_source(
    job: &Job<'_>,
    source: &Source<'_>,
    found: &Found,
) -> Outcome<Option<HeaderValue>> {
    let tags = of_source(job, source, found).await?;
    let header = HeaderValue::try_from(tagging::to_header(&tags));
    let header = header.expect("percent-encoded text is ASCII");
    Ok((!tags.is_empty()).then_some(header))
}

async fn of_source(job: &Job<'_>, source: &Source<'_>, found: &Found) -> Outcome<TagSet> {
    let mut request = source.request(job, Method::GET);
    // Tags are not encrypted with the customer's key, and S3 refuses such a key here.
    for name in origin::CUSTOMER_KEY {
        request.headers.remove(name);
    }
    request.query = vec![("tagging".to_owned(), None)];
    if let Some(version) = origin::version(found).or(source.version) {
        let version = ("versionId".to_owned(), Some(version.to_owned()));
        request.query.push(version);
    }
    read(job, request).await
}

/// Reads a set of tags. It is empty if the backend has none or does not support tags.
async fn read(job: &Job<'_>, request: Request) -> Outcome<TagSet> {
    let backed = answer::receive(job, job.parts.backend.send(request).await?);
    if !backed.status.is_success() {
        let failure = answer::refused(job, backed).await;
        return if has_no_tags(&failure) {
            Ok(TagSet::new())
        } else {
            Err(failure)
        };
    }
    let document = answer::read_bounded(backed.body, MAX_TAGGING_BYTES).await?;
    // Some backends return nothing for a set that they stored in an unreadable form.
    if document.is_empty() {
        return Ok(TagSet::new());
    }
    tagging::parse(&document).map_err(|_| Failure::Unusable("tags that cannot be read"))
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
            let of = match Tags::of(directive, request, source) {
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
