//! The tags of a source, for copies that the backend does not make itself.

use http::{HeaderName, HeaderValue, Method, StatusCode};
use s3proxy_protocol::xml::tagging;

use super::origin;
use crate::execute::answer;
use crate::execute::source::{Found, Source};
use crate::execute::{Job, Outcome};
use crate::respond::Failure;

pub(super) const TAGGING: HeaderName = HeaderName::from_static("x-amz-tagging");

/// Longest set of tags that is read, in bytes: S3 has at most 10 of 128 and 256 characters.
const MAX_TAGGING_BYTES: usize = 64 * 1024;

/// The tags of what was found, as a header has them; `None` where there are none, or where the
/// backend has no tags at all.
pub(super) async fn of(
    job: &Job<'_>,
    source: &Source<'_>,
    found: &Found,
) -> Outcome<Option<HeaderValue>> {
    let mut request = source.request(job, Method::GET);
    // Tags are not encrypted with the customer's key, and S3 refuses one here.
    for name in origin::CUSTOMER_KEY {
        request.headers.remove(name);
    }
    request.query.insert(0, ("tagging".to_owned(), None));
    if let Some(version) = origin::version(found) {
        request.query.retain(|(name, _)| name != "versionId");
        let version = ("versionId".to_owned(), Some(version.to_owned()));
        request.query.push(version);
    }
    let backed = answer::receive(job, job.parts.backend.send(request).await?);
    if !backed.status.is_success() {
        let failure = answer::refused(job, backed).await;
        return if has_no_tags(&failure) {
            Ok(None)
        } else {
            Err(failure)
        };
    }
    let document = answer::read_bounded(backed.body, MAX_TAGGING_BYTES).await?;
    let unusable = |_| Failure::Unusable("tags that cannot be read");
    let tags = tagging::parse(&document).map_err(unusable)?;
    let header = HeaderValue::try_from(tagging::to_header(&tags));
    let header = header.expect("percent-encoded text is ASCII");
    Ok((!tags.is_empty()).then_some(header))
}

fn has_no_tags(failure: &Failure) -> bool {
    match failure {
        Failure::Answer(answer) => {
            answer.document.code == "NoSuchTagSet" || answer.status == StatusCode::NOT_IMPLEMENTED
        }
        _ => false,
    }
}
