//! AbortMultipartUpload: first the backend's upload, then the proxy's state.
//!
//! The state is removed even if the backend knows no such upload: then an earlier end did not get
//! that far. A part that is being staged meanwhile may be left over; the sweep removes it.

use http::{Method, Response};
use s3proxy_protocol::ids::UploadId;

use crate::body::outbound::ResponseBody;
use crate::failure::Outcome;
use crate::objects::call::client_headers;
use crate::operations::{Job, sub_resource_support};
use crate::upload_state::staged::{self, StatePlace};
use crate::upload_state::state;

/// Handles AbortMultipartUpload.
pub(crate) async fn abort(job: &Job<'_>, upload_id: &UploadId) -> Outcome<Response<ResponseBody>> {
    let place = StatePlace::new(&job.call.store.policy, job.object(), upload_id.as_str());
    sub_resource_support::require_uploads(job).await?;
    let mut request = job.request_for(Method::DELETE);
    request.query = job.query_for_backend();
    request.headers = job.headers_for_backend()?;
    let answered = job.call.expect_success(request).await;
    let ended = match &answered {
        Ok(_) => true,
        Err(failure) => state::is_gone(failure),
    };
    if ended {
        // First the cache: no request here may find the upload while its state is removed.
        state::forget(&job.services.uploads, &place.hash);
        if let Err(failure) = staged::delete_state(&job.call, &place).await {
            // E.g. object lock holds it. The upload is aborted nevertheless.
            tracing::warn!(reason = %failure, "failed to delete the state of an aborted upload; the sweep will");
        }
    }
    let backed = answered?;
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = backed.status;
    *response.headers_mut() = client_headers(&backed.headers);
    Ok(response)
}
