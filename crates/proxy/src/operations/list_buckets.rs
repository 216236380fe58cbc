//! ListBuckets, reduced to the buckets that the client has a grant on.

use bytes::Bytes;
use http::{Method, Response};
use s3proxy_protocol::xml::buckets::filter_buckets;

use crate::body::outbound::ResponseBody;
use crate::failure::{Failure, Outcome};
use crate::objects::call::{client_headers, read_bounded};
use crate::operations::Job;

/// Longest response that is read, in bytes: a page has up to 10,000 buckets.
const MAX_PAGE_BYTES: usize = 8 * 1024 * 1024;

/// Handles ListBuckets.
pub(crate) async fn list_buckets(job: &Job<'_>) -> Outcome<Response<ResponseBody>> {
    let mut request = job.request_for(Method::GET);
    request.query = job.query_for_backend();
    request.headers = job.headers_for_backend()?;
    let backed = job.call.expect_success(request).await?;
    let text = read_bounded(backed.body, MAX_PAGE_BYTES).await?;
    let shown = filter_buckets(&text, |name| job.request.identity.may_see(name))
        .map_err(|_| Failure::Unusable("a malformed ListAllMyBucketsResult"))?;
    let mut response = Response::new(ResponseBody::held(Bytes::from(shown)));
    *response.status_mut() = backed.status;
    *response.headers_mut() = client_headers(&backed.headers);
    Ok(response)
}
