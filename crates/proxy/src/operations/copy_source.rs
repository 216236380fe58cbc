//! The source of a copy, for CopyObject and UploadPartCopy: its lookup, and the client's conditions
//! on it.
//!
//! A missing source is reported with S3's own error. This takes a second request, since responses
//! to HEAD have no document. A client that may not list the source's bucket gets `AccessDenied`.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use s3proxy_protocol::copy_source::CopySource;
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::headers::{self, DELETE_MARKER, REQUEST_PAYER};
use s3proxy_protocol::ids::VersionId;
use s3proxy_protocol::{conditional, http_date};

use crate::authorization::access_denied;
use crate::config::resolved::Access;
use crate::failure::{Failure, Outcome};
use crate::objects::ObjectRef;
use crate::objects::call::{BackendResponse, failure_of};
use crate::objects::read::{Found, Source};
use crate::operations::Job;

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

/// Source that the request names, with the headers that apply to it.
pub(crate) fn source<'a>(job: &Job<'a>, named: &'a CopySource) -> Source<'a> {
    Source {
        object: ObjectRef {
            bucket: &named.bucket,
            key: &named.key,
            version: named.version_id.as_ref().map(VersionId::as_str),
        },
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

/// Looks the source up, and refuses the copy if the client's conditions on it do not hold.
pub(crate) async fn find(job: &Job<'_>, source: &Source<'_>) -> Outcome<Found> {
    let request = source.request(&job.call, Method::HEAD);
    let backed = job.call.send(request).await?;
    if !backed.status.is_success() {
        return Err(missing(job, source, backed).await);
    }
    let found = Found::from_headers(&job.call, source, backed.headers)?;
    let modified = headers::text(&found.headers, header::LAST_MODIFIED).and_then(http_date::parse);
    // Judged here: the client's conditions name ETags in a form that backends do not know.
    let etag = found.etag()?;
    if conditional::copy_source_holds(&job.request.headers, etag, modified)? {
        Ok(found)
    } else {
        Err(Failure::Refused(S3Error::new(
            ErrorCode::PreconditionFailed,
            "At least one of the pre-conditions you specified did not hold",
        )))
    }
}

async fn missing(job: &Job<'_>, source: &Source<'_>, backed: BackendResponse) -> Failure {
    // A HEAD of a delete marker's version gets 405 Method Not Allowed (S3 User Guide, "Working with
    // delete markers").
    let is_marker = backed.headers.contains_key(DELETE_MARKER)
        || backed.status == StatusCode::METHOD_NOT_ALLOWED;
    if is_marker && source.object.version.is_some() {
        return Failure::Refused(S3Error::new(
            ErrorCode::InvalidRequest,
            "The source of a copy request may not specifically refer to a delete marker by \
             version id.",
        ));
    }
    if backed.status != StatusCode::NOT_FOUND {
        return failure_of(backed).await;
    }
    let (bucket, object_key) = (
        source.object.bucket.as_str(),
        Some(source.object.key.as_str()),
    );
    // Without the right to list, a missing key must look like a forbidden one.
    if !job.request.identity.may(Access::List, bucket, object_key) {
        return Failure::Refused(access_denied(job.request.operation));
    }
    match explain(job, source).await {
        Ok(failure) | Err(failure) => failure,
    }
}

/// Repeats the lookup as a GET of one byte, whose response has an error document.
async fn explain(job: &Job<'_>, source: &Source<'_>) -> Outcome<Failure> {
    let mut request = source.request(&job.call, Method::GET);
    let first_byte = HeaderValue::from_static("bytes=0-0");
    request.headers.insert(header::RANGE, first_byte);
    let backed = job.call.send(request).await?;
    if backed.status.is_success() {
        // The source exists now: the copy starts again.
        return Ok(Failure::Replaced);
    }
    Ok(failure_of(backed).await)
}

#[cfg(test)]
mod tests {
    use super::*;

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
