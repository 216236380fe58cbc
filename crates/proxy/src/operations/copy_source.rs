//! The source of a copy, for CopyObject and UploadPartCopy: its lookup, and the client's conditions
//! on it.
//!
//! A missing source is reported with S3's own error. This takes a second request, since responses
//! to HEAD have no document. A client that may not list the source's bucket gets `AccessDenied`.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::{conditional, http_date};

use crate::config::resolved::Access;
use crate::execute::answer::{self, Backed};
use crate::execute::source::{Found, Source};
use crate::execute::{Job, Outcome};
use crate::plan;
use crate::respond::Failure;

/// Headers about the source, and their names in a request for the source itself.
const RENAMED: [(&str, HeaderName); 4] = [
    (
        "x-amz-copy-source-server-side-encryption-customer-algorithm",
        HeaderName::from_static("x-amz-server-side-encryption-customer-algorithm"),
    ),
    (
        "x-amz-copy-source-server-side-encryption-customer-key",
        HeaderName::from_static("x-amz-server-side-encryption-customer-key"),
    ),
    (
        "x-amz-copy-source-server-side-encryption-customer-key-md5",
        HeaderName::from_static("x-amz-server-side-encryption-customer-key-md5"),
    ),
    (
        "x-amz-source-expected-bucket-owner",
        HeaderName::from_static("x-amz-expected-bucket-owner"),
    ),
];

/// Headers of the source's SSE-C key in a request for the source itself.
pub(crate) const CUSTOMER_KEY: [&str; 3] = [
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-server-side-encryption-customer-key",
    "x-amz-server-side-encryption-customer-key-md5",
];

const REQUEST_PAYER: HeaderName = HeaderName::from_static("x-amz-request-payer");

/// Most attempts at a copy whose source is replaced meanwhile.
const ATTEMPTS: usize = 3;

const VERSION_ID: &str = "x-amz-version-id";

/// Source that the request names, with the headers that apply to it.
pub(crate) fn source<'a>(job: &Job<'a>) -> Source<'a> {
    let named = job.request.copy_source.as_ref();
    let named = named.expect("requests for copies have a source");
    Source {
        bucket: named.bucket.as_str(),
        object_key: named.key.as_str(),
        version: named.version_id.as_deref(),
        headers: source_headers(&job.request.headers),
    }
}

fn source_headers(client: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, renamed) in RENAMED {
        if let Some(value) = client.get(name) {
            headers.insert(renamed, value.clone());
        }
    }
    if let Some(payer) = client.get(REQUEST_PAYER) {
        headers.insert(REQUEST_PAYER, payer.clone());
    }
    headers
}

/// Runs a copy, and repeats it if its source was replaced meanwhile, up to [`ATTEMPTS`] times.
pub(crate) async fn unless_replaced<T, F>(mut attempt: impl FnMut() -> F) -> Outcome<T>
where
    F: Future<Output = Outcome<T>>,
{
    for _ in 1..ATTEMPTS {
        match attempt().await {
            Err(Failure::Replaced) => {}
            outcome => return outcome,
        }
    }
    attempt().await
}

/// Looks the source up, and refuses the copy if the client's conditions on it do not hold.
pub(crate) async fn find(job: &Job<'_>, source: &Source<'_>) -> Outcome<Found> {
    let request = source.request(job, Method::HEAD);
    let backed = answer::receive(job, job.parts.backend.send(request).await?);
    if !backed.status.is_success() {
        return Err(missing(job, source, backed).await);
    }
    let found = Found::of(job, source, backed.headers)?;
    let modified = text(&found.headers, header::LAST_MODIFIED).and_then(http_date::parse);
    // Judged here: the client's conditions name ETags in a form that backends do not know.
    let etag = etag(&found)?;
    if conditional::copy_source_holds(&job.request.headers, etag, modified)? {
        Ok(found)
    } else {
        Err(Failure::Refused(S3Error::new(
            ErrorCode::PreconditionFailed,
            "At least one of the pre-conditions you specified did not hold",
        )))
    }
}

/// ETag of the source as the backend returned it.
pub(crate) fn etag(found: &Found) -> Outcome<&str> {
    text(&found.headers, header::ETAG).ok_or(Failure::Unusable("an object without an ETag"))
}

