//! DeleteObject: forwarded, with conditions mapped to stored terms.

use http::{HeaderValue, Method, Response, StatusCode, header};
use s3proxy_envelope::layout::{PlaintextLength, stored_length};
use s3proxy_envelope::legacy::legacy_stored_length;
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::headers::{self, IF_MATCH_SIZE};
use s3proxy_protocol::ids::VersionId;

use super::{Job, version_support};
use crate::body::outbound::ResponseBody;
use crate::failure::{Failure, Outcome};
use crate::objects::call::{client_headers, failure_of};
use crate::objects::stored::{self, Form};

/// Handles DeleteObject.
pub(crate) async fn delete_object(
    job: &Job<'_>,
    version: Option<&VersionId>,
) -> Outcome<Response<ResponseBody>> {
    let mut request = job.request_for(Method::DELETE);
    request.query = job.query_for_backend();
    request.headers = job.headers_for_backend()?;
    if let Some(version) = version {
        version_support::permit_deletion(job, job.object().key, version.as_str()).await?;
    }
    if let Some(size) = size_condition(job)? {
        let stored = stored_size(job, size).await?;
        request
            .headers
            .insert(IF_MATCH_SIZE, HeaderValue::from(stored));
    }
    let backed = job.call.expect_success(request).await?;
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = backed.status;
    *response.headers_mut() = client_headers(&backed.headers);
    response.headers_mut().remove(header::ETAG);
    Ok(response)
}

fn size_condition(job: &Job<'_>) -> Outcome<Option<u64>> {
    let Some(value) = job.request.headers.get(IF_MATCH_SIZE) else {
        return Ok(None);
    };
    let size = headers::value_text(value).and_then(|text| text.parse().ok());
    size.map(Some).ok_or_else(|| {
        Failure::Refused(S3Error::new(
            ErrorCode::InvalidArgument,
            "x-amz-if-match-size must be a number of bytes.",
        ))
    })
}

/// Stored size that corresponds to a plaintext size: the object's form decides.
async fn stored_size(job: &Job<'_>, size: u64) -> Outcome<u64> {
    let mut request = job.request_for(Method::HEAD);
    request.query = job.query_for_backend();
    let backed = job.call.send(request).await?;
    if backed.status == StatusCode::NOT_FOUND {
        // Whether this is an error depends on the deletion, whose response decides.
        return Ok(size);
    }
    if !backed.status.is_success() {
        return Err(failure_of(backed).await);
    }
    match stored::form(&backed.headers, &job.call.store.dek_tag)? {
        Form::Sealed(_) => Ok(stored_length(PlaintextLength(size)).0),
        Form::Legacy(_) => Ok(legacy_stored_length(PlaintextLength(size)).0),
        Form::Plain => Ok(size),
    }
}