/// Version of the source, if its bucket has versions.
pub(crate) fn version(found: &Found) -> Option<&str> {
    found.headers.get(VERSION_ID)?.to_str().ok()
}

/// Adds the version that was copied to the response headers.
pub(crate) fn insert_version(headers: &mut HeaderMap, found: &Found) {
    let version = version(found).and_then(|version| HeaderValue::try_from(version).ok());
    if let Some(version) = version {
        headers
            .entry("x-amz-copy-source-version-id")
            .or_insert(version);
    }
}

/// Whether the source changed since it was looked up, which may explain a failed copy.
pub(crate) async fn is_replaced(
    job: &Job<'_>,
    source: &Source<'_>,
    found: &Found,
) -> Outcome<bool> {
    let request = source.request(job, Method::HEAD);
    let backed = answer::receive(job, job.parts.backend.send(request).await?);
    let same = [header::ETAG, HeaderName::from_static(VERSION_ID)]
        .iter()
        .all(|name| backed.headers.get(name) == found.headers.get(name));
    // A source that is gone counts as replaced: the next attempt reports its absence.
    Ok(!backed.status.is_success() || !same)
}

async fn missing(job: &Job<'_>, source: &Source<'_>, backed: Backed) -> Failure {
    // A HEAD of a delete marker's version gets 405 Method Not Allowed (S3 User Guide, "Working with
    // delete markers").
    let is_marker = backed.headers.contains_key("x-amz-delete-marker")
        || backed.status == StatusCode::METHOD_NOT_ALLOWED;
    if is_marker && source.version.is_some() {
        return Failure::Refused(S3Error::new(
            ErrorCode::InvalidRequest,
            "The source of a copy request may not specifically refer to a delete marker by \
             version id.",
        ));
    }
    if backed.status != StatusCode::NOT_FOUND {
        return answer::refused(job, backed).await;
    }
    let (bucket, object_key) = (source.bucket, Some(source.object_key));
    // Without the right to list, a missing key must look like a forbidden one.
    if !job.request.identity.may(Access::List, bucket, object_key) {
        return Failure::Refused(plan::access_denied(job.request.operation));
    }
    match explain(job, source).await {
        Ok(failure) | Err(failure) => failure,
    }
}

/// Repeats the lookup as a GET of one byte, whose response has an error document.
async fn explain(job: &Job<'_>, source: &Source<'_>) -> Outcome<Failure> {
    let mut request = source.request(job, Method::GET);
    let first_byte = HeaderValue::from_static("bytes=0-0");
    request.headers.insert(header::RANGE, first_byte);
    let backed = answer::receive(job, job.parts.backend.send(request).await?);
    if backed.status.is_success() {
        // The source exists now: the copy starts again.
        return Ok(Failure::Replaced);
    }
    Ok(answer::refused(job, backed).await)
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_copy_whose_source_is_replaced_starts_again_a_few_times() {
        for (replaced, starts) in [(0, 1), (2, 3), (9, 3)] {
            let mut started = 0;
            let outcome = unless_replaced(|| {
                started += 1;
                let outcome = if started > replaced {
                    Ok(())
                } else {
                    Err(Failure::Replaced)
                };
                async { outcome }
            })
            .await;
            assert_eq!(started, starts);
            assert_eq!(outcome.is_ok(), replaced < starts);
        }
    }

    #[test]
    fn what_is_said_of_the_source_reaches_it_and_nothing_of_the_target_does() {
        let mut client = HeaderMap::new();
        for (name, _) in RENAMED {
            client.insert(name, HeaderValue::from_static("source"));
        }
        for name in [
            "x-amz-server-side-encryption-customer-key",
            "x-amz-expected-bucket-owner",
            "x-amz-meta-a",
            "if-match",
        ] {
            client.insert(name, HeaderValue::from_static("target"));
        }
        client.insert(REQUEST_PAYER, HeaderValue::from_static("requester"));
        let headers = source_headers(&client);
        assert_eq!(headers.len(), RENAMED.len() + 1);
        for (_, renamed) in RENAMED {
            assert_eq!(headers[renamed], "source");
        }
        assert_eq!(headers[REQUEST_PAYER], "requester");
    }
}
